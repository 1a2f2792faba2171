#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds one image and prints the seconds from the request to COMPLETED as a client sees them, then the job's own times:
build-time.py URL REFERENCE"""
import http.client, json, sys, time, urllib.parse

url, reference = sys.argv[1:]
connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)


def call(method, body):
    connection.request("POST", "/builder.v1.BuilderService/" + method, json.dumps(body),
                       {"Content-Type": "application/json", "X-Tenant-ID": "bench"})
    return json.load(connection.getresponse())


began = time.monotonic()
build_id = call("CreateBuild", {"config": {"source": {"dockerImage": {"imageUri": reference}}}})["buildId"]
while True:
    job = call("GetBuild", {"buildId": build_id})["build"]
    if job["state"] in ("BUILD_STATE_COMPLETED", "BUILD_STATE_FAILED", "BUILD_STATE_CANCELLED"):
        break
    time.sleep(max(0.005, (time.monotonic() - began) / 100))  # asking must not cost what is measured: one per cent late at most
took = time.monotonic() - began
if job["state"] != "BUILD_STATE_COMPLETED":
    sys.exit(job["errorMessage"])
print("%.3f %s" % (took, "  ".join("%s %s" % (k[:-10], v) for k, v in job["metrics"].items() if k.endswith("DurationMs")) + " ms"))
