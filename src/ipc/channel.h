/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One end of a conversation between two programs: typed messages with descriptors over SOCK_SEQPACKET.
 * The receiving end checks each message against MSG_TABLE; what breaks it is -EPROTO, and the conversation is over.
 */
#ifndef IPC_CHANNEL_H
#define IPC_CHANNEL_H

#include "ipc/message.h"

/* The descriptor number on which a started program finds its channel. */
#define CHANNEL_FD 3

struct channel {
	int fd;                      /* owns */
	enum role peer;              /* who is at the other end */
	uint32_t state;              /* enum msg_state, moved by the owner of the conversation */
	uint64_t seen;               /* bit per type: "once" messages that came */
	struct channel_packet *head; /* owns: packets waiting for room, non-blocking channels only */
	struct channel_packet **tail;
	uint32_t queued;
	bool is_nonblock;
};

struct message {
	uint32_t type;
	uint32_t length;
	int fds[MSG_MAX_FDS]; /* owns; -1 behind the last. Take with STEAL_FD */
	uint32_t n_fds;
	union {
		uint64_t align;
		unsigned char payload[MSG_MAX_BYTES];
	};
};

/* FD is taken over. */
void channel_init(struct channel *c, int fd, enum role peer);
void channel_close(struct channel *c);

/* Send one message; LENGTH must be the type's size, the N_FDS descriptors stay the caller's. Blocks on a blocking
 * channel; on a non-blocking one a full socket queues a copy (channel_flush sends it; -ENOBUFS above 4096 packets).
 * -EPIPE: the peer is gone. */
int channel_send(
        struct channel *c, enum msg_type type, const void *payload, uint32_t length, const int *fds, uint32_t n_fds);
#define channel_send_struct(c, type, s) channel_send(c, type, &(s), sizeof(s), NULL, 0)

/* Receive one message. 1: *M is filled, the caller calls message_release; 0: the peer closed; -EAGAIN on a non-blocking
 * channel; -EPROTO: it breaks the table (why is in E). */
int channel_recv(struct channel *c, struct message *m, struct err *e);
void message_release(struct message *m);

/* Send what is queued. 1: all out, 0: still waiting for EPOLLOUT, -errno. */
int channel_flush(struct channel *c);
int channel_set_nonblock(struct channel *c);

/* For children: a log line for the build, and the last word before the end. */
void channel_log(struct channel *c, enum msg_type log_type, int level, const char *component, const char *fmt, ...)
        __attribute__((format(printf, 5, 6)));
void channel_fail(struct channel *c, enum msg_type fail_type, const struct err *e);

#endif
