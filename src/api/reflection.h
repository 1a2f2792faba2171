/* SPDX-License-Identifier: GPL-2.0-or-later */
/* gRPC's server reflection: grpc/grpc doc/server-reflection.md. */
#ifndef API_REFLECTION_H
#define API_REFLECTION_H

#include "api/rpc.h"
#include "reflection.pb-c.h"

/* Answer one ServerReflectionRequest of a stream with one response. METHODS: all N that are served. */
void reflection_answer(struct rpc_call *c, const ProtobufCMessage *request, const struct rpc_method *methods, size_t n);

#endif
