/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch/registry.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "fetch/auth.h"
#include "fetch/exchange.h"
#include "fetch/resolve.h"

#define ENDPOINTS_MAX 3
#define DOWNLOADS_MAX 16
#define PROGRESS_FORGIVES (4u << 20) /* a try that moved so many bytes does not count against the next */

struct endpoint {
	char base[600]; /* "https://registry-1.docker.io" */
	bool is_mirror;
	bool may_be_plain;
	struct address_policy policy;
};

struct registry {
	struct session *session;     /* borrowed */
	const struct reference *ref; /* borrowed */
	struct http *http;           /* owns */
	struct endpoint endpoints[ENDPOINTS_MAX];
	size_t n_endpoints, current;
	struct credentials given, none;
	struct auth auth;
};

/* --- where to ask ------------------------------------------------------------------------------------------------- */

static struct endpoint *endpoint_add(struct registry *g, const char *scheme, const char *domain)
{
	struct endpoint *p = &g->endpoints[g->n_endpoints++];

	snprintf(p->base, sizeof(p->base), "%s%s", scheme, domain);
	for (size_t n = strlen(p->base); n && p->base[n - 1] == '/'; n--)
		p->base[n - 1] = 0;
	p->policy.allow_private = g->session->config.allow_private_addresses;
	return p;
}

/* The operator's own choice: any address, plain HTTP when the URL says so. */
static int mirror_add(struct registry *g, struct err *e)
{
	const char *url = g->session->config.registry_mirror;
	struct http_url u;

	if (!url || !*url || strcmp(g->ref->domain, "docker.io"))
		return 0;
	if (!http_url_parse(url, &u))
		return err_kind_set(e, -EINVAL, ERR_KIND_INTERNAL,
		        CONFIG_PREFIX "DOCKER_REGISTRY_MIRROR \"%.200s\" is no http or https URL", url);
	struct endpoint *p = endpoint_add(g, "", url);
	p->is_mirror = true;
	p->may_be_plain = !strcmp(u.scheme, "http");
	p->policy = (struct address_policy){.allow_private = true, .allow_loopback = policy_host_is_loopback(u.host)};
	return 0;
}

static int endpoints_choose(struct registry *g, struct err *e)
{
	const char *domain = g->ref->domain, *api = strcmp(domain, "docker.io") ? domain : "registry-1.docker.io";
	char host[REFERENCE_NAME_MAX + 1];
	unsigned port;
	int rc = mirror_add(g, e);

	if (rc < 0)
		return rc;
	if (!reference_split_domain(domain, host, &port))
		return err_kind_set(e, -EINVAL, ERR_KIND_BAD_REFERENCE, "registry \"%.200s\" is no valid host", domain);
	bool is_loopback = policy_host_is_loopback(host);
	bool is_insecure = policy_list_has(g->session->config.insecure_registries, domain);
	struct endpoint *p;
	if (is_loopback) { /* on this host plain HTTP is the rule: ask that way first, nothing secret is in the first
		              request */
		p = endpoint_add(g, "http://", api);
		p->may_be_plain = p->policy.allow_loopback = true;
	}
	p = endpoint_add(g, "https://", api);
	p->policy.allow_loopback = is_loopback;
	p->may_be_plain = is_loopback;
	if (is_insecure && !is_loopback) {
		p->may_be_plain = true;
		p = endpoint_add(g, "http://", api);
		p->may_be_plain = true;
	}
	return 0;
}

static const char *docker_alias(const char *domain)
{
	return !strcasecmp(domain, "index.docker.io") || !strcasecmp(domain, "registry-1.docker.io") ? "docker.io"
	                                                                                             : domain;
}

/* The request's credentials for the registry that they are meant for, else the operator's. */
static int credentials_choose(struct registry *g, struct err *e)
{
	struct session *s = g->session;
	const char *meant = docker_alias(s->spec.auth_registry);

	if (*meant && strcasecmp(meant, g->ref->domain))
		session_log(s, LOG_LEVEL_WARN, "the credentials given are for %s, not for %s: not used", meant,
		        g->ref->domain);
	else if (credentials_given(&s->spec.auth)) {
		g->given = s->spec.auth;
		return 0;
	}
	if (!s->auth_file)
		return 0;
	int rc = credentials_find(&g->given, s->auth_file, s->auth_file_len, g->ref->domain, e);
	if (rc < 0)
		e->kind = ERR_KIND_INTERNAL;
	return rc < 0 ? rc : 0;
}

