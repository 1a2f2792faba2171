/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every method and route of builderd-api, from the tables that it serves: kind, HTTP method, path, access, and whether
 * a method streams or may come as GET. For t/5210. */
#include <stdio.h>
#include <string.h>

#include "api/service.h"

static const char *const accesses[] = {
        [RPC_ACCESS_CLOSED] = "closed",
        [RPC_ACCESS_ANYONE] = "anyone",
        [RPC_ACCESS_METRICS] = "metrics",
        [RPC_ACCESS_READ] = "read",
        [RPC_ACCESS_BUILD] = "build",
        [RPC_ACCESS_TENANT_ADMIN] = "tenant-admin",
        [RPC_ACCESS_METALD] = "metald",
        [RPC_ACCESS_ADMIN] = "admin",
};

static bool has_field(const ProtobufCMessageDescriptor *d, const char *name)
{
	return protobuf_c_message_descriptor_get_field_by_name(d, name) != NULL;
}

int main(void)
{
	for (size_t i = 0; i < service_methods_count; i++) {
		const struct rpc_method *m = &service_methods[i];
		printf("method\tPOST\t/%s\t%s\t%s\t%s\t%s\n", m->name, accesses[m->access],
		        m->is_client_stream || m->is_server_stream ? "stream"
		        : m->is_idempotent                         ? "get"
		                                                   : "unary",
		        has_field(m->input, "build_id") ? "build" : "-",
		        has_field(m->input, "config")      ? "config"
		        : has_field(m->input, "tenant_id") ? "tenant"
		                                           : "-");
	}
	for (size_t i = 0; i < service_routes_count; i++) {
		const struct http_route *r = &service_routes[i];
		printf("route\t%s\t%s\t%s\t-\t%s\ttenant\n", r->method, r->prefix, accesses[r->access],
		        r->prefix[strlen(r->prefix) - 1] == '/' ? "build" : "-");
	}
	return 0;
}
