/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "json/json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include <jansson.h>

/* struct json is json_t under a name of ours. */
static json_t *raw(const struct json *value)
{
	return (json_t *)(uintptr_t)value;
}

static struct json *wrap(json_t *value)
{
	return (struct json *)value;
}

/* Hash tables of attacker-chosen keys: a random seed, taken without opening /dev/urandom, which a sandbox may not have.
 */
static void seed_once(void)
{
	static bool is_seeded;
	size_t seed;

	if (is_seeded)
		return;
	/* PID 1 of a rootfs may be here before the kernel has entropy: its input is trusted, so it need not wait. */
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed) || !seed)
		seed = (size_t)(uintptr_t)&seed | 1;
	json_object_seed(seed);
	is_seeded = true;
}

/* jansson's own depth limit is fixed at compile time, so count brackets first; strings are skipped, nothing is
 * validated. */
static int check_depth(const char *data, size_t len, unsigned max_depth, struct err *e)
{
	unsigned depth = 0;
	bool is_string = false;

	for (size_t i = 0; i < len; i++) {
		char c = data[i];
		if (!c)
			return err_set(e, -EINVAL, "NUL byte at offset %zu", i);
		if (is_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				is_string = false;
		} else if (c == '"') {
			is_string = true;
		} else if ((c == '{' || c == '[') && ++depth > max_depth) {
			return err_set(e, -EINVAL, "nested deeper than %u levels at offset %zu", max_depth, i);
		} else if ((c == '}' || c == ']') && depth) {
			depth--;
		}
	}
	return 0;
}

struct json *json_load_strict(const char *data, size_t len, unsigned max_depth, struct err *e)
{
	json_error_t je;

	seed_once();
	if (len >= 3 && !memcmp(data, "\xef\xbb\xbf", 3)) {
		err_set(e, -EINVAL, "starts with a byte order mark");
		return NULL;
	}
	if (check_depth(data, len, max_depth, e) < 0)
		return NULL;
	json_t *j = json_loadb(data, len, JSON_REJECT_DUPLICATES, &je);
	if (!j) {
		enum json_error_code code = json_error_code(&je);
		bool is_nul = code == json_error_null_character || code == json_error_null_byte_in_key;
		err_set(e, -EINVAL, "%s (line %d, column %d)", is_nul ? "NUL (\\u0000) in a string" : je.text, je.line,
		        je.column);
	}
	return wrap(j);
}

void json_release(struct json *document)
{
	json_decref(raw(document));
}

enum json_kind json_kind(const struct json *value)
{
	static const enum json_kind kinds[] = {
	        [JSON_OBJECT] = JSON_KIND_OBJECT,
	        [JSON_ARRAY] = JSON_KIND_ARRAY,
	        [JSON_STRING] = JSON_KIND_STRING,
	        [JSON_INTEGER] = JSON_KIND_INT,
	        [JSON_REAL] = JSON_KIND_REAL,
	        [JSON_TRUE] = JSON_KIND_BOOL,
	        [JSON_FALSE] = JSON_KIND_BOOL,
	        [JSON_NULL] = JSON_KIND_NULL,
	};

	return value ? kinds[json_typeof(raw(value))] : JSON_KIND_NULL;
}

const char *json_kind_name(enum json_kind kind)
{
	static const char *const names[] = {
	        [JSON_KIND_NULL] = "null",
	        [JSON_KIND_BOOL] = "a boolean",
	        [JSON_KIND_INT] = "an integer",
	        [JSON_KIND_REAL] = "a fraction",
	        [JSON_KIND_STRING] = "a string",
	        [JSON_KIND_ARRAY] = "an array",
	        [JSON_KIND_OBJECT] = "an object",
	};

	return names[kind];
}

const struct json *json_member(const struct json *object, const char *member)
{
	return json_kind(object) == JSON_KIND_OBJECT ? wrap(json_object_get(raw(object), member)) : NULL;
}

/* 1: *VALUE has the kind; 0: optional and not there; -EINVAL. */
static int get(const struct json *object, const char *member, enum json_need need, enum json_kind kind,
        const struct json **value, struct err *e)
{
	if (json_kind(object) != JSON_KIND_OBJECT)
		return err_set(e, -EINVAL, "member \"%s\" wanted of %s, which is no object", member,
		        json_kind_name(json_kind(object)));
	const struct json *v = json_member(object, member);
	enum json_kind have = json_kind(v);
	if (have == JSON_KIND_NULL && need == JSON_OPTIONAL)
		return 0;
	if (!v)
		return err_set(e, -EINVAL, "member \"%s\" is missing", member);
	if (have != kind)
		return err_set(e, -EINVAL, "member \"%s\" is %s, expected %s", member, json_kind_name(have),
		        json_kind_name(kind));
	*value = v;
	return 1;
}

