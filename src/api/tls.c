/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "api/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"

#define PEM_MAX (1u << 20)

/* RFC 9113 appendix A forbids the rest of TLS 1.2 for HTTP/2. */
#define CIPHERS_12 "ECDHE+AESGCM:ECDHE+CHACHA20"

struct tls {
	SSL_CTX *ctx;          /* owns */
	char description[200]; /* of the certificate */
};

struct tls_conn {
	SSL *ssl; /* owns */
	bool wants_out;
};

static int tls_error(struct err *e, int code, const char *what)
{
	unsigned long first = ERR_get_error();
	const char *reason = first ? ERR_reason_error_string(first) : NULL;

	ERR_clear_error();
	return err_set(e, code, "%s%s%s", what, reason ? ": " : "", reason ? reason : "");
}

/* --- certificate, key, client CA --------------------------------------------------------------------------------- */

struct pem {
	char *text; /* owns */
	size_t len;
	BIO *bio; /* owns */
};

static void pem_cleanup(struct pem *p)
{
	BIO_free(p->bio);
	if (p->text)
		OPENSSL_cleanse(p->text, p->len);
	free(p->text);
}

static int pem_open(struct pem *p, int fd, const char *what, struct err *e)
{
	int rc = fd_slurp(fd, PEM_MAX, &p->text, &p->len);

	if (rc < 0)
		return err_sys(e, rc, "read %s", what);
	p->bio = BIO_new_mem_buf(p->text, (int)p->len);
	return p->bio ? 0 : -ENOMEM;
}

/* A key with a passphrase is refused, not asked for. */
static int no_passphrase(char *to, int size, int is_writing, void *arg)
{
	return -1;
}

