/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS 1.2 and 1.3 under a connection (RFC 5246, RFC 8446), with ALPN h2 and http/1.1 (RFC 7301) and client
 * certificates. The only user of <openssl/...> here. TLS 1.2 gets the ciphers that HTTP/2 allows (RFC 9113 9.2.2), no
 * renegotiation, no compression.
 */
#ifndef API_TLS_H
#define API_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct tls;      /* the certificate that new connections get, and who may be a client */
struct tls_conn; /* one connection's state */

enum tls_clients {
	TLS_CLIENTS_ANY,
	TLS_CLIENTS_ASKED,
	TLS_CLIENTS_VERIFIED
}; /* ASKED: none is fine, a bad one is not */
enum tls_protocol { TLS_PROTOCOL_NONE, TLS_PROTOCOL_H2, TLS_PROTOCOL_HTTP1 };

/* PEM files, open for reading at offset 0; they stay the caller's. CERT: the server's certificate, then its issuers.
 * CA (-1: none): who may issue clients' certificates. What is wrong with which file is in E. */
int tls_new(int cert_fd, int key_fd, int ca_fd, enum tls_clients clients, struct tls **out, struct err *e);
/* Connections that were made with it live on. Takes NULL. */
void tls_free(struct tls *t);
/* "CN=..., until 2027-01-31": for the log. Lives as long as T. */
const char *tls_description(const struct tls *t);

/* FD (borrowed, non-blocking) speaks TLS. NULL: out of memory. */
struct tls_conn *tls_conn_new(struct tls *t, int fd);
void tls_conn_free(struct tls_conn *c); /* takes NULL */

/* 0: done; -EAGAIN: wait (tls_wants_out says for what); -errno. */
int tls_handshake(struct tls_conn *c);
bool tls_wants_out(const struct tls_conn *c);
/* > 0, 0: the peer has said its last word, -EAGAIN, -errno. */
ssize_t tls_read(struct tls_conn *c, void *to, size_t len);
/* > 0, -EAGAIN: again with the same bytes and perhaps more behind them, -errno. */
ssize_t tls_write(struct tls_conn *c, const void *from, size_t len);
/* Bytes are there that the socket will not announce. */
bool tls_has_input(const struct tls_conn *c);
/* Say that this was the last word; does not wait. */
void tls_end(struct tls_conn *c);

/* After the handshake. */
enum tls_protocol tls_protocol(const struct tls_conn *c);
/* The URI among the names of the client's verified certificate, such as a SPIFFE id (SPIFFE X.509-SVID 2); false: there
 * is no certificate, or not exactly one URI in it. */
bool tls_client_uri(const struct tls_conn *c, char *out, size_t size);

#endif
