/* SPDX-License-Identifier: GPL-2.0-or-later */
/* builder.v1.AdminService: the operator's records of tenants and tokens. */
#ifndef API_ADMIN_H
#define API_ADMIN_H

#include "api/rpc.h"

void admin_set_tenant(struct rpc_call *c, const ProtobufCMessage *request, void *arg);
void admin_get_tenant(struct rpc_call *c, const ProtobufCMessage *request, void *arg);
void admin_list_tenants(struct rpc_call *c, const ProtobufCMessage *request, void *arg);
void admin_remove_tenant(struct rpc_call *c, const ProtobufCMessage *request, void *arg);
void admin_create_token(struct rpc_call *c, const ProtobufCMessage *request, void *arg);
void admin_list_tokens(struct rpc_call *c, const ProtobufCMessage *request, void *arg);
void admin_revoke_token(struct rpc_call *c, const ProtobufCMessage *request, void *arg);
void admin_get_audit_end(struct rpc_call *c, const ProtobufCMessage *request, void *arg);

#endif
