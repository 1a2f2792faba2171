#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the layer corpus through a builderd:  corpus.py URL CASES CHECK_TREE PINNED MOUNTPOINT [NAME...]

CASES holds one OCI layout with expected.json per case and is the daemon's LOCAL_IMAGES_DIR. CHECK_TREE is the corpus' own tree
checker. PINNED lists "CASE OUTCOME": what passes today. A pinned case that gives anything else fails; one that passes
and is not pinned fails as well, until it is written down. Cases that neither pass nor are pinned are counted in comments.
Prints TAP result lines "ok - ..." without numbers (the caller numbers them) and "# group ..." lines.
"""
import collections, concurrent.futures, importlib.util, json, os, subprocess, sys, threading, time, urllib.request

url, cases, checker, pinned_file, mountpoint = sys.argv[1:6]
spec = importlib.util.spec_from_file_location("check_tree", checker)
check_tree = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_tree)
mount_lock = threading.Lock()
DONE = {"BUILD_STATE_COMPLETED", "BUILD_STATE_FAILED", "BUILD_STATE_CANCELLED"}
LIMIT_S = 120


def call(tenant, method, body):
    request = urllib.request.Request(url + "/builder.v1.BuilderService/" + method, json.dumps(body).encode(),
                                     {"Content-Type": "application/json", "X-Tenant-ID": tenant})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as e:
        return json.load(e)


def build(case):
    """Each case is a tenant of its own: many share layers, and a layer in the cache is not unpacked again."""
    while True:
        made = call(case, "CreateBuild", {"config": {"source": {"dockerImage": {"imageUri": "oci:" + case + ":latest"}},
                                               "target": {"microvmRootfs": {"skipFinishing": True}}}})
        if made.get("code") != "resource_exhausted":
            break
        time.sleep(0.2)
    if "buildId" not in made:
        return made
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        job = call(case, "GetBuild", {"buildId": made["buildId"]}).get("build", {})
        if job.get("state") in DONE:
            return job
        time.sleep(0.02)
    return {"state": "hung", "buildId": made["buildId"], "errorMessage": "no end after %d s" % LIMIT_S}


def outcome(case, expected):
    """-> (name of the outcome that is right or None, what was got)"""
    job = build(case)
    if job.get("state") == "BUILD_STATE_COMPLETED":
        with mount_lock:
            subprocess.run(["mount", "-o", "ro,loop,noload", job["rootfsPath"], mountpoint], check=True)
            try:
                match, differences = check_tree.judge(mountpoint, expected)
            finally:
                subprocess.run(["umount", mountpoint], check=True)
        call(case, "DeleteBuild", {"buildId": job["buildId"]})
        return ("tree" if match == 0 else "tree-alt%d" % match) if match is not None else None, "; ".join(differences[:4])
    text = job.get("errorMessage") or job.get("message") or job.get("state", "?")
    kind = text.split(":")[0]
    for i, o in enumerate(check_tree.outcomes(expected)):
        right = o.get("error")
        if right and kind in ([right] if isinstance(right, str) else right):
            return kind + ("" if i == 0 else "-alt%d" % i), text
    return None, text


def main():
    with open(pinned_file) as f:
        pinned = dict(line.split()[:2] for line in f if line.strip() and not line.startswith("#"))
    names = sys.argv[6:] or sorted(n for n in os.listdir(cases) if os.path.exists(os.path.join(cases, n, "expected.json")))
    expected = {n: json.load(open(os.path.join(cases, n, "expected.json"))) for n in names}
    groups = collections.defaultdict(lambda: [0, 0])
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for name, (got, text) in zip(names, pool.map(lambda n: outcome(n, expected[n]), names)):
            group = groups[expected[name].get("group", name.split("-")[0])]
            group[0] += got is not None
            group[1] += 1
            text = text.encode("ascii", "replace").decode().replace("\n", " ")[:300]
            want = "|".join(o.get("error", "tree") if isinstance(o.get("error", "tree"), str) else "/".join(o["error"])
                            for o in check_tree.outcomes(expected[name]))
            if name in pinned and got == pinned[name]:
                print("ok - %s %s" % (name, got))
            elif name in pinned:
                print("not ok - %s: got %s (%s), pinned is %s" % (name, got, text, pinned[name]))
            elif got:
                print("not ok - %s: %s passes: pin it" % (name, got))
            else:
                print("# open: %s wants %s, got: %s" % (name, want, text))
            sys.stdout.flush()
    for name in sorted(pinned.keys() - expected.keys()):
        if not sys.argv[6:]:
            print("not ok - %s is pinned and not in the corpus" % name)
    for group, (passing, total) in sorted(groups.items()):
        print("# group %-10s %3d of %3d" % (group, passing, total))
    print("# all %d of %d" % tuple(map(sum, zip(*groups.values()))))


main()
