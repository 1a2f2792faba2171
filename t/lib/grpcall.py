# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls the service of t/tools/echo.proto by grpcio, the Python client of gRPC; PYTHONPATH has the code that protoc
made of it. A line of output per message, the last line is the status.
    grpcall.py PORT METHOD JSON [stream] [gzip] [timeout=SECONDS] [cancel=MESSAGES] [meta=NAME:VALUE]"""
import sys

import grpc
from google.protobuf import json_format
from t.tools import echo_pb2

port, method, text, *options = sys.argv[1:]
named = dict(o.split("=", 1) for o in options if "=" in o)
kinds = {"Echo": (echo_pb2.Everything, echo_pb2.Everything)}
request, answer = kinds.get(method, (echo_pb2.CountRequest, echo_pb2.CountAnswer))


def say(message):
    print(json_format.MessageToJson(message, indent=None))


channel = grpc.insecure_channel("127.0.0.1:" + port)
make = channel.unary_stream if "stream" in options else channel.unary_unary
call = make("/echo.v1.EchoService/" + method, request.SerializeToString, answer.FromString)
arguments = {
    "timeout": float(named.get("timeout", 10)),
    "metadata": [tuple(named["meta"].split(":"))] if "meta" in named else None,
    "compression": grpc.Compression.Gzip if "gzip" in options else None,
}
message = json_format.Parse(text, request())
try:
    if "stream" in options:
        stream = call(message, **arguments)
        for n, got in enumerate(stream, 1):
            say(got)
            if str(n) == named.get("cancel"):
                stream.cancel()
        status = stream
    else:
        got, status = call.with_call(message, **arguments)
        say(got)
    echoed = [v for k, v in status.initial_metadata() if k == "x-echo"]
    print(*echoed, status.code().name)
except grpc.RpcError as e:
    print(e.code().name, e.details())
    for name, value in e.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            print(value.hex())
