/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CreateBuild. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/present.h"
#include "api/protojson.h"
#include "api/quotas.h"
#include "api/service.h"
#include "base/cleanup.h"
#include "build/states.h"
#include "digest/hash.h"

/* C as it is stored: the defaults filled in, the tenant resolved, the credentials left out. Shallow copies, nothing of
 * the request is changed. Only docker images get here. */
static void config_pack(const Builder__V1__BuildConfig *c, const struct caller *who, struct buf *out)
{
	Builder__V1__BuildConfig copy = *c;
	Builder__V1__TenantContext tenant = BUILDER__V1__TENANT_CONTEXT__INIT;
	Builder__V1__BuildSource source = *c->source;
	Builder__V1__DockerImageSource image = *c->source->docker_image;
	Builder__V1__BuildTarget target = BUILDER__V1__BUILD_TARGET__INIT;
	Builder__V1__MicroVMRootfs rootfs = BUILDER__V1__MICRO_VMROOTFS__INIT;

	if (c->tenant)
		tenant = *c->tenant;
	tenant.tenant_id = (char *)(uintptr_t)who->policy.tenant_id;
	tenant.customer_id = (char *)(uintptr_t)who->customer_id;
	tenant.tier = (Builder__V1__TenantTier)who->policy.tier;
	image.auth = NULL;
	image.registry_auth = NULL;
	source.docker_image = &image;
	if (c->target && c->target->target_type_case == BUILDER__V1__BUILD_TARGET__TARGET_TYPE_MICROVM_ROOTFS)
		rootfs = *c->target->microvm_rootfs;
	if (!rootfs.init_strategy)
		rootfs.init_strategy = BUILDER__V1__INIT_STRATEGY__INIT_STRATEGY_TINI;
	target.target_type_case = BUILDER__V1__BUILD_TARGET__TARGET_TYPE_MICROVM_ROOTFS;
	target.microvm_rootfs = &rootfs;
	copy.tenant = &tenant;
	copy.source = &source;
	copy.target = &target;
	size_t n = builder__v1__build_config__get_packed_size(&copy);
	builder__v1__build_config__pack(&copy, (uint8_t *)buf_reserve(out, n));
	out->len += n;
}

/* What the product's documentation promised beside the proto's fields. */
static void create_members(
        struct buf *b, const struct service *s, const struct tenant_policy *p, const struct job *j, unsigned state)
{
	Builder__V1__TenantResourceLimits *limits = present_limits(p, s->config);
	char when[32];

	buf_printf(b,
	        "\"build_id\":\"%s\",\"status\":\"BUILD_STATUS_%s\",\"created_at\":\"%s\",\"tenant_context\":{\"tenant_"
	        "id\":\"%s\",\"tier\":\"%s\",\"resource_limits\":",
	        j->build_id, state_status_name(state), present_time_text(j->created_ms, when), j->tenant_id,
	        p->limits.name);
	protojson_encode(b, &limits->base);
	buf_puts(b, "}");
	builder__v1__tenant_resource_limits__free_unpacked(limits, NULL);
}

static void create_reply(struct rpc_call *c, const struct service *s, const struct job *j)
{
	Builder__V1__CreateBuildResponse r = BUILDER__V1__CREATE_BUILD_RESPONSE__INIT;
	Google__Protobuf__Timestamp at = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	AUTO_BUF struct buf members = {0};
	const struct live_job *live = jobs_live(s->jobs, j->build_id);

	at.seconds = j->created_ms / 1000;
	at.nanos = (int32_t)(j->created_ms % 1000) * 1000000;
	r.build_id = (char *)(uintptr_t)j->build_id;
	unsigned state = live ? live->state : (unsigned)j->state; /* it may have been started since */
	r.state = (Builder__V1__BuildState)state;
	r.created_at = &at;
	if (rpc_is_json(c))
		create_members(&members, s, &caller_of_rpc(c)->policy, j, state);
	rpc_reply_with(c, &r.base, buf_cstr(&members));
}

