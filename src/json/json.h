/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON from outside, read strictly: what two parsers could understand differently is refused. The only user of
 * <jansson.h>.
 *
 * A document is refused for: more than MAX_DEPTH open brackets, a byte order mark, NUL (as a byte or as \u0000, in keys
 * as in values: every string is a C string), invalid UTF-8, the same key twice in one object, numbers outside of int64
 * and double, a top level that is neither object nor array, and anything behind the end. Keys are compared byte by byte
 * ("MediaType" is not "mediaType").
 *
 * Errors: -EINVAL with a sentence that names the position or the member; the kind stays NONE: the caller knows what the
 * document was.
 */
#ifndef JSON_JSON_H
#define JSON_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* A value inside a document. Pointers into it, strings included, live until json_release of the document. */
struct json;

/* NULL on failure. The caller frees the document with json_release. DATA need not be terminated. */
struct json *json_load_strict(const char *data, size_t len, unsigned max_depth, struct err *e);
void json_release(struct json *document); /* takes NULL */
static inline void json_cleanup(struct json **document)
{
	json_release(*document);
}

/* What a getter does when the member is absent or null: REQUIRED fails, OPTIONAL returns 0 and leaves *OUT alone. */
enum json_need { JSON_REQUIRED, JSON_OPTIONAL };

/* Typed members of OBJECT (any value that is no object is refused). 1: *OUT is set, borrowed from the document; 0:
 * optional and absent or null; -EINVAL: missing, or of another type. */
int json_get_string(
        const struct json *object, const char *member, enum json_need need, const char **out, struct err *e);
int json_get_int64(
        const struct json *object, const char *member, enum json_need need, int64_t *out, struct err *e); /* >= 0 */
int json_get_bool(const struct json *object, const char *member, enum json_need need, bool *out, struct err *e);
int json_get_array(
        const struct json *object, const char *member, enum json_need need, const struct json **out, struct err *e);
int json_get_object(
        const struct json *object, const char *member, enum json_need need, const struct json **out, struct err *e);

/* Any member, NULL when OBJECT is no object or has none of that name. A null is a value. */
const struct json *json_member(const struct json *object, const char *member);

enum json_kind {
	JSON_KIND_NULL,
	JSON_KIND_BOOL,
	JSON_KIND_INT,
	JSON_KIND_REAL,
	JSON_KIND_STRING,
	JSON_KIND_ARRAY,
	JSON_KIND_OBJECT
};
enum json_kind json_kind(const struct json *value); /* of NULL: JSON_KIND_NULL */
const char *json_kind_name(enum json_kind kind);    /* "a string", "an object" ... */

/* The value itself, zero value when it is of another type: ask json_kind first. */
const char *json_as_string(const struct json *value); /* NULL when it is no string */
int64_t json_as_int64(const struct json *value);
double json_as_real(const struct json *value); /* of an integer, too */
bool json_as_bool(const struct json *value);

/* Elements of an array; 0 and NULL for anything else. */
size_t json_elements(const struct json *array);
const struct json *json_element(const struct json *array, size_t i);
/* Element I of ARRAY as a string; NAME is the array's, for the sentence. -EINVAL when it is none. */
int json_element_string(const struct json *array, size_t i, const char *name, const char **out, struct err *e);

/* Members of an object in the order of the document: for (void *it = NULL; (it = json_next(o, it, &key, &value)); ). */
void *json_next(const struct json *object, void *iterator, const char **key, const struct json **value);
size_t json_members(const struct json *object);

/* Append LEN bytes of S, quoted and escaped; bytes that are no UTF-8 become U+FFFD. */
void json_put_string(struct buf *b, const char *s, size_t len);
/* Append the text of VALUE without white space. */
void json_put_value(struct buf *b, const struct json *value);

#endif
