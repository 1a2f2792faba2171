/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Our end of the channel to builderd: what it says goes to the callbacks, what we say is queued when the socket is
 * full. */
#ifndef API_MONITOR_LINK_H
#define API_MONITOR_LINK_H

#include "base/loop.h"
#include "ipc/channel.h"

struct monitor_link;

/* Each row is one message type. FD is borrowed, -1 if none came. Texts in messages are terminated and printable. */
struct monitor_link_events {
	void (*progress)(void *arg, const struct msg_build_progress *m);
	void (*log)(void *arg, const struct msg_build_log *m);
	void (*done)(void *arg, const struct msg_build_done *m, int metadata_fd);
	void (*deleted)(void *arg, const struct msg_build_deleted *m);
	void (*artifact)(void *arg, const struct msg_artifact *m, int fd);
	void (*storage)(void *arg, const struct msg_storage *m);
};

/* FD is taken over. EVENTS and ARG are borrowed. NULL: errno says why. */
struct monitor_link *monitor_link_new(struct loop *l, int fd, const struct monitor_link_events *events, void *arg);
void monitor_link_free(struct monitor_link *k);
/* FN runs once when builderd has closed its end (E NULL) or broke the table: nothing comes any more. */
void monitor_link_on_closed(struct monitor_link *k, void (*fn)(void *arg, const struct err *e), void *arg);
/* FN gets the certificate's files whenever they are to be read again; CA_FD -1: no client CA. They stay the link's. */
void monitor_link_on_tls(struct monitor_link *k, void (*fn)(void *arg, int cert_fd, int key_fd, int ca_fd), void *arg);

/* FN gets the listening socket FD, which it takes over, when builderd hands it over. Before READY. */
void monitor_link_on_listen(struct monitor_link *k, void (*fn)(void *arg, int fd, unsigned metald_uid), void *arg);

/* Who hears the answers to monitor_link_lease(); before READY. */
struct monitor_link_leases {
	void (*lease)(void *arg, const struct msg_lease *m, int metadata_fd);
	void (*released)(void *arg, const struct msg_lease_released *m);
	void (*list)(void *arg, const struct msg_leases *m, int fd);
};
void monitor_link_on_lease(struct monitor_link *k, const struct monitor_link_leases *events, void *arg);

/* READY; from here on the conversation runs. 0 or -errno, as below. */
int monitor_link_ready(struct monitor_link *k, uint16_t port);
int monitor_link_tenant(struct monitor_link *k, const struct msg_tenant_storage *m);
int monitor_link_start(struct monitor_link *k, const struct msg_build_start *m, int source_fd, int runtime_fd);
/* TYPE is BUILD_CANCEL, BUILD_DELETE or ARTIFACT_OPEN. */
int monitor_link_ref(struct monitor_link *k, enum msg_type type, const char *tenant_id, const char *build_id);

/* TYPE is LEASE_ACQUIRE, LEASE_RELEASE or LEASE_LIST; PAYLOAD is its struct. */
int monitor_link_lease(struct monitor_link *k, enum msg_type type, const void *payload, uint32_t length);

#endif
