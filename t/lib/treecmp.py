#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares two unpacked trees of one image:  treecmp.py [--ours] [--layers] [--image LAYOUT:TAG] LEFT RIGHT

Type, mode, uid, gid, size, content, link target, hard link groups, device number, xattrs (user.*, security.capability) and mtime
must be equal. With --image a directory's mtime counts only if the last layer that touches it or its entries states it: nothing
says what it is otherwise. --layers: names of one inode are compared as groups only, since overlayfs counts those that a layer hides.
--ours leaves out what builderd's finishing pass adds to LEFT. Exit code 1 and the differences otherwise.
"""
import argparse, gzip, hashlib, json, os, shutil, stat, subprocess, sys, tarfile, tempfile

OURS = {"container.cmd", "container.env", "usr/bin/metald-init", "sbin/init", "usr/sbin/init", "bin/init", "usr/bin/init"}


def walk(root):
    out = {}
    for dirpath, dirs, files in os.walk(root):
        rel = os.path.relpath(dirpath, root)
        for name in dirs + files:
            path = name if rel == "." else rel + "/" + name
            if path == "lost+found" or path.startswith("lost+found/"):
                continue
            out[path] = os.lstat(os.path.join(dirpath, name))
    return out


def content(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        shutil.copyfileobj(f, type("Sink", (), {"write": lambda self, b: h.update(b)})())
    return h.hexdigest()


def xattrs(path):
    return {n: os.getxattr(path, n, follow_symlinks=False) for n in os.listxattr(path, follow_symlinks=False)
            if n.startswith("user.") or n == "security.capability"}


def facts(root, path, st):
    full = os.path.join(root, path)
    kind = stat.S_IFMT(st.st_mode)
    f = {"type": "%o" % kind, "uid": st.st_uid, "gid": st.st_gid, "xattrs": xattrs(full)}
    if kind == stat.S_IFLNK:
        f["target"] = os.readlink(full)
    else:
        f["mode"] = "%04o" % stat.S_IMODE(st.st_mode)
    if kind == stat.S_IFREG:
        f["size"], f["sha256"] = st.st_size, content(full)
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        f["rdev"] = st.st_rdev
    if kind != stat.S_IFDIR:
        f["mtime"], f["nlink"] = st.st_mtime_ns, st.st_nlink
    return f


def layer_names(layout, descriptor):
    path = os.path.join(layout, "blobs", descriptor["digest"].replace(":", "/"))
    with tempfile.TemporaryFile() as plain:
        kind = descriptor["mediaType"]
        if kind.endswith("zstd"):
            subprocess.run(["zstd", "-dcq", path], stdout=plain, check=True)
        else:
            with (gzip.open if kind.endswith("gzip") else open)(path, "rb") as f:
                shutil.copyfileobj(f, plain)
        plain.seek(0)
        with tarfile.open(fileobj=plain) as tar:
            for entry in tar:
                yield os.path.normpath(entry.name.lstrip("/")), entry.isdir()


def stated_dirs(image):
    """Directories whose mtime the image decides."""
    layout, tag = image.rsplit(":", 1)
    load = lambda d: json.load(open(os.path.join(layout, "blobs", d["digest"].replace(":", "/"))))
    with open(os.path.join(layout, "index.json")) as f:
        entry = [m for m in json.load(f)["manifests"] if m["annotations"]["org.opencontainers.image.ref.name"] == tag][0]
    stated, touched = {}, {}
    for number, layer in enumerate(load(entry)["layers"]):
        for name, is_dir in layer_names(layout, layer):
            touched[os.path.dirname(name)] = number
            if is_dir:
                stated[name] = number
    return {d for d, number in stated.items() if number >= touched.get(d, -1)}


def hardlinks(tree):
    groups = {}
    for path, st in tree.items():
        if not stat.S_ISDIR(st.st_mode) and st.st_nlink > 1:
            groups.setdefault((st.st_dev, st.st_ino), []).append(path)
    return {tuple(sorted(g)) for g in groups.values()}


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("--ours", action="store_true")
    p.add_argument("--layers", action="store_true")
    p.add_argument("--image")
    p.add_argument("left")
    p.add_argument("right")
    a = p.parse_args()
    left, right = walk(a.left), walk(a.right)
    stated = stated_dirs(a.image) if a.image else set()
    ignored = OURS if a.ours else set()
    changed_by_us = {os.path.dirname(p) for p in ignored}
    bad = []
    for path in sorted(left.keys() | right.keys()):
        if path in ignored or (path in changed_by_us and path not in right):
            continue
        if path not in left or path not in right:
            bad.append("only in %s: %s" % ("LEFT" if path in left else "RIGHT", path))
            continue
        l, r = facts(a.left, path, left[path]), facts(a.right, path, right[path])
        if a.layers:
            l.pop("nlink", None), r.pop("nlink", None)
        if path in stated and path not in changed_by_us:
            l["mtime"], r["mtime"] = left[path].st_mtime_ns, right[path].st_mtime_ns
        bad += ["%s: %s is %s, want %s" % (path, k, l.get(k), r.get(k)) for k in sorted(l.keys() | r.keys()) if l.get(k) != r.get(k)]
    for group in sorted(hardlinks({p: s for p, s in left.items() if p not in ignored}) ^ hardlinks(right)):
        bad.append("linked in one tree only: " + " ".join(group[:5]))
    print("\n".join(bad[:40]))
    print("%d paths, %d directory times stated, %d differences" % (len(left), len(stated), len(bad)))
    sys.exit(bool(bad))


main()
