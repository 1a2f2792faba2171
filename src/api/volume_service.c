/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/volume_service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "api/metadata.h"
#include "api/present.h"
#include "api/service.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "digest/hash.h"
#include "store/page.h"
#include "volume.pb-c.h"

#define WAITING_MAX 256
#define PAGE_DEFAULT 50
#define LEASE_LIST UINT32_MAX /* no set of build states: a token of ListBuilds is none of ours */

typedef Builder__V1__Lease Lease;

struct waiting {
	struct waiting *next;
	uint64_t serial;
	struct rpc_call *call;
	struct volume_calls *owner;
	char tenant_id[TENANT_ID_MAX], build_id[BUILD_ID_MAX]; /* of a list, or to be leased */
};

struct volume_calls {
	struct monitor_link *link;
	const uint8_t *secret;
	struct audit *audit;
	struct waiting *list; /* owns */
	unsigned n;
	uint64_t last_serial; /* random at first: answers to a builderd-api before us are nobody's */
};

/* --- who waits --------------------------------------------------------------------------------------------------- */

static void waiting_remove(struct waiting *w)
{
	struct waiting **at = &w->owner->list;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	w->owner->n--;
	free(w);
}

/* The call that asked: it is the caller's to answer. NULL: it is gone. */
static struct rpc_call *waiting_take(struct volume_calls *v, uint64_t serial, struct waiting *copy)
{
	struct waiting *w = v->list;

	while (w && w->serial != serial)
		w = w->next;
	if (!w)
		return NULL;
	*copy = *w;
	waiting_remove(w);
	return copy->call;
}

static void on_cancelled(struct rpc_call *c, void *arg)
{
	waiting_remove(arg);
}

/* SERIAL is where the question has it. False: the call has failed. */
static bool ask(struct volume_calls *v, struct rpc_call *c, enum msg_type type, const void *question, uint32_t size,
        const char *tenant_id, const char *build_id)
{
	struct waiting *w;

	if (v->n >= WAITING_MAX) {
		rpc_fail(c, RPC_RESOURCE_EXHAUSTED, "%u calls wait for the storage already", v->n);
		return false;
	}
	if (monitor_link_lease(v->link, type, question, size) < 0) {
		rpc_fail(c, RPC_UNAVAILABLE, "builderd does not answer");
		return false;
	}
	w = xcalloc(1, sizeof(*w));
	*w = (struct waiting){.next = v->list, .serial = v->last_serial, .call = c, .owner = v};
	snprintf(w->tenant_id, sizeof(w->tenant_id), "%s", tenant_id);
	snprintf(w->build_id, sizeof(w->build_id), "%s", build_id);
	v->list = w;
	v->n++;
	rpc_on(c, NULL, on_cancelled, w);
	return true;
}

static void fail(struct rpc_call *c, const struct err *e)
{
	static const struct {
		int code;
		enum rpc_code rpc;
	} codes[] = {
	        {-ENODEV, RPC_FAILED_PRECONDITION}, /* the clone was lost */
	        {-ENODATA, RPC_FAILED_PRECONDITION},
	        {-ENOTEMPTY, RPC_FAILED_PRECONDITION}, /* a name in the jail is taken */
	        {-ENOTDIR, RPC_FAILED_PRECONDITION},
	        {-ELOOP, RPC_FAILED_PRECONDITION},
	        {-EXDEV, RPC_FAILED_PRECONDITION},
	};

	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		if (codes[i].code == e->code) {
			rpc_fail(c, codes[i].rpc, "%s", e->msg);
			return;
		}
	service_fail(c, e);
}

/* --- messages ---------------------------------------------------------------------------------------------------- */

static char *text_of(const char *text, size_t max)
{
	size_t n = strnlen(text, max);

	return n ? xasprintf("%.*s", (int)n, text) : (char *)(uintptr_t)protobuf_c_empty_string;
}

