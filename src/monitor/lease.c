/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Leases: what builderd-api asks for the VM manager, checked again, done in a thread, answered by serial number. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "monitor/monitor.h"

static void info_fill(struct msg_lease_info *to, const struct lease *l)
{
	*to = (struct msg_lease_info){.mode = (uint32_t)l->what.mode,
	        .created_ms = l->created_ms,
	        .major = major(l->dev),
	        .minor = minor(l->dev),
	        .size_bytes = l->size_bytes,
	        .checksum = l->checksum,
	        .verity_root = l->verity_root};
	memcpy(to->lease_id, l->id, sizeof(to->lease_id));
	memcpy(to->tenant_id, l->what.tenant, sizeof(to->tenant_id));
	memcpy(to->build_id, l->what.build, sizeof(to->build_id));
	memcpy(to->holder, l->what.holder, sizeof(to->holder));
	memcpy(to->jail, l->what.jail, sizeof(to->jail));
	memcpy(to->fs_uuid, l->fs_uuid, sizeof(to->fs_uuid));
	memcpy(to->path, l->path, sizeof(to->path));
	memcpy(to->verity_path, l->verity_path, sizeof(to->verity_path));
}

/* A failure without a sentence has one all the same. */
static void err_complete(struct err *e, int rc)
{
	if (rc < 0 && !e->code)
		err_sys(e, rc, "the storage backend failed");
}

/* --- acquire ----------------------------------------------------------------------------------------------------- */

static void acquire_run(struct monitor *m, const void *arg)
{
	const struct msg_lease_acquire *q = arg;
	struct lease_request r = {.mode = (int)q->mode};
	struct msg_lease a = {.serial = q->serial, .err = ERR_INIT};
	AUTO_FREE char *metadata = NULL;
	AUTO_CLOSE int fd = -1;
	struct lease l = {0};
	size_t len = 0;

	memcpy(r.tenant, q->tenant_id, sizeof(r.tenant));
	memcpy(r.build, q->build_id, sizeof(r.build));
	memcpy(r.holder, q->holder, sizeof(r.holder));
	memcpy(r.jail, q->jail, sizeof(r.jail));
	int rc = m->ops->lease_acquire(m->store, &r, &l, &metadata, &len, &a.err);
	if (rc == 0) {
		fd = fd_memfile("metadata.json", metadata, len);
		rc = fd < 0 ? err_sys(&a.err, fd, "hand out metadata.json") : 0;
	}
	err_complete(&a.err, rc);
	info_fill(&a.info, &l);
	if (rc == 0)
		log_info("rootfs leased", KV("lease", l.id), KV("build", q->build_id), KV("holder", q->holder),
		        KV("mode", q->mode == LEASE_COW ? "cow" : "read-only"));
	else
		log_warn(
		        "rootfs not leased", KV("build", q->build_id), KV("holder", q->holder), KV("error", a.err.msg));
	monitor_post(m, MSG_LEASE, &a, sizeof(a), rc == 0 ? STEAL_FD(&fd) : -1);
}

int lease_on_acquire(struct monitor *m, struct message *msg, struct err *e)
{
	const struct msg_lease_acquire *q = (const void *)msg->payload;

	if (!msg_tenant_id_is_valid(q->tenant_id) || !msg_build_id_is_valid(q->build_id) ||
	        !msg_lease_holder_is_valid(q->holder) || !msg_lease_jail_is_valid(q->jail) ||
	        (q->mode != LEASE_READ_ONLY && q->mode != LEASE_COW))
		return err_kind_set(e, -EPROTO, ERR_KIND_INTERNAL, "builderd-api asked for an impossible lease");
	work_start(m, acquire_run, q, sizeof(*q));
	return 0;
}

/* --- release ----------------------------------------------------------------------------------------------------- */

static void release_run(struct monitor *m, const void *arg)
{
	const struct msg_lease_release *q = arg;
	struct msg_lease_released a = {.serial = q->serial, .err = ERR_INIT};
	int rc = m->ops->lease_release(m->store, q->lease_id, &a.err);

	err_complete(&a.err, rc);
	if (rc == 0)
		log_info("lease released", KV("lease", q->lease_id));
	else
		log_warn("lease not released", KV("lease", q->lease_id), KV("error", a.err.msg));
	monitor_post(m, MSG_LEASE_RELEASED, &a, sizeof(a), -1);
}

int lease_on_release(struct monitor *m, struct message *msg, struct err *e)
{
	const struct msg_lease_release *q = (const void *)msg->payload;

	if (!msg_lease_id_is_valid(q->lease_id))
		return err_kind_set(e, -EPROTO, ERR_KIND_INTERNAL, "builderd-api named an impossible lease");
	work_start(m, release_run, q, sizeof(*q));
	return 0;
}

/* --- list -------------------------------------------------------------------------------------------------------- */

static void list_run(struct monitor *m, const void *arg)
{
	const struct msg_lease_list *q = arg;
	struct msg_leases a = {.serial = q->serial, .err = ERR_INIT};
	AUTO_FREE struct lease *found = xcalloc(q->limit + 1, sizeof(*found));
	AUTO_FREE struct msg_lease_info *infos = xcalloc(q->limit + 1, sizeof(*infos));
	int n = m->ops->lease_list(m->store, q->tenant_id, q->build_id, q->after, found, q->limit + 1, &a.err);

	err_complete(&a.err, n);
	a.has_more = n > (int)q->limit;
	a.count = n < 0 ? 0 : a.has_more ? q->limit : (uint32_t)n;
	for (uint32_t i = 0; i < a.count; i++)
		info_fill(&infos[i], &found[i]);
	AUTO_CLOSE int fd = n < 0 ? -1 : fd_memfile("leases", infos, a.count * sizeof(*infos));
	if (n >= 0 && fd < 0)
		err_sys(&a.err, fd, "hand out the leases");
	monitor_post(m, MSG_LEASES, &a, sizeof(a), STEAL_FD(&fd));
}

int lease_on_list(struct monitor *m, struct message *msg, struct err *e)
{
	const struct msg_lease_list *q = (const void *)msg->payload;

	if ((q->tenant_id[0] && !msg_tenant_id_is_valid(q->tenant_id)) ||
	        (q->build_id[0] && !msg_build_id_is_valid(q->build_id)) ||
	        (q->after[0] && !msg_lease_id_is_valid(q->after)) || !q->limit || q->limit > LEASE_PAGE_MAX)
		return err_kind_set(
		        e, -EPROTO, ERR_KIND_INTERNAL, "builderd-api asked for an impossible list of leases");
	work_start(m, list_run, q, sizeof(*q));
	return 0;
}
