/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * builderd-api: the only program that reads what clients send. It has a network, the socket that builderd hands over,
 * the directory of its job store and a channel to builderd; no other file, no device, no right. Started by builderd;
 * ends when builderd closes the channel, or on SIGTERM: both drain.
 *
 * Order: configuration, listening socket, sandbox, and only then the first byte from outside (the job store's file is
 * one: a taken-over process may have written it).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "api/health.h"
#include "api/volume_service.h"
#include "api/tls.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "sandbox/sandbox.h"

extern char **environ;

struct program {
	struct config config;
	struct loop *loop;
	struct service service;
	struct store *store;
	struct audit *audit; /* owns */
	struct loop_source *signals;
	int signal_fd;    /* owns */
	int audit_dir_fd; /* owns, until audit_open */
	char *database_dir;
	bool was_broken; /* builderd broke the table, or could not be answered */
};

/* Where clients do not prove who they are, whoever reaches the port is everybody. */
static int address_check(const struct config *c, struct err *e)
{
	struct in_addr v4;
	struct in6_addr v6;
	bool is_loopback;

	if (inet_pton(AF_INET, c->address, &v4) == 1)
		is_loopback = ntohl(v4.s_addr) >> 24 == 127;
	else if (inet_pton(AF_INET6, c->address, &v6) == 1)
		is_loopback = IN6_IS_ADDR_LOOPBACK(&v6);
	else
		return err_set(e, -EINVAL, CONFIG_PREFIX "ADDRESS: \"%s\" is no IPv4 or IPv6 address", c->address);
	bool is_on = !strcmp(c->auth, "token"),
	     is_sealed = *c->tls_proxy || (*c->tls_cert_file && !c->tls_allow_clear_text);
	if (!is_on)
		log_warn("clients are not authenticated: whoever reaches the port acts for every tenant",
		        KV("address", c->address));
	if (is_loopback || (is_on && is_sealed))
		return 0;
	if (is_on)
		return err_set(e, -EACCES,
		        CONFIG_PREFIX "ADDRESS: %s is not a loopback address: tokens would cross the network in clear "
		                      "text; set " CONFIG_PREFIX
		                      "TLS_CERT_FILE, or name the proxy that ends TLS in " CONFIG_PREFIX
		                      "TLS_PROXY, or use 127.0.0.1 or ::1",
		        c->address);
	return err_set(e, -EACCES,
	        CONFIG_PREFIX
	        "ADDRESS: %s is not a loopback address: clients are not authenticated, so anyone who reaches "
	        "the port could act for every tenant; set " CONFIG_PREFIX "AUTH=token, or use 127.0.0.1 or ::1",
	        c->address);
}

static void on_drained(void *arg)
{
	struct program *p = arg;

	loop_stop(p->loop, p->was_broken ? 1 : 0);
}

static void stop(struct program *p, const char *why)
{
	if (p->service.is_draining)
		return;
	log_info("stopping", KV("reason", why), KV_U("connections", server_connections(p->service.server)));
	p->service.is_draining = true;
	p->service.jobs->is_stopping = true;
	health_changed(&p->service);
	server_drain(p->service.server, (uint32_t)p->config.shutdown_timeout_ms, on_drained, p);
}

