#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An API server for tests of builderctl: plays builds by the clock. fake-api.py PORT-FILE ROOTFS

The image says how a build goes: "ok", "slow", "fail", "refuse", "away" (the server drops two answers on the way), "cut" (its
artifact breaks off once half way), "rotten" (its artifact has a flipped byte). Requests are kept as lines on stdout.
"""
import hashlib, http.server, json, os, struct, sys, threading, time

STEPS = [("PULLING", "resolving the image", 0, 0), ("PULLING", "downloading layers", 29_400_000, 33),
         ("EXTRACTING", "layer 1/2: unpacking", 28_100_000, 60), ("EXTRACTING", "layer 2/2: unpacking", 1_300_000, 95),
         ("BUILDING", "finishing the root file system", 0, 96)]
builds, lock = {}, threading.Lock()
rootfs = open(sys.argv[2], "rb").read()
checksum = "sha256:" + hashlib.sha256(rootfs).hexdigest()


def now(t):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(t)) + ".%03dZ" % (t % 1 * 1000)


def job(b):
    step_s = 1.2 if b["image"] == "slow" else 0.12
    t = ((b["end"] or time.time()) - b["begin"]) / step_s
    i = min(int(t), len(STEPS))
    j = {"buildId": b["id"], "createdAt": now(b["begin"]), "config": b["config"], "state": "BUILD_STATE_PENDING"}
    if b["end"]:
        return j | {"state": "BUILD_STATE_CANCELLED", "errorMessage": "cancelled: by the client"}
    if i < len(STEPS):
        state, step, size, percent = STEPS[i]
        before = STEPS[i - 1][3] if i else 0
        j |= {"state": "BUILD_STATE_" + state, "currentStep": step, "progressPercent": int(before + (percent - before) * (t - i))}
        if size:
            j |= {"bytesDone": str(int(size * (t - i))), "bytesTotal": str(size)}
        return j
    if b["image"] == "fail":
        return j | {"state": "BUILD_STATE_FAILED", "progressPercent": 60,
                    "errorMessage": "digest-mismatch: layer 2/2 has sha256:00 \x1b[31mred instead of sha256:11"}
    return j | {"state": "BUILD_STATE_COMPLETED", "progressPercent": 100, "rootfsPath": "/srv/builds/%s.ext4" % b["id"],
                "rootfsSizeBytes": str(len(rootfs)), "rootfsChecksum": checksum,
                "imageMetadata": {"imageDigest": "sha256:" + "ab" * 32},
                "metrics": {"pullDurationMs": "410", "extractDurationMs": "1220", "buildDurationMs": "90", "totalDurationMs": "1804",
                            "diskUsageBytes": "1234567"}}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, doc):
        body = json.dumps(doc).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status, code, message):
        self.answer(status, {"code": code, "message": message})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        method = self.path.rsplit("/", 1)[1]
        is_stream = "connect+" in self.headers["Content-Type"]
        request = json.loads(body[5:] if is_stream else body)
        print(json.dumps({"method": method, "request": request, "headers": dict(self.headers)}), flush=True)
        if method == "CreateBuild":
            return self.create(request)
        if method == "ListBuilds":
            return self.list(request)
        b = builds.get(request["buildId"])
        if not b:
            return self.refuse(404, "not_found", "there is no build %s" % request["buildId"])
        if method == "GetBuild" and b["away"]:
            b["away"] -= 1
            self.close_connection = True
            return None
        if method == "GetBuild":
            return self.answer(200, {"build": job(b)})
        if method == "CancelBuild":
            b["end"] = time.time()
            return self.answer(200, {"success": True, "state": "BUILD_STATE_CANCELLED"})
        if method == "DeleteBuild":
            del builds[b["id"]]
            return self.answer(200, {"success": True})
        return self.logs(b, request.get("follow"))

    def create(self, request):
        image = request["config"]["source"]["dockerImage"]["imageUri"]
        if image == "refuse":
            return self.refuse(429, "resource_exhausted", "max_daily_builds: 5 of 5 used; there is room again at midnight, UTC")
        with lock:
            b = {"id": "build_%026d" % (len(builds) + 1), "image": image, "begin": time.time(), "end": 0, "config": request["config"],
                 "away": 2 if image == "away" else 0, "cut": image == "cut"}
            b["config"]["source"]["dockerImage"].pop("auth", None)
            builds[b["id"]] = b
        return self.answer(200, {"buildId": b["id"], "state": "BUILD_STATE_PENDING", "createdAt": now(b["begin"])})

    def list(self, request):
        all_ = sorted(builds.values(), key=lambda b: b["id"], reverse=True)
        begin = int(request["pageToken"] or 0)
        page = all_[begin:begin + min(request["pageSize"], 2)]  # small pages, so that there are several
        more = {"nextPageToken": str(begin + 2)} if begin + 2 < len(all_) else {}
        return self.answer(200, {"builds": [job(b) for b in page], "totalCount": len(all_)} | more)

    def logs(self, b, follow):
        self.send_response(200)
        self.send_header("Content-Type", "application/connect+json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

        def send(flags, doc):
            data = json.dumps(doc).encode()
            data = struct.pack(">BI", flags, len(data)) + data
            for part in data[:3], data[3:]:  # in two pieces: an envelope may come like that
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        said = ""
        while True:
            j = job(b)
            if j.get("currentStep", said) != said:
                said = j["currentStep"]
                send(0, {"timestamp": now(time.time()), "level": "info", "message": said, "component": "build"})
            if not follow or "currentStep" not in j:
                break
            time.sleep(0.02)
        send(0, {"timestamp": now(time.time()), "level": "warn", "message": "the \x1b]0;evil\x07 end", "component": "build"})
        send(2, {})
        self.wfile.write(b"0\r\n\r\n")

    def do_GET(self):
        b = builds.get(self.path.rsplit("/", 1)[1])
        if not b:
            return self.refuse(404, "not_found", "there is no such build")
        data = rootfs
        if b["image"] == "rotten":
            data = data[:-1] + b"\xff"
        begin = 0
        if self.headers.get("Range") and self.headers.get("If-Range", '"%s"' % checksum) == '"%s"' % checksum:
            begin = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        print(json.dumps({"method": "artifact", "begin": begin}), flush=True)
        self.send_response(206 if begin else 200)
        self.send_header("ETag", '"%s"' % checksum)
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        end = len(data)
        if b["cut"]:
            b["cut"], end, self.close_connection = False, len(data) // 2 + 12345, True
        for at in range(begin, end, 1 << 20):
            if b["image"] == "slow":
                time.sleep(0.1)
            self.wfile.write(data[at:min(at + (1 << 20), end)])
        return None


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # clients leave


server = Server(("127.0.0.1", 0), Handler)
with open(sys.argv[1] + ".new", "w") as f:
    f.write(str(server.server_address[1]))
os.rename(sys.argv[1] + ".new", sys.argv[1])
server.serve_forever()
