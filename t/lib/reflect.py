#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""reflect.py HOST:PORT v1|v1alpha: asks a server's reflection and prints what it says. Needs python3-grpcio; messages are
read and written here, field by field."""
import queue
import sys

import grpc


def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def text(field, value):
    return varint(field << 3 | 2) + varint(len(value)) + value.encode()


def fields(data):
    """(number, value) of a message: ints and bytes."""
    at = 0

    def number():
        nonlocal at
        n = shift = 0
        while True:
            byte = data[at]
            at += 1
            n |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return n

    while at < len(data):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
        elif key & 7 == 2:
            size = number()
            yield key >> 3, data[at : at + size]
            at += size
        else:
            raise ValueError("wire type %d" % (key & 7))


def one(data, number, default=b""):
    return next((v for n, v in fields(data) if n == number), default)


def several(data, number):
    return [v for n, v in fields(data) if n == number]


class Talk:
    def __init__(self, channel, version):
        call = channel.stream_stream("/grpc.reflection.%s.ServerReflection/ServerReflectionInfo" % version)
        self.questions = queue.Queue()
        self.answers = call(iter(self.questions.get, None), timeout=30)

    def ask(self, question):
        self.questions.put(question)
        return next(self.answers)

    def end(self):
        self.questions.put(None)
        assert next(self.answers, None) is None
        print("end", self.answers.code().name)


def print_answer(answer, what):
    if one(answer, 7, None) is not None:
        error = one(answer, 7)
        print("error", one(error, 1, 0), one(error, 2).decode())
        return []
    print(what)
    return several(one(answer, 4), 1)


def describe(files):
    for f in files:
        print("file", one(f, 1).decode())
        for s in several(f, 6):
            name = "%s.%s" % (one(f, 2).decode(), one(s, 1).decode())
            for m in several(s, 2):
                print("method %s/%s" % (name, one(m, 1).decode()))


def main(address, version):
    channel = grpc.insecure_channel(address)
    talk = Talk(channel, version)
    for s in several(one(talk.ask(text(7, "*")), 6), 1):
        name = one(s, 1).decode()
        describe(print_answer(talk.ask(text(4, name)), "service " + name))
    for name in ("builder.v1.BuildJob", "builder.v1.BuildJob.build_id", "builder.v1.BuildState",
                 "builder.v1.BuilderService.GetBuild", "google.protobuf.Timestamp", "builder.v1.Nothing", "builder.v1.BuildJo"):
        print_answer(talk.ask(text(4, name)), "symbol " + name)
    print_answer(talk.ask(text(3, "builder.proto")), "name builder.proto")
    print_answer(talk.ask(text(1, "host")), "nothing")
    talk.end()
    flood = Talk(channel, version)
    for _ in range(99):
        flood.questions.put(text(4, "builder.v1.BuilderService"))
    flood.ask(text(4, "builder.v1.BuilderService"))
    n = 1
    while n < 100:
        assert one(next(flood.answers), 4, None) is not None
        n += 1
    print("flood", n)
    flood.end()


try:
    main(*sys.argv[1:])
except grpc.RpcError as e:
    print(e.code().name, e.details())
    sys.exit(1)
