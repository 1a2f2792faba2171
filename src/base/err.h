/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors a person may read: a code, a kind and one bounded sentence.
 *
 * Lives on the caller's stack, has no pointers, crosses a socket as it is. The call that fails writes the whole
 * sentence; callers wrap only to add a fact ("layer 3/9: ..."). Functions return >= 0 or -errno.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>
#include <stdint.h>

/* What a build's error is about. The names are stable: they open the error text a client sees ("bad-archive: ..."),
 * and tests match on them. Kinds up to ERR_KIND_QUOTA_BYTES say that the image is wrong, the others what we met. */
#define ERR_KINDS(X)                                                                                                   \
	X(NONE, "error")                                                                                               \
	X(AMBIGUOUS_MANIFEST, "ambiguous-manifest")                                                                    \
	X(BAD_ARCHIVE, "bad-archive")                                                                                  \
	X(BAD_COMPRESSION, "bad-compression")                                                                          \
	X(BAD_CONFIG, "bad-config")                                                                                    \
	X(BAD_DIGEST, "bad-digest")                                                                                    \
	X(BAD_HARDLINK, "bad-hardlink")                                                                                \
	X(BAD_ID, "bad-id")                                                                                            \
	X(BAD_LAYOUT, "bad-layout")                                                                                    \
	X(BAD_MANIFEST, "bad-manifest")                                                                                \
	X(BAD_NAME, "bad-name")                                                                                        \
	X(BAD_REFERENCE, "bad-reference")                                                                              \
	X(BAD_WHITEOUT, "bad-whiteout")                                                                                \
	X(BAD_XATTR, "bad-xattr")                                                                                      \
	X(BLOB_MISSING, "blob-missing")                                                                                \
	X(DIGEST_MISMATCH, "digest-mismatch")                                                                          \
	X(ENCRYPTED, "encrypted")                                                                                      \
	X(INDEX_DEPTH, "index-depth")                                                                                  \
	X(LIMIT_ENTRIES, "limit-entries")                                                                              \
	X(LIMIT_PATH, "limit-path")                                                                                    \
	X(LIMIT_PAX, "limit-pax")                                                                                      \
	X(LIMIT_SIZE, "limit-size")                                                                                    \
	X(LIMIT_SPARSE, "limit-sparse")                                                                                \
	X(LIMIT_WINDOW, "limit-window")                                                                                \
	X(LIMIT_XATTR, "limit-xattr")                                                                                  \
	X(MEDIATYPE_MISMATCH, "mediatype-mismatch")                                                                    \
	X(NO_PLATFORM, "no-platform")                                                                                  \
	X(NOT_A_DIRECTORY, "not-a-directory")                                                                          \
	X(NOT_AN_IMAGE, "not-an-image")                                                                                \
	X(PATH_ESCAPE, "path-escape")                                                                                  \
	X(PATH_LOOP, "path-loop")                                                                                      \
	X(PLATFORM_MISMATCH, "platform-mismatch")                                                                      \
	X(SIZE_MISMATCH, "size-mismatch")                                                                              \
	X(TOO_MANY_LAYERS, "too-many-layers")                                                                          \
	X(TRAILING_GARBAGE, "trailing-garbage")                                                                        \
	X(TRUNCATED, "truncated")                                                                                      \
	X(UNSUPPORTED_DIGEST, "unsupported-digest")                                                                    \
	X(UNSUPPORTED_MEDIATYPE, "unsupported-mediatype")                                                              \
	X(UNSUPPORTED_TYPE, "unsupported-type")                                                                        \
	X(QUOTA_BYTES, "quota-bytes")                                                                                  \
	X(QUOTA_INODES, "quota-inodes")                                                                                \
	X(DISK_FULL, "disk-full")                                                                                      \
	X(NETWORK, "network")                                                                                          \
	X(UNAUTHORIZED, "unauthorized")                                                                                \
	X(DENIED, "denied")                                                                                            \
	X(NOT_FOUND, "not-found")                                                                                      \
	X(TIMEOUT, "timeout")                                                                                          \
	X(CANCELLED, "cancelled")                                                                                      \
	X(KILLED, "killed")                                                                                            \
	X(LEASED, "leased")                                                                                            \
	X(RESTARTED, "restarted")                                                                                      \
	X(INTERNAL, "internal")

enum err_kind {
#define X(id, name) ERR_KIND_##id,
	ERR_KINDS(X)
#undef X
	        ERR_KIND_COUNT
};

struct err {
	int32_t code;  /* -errno, 0 while nothing failed */
	int32_t kind;  /* enum err_kind */
	char msg[504]; /* one sentence, NUL-terminated, valid UTF-8 or not: print through err_text_clean */
};

#define ERR_INIT                                                                                                       \
	{                                                                                                              \
		0, ERR_KIND_NONE, ""                                                                                   \
	}

/* Record CODE (-errno) and a sentence, kind NONE. E may be NULL. Returns CODE. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same with a kind. */
int err_kind_set(struct err *e, int code, enum err_kind kind, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));

/* The same as err_set with ": strerror(-CODE)" appended, for a failed system call. */
int err_sys(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Put a fact in front of the recorded sentence. Returns e->code. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The stable name of KIND, "error" for unknown values. */
const char *err_kind_name(int kind);

/* Make an err that came over a socket safe to read: terminates msg, bounds kind and code, replaces control bytes. */
void err_sanitize(struct err *e);

#endif