/* Use endpoint I from now on: nothing that was learned at another one is kept. */
static int endpoint_enter(struct registry *g, size_t i, struct err *e)
{
	struct endpoint *p = &g->endpoints[i];

	auth_wipe(&g->auth);
	g->current = i;
	g->auth = (struct auth){
	        .http = g->http,
	        .policy = &p->policy,
	        .credentials = p->is_mirror ? &g->none : &g->given,
	        .repository = g->ref->path,
	        .registry = g->ref->domain,
	        .may_be_plain = p->may_be_plain,
	};
	if (!http_url_parse(p->base, &g->auth.origin))
		return err_kind_set(
		        e, -EINVAL, ERR_KIND_BAD_REFERENCE, "registry \"%.200s\" makes no valid URL", g->ref->domain);
	return 0;
}

struct registry *registry_new(struct session *s, const struct reference *ref, struct err *e)
{
	if (!policy_registry_allowed(s->config.allowed_registries, ref->domain)) {
		err_kind_set(e, -EACCES, ERR_KIND_DENIED, "registry %s is not among the registries this host allows",
		        ref->domain);
		return NULL;
	}
	const struct http_options options = {.deadline_ms = s->deadline_ms, .watch_fd = s->channel.fd};
	struct registry *g = xcalloc(1, sizeof(*g));
	g->session = s;
	g->ref = ref;
	if (endpoints_choose(g, e) < 0 || credentials_choose(g, e) < 0 || !(g->http = http_new(&options, e))) {
		registry_free(g);
		return NULL;
	}
	return g;
}

