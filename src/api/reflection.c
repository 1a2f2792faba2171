/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * grpc.reflection.v1 and v1alpha: what is served here, for clients that bring no schema (grpcurl, buf curl). The files
 * are in the program as protoc-c described them (proto/Makemodule.am).
 */
#include "api/reflection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/server.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "schema.pb-c.h"

static const uint8_t served[] = {
#include "served.inc"
};

struct reflection {
	Builder__Schema__FileSet *set;
	Builder__Schema__File **files; /* one for each in set */
};

/* Made at the first call, kept. */
static const struct reflection *schema(void)
{
	static struct reflection r;

	if (r.set)
		return &r;
	r.set = builder__schema__file_set__unpack(NULL, sizeof(served), served);
	if (!r.set)
		abort();
	r.files = xcalloc(r.set->n_file, sizeof(*r.files));
	for (size_t i = 0; i < r.set->n_file; i++)
		if (!(r.files[i] = builder__schema__file__unpack(NULL, r.set->file[i].len, r.set->file[i].data)))
			abort();
	return &r;
}

/* --- symbols ----------------------------------------------------------------------------------------------------- */

/* What is left of SYMBOL behind NAME and a dot, "" if nothing is; NULL if it does not begin so. */
static const char *behind(const char *symbol, const char *name)
{
	size_t len = strlen(name);

	if (!symbol || strncmp(symbol, name, len) || (symbol[len] && symbol[len] != '.'))
		return NULL;
	return symbol[len] ? symbol + len + 1 : "";
}

static bool is_named(Builder__Schema__Named *const *v, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(v[i]->name, name))
			return true;
	return false;
}

static bool message_has(const Builder__Schema__Message *m, const char *symbol)
{
	const char *rest = behind(symbol, m->name);

	if (!rest || !*rest)
		return rest != NULL;
	for (size_t i = 0; i < m->n_nested_type; i++)
		if (message_has(m->nested_type[i], rest))
			return true;
	return is_named(m->field, m->n_field, rest) || is_named(m->enum_type, m->n_enum_type, rest);
}

static bool service_has(const Builder__Schema__Service *s, const char *symbol)
{
	const char *rest = behind(symbol, s->name);

	return rest && (!*rest || is_named(s->method, s->n_method, rest));
}

static bool file_has(const Builder__Schema__File *f, const char *symbol)
{
	const char *rest = behind(symbol, f->package);

	if (!rest || !*rest)
		return false;
	for (size_t i = 0; i < f->n_message_type; i++)
		if (message_has(f->message_type[i], rest))
			return true;
	for (size_t i = 0; i < f->n_service; i++)
		if (service_has(f->service[i], rest))
			return true;
	return is_named(f->enum_type, f->n_enum_type, rest);
}

/* --- answers ----------------------------------------------------------------------------------------------------- */

struct answer {
	Grpc__Reflection__V1__ServerReflectionResponse response;
	Grpc__Reflection__V1__FileDescriptorResponse files;
	Grpc__Reflection__V1__ListServiceResponse services;
	Grpc__Reflection__V1__ExtensionNumberResponse extensions;
	Grpc__Reflection__V1__ErrorResponse error;
	ProtobufCBinaryData *data;                /* owns */
	Grpc__Reflection__V1__ServiceResponse *v; /* owns */
	Grpc__Reflection__V1__ServiceResponse **list;
	char names[16][80], text[300];
};

static void not_found(struct answer *a, const char *what, const char *name)
{
	snprintf(a->text, sizeof(a->text), "there is no %s %.200s", what, name);
	a->error.error_code = RPC_NOT_FOUND;
	a->error.error_message = a->text;
	a->response.error_response = &a->error;
	a->response.message_response_case =
	        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
}

/* File I and what it imports, itself first; each once. */
static void file_add(struct answer *a, const struct reflection *r, size_t i, bool *is_there)
{
	const Builder__Schema__File *f = r->files[i];

	if (is_there[i])
		return;
	is_there[i] = true;
	a->data[a->files.n_file_descriptor_proto++] = r->set->file[i];
	for (size_t d = 0; d < f->n_dependency; d++)
		for (size_t j = 0; j < r->set->n_file; j++)
			if (!strcmp(r->files[j]->name, f->dependency[d]))
				file_add(a, r, j, is_there);
}