static void on_signal(void *arg, uint32_t events)
{
	struct program *p = arg;
	struct signalfd_siginfo info;

	if (read(p->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		stop(p, strsignal((int)info.ssi_signo));
}

static void on_link_closed(void *arg, const struct err *e)
{
	struct program *p = arg;

	p->was_broken = e != NULL;
	stop(p, e ? e->msg : "builderd closed the channel");
}

static void on_listen(void *arg, int fd, unsigned metald_uid)
{
	struct program *p = arg;
	int rc = server_listen_local(p->service.server, fd, metald_uid);

	if (rc < 0)
		log_error("the API's socket is not served", KV("error", strerror(-rc)));
}

static int signals_open(struct program *p, struct err *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_sys(e, -errno, "block signals");
	p->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	p->signals = p->signal_fd < 0 ? NULL : loop_fd_add(p->loop, p->signal_fd, EPOLLIN, on_signal, p);
	return p->signals ? 0 : err_sys(e, -errno, "watch signals");
}

static int configure(struct program *p, struct err *e)
{
	int rc = config_load(&p->config, NULL, environ, e);

	if (rc < 0)
		return rc;
	log_setup("builderd-api", log_level_parse(p->config.log_level), !strcmp(p->config.log_format, "json"));
	p->database_dir =
	        *p->config.database_dir ? xstrdup(p->config.database_dir) : xasprintf("%s/jobs", p->config.state_dir);
	return address_check(&p->config, e);
}

static void on_call(void *arg, const char *method, enum rpc_code code, int64_t microseconds)
{
	const struct service *s = arg;

	metrics_call_ended(s->jobs->metrics, method, code, (double)microseconds / 1e6);
}

/* --- the certificate --------------------------------------------------------------------------------------------- */

static int tls_use(struct program *p, int cert_fd, int key_fd, int ca_fd, struct err *e)
{
	const struct config *c = &p->config;
	enum tls_clients clients = strcmp(c->tls_client_auth, "required") ? TLS_CLIENTS_ASKED : TLS_CLIENTS_VERIFIED;
	struct tls *tls;
	int rc = tls_new(cert_fd, key_fd, ca_fd, clients, &tls, e);

	if (rc < 0)
		return rc;
	log_info("TLS", KV("certificate", tls_description(tls)),
	        KV("clients", ca_fd < 0 ? "not asked for a certificate" : c->tls_client_auth));
	server_tls_set(p->service.server, tls, c->tls_allow_clear_text, c->metald_spiffe_id);
	return 0;
}

/* After SIGHUP to builderd: one that cannot be used changes nothing. */
static void on_tls(void *arg, int cert_fd, int key_fd, int ca_fd)
{
	struct program *p = arg;
	struct err e = ERR_INIT;

	if (tls_use(p, cert_fd, key_fd, ca_fd, &e) < 0)
		log_error("the certificate stays the old one", KV("error", e.msg));
}

/* The one time that this process opens files by name: before the sandbox. */
static int tls_up(struct program *p, struct err *e)
{
	const struct config *c = &p->config;

	if (!c->tls_cert_file[0])
		return 0;
	AUTO_CLOSE int cert = open(c->tls_cert_file, O_RDONLY | O_CLOEXEC);
	if (cert < 0)
		return err_sys(e, -errno, CONFIG_PREFIX "TLS_CERT_FILE=%s", c->tls_cert_file);
	AUTO_CLOSE int key = open(c->tls_key_file, O_RDONLY | O_CLOEXEC);
	if (key < 0)
		return err_sys(e, -errno, CONFIG_PREFIX "TLS_KEY_FILE=%s", c->tls_key_file);
	AUTO_CLOSE int ca = c->tls_client_ca_file[0] ? open(c->tls_client_ca_file, O_RDONLY | O_CLOEXEC) : -1;
	if (ca < 0 && c->tls_client_ca_file[0])
		return err_sys(e, -errno, CONFIG_PREFIX "TLS_CLIENT_CA_FILE=%s", c->tls_client_ca_file);
	int rc = tls_use(p, cert, key, ca, e);
	return rc < 0 ? err_wrap(e, CONFIG_PREFIX "TLS_CERT_FILE=%s, TLS_KEY_FILE=%s, TLS_CLIENT_CA_FILE=%s",
	                        c->tls_cert_file, c->tls_key_file, c->tls_client_ca_file)
	              : 0;
}

static int listen_up(struct program *p, struct err *e)
{
	struct server_options o = {.address = p->config.address,
	        .port = (uint16_t)p->config.port,
	        .origins = p->config.allowed_origins,
	        .only_peers = p->config.tls_proxy,
	        .observe = on_call,
	        .guard = &auth_guard};

	p->loop = loop_new();
	if (!p->loop)
		return err_sys(e, -errno, "event loop");
	p->service.server = server_new(p->loop, &o, service_methods, service_methods_count, service_routes,
	        service_routes_count, &p->service, e);
	if (!p->service.server)
		return e->code ? e->code : -EIO;
	int rc = tls_up(p, e);
	return rc < 0 ? rc : signals_open(p, e);
}

static int lock_in(struct program *p, struct err *e)
{
	struct sandbox_options o = {.uid = CONFIG_UID_API(&p->config), .keep_dir = p->database_dir};

	p->audit_dir_fd = audit_dir_open(p->config.audit_dir, o.uid, e);
	if (p->audit_dir_fd < 0)
		return p->audit_dir_fd;
	return sandbox_enter(ROLE_API, &o, e);
}

static int serve(struct program *p, struct err *e)
{
	int rc = store_open(p->database_dir, &p->store, e);

	if (rc >= 0)
		rc = audit_open(
		        STEAL_FD(&p->audit_dir_fd), p->config.audit_max_size_mb << 20, p->loop, p->store, &p->audit, e);
	if (rc < 0)
		return rc;
	struct jobs *jobs = jobs_new(p->loop, p->store, &p->config);
	jobs->audit = p->service.audit = p->audit;
	p->service.jobs = jobs;
	p->service.config = &p->config;
	p->service.auth.store = p->store;
	jobs->on_storage = health_changed;
	jobs->on_storage_arg = &p->service;
	p->service.started_ms = time_mono_ms();
	jobs->link = monitor_link_new(p->loop, CHANNEL_FD, &jobs_link_events, jobs);
	if (!jobs->link)
		return err_sys(e, -errno, "watch the channel to builderd");
	monitor_link_on_closed(jobs->link, on_link_closed, p);
	p->service.volumes = volume_calls_new(jobs->link, store_secret(p->store), p->audit);
	monitor_link_on_listen(jobs->link, on_listen, p);
	monitor_link_on_tls(jobs->link, on_tls, p);
	rc = monitor_link_ready(jobs->link, server_port(p->service.server));
	if (rc < 0)
		return err_sys(e, rc, "tell builderd that we are ready");
	if ((rc = jobs_recover(jobs, e)) < 0)
		return rc;
	jobs_retention_start(jobs);
	return loop_run(p->loop);
}

static void clean_up(struct program *p)
{
	server_free(p->service.server); /* first: its cancel callbacks reach into jobs */
	volume_calls_free(p->service.volumes);
	if (p->service.jobs)
		monitor_link_free(p->service.jobs->link);
	jobs_free(p->service.jobs);
	audit_close(p->audit);
	cleanup_close(&p->audit_dir_fd);
	auth_clear(&p->service.auth);
	store_close(p->store);
	loop_fd_del(p->signals);
	cleanup_close(&p->signal_fd);
	loop_free(p->loop);
	free(p->database_dir);
	config_free(&p->config);
}

int main(void)
{
	struct program p = {.audit_dir_fd = -1, .signal_fd = -1};
	struct err e = ERR_INIT;

	log_setup("builderd-api", LOG_LEVEL_INFO, false);
	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to sockets whose other end is gone */
	int rc = configure(&p, &e);
	if (rc >= 0)
		rc = auth_init(&p.service.auth, &p.config, &e);
	if (rc >= 0)
		rc = listen_up(&p, &e);
	if (rc >= 0)
		rc = lock_in(&p, &e);
	if (rc >= 0)
		rc = serve(&p, &e);
	if (e.code)
		log_error("cannot serve", KV("error", e.msg));
	clean_up(&p);
	return rc ? 1 : 0;
}