int json_get_string(const struct json *object, const char *member, enum json_need need, const char **out, struct err *e)
{
	const struct json *v;
	int rc = get(object, member, need, JSON_KIND_STRING, &v, e);

	if (rc > 0)
		*out = json_as_string(v);
	return rc;
}

int json_get_int64(const struct json *object, const char *member, enum json_need need, int64_t *out, struct err *e)
{
	const struct json *v;
	int rc = get(object, member, need, JSON_KIND_INT, &v, e);

	if (rc <= 0)
		return rc;
	int64_t n = json_as_int64(v);
	if (n < 0)
		return err_set(e, -EINVAL, "member \"%s\" is %lld, expected 0 or more", member, (long long)n);
	*out = n;
	return 1;
}

int json_get_bool(const struct json *object, const char *member, enum json_need need, bool *out, struct err *e)
{
	const struct json *v;
	int rc = get(object, member, need, JSON_KIND_BOOL, &v, e);

	if (rc > 0)
		*out = json_as_bool(v);
	return rc;
}

int json_get_array(
        const struct json *object, const char *member, enum json_need need, const struct json **out, struct err *e)
{
	return get(object, member, need, JSON_KIND_ARRAY, out, e);
}

int json_get_object(
        const struct json *object, const char *member, enum json_need need, const struct json **out, struct err *e)
{
	return get(object, member, need, JSON_KIND_OBJECT, out, e);
}

const char *json_as_string(const struct json *value)
{
	return json_string_value(raw(value));
}

int64_t json_as_int64(const struct json *value)
{
	return json_integer_value(raw(value));
}

double json_as_real(const struct json *value)
{
	return json_number_value(raw(value));
}

bool json_as_bool(const struct json *value)
{
	return json_is_true(raw(value));
}

size_t json_elements(const struct json *array)
{
	return json_array_size(raw(array));
}

const struct json *json_element(const struct json *array, size_t i)
{
	return wrap(json_array_get(raw(array), i));
}

int json_element_string(const struct json *array, size_t i, const char *name, const char **out, struct err *e)
{
	const struct json *v = json_element(array, i);

	if (json_kind(v) != JSON_KIND_STRING)
		return err_set(e, -EINVAL, "%s[%zu] is %s, expected a string", name, i, json_kind_name(json_kind(v)));
	*out = json_as_string(v);
	return 1;
}

void *json_next(const struct json *object, void *iterator, const char **key, const struct json **value)
{
	if (json_kind(object) != JSON_KIND_OBJECT)
		return NULL;
	void *it = iterator ? json_object_iter_next(raw(object), iterator) : json_object_iter(raw(object));
	if (it) {
		*key = json_object_iter_key(it);
		*value = wrap(json_object_iter_value(it));
	}
	return it;
}

size_t json_members(const struct json *object)
{
	return json_object_size(raw(object));
}

/* Length of the well-formed UTF-8 sequence at P (RFC 3629, no surrogates, nothing overlong), 0 when there is none. */
static size_t utf8_length(const unsigned char *p, size_t len)
{
	size_t n = p[0] < 0x80                   ? 1
	           : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
	           : (p[0] & 0xf0) == 0xe0       ? 3
	           : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
	                                         : 0;

	if (!n || n > len)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
	        (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

void json_put_string(struct buf *b, const char *s, size_t len)
{
	static const char short_form[] = "\bb\tt\nn\ff\rr\"\"\\\\";

	buf_puts(b, "\"");
	for (size_t i = 0; i < len;) {
		const unsigned char *p = (const unsigned char *)s + i;
		size_t n = utf8_length(p, len - i);
		const char *pair = NULL;
		for (const char *f = short_form; *f && !pair; f += 2)
			if ((unsigned char)*f == *p)
				pair = f;
		if (pair)
			buf_printf(b, "\\%c", pair[1]);
		else if (!n)
			buf_puts(b, "\xef\xbf\xbd");
		else if (*p < 0x20 || *p == 0x7f)
			buf_printf(b, "\\u%04x", *p);
		else
			buf_append(b, p, n);
		i += n ? n : 1;
	}
	buf_puts(b, "\"");
}

static int put_chunk(const char *data, size_t len, void *arg)
{
	buf_append(arg, data, len);
	return 0;
}

void json_put_value(struct buf *b, const struct json *value)
{
	if (!value || json_dump_callback(raw(value), put_chunk, b, JSON_COMPACT | JSON_ENCODE_ANY) < 0)
		buf_puts(b, "null");
}