static int idempotency_key(const struct rpc_call *c, const char **out, struct err *e)
{
	const char *key = rpc_header(c, "idempotency-key");

	*out = key ? key : "";
	if (strlen(*out) > 255)
		return err_set(e, -EINVAL, "Idempotency-Key: %zu bytes, the limit is 255", strlen(*out));
	return 0;
}

/* What the tenant, not the request, forbids. */
static int check_policy(
        const struct service *s, const struct tenant_policy *p, const struct build_request *r, struct err *e)
{
	if (p->needs_encryption && strcmp(s->jobs->storage.backend, "dm") != 0)
		return err_set(e, -EAGAIN,
		        "tenant \"%s\" may be stored encrypted only, and the storage backend is \"%s\": it does not "
		        "encrypt",
		        p->tenant_id, s->jobs->storage.backend);
	/* Without authentication this is somebody's own machine, and so is its registry. */
	return request_check_registry(r, &p->limits, !s->auth.is_on, e);
}

/* The registry that a tenant may not name is one it may not reach either. */
static void audit_violation(
        const struct service *s, const struct rpc_call *c, const struct build_request *r, const struct err *e)
{
	const struct caller *who = caller_of_rpc(c);

	service_audit(s, who, rpc_peer(c),
	        &(struct audit_event){.kind = AUDIT_POLICY_VIOLATION,
	                .outcome = AUDIT_DENIED,
	                .resource = r->reference,
	                .reason = e->msg});
	if (e->code == -EACCES)
		service_audit(s, who, rpc_peer(c),
		        &(struct audit_event){.kind = AUDIT_NETWORK_ACCESS,
		                .outcome = AUDIT_DENIED,
		                .resource = r->reference,
		                .reason = "the registry is not the tenant's"});
}

static void audit_quota(
        const struct service *s, const struct rpc_call *c, const char *build_id, const struct store_excess *x)
{
	struct err e = ERR_INIT;

	if (!build_id) {
		quota_sentence(&e, x, time_wall_ms());
		metrics_quota_exceeded(s->jobs->metrics, x->quota);
	}
	service_audit(s, caller_of_rpc(c), rpc_peer(c),
	        &(struct audit_event){.kind = AUDIT_QUOTA_CHECK,
	                .outcome = build_id ? AUDIT_ALLOWED : AUDIT_DENIED,
	                .build = build_id,
	                .resource = "builds",
	                .reason = e.msg});
}

static int create(struct service *s, struct rpc_call *c, const Builder__V1__BuildConfig *config,
        struct store_excess *excess, struct job *out, struct err *e)
{
	const struct caller *who = caller_of_rpc(c);
	struct build_request request;
	AUTO_BUF struct buf packed = {0};
	struct jobs_new_build n = {.policy = &who->policy,
	        .customer_id = who->customer_id,
	        .address = rpc_peer(c),
	        .config = &packed,
	        .request = &request,
	        .excess = excess};

	if (s->is_draining)
		return err_set(e, -EPIPE, "the service is stopping");
	int rc = request_validate(config, &who->policy.limits, s->config, &request, e);
	if (rc >= 0 && (rc = check_policy(s, &who->policy, &request, e)) < 0)
		audit_violation(s, c, &request, e);
	if (rc >= 0)
		rc = idempotency_key(c, &n.idempotency_key, e);
	if (rc < 0)
		return rc;
	config_pack(config, who, &packed);
	hash_buffer(DIGEST_SHA256, packed.data, packed.len, &n.request_digest);
	return jobs_create(s->jobs, &n, out, e);
}

void create_build_call(struct rpc_call *c, const ProtobufCMessage *request, void *arg)
{
	struct service *s = arg;
	AUTO_JOB struct job job = {0};
	struct store_excess excess = {0};
	struct err e = ERR_INIT;
	int rc = create(s, c, ((const Builder__V1__CreateBuildRequest *)request)->config, &excess, &job, &e);

	if (rc == 0 || rc == -EDQUOT)
		audit_quota(s, c, rc ? NULL : job.build_id, &excess);
	if (rc == 0)
		jobs_schedule(s->jobs);
	if (rc >= 0)
		create_reply(c, s, &job);
	else if (rc == -EDQUOT)
		quota_fail(c, &excess);
	else
		service_fail(c, &e);
}