static void describe(struct tls *t, X509 *cert)
{
	struct tm until = {0};
	char name[120] = "";
	BIO *b = BIO_new(BIO_s_mem());

	if (b && X509_NAME_print_ex(b, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0) {
		int n = BIO_read(b, name, sizeof(name) - 1);
		name[n > 0 ? n : 0] = 0;
	}
	BIO_free(b);
	ASN1_TIME_to_tm(X509_get0_notAfter(cert), &until);
	snprintf(t->description, sizeof(t->description), "%s, until %04d-%02d-%02d", name[0] ? name : "no subject",
	        until.tm_year + 1900, until.tm_mon + 1, until.tm_mday);
}

static int certificate_use(struct tls *t, int fd, struct err *e)
{
	AUTO(pem_cleanup) struct pem p = {0};
	int rc = pem_open(&p, fd, "the certificate", e);
	X509 *cert = rc < 0 ? NULL : PEM_read_bio_X509(p.bio, NULL, no_passphrase, NULL);

	if (rc < 0)
		return rc;
	if (!cert || SSL_CTX_use_certificate(t->ctx, cert) != 1) {
		X509_free(cert);
		return tls_error(e, -EINVAL, "the certificate is not one in PEM form");
	}
	describe(t, cert);
	X509_free(cert);
	for (X509 *issuer; (issuer = PEM_read_bio_X509(p.bio, NULL, no_passphrase, NULL));)
		if (SSL_CTX_add0_chain_cert(t->ctx, issuer) != 1) {
			X509_free(issuer);
			return tls_error(e, -EINVAL, "an issuer behind the certificate cannot be used");
		}
	ERR_clear_error(); /* the end of the file is one */
	return 0;
}

static int key_use(struct tls *t, int fd, struct err *e)
{
	AUTO(pem_cleanup) struct pem p = {0};
	int rc = pem_open(&p, fd, "the private key", e);

	if (rc < 0)
		return rc;
	EVP_PKEY *key = PEM_read_bio_PrivateKey(p.bio, NULL, no_passphrase, NULL);
	if (!key)
		return tls_error(e, -EINVAL, "the private key is not one in PEM form without a passphrase");
	rc = SSL_CTX_use_PrivateKey(t->ctx, key) == 1 && SSL_CTX_check_private_key(t->ctx) == 1
	             ? 0
	             : tls_error(e, -EINVAL, "the private key does not belong to the certificate");
	EVP_PKEY_free(key);
	return rc;
}

static int clients_use(struct tls *t, int fd, enum tls_clients clients, struct err *e)
{
	AUTO(pem_cleanup) struct pem p = {0};
	int rc = pem_open(&p, fd, "the client CA", e);
	int n = 0;

	if (rc < 0)
		return rc;
	for (X509 *ca; (ca = PEM_read_bio_X509(p.bio, NULL, no_passphrase, NULL)); n++) {
		bool is_added = X509_STORE_add_cert(SSL_CTX_get_cert_store(t->ctx), ca) == 1 &&
		                SSL_CTX_add_client_CA(t->ctx, ca) == 1;
		X509_free(ca);
		if (!is_added)
			return tls_error(e, -EINVAL, "a certificate of the client CA cannot be used");
	}
	if (!n)
		return tls_error(e, -EINVAL, "the client CA has no certificate in PEM form");
	ERR_clear_error();
	SSL_CTX_set_verify(t->ctx,
	        SSL_VERIFY_PEER | (clients == TLS_CLIENTS_VERIFIED ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
	return 0;
}

static int on_alpn(
        SSL *ssl, const unsigned char **out, unsigned char *len, const unsigned char *in, unsigned n, void *arg)
{
	static const unsigned char ours[] = "\x02h2\x08http/1.1";
	unsigned char *chosen;

	if (SSL_select_next_proto(&chosen, len, ours, sizeof(ours) - 1, in, n) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301 3.2: no_application_protocol */
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static int context_make(struct tls *t, struct err *e)
{
	static const unsigned char id[] = "builderd";

	t->ctx = SSL_CTX_new(TLS_server_method());
	if (!t->ctx || SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION) != 1 ||
	        SSL_CTX_set_cipher_list(t->ctx, CIPHERS_12) != 1 ||
	        SSL_CTX_set_session_id_context(t->ctx, id, sizeof(id) - 1) != 1)
		return tls_error(e, -EIO, "set up TLS");
	/* An end of input without a close_notify is what half the clients send; HTTP says itself where a message ends.
	 */
	SSL_CTX_set_options(t->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF |
	                                    SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_mode(
	        t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_alpn_select_cb(t->ctx, on_alpn, NULL);
	return 0;
}

int tls_new(int cert_fd, int key_fd, int ca_fd, enum tls_clients clients, struct tls **out, struct err *e)
{
	struct tls *t = xcalloc(1, sizeof(*t));
	int rc = context_make(t, e);

	if (rc == 0)
		rc = certificate_use(t, cert_fd, e);
	if (rc == 0)
		rc = key_use(t, key_fd, e);
	if (rc == 0 && ca_fd >= 0 && clients != TLS_CLIENTS_ANY)
		rc = clients_use(t, ca_fd, clients, e);
	if (rc < 0) {
		tls_free(t);
		return rc;
	}
	*out = t;
	return 0;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	SSL_CTX_free(t->ctx);
	free(t);
}

const char *tls_description(const struct tls *t)
{
	return t->description;
}

/* --- connections ------------------------------------------------------------------------------------------------- */

struct tls_conn *tls_conn_new(struct tls *t, int fd)
{
	struct tls_conn *c = xcalloc(1, sizeof(*c));

	c->ssl = SSL_new(t->ctx);
	if (!c->ssl || SSL_set_fd(c->ssl, fd) != 1) {
		tls_conn_free(c);
		return NULL;
	}
	SSL_set_accept_state(c->ssl);
	return c;
}

void tls_conn_free(struct tls_conn *c)
{
	if (!c)
		return;
	SSL_free(c->ssl);
	ERR_clear_error();
	free(c);
}

/* What OpenSSL's return value RC means; the queue of errors is the thread's and is left empty. */
static int outcome(struct tls_conn *c, int rc)
{
	int why = SSL_get_error(c->ssl, rc);
	int code = errno;

	ERR_clear_error();
	c->wants_out = why == SSL_ERROR_WANT_WRITE;
	switch (why) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		return code ? -code : -ECONNRESET;
	default:
		return -EPROTO;
	}
}

int tls_handshake(struct tls_conn *c)
{
	errno = 0;
	int rc = SSL_do_handshake(c->ssl);

	if (rc == 1) {
		c->wants_out = false;
		return 0;
	}
	rc = outcome(c, rc);
	return rc ? rc : -ECONNRESET;
}

bool tls_wants_out(const struct tls_conn *c)
{
	return c->wants_out;
}

ssize_t tls_read(struct tls_conn *c, void *to, size_t len)
{
	size_t n;

	errno = 0;
	int rc = SSL_read_ex(c->ssl, to, len, &n);
	return rc == 1 ? (ssize_t)n : outcome(c, rc);
}

ssize_t tls_write(struct tls_conn *c, const void *from, size_t len)
{
	size_t n;

	errno = 0;
	int rc = SSL_write_ex(c->ssl, from, len, &n);
	if (rc == 1)
		return (ssize_t)n;
	rc = outcome(c, rc);
	return rc ? rc : -EPIPE;
}

bool tls_has_input(const struct tls_conn *c)
{
	return SSL_pending(c->ssl) > 0;
}

void tls_end(struct tls_conn *c)
{
	if (SSL_is_init_finished(c->ssl))
		SSL_shutdown(c->ssl);
	ERR_clear_error();
}

enum tls_protocol tls_protocol(const struct tls_conn *c)
{
	const unsigned char *name;
	unsigned len;

	SSL_get0_alpn_selected(c->ssl, &name, &len);
	return len == 2 ? TLS_PROTOCOL_H2 : len == 8 ? TLS_PROTOCOL_HTTP1 : TLS_PROTOCOL_NONE;
}

static bool uri_copy(const ASN1_IA5STRING *uri, char *out, size_t size)
{
	const char *text = (const char *)ASN1_STRING_get0_data(uri);
	size_t len = (size_t)ASN1_STRING_length(uri);

	if (!len || len >= size || memchr(text, 0, len))
		return false;
	memcpy(out, text, len);
	out[len] = 0;
	return true;
}

bool tls_client_uri(const struct tls_conn *c, char *out, size_t size)
{
	X509 *cert = SSL_get0_peer_certificate(c->ssl);
	bool is_verified = cert && SSL_get_verify_result(c->ssl) == X509_V_OK;
	GENERAL_NAMES *names = is_verified ? X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL) : NULL;
	int n_uris = 0;
	bool is_good = false;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		if (name->type != GEN_URI)
			continue;
		n_uris++;
		is_good = uri_copy(name->d.uniformResourceIdentifier, out, size);
	}
	GENERAL_NAMES_free(names);
	ERR_clear_error();
	return n_uris == 1 && is_good;
}
