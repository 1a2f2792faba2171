#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks for every method and route that t/tools/api-list prints, with every kind of credential, and compares the outcome.

api-matrix.py LIST URL SOCKET TOKENS   TOKENS: JSON with a build of tenant "mine" (build), and tokens: right, read, other,
                                       expired, revoked, disabled, metrics
Prints the matrix; the last line counts cells and those that are not as they must be, each of which has a "!".
"""
import base64
import http.client
import json
import re
import socket
import struct
import sys
import urllib.parse

listing, url, socket_path, tokens_file = sys.argv[1:5]
tokens = json.load(open(tokens_file))
host = url.split("//")[1]
STATUS = ["ok", "canceled", "unknown", "invalid_argument", "deadline_exceeded", "not_found", "already_exists", "permission_denied",
          "resource_exhausted", "failed_precondition", "aborted", "out_of_range", "unimplemented", "internal", "unavailable",
          "data_loss", "unauthenticated"]


class Local(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(socket_path)


def send(verb, path, headers, body, is_local):
    c = Local("builderd") if is_local else http.client.HTTPConnection(host, timeout=30)
    c.request(verb, path, body=body, headers=headers)
    r = c.getresponse()
    data = r.read()
    c.close()
    return r, data


def code_of(r, data):
    """The code's name, "ok" for an answer, whatever protocol it came in."""
    kind = r.getheader("content-type", "")
    if kind.startswith("application/grpc-web"):
        m = re.search(rb"grpc-status: *(\d+)", data) or re.match(rb"(\d+)", (r.getheader("grpc-status") or "").encode())
        return STATUS[int(m.group(1))]
    if kind.startswith("application/connect+json"):
        while data:
            flags, size = struct.unpack(">BI", data[:5])
            if flags & 2:
                return json.loads(data[5:5 + size]).get("error", {}).get("code", "ok")
            data = data[5 + size:]
        return "cut off"
    if r.status < 300:
        return "ok"
    return json.loads(data).get("code", str(r.status))


def message(row, tenant):
    m = {}
    if row["tenant"] == "config":
        m = {"config": {"source": {"dockerImage": {"imageUri": "r.example/x:1"}}}}
        if tenant:
            m["config"]["tenant"] = {"tenantId": tenant}
    elif row["tenant"] == "tenant" and tenant:
        m["tenantId"] = tenant
    if row["build"] == "build":
        m["buildId"] = tokens["build"]
    return json.dumps(m).encode()


def ask(row, protocol, token=None, tenant=None, header=None, is_local=False):
    headers = {}
    if token:
        headers["Authorization"] = "Bearer " + tokens[token]
    if header:
        headers["X-Tenant-ID"] = header
    path, verb, body = row["path"], row["verb"], None
    if row["kind"] == "route":
        path += tokens["build"] if row["build"] == "build" else ""
        path += "?tenant_id=" + tenant if tenant else ""
    elif protocol == "get":
        verb = "GET"
        path += "?connect=v1&encoding=json&message=" + urllib.parse.quote(message(row, tenant))
    else:
        body = message(row, tenant)
        headers["Content-Type"] = protocol
        if "grpc" in protocol or "connect+" in protocol:
            body = struct.pack(">BI", 0, len(body)) + body
    if row["form"] == "stream" and row["access"] == "anyone":  # some have no end
        headers["Connect-Timeout-Ms"] = "300"
        headers["Grpc-Timeout"] = "300m"
    r, data = send(verb, path, headers, body, is_local)
    return code_of(r, data), data


def protocols(row):
    if row["kind"] == "route":
        return ["-"]
    if row["form"] == "stream":
        return ["application/connect+json", "application/grpc-web+json"]
    return ["application/json", "application/grpc-web+json"] + (["get"] if row["form"] == "get" else [])


DENIED = {"unauthenticated", "permission_denied"}
CLOSED = {"anyone": None, "metrics": {"permission_denied"}, "metald": {"permission_denied"}, "admin": {"permission_denied"}}


def let_in(code):
    return code not in DENIED and code != "internal"


def cells(row, p):
    """name, outcome, is it right"""
    access = row["access"]
    tenants = access in ("read", "build", "tenant-admin")
    if access == "anyone":
        for name in ("none", "other", "expired", "revoked"):
            code, _ = ask(row, p, None if name == "none" else name)
            yield name, code, let_in(code)
        return
    for name in ("none", "expired", "revoked"):
        code, _ = ask(row, p, None if name == "none" else name)
        yield name, code, code == "unauthenticated"
    if not tenants:
        for name in ("other", "right"):
            code, _ = ask(row, p, name)
            yield name, code, code == "permission_denied"
        if access == "metrics":
            code, _ = ask(row, p, "metrics")
            yield "metrics", code, let_in(code)
        else:
            code, _ = ask(row, p, "metrics")
            yield "metrics", code, code == "permission_denied"
        return
    code, _ = ask(row, p, "other", tenant="mine")
    yield "other:named", code, code == "permission_denied"
    nobody, _ = ask(row, p, "other", tenant="nobody")
    yield "other:nobody", nobody, nobody == code
    if row["tenant"] != "config":
        code, data = ask(row, p, "other")
        good = code == "not_found" if row["build"] == "build" else let_in(code)
        yield "other", code, good and tokens["build"].encode() not in data and b"mine" not in data
    code, _ = ask(row, p, "right", tenant="mine", header="other")
    yield "mismatch", code, code == "permission_denied"
    code, _ = ask(row, p, "disabled")
    yield "disabled", code, code == "permission_denied"
    code, _ = ask(row, p, "metrics")
    yield "metrics", code, code == "permission_denied"
    code, _ = ask(row, p, "read")
    yield "read", code, let_in(code) if access == "read" else code == "permission_denied"


def last_cells(row, p):
    if row["access"] in ("read", "build", "tenant-admin"):
        code, _ = ask(row, p, "right", tenant="mine", header="mine")
        yield "right", code, let_in(code)
    if row["access"] in ("metald", "admin", "metrics"):
        code, _ = ask(row, p, is_local=True)
        yield "root", code, let_in(code)


rows = []
for line in open(listing):
    kind, verb, path, access, form, build, tenant = line.rstrip("\n").split("\t")
    rows.append(dict(kind=kind, verb=verb, path=path, access=access, form=form, build=build, tenant=tenant))
# What removes the build comes last.
rows.sort(key=lambda row: row["access"] == "tenant-admin")

total = wrong = 0
lines = {}
for step in (cells, last_cells):
    for row in rows:
        for p in protocols(row):
            for name, code, good in step(row, p):
                total += 1
                wrong += not good
                key = (row["path"], p.replace("application/", ""), row["access"])
                lines.setdefault(key, []).append("%s=%s%s" % (name, code, "" if good else "!"))
for (path, p, access), outcome in sorted(lines.items()):
    print(path, p, access + ":", *outcome)
print(total, "cells,", wrong, "wrong")
