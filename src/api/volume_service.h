/* SPDX-License-Identifier: GPL-2.0-or-later */
/* builder.v1.VolumeService: leases, asked of builderd and answered when it answers. */
#ifndef API_VOLUME_SERVICE_H
#define API_VOLUME_SERVICE_H

#include "api/audit.h"
#include "api/monitor_link.h"
#include "api/rpc.h"

struct volume_calls; /* those that wait for builderd */

/* K and SECRET (of page tokens, 32 bytes) are borrowed. */
struct volume_calls *volume_calls_new(struct monitor_link *k, const uint8_t *secret, struct audit *a);
/* Behind server_free(): nobody waits any more. Takes NULL. */
void volume_calls_free(struct volume_calls *v);

/* Their ARG is a struct service. */
void volume_acquire_call(struct rpc_call *c, const ProtobufCMessage *request, void *arg);
void volume_release_call(struct rpc_call *c, const ProtobufCMessage *request, void *arg);
void volume_list_call(struct rpc_call *c, const ProtobufCMessage *request, void *arg);

#endif
