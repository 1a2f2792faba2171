/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The `dm` backend: builderd --check-host. Says what is there and what a lack of it means; changes nothing. */
#include "thin.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sys/syscall.h>

#include "base/cleanup.h"

static const struct {
	const char *name, *lack;
} targets[] = {
        {"linear", "the dm backend cannot be used"},
        {"thin-pool", "the dm backend cannot be used"},
        {"thin", "the dm backend cannot be used"},
        {"crypt", "the dm backend cannot be used"},
        {"verity", "products cannot have a hash tree"},
};

static const struct {
	const char *path, *lack;
} tools[] = {
        {"/sbin/mke2fs", "no backend can be used: install e2fsprogs"},
        {"/sbin/e2fsck", "no backend can be used: install e2fsprogs"},
        {"/sbin/resize2fs", "no backend can be used: install e2fsprogs"},
        {"/usr/sbin/thin_check", "damaged pools cannot be checked: install thin-provisioning-tools"},
        {"/usr/sbin/thin_repair", "damaged pools cannot be repaired: install thin-provisioning-tools"},
        {"/usr/sbin/thin_ls", "builder-volume cannot list a pool: install thin-provisioning-tools"},
};

static void targets_report(FILE *out)
{
	for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
		struct err e = ERR_INIT;
		uint32_t v[3];
		if (dm_target_version(targets[i].name, v, &e) == 0)
			fprintf(out, "  target %-14s %" PRIu32 ".%" PRIu32 ".%" PRIu32 "\n", targets[i].name, v[0],
			        v[1], v[2]);
		else
			fprintf(out, "  target %-14s missing: %s (%s)\n", targets[i].name, targets[i].lack, e.msg);
	}
}

static void tools_report(FILE *out)
{
	for (size_t i = 0; i < ARRAY_LEN(tools); i++) {
		bool is_there = access(tools[i].path, X_OK) == 0;
		fprintf(out, "  %-21s %s%s\n", tools[i].path,
		        is_there ? "found" : "missing: ", is_there ? "" : tools[i].lack);
	}
}

static bool has_capability(int cap)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	return syscall(SYS_capget, &head, data) == 0 && (data[cap / 32].effective & (1u << cap % 32));
}

/* dm-crypt takes the volume key from a key of type "logon", which user space can write and never read. */
static bool logon_keys_work(void)
{
	long key = syscall(SYS_add_key, "logon", "builderd:check-host", "x", 1, KEY_SPEC_PROCESS_KEYRING);

	if (key < 0)
		return false;
	syscall(SYS_keyctl, KEYCTL_UNLINK, key, KEY_SPEC_PROCESS_KEYRING);
	return true;
}

static void master_key_report(const struct store_options *o, FILE *out)
{
	AUTO_FREE char *path = master_key_path(o);
	struct master_key key = {0};
	struct err e = ERR_INIT;
	int rc = keys_master_read(path, &key, &e);

	keys_wipe(&key, sizeof(key));
	fprintf(out, "  master key            %s%s\n", rc == -ENOENT || rc == 0 ? path : e.msg,
	        rc == -ENOENT ? ": missing, made at the first start" : "");
}

void volume_dm_host_report(const struct store_options *o, FILE *out)
{
	char look[300] = "none is configured";

	dm_init();
	targets_report(out);
	tools_report(out);
	fprintf(out, "  CAP_SYS_ADMIN         %s\n",
	        has_capability(CAP_SYS_ADMIN) ? "yes" : "no: nothing can be mounted");
	fprintf(out, "  CAP_SYS_RESOURCE      %s\n",
	        has_capability(CAP_SYS_RESOURCE) ? "yes" : "no: a volume cannot be enlarged while a build writes it");
	fprintf(out, "  kernel keyring        %s\n",
	        logon_keys_work() ? "type logon can be used" : "type logon cannot be used: tenants cannot be opened");
	fprintf(out, "  /dev/fuse             %s\n",
	        access("/dev/fuse", R_OK | W_OK) == 0 ? "can be opened" : "cannot be opened: builds cannot run");
	if (outer_is_configured(o))
		outer_look(o, look, sizeof(look));
	fprintf(out, "  pool                  %s\n", look);
	master_key_report(o, out);
}
