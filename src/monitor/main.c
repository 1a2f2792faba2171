/* SPDX-License-Identifier: GPL-2.0-or-later */
/* builderd: the privileged program. See monitor.h for its shape, doc/architecture.md for its place. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "monitor/monitor.h"

extern char **environ;

enum mode { MODE_RUN, MODE_VALIDATE, MODE_CHECK_HOST };

static void usage(FILE *f)
{
	fputs("usage: builderd [--config FILE] [--validate-config | --check-host]\n\n"
	      "Builds container images into bootable block devices. Configuration comes from FILE and the\n"
	      "environment (the environment wins); each option with its default:\n\n",
	        f);
	config_print_options(f);
}

/* Returns an exit code, or -1 to go on. */
static int options_parse(int argc, char **argv, const char **file, enum mode *mode)
{
	static const struct option longs[] = {
	        {"config", required_argument, NULL, 'c'},
	        {"validate-config", no_argument, NULL, 'V'},
	        {"check-host", no_argument, NULL, 'H'},
	        {"version", no_argument, NULL, 'v'},
	        {"help", no_argument, NULL, 'h'},
	        {0},
	};

	for (int c; (c = getopt_long(argc, argv, "c:h", longs, NULL)) >= 0;) {
		switch (c) {
		case 'c':
			*file = optarg;
			break;
		case 'V':
			*mode = MODE_VALIDATE;
			break;
		case 'H':
			*mode = MODE_CHECK_HOST;
			break;
		case 'v':
			puts(PACKAGE_STRING);
			return 0;
		case 'h':
			usage(stdout);
			return 0;
		default:
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "builderd: unexpected argument \"%s\"\n", argv[optind]);
		return 2;
	}
	return -1;
}

int main(int argc, char **argv)
{
	static struct monitor m;
	struct err e = ERR_INIT;
	enum mode mode = MODE_RUN;
	const char *file = NULL;
	int rc = options_parse(argc, argv, &file, &mode);

	if (rc >= 0)
		return rc;
	if (config_load(&m.config, file, environ, &e) < 0) {
		fprintf(stderr, "builderd: %s\n", e.msg);
		return 2;
	}
	if (mode == MODE_VALIDATE) {
		puts("the configuration is valid");
		return 0;
	}
	if (mode == MODE_CHECK_HOST)
		return monitor_check_host(&m.config);
	if (geteuid() != 0) {
		fputs("builderd: must be started as root: it mounts volumes and starts the other programs under their "
		      "own users\n",
		        stderr);
		return 1;
	}
	log_setup("builderd", log_level_parse(m.config.log_level), !strcmp(m.config.log_format, "json"));
	umask(022); /* every file is made with the mode it needs */
	/* No core file may hold a tenant's bytes or keys. The limit is not for one that goes into a pipe (core(5)). */
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	prctl(PR_SET_DUMPABLE, 0);
	rc = monitor_run(&m, &e);
	if (rc < 0) {
		log_error("builderd cannot start", KV("error", e.msg));
		return 1;
	}
	return rc;
}
