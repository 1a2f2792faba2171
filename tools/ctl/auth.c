/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/ctl/auth.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "json/json.h"

#define PASSWORD_ENV "BUILDERD_REGISTRY_PASSWORD"
#define SECRET_MAX 16384
#define AUTH_FILE_MAX (1 << 20)

const char *auth_registry(const char *image, char out[256])
{
	size_t n = strcspn(image, "/");
	/* A first component is a registry if it could not be a name: distribution's reference grammar. */
	bool is_registry =
	        image[n] && (memchr(image, '.', n) || memchr(image, ':', n) || !strncmp(image, "localhost/", 10));

	if (is_registry && n < 256)
		snprintf(out, 256, "%.*s", (int)n, image);
	else
		snprintf(out, 256, "docker.io");
	return out;
}

static int base64_value(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* "user:password" out of a config.json's "auth". Returns the length or -EINVAL. */
static int base64_decode(const char *text, char *out, size_t size)
{
	size_t n = 0;
	unsigned bits = 0, v = 0;

	for (; *text && *text != '='; text++) {
		int digit = base64_value(*text);
		if (digit < 0 || n + 1 >= size)
			return -EINVAL;
		v = v << 6 | (unsigned)digit;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			out[n++] = (char)(v >> bits);
		}
	}
	out[n] = 0;
	return strlen(out) == n ? (int)n : -EINVAL;
}

static void put_member(struct buf *b, const char *before, const char *name, const char *value)
{
	buf_printf(b, "%s\"%s\":", before, name);
	json_put_string(b, value, strlen(value));
}

static void put_auth(struct buf *b, const char *registry, const char *username, const char *password, const char *token)
{
	put_member(b, ",\"auth\":{", "registry", registry);
	if (username)
		put_member(b, ",", "username", username);
	if (password)
		put_member(b, ",", "password", password);
	if (token)
		put_member(b, ",", "token", token);
	buf_puts(b, "}");
}

/* The entry of REGISTRY: docker writes Docker Hub's under an address of old. */
static const struct json *file_entry(const struct json *doc, const char *registry)
{
	const struct json *auths = json_member(doc, "auths"), *entry = json_member(auths, registry);

	if (!entry && !strcmp(registry, "docker.io"))
		entry = json_member(auths, "https://index.docker.io/v1/");
	if (!entry) {
		AUTO_FREE char *with_scheme = xasprintf("https://%s", registry);
		entry = json_member(auths, with_scheme);
	}
	return entry;
}

static int put_entry(struct buf *b, const char *file, const char *registry, const struct json *entry, struct err *e)
{
	const char *auth = NULL, *token = NULL;
	char secret[SECRET_MAX];
	int r = 0;

	if (json_get_string(entry, "registrytoken", JSON_OPTIONAL, &token, e) < 0 ||
	        json_get_string(entry, "auth", JSON_OPTIONAL, &auth, e) < 0)
		return err_wrap(e, "%s: %s", file, registry);
	char *colon = NULL;
	if (auth && base64_decode(auth, secret, sizeof(secret)) >= 0 && (colon = strchr(secret, ':'))) {
		*colon = 0;
		put_auth(b, registry, secret, colon + 1, NULL);
	} else if (token) {
		put_auth(b, registry, NULL, NULL, token);
	} else {
		r = err_set(e, -EINVAL, "%s: the entry of %s has no credentials (credential helpers are not asked)",
		        file, registry);
	}
	explicit_bzero(secret, sizeof(secret));
	return r;
}

static int put_from_file(struct buf *b, const char *file, const char *registry, struct err *e)
{
	AUTO_CLOSE int fd = open(file, O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *text = NULL;
	size_t len = 0;

	if (fd < 0)
		return err_sys(e, -errno, "cannot open %s", file);
	int r = fd_slurp(fd, AUTH_FILE_MAX, &text, &len);
	if (r < 0)
		return err_sys(e, r, "cannot read %s", file);
	AUTO(json_cleanup) struct json *doc = json_load_strict(text, len, 16, e);
	explicit_bzero(text, len);
	if (!doc)
		return err_wrap(e, "%s", file);
	const struct json *entry = file_entry(doc, registry);
	if (!entry) {
		fprintf(stderr, "builderctl: %s has nothing for %s: pulling without credentials\n", file, registry);
		return 0;
	}
	return put_entry(b, file, registry, entry, e);
}

/* One line from stdin, without echo where that is a terminal. */
static int read_password(char *out, size_t size, struct err *e)
{
	struct termios was, quiet;
	bool is_terminal = tcgetattr(STDIN_FILENO, &was) == 0;
	size_t n = 0;
	ssize_t got;

	if (is_terminal) {
		quiet = was;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		fputs("Password: ", stderr);
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	}
	while (n + 1 < size && (got = read(STDIN_FILENO, out + n, 1)) == 1 && out[n] != '\n')
		n++;
	if (is_terminal) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
		fputs("\n", stderr);
	}
	if (n && out[n - 1] == '\r')
		n--;
	out[n] = 0;
	return n ? 0 : err_set(e, -EINVAL, "--username wants a password, on stdin or in " PASSWORD_ENV);
}

int auth_put(struct buf *b, const struct options *o, const char *image, struct err *e)
{
	const char *from_env = getenv(PASSWORD_ENV);
	char registry[256], typed[SECRET_MAX];
	int r;

	auth_registry(image, registry);
	if (o->auth_file && o->username)
		return err_set(e, -EINVAL, "--auth-file and --username exclude each other");
	if (o->auth_file)
		return put_from_file(b, o->auth_file, registry, e);
	if (!o->username)
		return 0;
	if (from_env && *from_env) {
		put_auth(b, registry, o->username, from_env, NULL);
		return 0;
	}
	r = read_password(typed, sizeof(typed), e);
	if (r == 0)
		put_auth(b, registry, o->username, typed, NULL);
	explicit_bzero(typed, sizeof(typed));
	return r;
}
