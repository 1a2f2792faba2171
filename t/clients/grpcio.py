# SPDX-License-Identifier: GPL-2.0-or-later
"""One build from its creation to its end by grpcio:  grpcio.py HOST:PORT REF [CA [CERT KEY]]
builder_pb2 is in PYTHONPATH. Prints what connect.mjs prints."""
import re
import sys

import builder_pb2 as b
import grpc

address, ref, *files = sys.argv[1:]
service = b.DESCRIPTOR.services_by_name["BuilderService"]
if files:
    ca, cert, key = ([open(f, "rb").read() for f in files] + [None, None])[:3]
    channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(ca, key, cert))
else:
    channel = grpc.insecure_channel(address)


def call(name, **fields):
    method = service.methods_by_name[name]
    request, answer = (getattr(b, t.name) for t in (method.input_type, method.output_type))
    make = channel.unary_stream if name == "StreamBuildLogs" else channel.unary_unary
    send = make(f"/{service.full_name}/{name}", request.SerializeToString, answer.FromString)
    return send(request(**fields), timeout=60, metadata=[("x-tenant-id", "test")])


build_id = call("CreateBuild", config={"source": {"docker_image": {"image_uri": ref}}, "labels": {"from": "grpcio"}}).build_id
print("created", str(bool(re.fullmatch("build_[0-9A-Z]{26}", build_id))).lower())
lines = sum(1 for entry in call("StreamBuildLogs", build_id=build_id, follow=True) if entry.message)
print("followed", str(lines > 3).lower())
build = call("GetBuild", build_id=build_id).build
print("got", b.BuildState.Name(build.state), str(build.rootfs_size_bytes > 0).lower(), build.config.labels["from"], build.error_message)
print("listed", str(call("ListBuilds", page_size=1).builds[0].build_id == build_id).lower())
try:
    call("GetBuild", build_id="build_00000000000000000000000000")
except grpc.RpcError as e:
    print("stranger", e.code().name)
print("artifact", build_id, build.rootfs_checksum, flush=True)
sys.stdin.readline()
print("deleted", str(call("DeleteBuild", build_id=build_id).success).lower())