void registry_free(struct registry *g)
{
	if (!g)
		return;
	http_free(g->http);
	auth_wipe(&g->auth);
	explicit_bzero(&g->given, sizeof(g->given));
	free(g);
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

/* One GET of manifests/... or blobs/..., into memory or into a file. */
struct call {
	struct registry *registry;
	struct exchange x;
	char what[REFERENCE_TEXT_MAX + DIGEST_TEXT_MAX + 64];
	struct buf *body; /* borrowed: where a small one goes */
	uint64_t max;
	char *type; /* MEDIA_TYPE_MAX: its Content-Type; NULL: not wanted */
	/* a layer */
	const struct image_layer *layer;
	uint32_t index;
	struct blob_writer writer;
	uint64_t mark; /* bytes that were there when the try began */
};

static int on_challenge(void *arg, const char *challenge, unsigned attempt, struct err *e)
{
	struct call *c = arg;
	struct auth *a = &c->registry->auth;
	bool has = credentials_given(a->credentials);

	/* A bearer token of the request may turn out to be an identity token: that takes a second round. */
	int rc = attempt > (a->credentials->token[0] ? 2u : 1u) ? 0 : auth_answer(a, challenge, e);
	if (rc)
		return rc;
	const char *why =
	        a->was_withheld
	                ? "its token server is outside of the registry's domain, so the credentials were not sent there"
	        : has ? "the registry refuses the credentials"
	              : "the registry asks for credentials and none were given, or the repository does not exist";
	return err_kind_set(e, -EACCES, ERR_KIND_UNAUTHORIZED, "%s: %s: HTTP status 401", c->what, why);
}

static struct call *call_new(struct registry *g, const char *kind, const char *name)
{
	const struct endpoint *p = &g->endpoints[g->current];
	struct call *c = xcalloc(1, sizeof(*c));

	c->registry = g;
	c->writer.fd = -1;
	snprintf(c->x.url, sizeof(c->x.url), "%s/v2/%s/%s/%s", p->base, g->ref->path, kind, name);
	c->x.http = g->http;
	c->x.policy = &p->policy;
	c->x.may_be_plain = p->may_be_plain;
	c->x.what = c->what;
	c->x.authorization = g->auth.authorization;
	c->x.generation = &g->auth.generation;
	c->x.on_challenge = on_challenge;
	c->x.arg = c;
	return c;
}

static void call_free(struct call *c)
{
	exchange_close(&c->x);
	blob_writer_abort(&c->writer);
	free(c);
}

static int memory_start(void *arg, const struct http_response *r, struct err *e)
{
	struct call *c = arg;

	c->body->len = 0; /* a second try starts over */
	if (r->status != 200)
		return err_kind_set(
		        e, -EIO, ERR_KIND_NETWORK, "HTTP status %ld to a request without a range", r->status);
	if (r->content_length > 0 && (uint64_t)r->content_length > c->max)
		return err_kind_set(e, -EFBIG, ERR_KIND_BAD_MANIFEST,
		        "%" PRId64 " bytes, at most %" PRIu64 " are allowed", r->content_length, c->max);
	if (c->type)
		snprintf(c->type, MEDIA_TYPE_MAX, "%.*s", MEDIA_TYPE_MAX - 1, r->content_type);
	return 0;
}

static int memory_data(void *arg, const void *data, size_t len, struct err *e)
{
	struct call *c = arg;

	if (len > c->max - c->body->len)
		return err_kind_set(
		        e, -EFBIG, ERR_KIND_BAD_MANIFEST, "more than the %" PRIu64 " bytes that are allowed", c->max);
	buf_append(c->body, data, len);
	return 0;
}

static int read_memory(struct call *c, struct buf *body, uint64_t max, struct err *e)
{
	c->body = body;
	c->max = max;
	c->x.on_start = memory_start;
	c->x.on_data = memory_data;
	return exchange_run(&c->x, e);
}

static int read_manifest(struct registry *g, const char *name, struct buf *body, char type[MEDIA_TYPE_MAX],
        enum http_failure *how, long *status, struct err *e)
{
	struct call *c = call_new(g, "manifests", name);

	snprintf(c->what, sizeof(c->what), "registry %s: manifest %s%s%s", g->ref->domain, g->ref->path,
	        strchr(name, ':') ? "@" : ":", name);
	c->x.accept = MEDIA_ACCEPT;
	c->type = type;
	int rc = read_memory(c, body, g->session->start.limits.max_manifest, e);
	*how = c->x.r.how;
	*status = c->x.r.response.status;
	call_free(c);
	return rc;
}

static int document(void *arg, const struct descriptor *d, struct buf *body, char type[MEDIA_TYPE_MAX], struct err *e)
{
	char name[DIGEST_TEXT_MAX];
	enum http_failure how;
	long status;

	return read_manifest(arg, digest_format(&d->digest, name), body, type, &how, &status, e);
}

/* A config: from the tenant's blobs if it is there. */
static int small_blob(void *arg, const struct descriptor *d, struct buf *body, struct err *e)
{
	struct registry *g = arg;
	struct blob_store *store = &g->session->store;
	char name[DIGEST_TEXT_MAX];

	AUTO_CLOSE int fd = blob_lookup(store, &d->digest, d->size, e);
	if (fd >= 0) {
		ssize_t n = fd_read_full(fd, buf_reserve(body, d->size + 1), d->size);
		body->len += n > 0 ? (size_t)n : 0;
		return n == (ssize_t)d->size
		               ? 0
		               : err_kind_set(e, -EIO, ERR_KIND_INTERNAL, "a stored config cannot be read");
	}
	if (fd != -ENOENT)
		return fd;
	struct call *c = call_new(g, "blobs", digest_format(&d->digest, name));
	snprintf(c->what, sizeof(c->what), "registry %s: config %s of %s", g->ref->domain, name, g->ref->path);
	c->x.missing = ERR_KIND_BLOB_MISSING;
	int rc = read_memory(c, body, d->size, e);
	if (rc < 0 && e->code == -EFBIG)
		e->kind = ERR_KIND_SIZE_MISMATCH;
	call_free(c);
	return rc;
}

/* Keep the config for the next build of this image. That it could not be kept is no failure of this one. */
static void keep_config(struct registry *g, const struct image *image, const struct buf *config)
{
	struct blob_writer w;
	struct err e = ERR_INIT;
	AUTO_CLOSE int fd = blob_lookup(&g->session->store, &image->config.digest, image->config.size, &e);

	if (fd >= 0 || blob_writer_open(&w, &g->session->store, &image->config.digest, image->config.size, &e) < 0)
		return;
	if (blob_writer_write(&w, config->data, config->len, &e) < 0)
		blob_writer_abort(&w);
	else
		fd = blob_writer_finish(&w, &e);
}

/* --- finding the image -------------------------------------------------------------------------------------------- */

static int resolve_here(struct registry *g, struct image *image, struct buf *config, enum http_failure *how,
        long *status, struct err *e)
{
	const struct session *s = g->session;
	struct resolver r = {
	        .arg = g,
	        .document = document,
	        .blob = small_blob,
	        .limits = &s->start.limits,
	        .want = s->spec.platform,
	};
	struct descriptor d = {.digest = g->ref->digest};
	char type[MEDIA_TYPE_MAX] = "", name[DIGEST_TEXT_MAX];
	AUTO_BUF struct buf body = {0};

	const char *which = d.digest.algorithm ? digest_format(&d.digest, name) : g->ref->tag;
	int rc = read_manifest(g, which, &body, type, how, status, e);
	if (rc < 0)
		return rc;
	*how = HTTP_FAILURE_FINAL;
	d.size = body.len; /* a reference says no size */
	rc = resolve_image(&r, &body, type, &d, image, config, e);
	return rc < 0 ? err_wrap(e, "%s", g->session->reference), rc : 0;
}

/* Is the next endpoint worth a try? A mirror may fail in any way; the other scheme is for the same registry, so only
 * when this one does not seem to be spoken there: a TLS server answers plain HTTP with 400, with an alert, or by
 * hanging up. */
static bool should_go_on(const struct registry *g, enum http_failure how, long status, const struct err *e)
{
	const struct endpoint *p = &g->endpoints[g->current];
	bool is_broken =
	        e->kind == ERR_KIND_NETWORK && how == HTTP_FAILURE_RETRY && !status && e->code != -ECONNREFUSED;

	if (g->current + 1 >= g->n_endpoints || e->code == -ECANCELED)
		return false;
	if (p->is_mirror)
		return true;
	if (!strncmp(p->base, "http://", 7))
		return how == HTTP_FAILURE_PROTOCOL || status == 400 || is_broken;
	return how == HTTP_FAILURE_PROTOCOL || e->code == -ECONNREFUSED;
}

int registry_resolve(struct registry *g, struct image *image, struct buf *config, struct err *e)
{
	struct err first = ERR_INIT; /* of this registry, with the scheme that was tried first */

	for (size_t i = 0;; i++) {
		enum http_failure how = HTTP_FAILURE_FINAL;
		long status = 0;
		int rc = endpoint_enter(g, i, e);
		if (rc >= 0)
			rc = resolve_here(g, image, config, &how, &status, e);
		if (rc >= 0) {
			keep_config(g, image, config);
			return 0;
		}
		if (!should_go_on(g, how, status, e)) {
			if (first.code && how == HTTP_FAILURE_PROTOCOL)
				*e = first; /* the other scheme is not spoken there either */
			return e->code;
		}
		if (g->endpoints[i].is_mirror)
			session_log(g->session, LOG_LEVEL_WARN, "the mirror failed, asking docker.io: %s", e->msg);
		else
			first = *e;
		*e = (struct err)ERR_INIT;
		memset(image, 0, sizeof(*image));
		config->len = 0;
	}
}

/* --- layers ------------------------------------------------------------------------------------------------------- */

static int check_range(const struct call *c, const char *range, struct err *e)
{
	uint64_t from = 0, to = 0, total = c->writer.size;
	char all[24] = "";

	int n = sscanf(range, "bytes %" SCNu64 "-%" SCNu64 "/%23s", &from, &to, all);
	if (n == 3 && strcmp(all, "*"))
		total = strtoull(all, NULL, 10);
	if (n != 3 || from != c->writer.done || to < from || to >= c->writer.size || total != c->writer.size)
		return err_kind_set(e, -EIO, ERR_KIND_NETWORK,
		        "bytes from %" PRIu64 " on were asked for, the answer is Content-Range \"%.60s\"",
		        c->writer.done, range);
	return 0;
}

static int layer_start(void *arg, const struct http_response *r, struct err *e)
{
	struct call *c = arg;
	int rc = 0;

	if (r->status == 206 && !c->x.offset)
		return err_kind_set(e, -EIO, ERR_KIND_NETWORK, "HTTP status 206 to a request without a range");
	if (r->status == 206)
		rc = check_range(c, r->content_range, e);
	else if (c->writer.done) { /* 200: the server knows no ranges and sends everything again */
		session_progress(c->registry->session, -(int64_t)c->writer.done);
		rc = blob_writer_restart(&c->writer, e);
	}
	if (rc < 0)
		return rc;
	c->mark = c->writer.done;
	if (r->status == 200 && r->content_length >= 0 && (uint64_t)r->content_length != c->writer.size)
		return err_kind_set(e, -EINVAL, ERR_KIND_SIZE_MISMATCH,
		        "the server sends %" PRId64 " bytes, the descriptor says %" PRIu64, r->content_length,
		        c->writer.size);
	return 0;
}

static int layer_data(void *arg, const void *data, size_t len, struct err *e)
{
	struct call *c = arg;
	int rc = blob_writer_write(&c->writer, data, len, e);

	if (rc >= 0)
		session_progress(c->registry->session, (int64_t)len);
	return rc;
}

static int64_t layer_retry(void *arg, struct err *e)
{
	struct call *c = arg;

	if (c->writer.done - c->mark >= PROGRESS_FORGIVES)
		c->x.tries = 1;
	if (c->writer.done ==
	        c->writer.size) { /* everything came, and then the connection broke: read it again, it is rare */
		session_progress(c->registry->session, -(int64_t)c->writer.done);
		int rc = blob_writer_restart(&c->writer, e);
		if (rc < 0)
			return rc;
	}
	return (int64_t)c->writer.done;
}

static struct call *layer_call(struct registry *g, const struct image *image, uint32_t i, struct err *e)
{
	const struct descriptor *d = &image->layers[i].blob;
	char name[DIGEST_TEXT_MAX];
	struct call *c = call_new(g, "blobs", digest_format(&d->digest, name));

	snprintf(c->what, sizeof(c->what), "registry %s: layer %u of %u, %s of %s", g->ref->domain, i + 1,
	        image->n_layers, name, g->ref->path);
	c->layer = &image->layers[i];
	c->index = i;
	c->x.missing = ERR_KIND_BLOB_MISSING;
	c->x.on_start = layer_start;
	c->x.on_data = layer_data;
	c->x.on_retry = layer_retry;
	if (blob_writer_open(&c->writer, &g->session->store, &d->digest, d->size, e) >= 0 &&
	        exchange_start(&c->x, e) >= 0)
		return c;
	call_free(c);
	return NULL;
}

static int layer_finish(struct registry *g, struct call *c, struct err *e)
{
	AUTO_CLOSE int fd = blob_writer_finish(&c->writer, e);

	if (fd < 0)
		return err_wrap(e, "%s", c->what), e->code;
	return session_blob(g->session, c->index, fd, false, e);
}

/* The next layer that is neither sent nor the blob of one under way. */
static bool next_layer(
        const struct registry *g, const struct image *image, struct call *const *calls, size_t max, uint32_t *i)
{
	for (; *i < image->n_layers; ++*i) {
		bool is_taken = g->session->is_sent[*i];
		for (size_t k = 0; k < max && !is_taken; k++)
			is_taken =
			        calls[k] && digest_equal(&calls[k]->layer->blob.digest, &image->layers[*i].blob.digest);
		if (!is_taken)
			return true;
	}
	return false;
}

static int download(struct registry *g, const struct image *image, struct call **calls, size_t max, struct err *e)
{
	uint32_t next = g->session->first;
	size_t running = 0;

	for (;;) {
		for (size_t k = 0; k < max && next_layer(g, image, calls, max, &next); k++) {
			if (calls[k])
				continue;
			calls[k] = layer_call(g, image, next, e);
			if (!calls[k])
				return e->code;
			next++;
			running++;
		}
		if (!running)
			return 0;
		struct http_request *r;
		int rc = http_next(g->http, &r, e);
		for (size_t k = 0; k < max && rc >= 0; k++) {
			struct call *c = calls[k];
			if (!c || &c->x.r != r)
				continue;
			rc = exchange_step(&c->x, e);
			if (rc <= 0)
				break;
			rc = layer_finish(g, c, e);
			call_free(c);
			calls[k] = NULL;
			running--;
		}
		if (rc < 0)
			return rc;
	}
}

int registry_layers(struct registry *g, const struct image *image, struct err *e)
{
	struct call *calls[DOWNLOADS_MAX] = {0};
	uint64_t max = g->session->config.parallel_downloads;

	int rc = download(g, image, calls, max < 1 ? 1 : max > DOWNLOADS_MAX ? DOWNLOADS_MAX : (size_t)max, e);
	for (size_t k = 0; k < DOWNLOADS_MAX; k++)
		if (calls[k])
			call_free(calls[k]);
	return rc;
}