static void files_answer(struct answer *a, const struct reflection *r, size_t i)
{
	AUTO_FREE bool *is_there = xcalloc(r->set->n_file, sizeof(*is_there));

	a->data = xcalloc(r->set->n_file, sizeof(*a->data));
	a->files.file_descriptor_proto = a->data;
	file_add(a, r, i, is_there);
	a->response.file_descriptor_response = &a->files;
	a->response.message_response_case =
	        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
}

static void by_name(struct answer *a, const struct reflection *r, const char *name)
{
	for (size_t i = 0; i < r->set->n_file; i++)
		if (!strcmp(r->files[i]->name, name)) {
			files_answer(a, r, i);
			return;
		}
	not_found(a, "file", name);
}

static void by_symbol(struct answer *a, const struct reflection *r, const char *symbol)
{
	for (size_t i = 0; i < r->set->n_file; i++)
		if (file_has(r->files[i], symbol)) {
			files_answer(a, r, i);
			return;
		}
	not_found(a, "symbol", symbol);
}

/* The schema has no extensions. */
static void extensions(struct answer *a, const struct reflection *r, const char *type)
{
	for (size_t i = 0; i < r->set->n_file; i++)
		if (file_has(r->files[i], type)) {
			a->extensions.base_type_name = (char *)(uintptr_t)type;
			a->response.all_extension_numbers_response = &a->extensions;
			a->response.message_response_case =
			        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
			return;
		}
	not_found(a, "type", type);
}

static bool is_listed(const struct answer *a, const char *name)
{
	for (size_t i = 0; i < a->services.n_service; i++)
		if (!strcmp(a->names[i], name))
			return true;
	return false;
}

/* Those that have methods here for clients of the port, which also names v1alpha. */
static void services(struct answer *a, const struct rpc_method *methods, size_t n)
{
	a->v = xcalloc(ARRAY_LEN(a->names), sizeof(*a->v));
	a->list = xcalloc(ARRAY_LEN(a->names), sizeof(*a->list));
	for (size_t i = 0; i < n && a->services.n_service < ARRAY_LEN(a->names); i++) {
		char *name = a->names[a->services.n_service];
		snprintf(name, sizeof(a->names[0]), "%.*s", (int)strcspn(methods[i].name, "/"), methods[i].name);
		if (is_listed(a, name) || methods[i].access == RPC_ACCESS_ADMIN)
			continue;
		Grpc__Reflection__V1__ServiceResponse *one = &a->v[a->services.n_service];
		grpc__reflection__v1__service_response__init(one);
		one->name = name;
		a->list[a->services.n_service++] = one;
	}
	a->services.service = a->list;
	a->response.list_services_response = &a->services;
	a->response.message_response_case =
	        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
}

static void answer_init(struct answer *a, const Grpc__Reflection__V1__ServerReflectionRequest *q)
{
	grpc__reflection__v1__server_reflection_response__init(&a->response);
	grpc__reflection__v1__file_descriptor_response__init(&a->files);
	grpc__reflection__v1__list_service_response__init(&a->services);
	grpc__reflection__v1__extension_number_response__init(&a->extensions);
	grpc__reflection__v1__error_response__init(&a->error);
	a->response.valid_host = q->host;
	a->response.original_request = (Grpc__Reflection__V1__ServerReflectionRequest *)(uintptr_t)q;
}

void reflection_answer(struct rpc_call *c, const ProtobufCMessage *request, const struct rpc_method *methods, size_t n)
{
	const Grpc__Reflection__V1__ServerReflectionRequest *q = (const void *)request;
	const struct reflection *r = schema();
	struct answer a = {0};

	answer_init(&a, q);
	switch (q->message_request_case) {
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
		by_name(&a, r, q->file_by_filename);
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
		by_symbol(&a, r, q->file_containing_symbol);
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
		not_found(&a, "extension of", q->file_containing_extension->containing_type);
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
		extensions(&a, r, q->all_extension_numbers_of_type);
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
		services(&a, methods, n);
		break;
	default:
		a.error.error_code = RPC_INVALID_ARGUMENT;
		a.error.error_message = a.text;
		snprintf(a.text, sizeof(a.text), "the request asks for nothing");
		a.response.error_response = &a.error;
		a.response.message_response_case =
		        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
	}
	rpc_stream_send(c, &a.response.base);
	free(a.data);
	free(a.v);
	free(a.list);
}
