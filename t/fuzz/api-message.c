/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A request body as JSON (first byte even) or protobuf: what is taken is written in both forms and read back. The
 * message types are the test's one with a field of each kind and the service's own.
 */
#include <stdlib.h>
#include <string.h>

#include "api/envelope.h"
#include "api/protojson.h"
#include "api/wire.h"
#include "builder.pb-c.h"
#include "t/tools/echo.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const ProtobufCMessageDescriptor *d, const ProtobufCMessage *m)
{
	AUTO_BUF struct buf wire = {0}, json = {0}, json_again = {0};
	struct err e = ERR_INIT;

	wire_encode(&wire, m);
	protojson_encode(&json, m);
	ProtobufCMessage *from_wire = wire_decode(d, wire.data, wire.len, &e);
	ProtobufCMessage *from_json = protojson_decode(d, json.data, json.len, &e);
	if (!from_wire || !from_json)
		abort();
	protojson_encode(&json_again, from_wire);
	if (json.len != json_again.len || memcmp(json.data, json_again.data, json.len))
		abort();
	protobuf_c_message_free_unpacked(from_wire, NULL);
	protobuf_c_message_free_unpacked(from_json, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const ProtobufCMessageDescriptor *const types[] = {
	        &echo__v1__everything__descriptor, &builder__v1__create_build_request__descriptor};
	struct err e = ERR_INIT;
	struct envelope v;

	if (!size)
		return 0;
	const ProtobufCMessageDescriptor *d = types[data[0] / 2 % 2];
	const char *text = (const char *)data + 1;
	if (envelope_read(&v, text, size - 1, 4096) > (ssize_t)size - 1)
		abort();
	ProtobufCMessage *m =
	        data[0] % 2 ? wire_decode(d, text, size - 1, &e) : protojson_decode(d, text, size - 1, &e);
	if (!m && !*e.msg)
		abort();
	if (m) {
		round_trip(d, m);
		protobuf_c_message_free_unpacked(m, NULL);
	}
	return 0;
}
