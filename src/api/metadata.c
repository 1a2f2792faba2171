/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/metadata.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "json/json.h"

typedef Builder__V1__ImageMetadata Metadata;

static const struct {
	const char *name;
	size_t offset;
} texts[] = {
        {"original_image", offsetof(Metadata, original_image)},
        {"image_digest", offsetof(Metadata, image_digest)},
        {"working_dir", offsetof(Metadata, working_dir)},
        {"user", offsetof(Metadata, user)},
};

static const struct {
	const char *name;
	size_t count, list;
} lists[] = {
        {"layers", offsetof(Metadata, n_layers), offsetof(Metadata, layers)},
        {"command", offsetof(Metadata, n_command), offsetof(Metadata, command)},
        {"entrypoint", offsetof(Metadata, n_entrypoint), offsetof(Metadata, entrypoint)},
        {"exposed_ports", offsetof(Metadata, n_exposed_ports), offsetof(Metadata, exposed_ports)},
        {"volumes", offsetof(Metadata, n_volumes), offsetof(Metadata, volumes)},
};

static int read_text(const struct json *o, const char *name, char **out, struct err *e)
{
	const char *text;
	int rc = json_get_string(o, name, JSON_OPTIONAL, &text, e);

	if (rc > 0)
		*out = xstrdup(text);
	return rc;
}

static int read_list(const struct json *o, const char *name, size_t *count, char ***out, struct err *e)
{
	const struct json *array = NULL;
	const char *text;
	int rc = json_get_array(o, name, JSON_OPTIONAL, &array, e);

	if (rc <= 0 || !json_elements(array))
		return rc;
	*out = xcalloc(json_elements(array), sizeof(char *));
	for (size_t i = 0; i < json_elements(array); i++) {
		if ((rc = json_element_string(array, i, name, &text, e)) < 0)
			return rc;
		(*out)[(*count)++] = xstrdup(text);
	}
	return 0;
}

/* Both kinds of map entries are the same struct under two names: base, key, value. */
typedef Builder__V1__ImageMetadata__LabelsEntry Entry;
_Static_assert(sizeof(Entry) == sizeof(Builder__V1__ImageMetadata__EnvEntry) &&
                       offsetof(Entry, key) == offsetof(Builder__V1__ImageMetadata__EnvEntry, key) &&
                       offsetof(Entry, value) == offsetof(Builder__V1__ImageMetadata__EnvEntry, value),
        "map entries are alike");

static int read_map(const struct json *o, const char *name, const ProtobufCMessageDescriptor *type, size_t *count,
        Entry ***out, struct err *e)
{
	const struct json *object = NULL, *value;
	const char *key;
	int rc = json_get_object(o, name, JSON_OPTIONAL, &object, e);

	if (rc <= 0 || !json_members(object))
		return rc;
	*out = xcalloc(json_members(object), sizeof(Entry *));
	for (void *it = NULL; (it = json_next(object, it, &key, &value));) {
		if (json_kind(value) != JSON_KIND_STRING)
			return err_set(e, -EINVAL, "%s.%.64s is no string", name, key);
		Entry *entry = xcalloc(1, sizeof(*entry));
		protobuf_c_message_init(type, entry);
		entry->key = xstrdup(key);
		entry->value = xstrdup(json_as_string(value));
		(*out)[(*count)++] = entry;
	}
	return 0;
}

static int read_members(const struct json *o, Metadata *m, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(texts) && rc >= 0; i++)
		rc = read_text(o, texts[i].name, (char **)(void *)((char *)m + texts[i].offset), e);
	for (size_t i = 0; i < ARRAY_LEN(lists) && rc >= 0; i++)
		rc = read_list(o, lists[i].name, (size_t *)(void *)((char *)m + lists[i].count),
		        (char ***)(void *)((char *)m + lists[i].list), e);
	if (rc >= 0)
		rc = read_map(o, "labels", &builder__v1__image_metadata__labels_entry__descriptor, &m->n_labels,
		        &m->labels, e);
	if (rc >= 0)
		rc = read_map(o, "env", &builder__v1__image_metadata__env_entry__descriptor, &m->n_env,
		        (Entry ***)(void *)&m->env, e);
	return rc;
}

Builder__V1__ImageMetadata *metadata_read(const char *text, size_t len, struct err *e)
{
	AUTO(json_cleanup) struct json *document = json_load_strict(text, len, METADATA_MAX_DEPTH, e);
	Metadata *m;

	if (!document)
		return NULL;
	m = xcalloc(1, sizeof(*m));
	builder__v1__image_metadata__init(m);
	if (read_members(document, m, e) < 0) {
		builder__v1__image_metadata__free_unpacked(m, NULL);
		return NULL;
	}
	return m;
}

int metadata_check(const char *text, size_t len, struct err *e)
{
	Metadata *m = metadata_read(text, len, e);

	if (!m) {
		e->kind = ERR_KIND_INTERNAL;
		return err_wrap(e, "image metadata");
	}
	builder__v1__image_metadata__free_unpacked(m, NULL);
	return 0;
}

char *metadata_init_path(const char *text, size_t len)
{
	AUTO(json_cleanup) struct json *document = json_load_strict(text, len, METADATA_MAX_DEPTH, NULL);
	char *path = NULL;

	if (document)
		read_text(document, "init_path", &path, NULL);
	return path ? path : xstrdup("");
}
