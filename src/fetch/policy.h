/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whom we talk to: registry allow-list, plain HTTP, addresses. Pure decisions, no I/O. */
#ifndef FETCH_POLICY_H
#define FETCH_POLICY_H

#include <stdbool.h>
#include <sys/socket.h>

/* Which addresses a connection may go to, asked after name resolution for every hop. Public ones always; link-local
 * (the metadata services of clouds are there), multicast and reserved ones never. */
struct address_policy {
	bool allow_private;  /* the operator's switch: RFC 1918, RFC 6598, RFC 4193 */
	bool allow_loopback; /* the registry itself was named by a loopback literal or "localhost" */
};

/* NULL: allowed. Otherwise what the address is: "a loopback address", "a private address" ... */
const char *policy_address_refused(const struct address_policy *p, const struct sockaddr *sa);

/* 127.0.0.0/8 or ::1 as a literal, or "localhost". HOST has no brackets. */
bool policy_host_is_loopback(const char *host);

/* LIST is comma-separated: "*", exact "host[:port]", or "*.domain[:port]"; "docker.io" covers its aliases. An empty
 * list allows none. */
bool policy_registry_allowed(const char *list, const char *domain);
/* Is DOMAIN, exactly, in the comma-separated LIST? */
bool policy_list_has(const char *list, const char *domain);

/* May credentials for the registry's API host go to a token server? The realm is chosen by whoever answered, so only to
 * the same host, or to one below the registry's parent domain (registry.example.com -> auth.example.com). */
bool policy_realm_is_trusted(const char *registry_host, const char *realm_host);

#endif
