#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A client made by protoc from proto/builder.proto goes through a build by gRPC: every method once, and its errors.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/service.sh"

/usr/bin/python3 -c 'import grpc, google.protobuf' 2>/dev/null || skip 'python3-grpcio is not installed'
protoc -I "$top/proto" --python_out="$tmp" builder.proto || exit
service_start || exit
PYTHONPATH=$tmp timeout 60 /usr/bin/python3 - "${base##*/}" >"$tmp/said" 2>&1 <<'P'
import sys

import builder_pb2 as b
import grpc

service = b.DESCRIPTOR.services_by_name["BuilderService"]
channel = grpc.insecure_channel(sys.argv[1])


def call(name, tenant="acme", **fields):
    method = service.methods_by_name[name]
    request, answer = (getattr(b, t.name) for t in (method.input_type, method.output_type))
    make = channel.unary_stream if name == "StreamBuildLogs" else channel.unary_unary
    send = make(f"/{service.full_name}/{name}", request.SerializeToString, answer.FromString)
    return send(request(**fields), timeout=10, metadata=[("x-tenant-id", tenant)])


def fails(name, **fields):
    try:
        answer = call(name, **fields)
        print("no error:", list(answer) if name == "StreamBuildLogs" else answer)
    except grpc.RpcError as e:
        print(name, e.code().name)


state = b.BuildState.Name
config = {"source": {"docker_image": {"image_uri": "r/x:1"}}, "labels": {"k": "v"}}
created = call("CreateBuild", config=config)
i = created.build_id
print("log", *sorted({e.component for e in call("StreamBuildLogs", build_id=i, follow=True)}))
build = call("GetBuild", build_id=i).build
print("got", state(build.state), build.rootfs_size_bytes, build.metrics.disk_usage_bytes, dict(build.config.labels))
page = call("ListBuilds", state_filter=[b.BUILD_STATE_COMPLETED], page_size=1)
print("listed", page.builds[0].build_id == i, page.total_count)
print("quota", call("GetTenantQuotas").current_usage.daily_builds_used)
print("stats", call("GetBuildStats").successful_builds)
fails("GetBuild", tenant="other", build_id=i)
fails("StreamBuildLogs", tenant="other", build_id=i)
fails("GetBuild", build_id=i, tenant_id="other")
fails("CreateBuild")
print("cancelled", state(call("CancelBuild", build_id=i).state))
print("deleted", call("DeleteBuild", build_id=i).success)
fails("GetBuild", build_id=i)
hang = call("CreateBuild", config={"source": {"docker_image": {"image_uri": "r.example/hang:1"}}}).build_id
fails("DeleteBuild", build_id=hang)
print("cancelled", call("CancelBuild", build_id=hang).success)
print("end", [*call("StreamBuildLogs", build_id=hang, follow=True)][-1].message[:9])
P
is $? 0 'the client ends well'
is "$(cat "$tmp/said")" "log build fetch
got BUILD_STATE_COMPLETED 100000 80000 {'k': 'v'}
listed True 1
quota 1
stats 1
GetBuild NOT_FOUND
StreamBuildLogs NOT_FOUND
GetBuild PERMISSION_DENIED
CreateBuild INVALID_ARGUMENT
cancelled BUILD_STATE_COMPLETED
deleted True
GetBuild NOT_FOUND
DeleteBuild FAILED_PRECONDITION
cancelled True
end cancelled" 'create, follow, get, list, quotas, stats, cancel, delete; strangers and mistakes are told apart'
service_stop
is "$service_status" 0 'the service ends'
done_testing
