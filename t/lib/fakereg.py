#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A registry that misbehaves, and a token server:  fakereg.py LOG [KEY CERT]

Prints its port, listens on all of 127.0.0.0/8 and stays. LOG gets a line per request: HOST METHOD PATH auth=SCHEME|- range=...
The repository's name says what goes wrong with its one image (a config and a layer of SIZE bytes):
  /v2/WHAT/manifests/1    /token (GET, and POST for refresh tokens; JWTs for docker-registry when KEY and CERT are given)
"""
import base64, hashlib, json, os, subprocess, sys, threading, time, urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SIZE = 300000
LAYER = hashlib.shake_256(b"layer").digest(SIZE)


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


CONFIG = json.dumps({"os": "linux", "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
                     "rootfs": {"type": "layers", "diff_ids": [digest(b"x")]}}).encode()
OCI = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": OCI,
                       "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(CONFIG), "size": len(CONFIG)},
                       "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(LAYER), "size": SIZE}]}).encode()
log_lock, counts = threading.Lock(), {}


def jwt(scope, service):
    b64 = lambda b: base64.urlsafe_b64encode(b).rstrip(b"=").decode()
    key, cert = sys.argv[2:4]
    der = "".join(l for l in open(cert).read().splitlines() if "-----" not in l)
    kind, name, actions = scope.split(":")
    now = int(time.time())
    claims = {"iss": "fakereg", "sub": "tester", "aud": service, "exp": now + 300, "nbf": now - 10, "iat": now, "jti": "1",
              "access": [{"type": kind, "name": name, "actions": actions.split(",")}]}
    text = b64(json.dumps({"typ": "JWT", "alg": "RS256", "x5c": [der]}).encode()) + "." + b64(json.dumps(claims).encode())
    sig = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key], input=text.encode(), capture_output=True, check=True).stdout
    return text + "." + b64(sig)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def note(self):
        auth = self.headers.get("Authorization", "-").split(" ")[0]
        with log_lock, open(sys.argv[1], "a") as f:
            f.write("%s %s %s auth=%s range=%s\n" % (self.headers.get("Host"), self.command, self.path, auth, self.headers.get("Range", "-")))

    def nth(self):
        with log_lock:
            counts[self.path] = counts.get(self.path, 0) + 1
            return counts[self.path]

    def answer(self, status, body=b"", headers=(), length=None):
        self.send_response(status)
        for k, v in headers:
            self.send_header(k, v)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        if length is not None and length != len(body):
            self.close_connection = True

    def origin(self, host="127.0.0.1"):
        return "http://%s:%d" % (host, self.server.server_port)

    def do_GET(self):
        self.note()
        url = urllib.parse.urlsplit(self.path)
        parts = url.path.strip("/").split("/")
        if parts[0] == "token":
            return self.token(dict(urllib.parse.parse_qsl(url.query)))
        if parts[0] == "v2" and len(parts) >= 4:
            what, kind = parts[1], parts[-2]
            return getattr(self, "do_" + kind)(what)
        if parts[0] == "blob":
            return self.answer(200, LAYER)
        self.answer(404)

    def do_POST(self):
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()))
        self.note()
        if form.get("refresh_token") != "identity" or form.get("grant_type") != "refresh_token":
            return self.answer(401, b'{"errors":[{"message":"bad refresh token"}]}')
        self.token(form, "access_token", True)

    def token(self, q, name="token", known=False):
        basic = base64.b64encode(b"tester:secret").decode()
        known = known or self.headers.get("Authorization") == "Basic " + basic
        if not known and "private" in q.get("scope", ""):
            return self.answer(401, b'{"errors":[{"message":"who are you?"}]}')
        value = jwt(q["scope"], q["service"]) if len(sys.argv) > 3 else "good" if known else "anonymous"
        if "badtoken" in q.get("scope", ""):
            value = "a\r\nX-Injected: 1"
        self.answer(200, json.dumps({name: value, "expires_in": 60}).encode())

    def challenge(self, text):
        self.answer(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}', [("WWW-Authenticate", text)])

    def do_manifests(self, what):
        auth = self.headers.get("Authorization", "")
        bearer = 'Bearer realm="%s/token",service="fake",scope="ignored"'
        if what == "redirect" and not auth.startswith("Basic "):
            return self.challenge('Basic realm="x"')
        if what in ("private", "bearer", "badtoken") and auth not in ("Bearer good", "Bearer anonymous"):
            return self.challenge(bearer % self.origin())
        if what == "realm-metadata":
            return self.challenge('Bearer realm="http://169.254.169.254/token",service="fake"')
        if what == "realm-foreign":
            return self.challenge('Bearer realm="http://token.example.com/token",service="fake"')
        if what == "realm-junk":
            return self.challenge('Bearer realm="file:///etc/passwd",service="fake"')
        if what == "challenge-junk":
            return self.challenge('Bearer realm="x')
        if what == "loop":
            return self.answer(302, b"", [("Location", self.path)])
        if what == "forbidden":
            return self.answer(403, b'{"errors":[{"code":"DENIED","message":"not for you\\u001b[31m"}]}')
        if what == "broken":
            return self.answer(500, b"oops")
        if what == "busy" and self.nth() == 1:
            return self.answer(429, b"", [("Retry-After", "1")])
        if what == "busy-long":
            return self.answer(429, b"", [("Retry-After", "3600")])
        if what == "html":
            return self.answer(200, b"<html>", [("Content-Type", "text/html")])
        if what == "huge":
            return self.answer(200, b" " * (5 << 20), [("Content-Type", OCI)])
        if what == "huge-header":
            return self.answer(200, MANIFEST, [("X-%d" % i, "x" * 8000) for i in range(12)])
        if what == "hang":
            return time.sleep(20)
        if what == "missing":
            return self.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}')
        self.answer(200, MANIFEST, [("Content-Type", OCI)])

    def do_blobs(self, what):
        if not self.path.endswith(digest(LAYER)):
            return self.answer(200, CONFIG)
        n, rng = self.nth(), self.headers.get("Range")
        start = int(rng.split("=")[1].split("-")[0]) if rng else 0
        part = [("Content-Range", "bytes %d-%d/%d" % (start, SIZE - 1, SIZE))]
        to = {"redirect": self.origin("127.0.0.2") + "/blob", "inward": "http://169.254.169.254/latest/meta-data/", "private-hop": "http://10.1.2.3/x",
              "file": "file:///etc/passwd", "user": "http://a:b@127.0.0.1/", "empty-hop": ""}
        if what in to:
            return self.answer(307, b"", [("Location", to[what])])
        if what == "wrong":
            return self.answer(200, b"X" + LAYER[1:])
        if what == "cut" and n == 1:
            return self.answer(200, LAYER[:100000], length=SIZE)
        if what == "cut" and rng:
            return self.answer(206, LAYER[start:], part)
        if what == "no-range" and n == 1:
            return self.answer(200, LAYER[:100000], length=SIZE)
        if what == "wrong-range":
            if n == 1:
                return self.answer(200, LAYER[:100000], length=SIZE)
            return self.answer(206, LAYER, [("Content-Range", "bytes 0-%d/%d" % (SIZE - 1, SIZE))])
        if what == "always-cut":
            return self.answer(200, LAYER[:1000], length=SIZE)
        if what == "short":
            return self.answer(200, LAYER[:1000])
        if what in ("long", "chunked-short"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            data = LAYER + b"more" if what == "long" else LAYER[:5000]
            self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))
            return
        if what == "gone":
            return self.answer(404)
        self.answer(200, LAYER)


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_port, flush=True)
try:
    server.serve_forever()
except (KeyboardInterrupt, BrokenPipeError):
    pass