static char *uuid_text(const unsigned char u[16])
{
	char text[37];
	size_t at = 0;

	for (size_t i = 0; i < 16; i++)
		at += (size_t)snprintf(
		        text + at, sizeof(text) - at, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
	return xstrdup(text);
}

static char *digest_text(const struct digest *d, bool is_hex)
{
	char text[DIGEST_TEXT_MAX];

	if (!digest_is_valid(d))
		return text_of("", 1);
	return xstrdup(is_hex ? digest_hex(d, text) : digest_format(d, text));
}

static Lease *lease_message(const struct msg_lease_info *i)
{
	Lease *m = xcalloc(1, sizeof(*m));
	bool is_known = i->size_bytes != 0;

	builder__v1__lease__init(m);
	m->lease_id = text_of(i->lease_id, sizeof(i->lease_id));
	m->tenant_id = text_of(i->tenant_id, sizeof(i->tenant_id));
	m->build_id = text_of(i->build_id, sizeof(i->build_id));
	m->mode = (Builder__V1__LeaseMode)i->mode;
	m->holder = text_of(i->holder, sizeof(i->holder));
	m->jail = text_of(i->jail, sizeof(i->jail));
	m->created_at = present_time(i->created_ms);
	m->device_path = text_of(is_known ? i->path : "", sizeof(i->path));
	m->device_major = i->major;
	m->device_minor = i->minor;
	m->size_bytes = (int64_t)i->size_bytes;
	m->filesystem_uuid = is_known ? uuid_text(i->fs_uuid) : text_of("", 1);
	m->checksum = digest_text(&i->checksum, false);
	m->verity_root_hash = digest_text(&i->verity_root, true);
	m->verity_device_path = text_of(i->verity_path, sizeof(i->verity_path));
	return m;
}

/* --- answers ----------------------------------------------------------------------------------------------------- */

static void reply_lease(struct rpc_call *c, const struct msg_lease *m, int metadata_fd)
{
	Builder__V1__AcquireRootfsResponse *r = xcalloc(1, sizeof(*r));
	AUTO_FREE char *metadata = NULL;
	struct err e = ERR_INIT;
	size_t len = 0;
	int rc = metadata_fd < 0 ? -EBADF : fd_slurp(metadata_fd, METADATA_MAX_BYTES, &metadata, &len);

	builder__v1__acquire_rootfs_response__init(r);
	r->lease = lease_message(&m->info);
	if (rc == 0)
		r->image_metadata = metadata_read(metadata, len, &e);
	if (rc == 0)
		r->init_path = metadata_init_path(metadata, len);
	if (!r->image_metadata)
		log_warn("a rootfs has no metadata that can be read", KV("build", r->lease->build_id),
		        KV("error", e.msg));
	rpc_reply(c, &r->base);
	builder__v1__acquire_rootfs_response__free_unpacked(r, NULL);
}

static void audit_lease(const struct waiting *w, const char *resource, const char *what, const struct err *e)
{
	char identity[64];

	audit_write(w->owner->audit, &(struct audit_event){.kind = AUDIT_STORAGE_ACCESS,
	                                     .outcome = e->code ? AUDIT_ERROR : AUDIT_ALLOWED,
	                                     .tenant = w->tenant_id,
	                                     .build = w->build_id,
	                                     .address = rpc_peer(w->call),
	                                     .identity = caller_name(caller_of_rpc(w->call), identity),
	                                     .resource = resource,
	                                     .reason = e->code ? e->msg : what});
}

static void on_lease(void *arg, const struct msg_lease *m, int metadata_fd)
{
	struct waiting w;
	struct rpc_call *c = waiting_take(arg, m->serial, &w);

	if (!c)
		return; /* the lease stays: the same request finds it */
	char lease_id[sizeof(m->info.lease_id) + 1];
	snprintf(lease_id, sizeof(lease_id), "%.*s", (int)sizeof(m->info.lease_id), m->info.lease_id);
	audit_lease(&w, *lease_id ? lease_id : "lease", "leased", &m->err);
	if (m->err.code)
		fail(c, &m->err);
	else
		reply_lease(c, m, metadata_fd);
}

static void on_released(void *arg, const struct msg_lease_released *m)
{
	Builder__V1__ReleaseRootfsResponse r = BUILDER__V1__RELEASE_ROOTFS_RESPONSE__INIT;
	struct waiting w;
	struct rpc_call *c = waiting_take(arg, m->serial, &w);

	if (!c)
		return;
	audit_lease(&w, "lease", "released", &m->err);
	if (m->err.code)
		fail(c, &m->err);
	else
		rpc_reply(c, &r.base);
}

/* What a page token is good for: this list, of this tenant and build. */
static struct job_filter token_filter(const char *tenant_id, const char *build_id)
{
	struct job_filter f = {.tenant_id = tenant_id, .states = LEASE_LIST};
	struct digest d;

	hash_buffer(DIGEST_SHA256, build_id, strlen(build_id), &d);
	memcpy(&f.from_ms, d.bytes, sizeof(f.from_ms));
	return f;
}

static void reply_list(
        struct volume_calls *v, const struct waiting *w, const struct msg_lease_info *infos, size_t n, bool has_more)
{
	Builder__V1__ListLeasesResponse *r = xcalloc(1, sizeof(*r));

	builder__v1__list_leases_response__init(r);
	r->leases = xcalloc(n + 1, sizeof(*r->leases));
	for (; r->n_leases < n; r->n_leases++)
		r->leases[r->n_leases] = lease_message(&infos[r->n_leases]);
	if (has_more && n) {
		const struct job_filter f = token_filter(w->tenant_id, w->build_id);
		r->next_page_token = xcalloc(1, PAGE_TOKEN_MAX);
		page_token_make(v->secret, &f, 0, r->leases[n - 1]->lease_id, r->next_page_token);
	}
	rpc_reply(w->call, &r->base);
	builder__v1__list_leases_response__free_unpacked(r, NULL);
}

static void on_list(void *arg, const struct msg_leases *m, int fd)
{
	AUTO_FREE struct msg_lease_info *infos = NULL;
	struct waiting w;
	struct rpc_call *c = waiting_take(arg, m->serial, &w);
	size_t size = m->count * sizeof(*infos);

	if (!c)
		return;
	if (m->err.code) {
		fail(c, &m->err);
		return;
	}
	infos = xcalloc(m->count + 1, sizeof(*infos));
	if (fd < 0 || m->count > LEASE_PAGE_MAX || fd_read_full(fd, infos, size) != (ssize_t)size)
		rpc_fail(c, RPC_INTERNAL, "builderd's list of leases cannot be read");
	else
		reply_list(arg, &w, infos, m->count, m->has_more);
}

static const struct monitor_link_leases lease_events = {.lease = on_lease, .released = on_released, .list = on_list};

struct volume_calls *volume_calls_new(struct monitor_link *k, const uint8_t *secret, struct audit *a)
{
	struct volume_calls *v = xcalloc(1, sizeof(*v));

	v->link = k;
	v->secret = secret;
	v->audit = a;
	while (getrandom(&v->last_serial, sizeof(v->last_serial), 0) != sizeof(v->last_serial))
		;
	monitor_link_on_lease(k, &lease_events, v);
	return v;
}

void volume_calls_free(struct volume_calls *v)
{
	while (v && v->list)
		waiting_remove(v->list);
	free(v);
}

/* --- questions --------------------------------------------------------------------------------------------------- */

/* TEXT into a field of SIZE bytes, where CHECK says whether it may be that. */
static int take(char *to, size_t size, const char *text, const char *name, bool (*check)(const char *),
        const char *form, struct err *e)
{
	memset(to, 0, size);
	if (strlen(text) < size) {
		memcpy(to, text, strlen(text));
		if (check(to))
			return 0;
	}
	return err_set(e, -EINVAL, "%s: \"%.80s\" is not %s", name, text, form);
}

static bool is_tenant(const char *id)
{
	return msg_tenant_id_is_valid(id) && strlen(id) <= 64;
}

#define ID_FORM "letters, digits, '.', '_', '-', the first a letter or digit"

static int acquire_check(const Builder__V1__AcquireRootfsRequest *q, struct msg_lease_acquire *m, struct err *e)
{
	int rc = take(m->tenant_id, sizeof(m->tenant_id), q->tenant_id, "tenant_id", is_tenant, "1 to 64 " ID_FORM, e);

	if (rc == 0)
		rc = take(m->build_id, sizeof(m->build_id), q->build_id, "build_id", msg_build_id_is_valid,
		        "a build id", e);
	if (rc == 0)
		rc = take(m->holder, sizeof(m->holder), q->holder, "holder", msg_lease_holder_is_valid,
		        "1 to 64 " ID_FORM, e);
	if (rc == 0)
		rc = take(m->jail, sizeof(m->jail), q->jail, "jail", msg_lease_jail_is_valid,
		        "a relative path of letters, digits, '.', '_', '-', none of its parts \".\" or \"..\"", e);
	if (rc == 0 && q->mode != BUILDER__V1__LEASE_MODE__LEASE_MODE_READ_ONLY &&
	        q->mode != BUILDER__V1__LEASE_MODE__LEASE_MODE_COW)
		return err_set(e, -EINVAL, "mode: LEASE_MODE_READ_ONLY or LEASE_MODE_COW");
	m->mode = (uint32_t)q->mode;
	return rc;
}

void volume_acquire_call(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const struct service *s = arg;
	struct msg_lease_acquire m = {0};
	struct err e = ERR_INIT;

	if (acquire_check((const void *)request, &m, &e) < 0) {
		service_fail(c, &e);
		return;
	}
	m.serial = ++s->volumes->last_serial;
	ask(s->volumes, c, MSG_LEASE_ACQUIRE, &m, sizeof(m), m.tenant_id, m.build_id);
}

void volume_release_call(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const Builder__V1__ReleaseRootfsRequest *q = (const void *)request;
	const struct service *s = arg;
	struct msg_lease_release m = {0};
	struct err e = ERR_INIT;

	if (take(m.lease_id, sizeof(m.lease_id), q->lease_id, "lease_id", msg_lease_id_is_valid, "a lease id", &e) <
	        0) {
		service_fail(c, &e);
		return;
	}
	m.serial = ++s->volumes->last_serial;
	ask(s->volumes, c, MSG_LEASE_RELEASE, &m, sizeof(m), "", "");
}

static int list_check(
        const struct volume_calls *v, const Builder__V1__ListLeasesRequest *q, struct msg_lease_list *m, struct err *e)
{
	int rc = 0;

	if (*q->tenant_id)
		rc = take(m->tenant_id, sizeof(m->tenant_id), q->tenant_id, "tenant_id", is_tenant, "1 to 64 " ID_FORM,
		        e);
	if (rc == 0 && *q->build_id)
		rc = take(m->build_id, sizeof(m->build_id), q->build_id, "build_id", msg_build_id_is_valid,
		        "a build id", e);
	if (rc < 0)
		return rc;
	if (q->page_size < 0)
		return err_set(e, -EINVAL, "page_size: %d is negative", (int)q->page_size);
	m->limit = !q->page_size                   ? PAGE_DEFAULT
	           : q->page_size > LEASE_PAGE_MAX ? LEASE_PAGE_MAX
	                                           : (uint32_t)q->page_size;
	struct job_filter f = token_filter(m->tenant_id, m->build_id);
	if (*q->page_token && page_token_read(v->secret, &f, q->page_token) < 0)
		return err_set(e, -EINVAL, "page_token is not one that this list gave with this tenant and build");
	memcpy(m->after, f.after_id, sizeof(m->after));
	return 0;
}

void volume_list_call(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	const struct service *s = arg;
	struct msg_lease_list m = {0};
	struct err e = ERR_INIT;

	if (list_check(s->volumes, (const void *)request, &m, &e) < 0) {
		service_fail(c, &e);
		return;
	}
	m.serial = ++s->volumes->last_serial;
	ask(s->volumes, c, MSG_LEASE_LIST, &m, sizeof(m), m.tenant_id, m.build_id);
}
