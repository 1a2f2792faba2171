#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes small OCI images without network:  mkimage.py DIR TAG [OPTION...] RECIPE...

DIR is an OCI layout (made if missing, TAG is replaced in it). A recipe is a list of words:
  layer[=gzip|zstd|none]          a new layer follows (gzip)
  d:PATH[,ATTR...]                directory
  f:PATH[,ATTR...]=TEXT           file; TEXT may hold \\n
  n:PATH[,ATTR...]=BYTES          file of that many bytes that do not compress, the same on every run
  r:PATH[,ATTR...]=BYTES          file of that many bytes that compress well
  x:PATH[,ATTR...]=FILE           file with FILE's content and mode
  l:PATH[,ATTR...]=TARGET         symbolic link
  h:PATH=TARGET                   hard link
  p:PATH[,ATTR...]                fifo
  c:PATH[,ATTR...]=MAJOR:MINOR    character device
  w:PATH                          whiteout of PATH
  o:DIR                           opaque whiteout in DIR
  tree:DIR                        everything below DIR, owned by 0:0
ATTR: mode=0755 uid=1 gid=2 mtime=SECONDS x.NAME=VALUE (an xattr)
Options: --cmd --entrypoint (shell words) --env K=V --user --workdir --label K=V --expose --volume --stop-signal
  --arch --os  platform in config and index          --docker      Docker's media types instead of OCI's
  --layer-type TYPE   media type of every layer      --index TAG2  TAG becomes an index with TAG2 as another entry
  --wrong-diff-id     the last diffID does not fit   --wrong-blob  the last layer's bytes do not fit their digest
  --truncate          the last layer's blob is cut   --drop-blob   the last layer's blob is missing
"""
import argparse, gzip, hashlib, io, json, os, platform, random, shlex, subprocess, sys, tarfile

MTIME = 1700000000
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def entry(word):
    """'f:a/b,mode=0644=text' -> kind, path, attributes, value"""
    kind, rest = word.split(":", 1)
    head, attrs, value = rest, {}, None
    parts = rest.split(",")
    path = parts[0]
    if "=" in path:
        path, value = rest.split("=", 1)
        return kind, path, attrs, value
    for i, part in enumerate(parts[1:]):
        key, val = part.split("=", 1)
        if "=" in val:  # the last attribute: what follows is the value, commas and all
            val, first = val.split("=", 1)
            attrs[key] = val
            value = ",".join([first] + parts[i + 2:])
            break
        attrs[key] = val
    return kind, path, attrs, value


def add_entry(tar, word):
    kind, path, attrs, value = entry(word)
    if kind == "tree":
        def root(info):
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            return info
        for name in sorted(os.listdir(path)):
            tar.add(os.path.join(path, name), arcname=name, filter=root)
        return
    info = tarfile.TarInfo(path)
    info.mtime = int(attrs.pop("mtime", MTIME))
    info.mode = {"d": 0o755, "l": 0o777}.get(kind, 0o644)
    data = b""
    if kind == "d":
        info.type = tarfile.DIRTYPE
    elif kind == "f":
        data = value.replace("\\n", "\n").encode()
    elif kind == "n":
        data = random.Random(path).randbytes(int(value))
    elif kind == "r":
        data = (b"the same line again and again, %s\n" % path.encode() * (int(value) // 30))[:int(value)]
    elif kind == "x":
        with open(value, "rb") as f:
            data = f.read()
        info.mode = os.stat(value).st_mode & 0o7777
    elif kind in "lh":
        info.type = tarfile.SYMTYPE if kind == "l" else tarfile.LNKTYPE
        info.linkname = value
    elif kind == "p":
        info.type = tarfile.FIFOTYPE
    elif kind == "c":
        info.type = tarfile.CHRTYPE
        info.devmajor, info.devminor = map(int, value.split(":"))
    elif kind == "w":
        head, tail = os.path.split(path)
        info.name = os.path.join(head, ".wh." + tail)
    elif kind == "o":
        info.name = os.path.join(path, ".wh..wh..opq")
    else:
        sys.exit("mkimage: unknown word: " + word)
    info.mode = int(attrs.pop("mode", oct(info.mode)[2:]), 8)
    info.uid, info.gid = int(attrs.pop("uid", 0)), int(attrs.pop("gid", 0))
    for key, val in attrs.items():
        if not key.startswith("x."):
            sys.exit("mkimage: unknown attribute %s in %s" % (key, word))
        info.pax_headers["SCHILY.xattr." + key[2:]] = val
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def layer_tar(words):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for word in words:
            add_entry(tar, word)
    return out.getvalue()


def compress(data, how):
    if how == "gzip":
        return gzip.compress(data, 6, mtime=0)
    if how == "zstd":
        return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return data


class Layout:
    def __init__(self, path):
        self.path = path
        os.makedirs(path + "/blobs/sha256", exist_ok=True)
        with open(path + "/oci-layout", "w") as f:
            f.write('{"imageLayoutVersion":"1.0.0"}')
        try:
            with open(path + "/index.json") as f:
                self.entries = json.load(f)["manifests"]
        except FileNotFoundError:
            self.entries = []

    def blob_path(self, digest):
        return "%s/blobs/%s" % (self.path, digest.replace(":", "/"))

    def put(self, data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        with open(self.blob_path(digest), "wb") as f:
            f.write(data)
        return {"digest": digest, "size": len(data)}

    def named(self, tag):
        return [e for e in self.entries if e["annotations"]["org.opencontainers.image.ref.name"] == tag]

    def save(self, tag, descriptor):
        self.entries = [e for e in self.entries if e not in self.named(tag)]
        self.entries.append(dict(descriptor, annotations={"org.opencontainers.image.ref.name": tag}))
        with open(self.path + "/index.json", "w") as f:
            json.dump({"schemaVersion": 2, "manifests": self.entries}, f)


def arguments():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("dir")
    p.add_argument("tag")
    for name in "cmd entrypoint user workdir stop-signal layer-type index".split():
        p.add_argument("--" + name)
    for name in "env label expose volume".split():
        p.add_argument("--" + name, action="append", default=[])
    p.add_argument("--arch", default=MACHINES.get(platform.machine(), platform.machine()))
    p.add_argument("--os", default="linux")
    for name in "docker wrong-diff-id wrong-blob truncate drop-blob".split():
        p.add_argument("--" + name, action="store_true")
    p.add_argument("recipe", nargs="*")
    return p.parse_intermixed_args()


def image_config(a):
    config = {"Env": a.env or None, "Labels": dict(x.split("=", 1) for x in a.label) or None, "User": a.user,
              "WorkingDir": a.workdir, "StopSignal": a.stop_signal, "ExposedPorts": {x: {} for x in a.expose} or None,
              "Volumes": {x: {} for x in a.volume} or None, "Cmd": shlex.split(a.cmd) if a.cmd else None,
              "Entrypoint": shlex.split(a.entrypoint) if a.entrypoint else None}
    return {k: v for k, v in config.items() if v}


def layer_type(a, how):
    if a.layer_type:
        return a.layer_type
    if a.docker:
        return "application/vnd.docker.image.rootfs.diff.tar" + {"none": ""}.get(how, "." + how)
    return "application/vnd.oci.image.layer.v1.tar" + {"none": ""}.get(how, "+" + how)


def main():
    a = arguments()
    layout, layers, diff_ids = Layout(a.dir), [], []
    recipe = []
    for word in a.recipe:
        if word == "layer" or word.startswith("layer="):
            recipe.append((word.partition("=")[2] or "gzip", []))
        else:
            recipe[-1][1].append(word)
    for how, words in recipe:
        data = layer_tar(words)
        diff_ids.append("sha256:" + hashlib.sha256(data).hexdigest())
        layers.append(dict(layout.put(compress(data, how)), mediaType=layer_type(a, how)))
    last = layout.blob_path(layers[-1]["digest"]) if layers else None
    if a.wrong_diff_id:
        diff_ids[-1] = "sha256:" + "5" * 64
    if a.wrong_blob:
        with open(last, "r+b") as f:
            f.seek(-1, os.SEEK_END)
            byte = f.read(1)
            f.seek(-1, os.SEEK_END)
            f.write(bytes([byte[0] ^ 1]))
    if a.truncate:
        os.truncate(last, layers[-1]["size"] // 2)
    if a.drop_blob:
        os.unlink(last)
    vnd = "application/vnd.docker." if a.docker else "application/vnd.oci.image."
    config = layout.put(json.dumps({"architecture": a.arch, "os": a.os, "config": image_config(a),
                                    "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode())
    config["mediaType"] = vnd + ("container.image.v1+json" if a.docker else "config.v1+json")
    media_type = vnd + ("distribution.manifest.v2+json" if a.docker else "manifest.v1+json")
    manifest = layout.put(json.dumps({"schemaVersion": 2, "mediaType": media_type, "config": config,
                                      "layers": layers}).encode())
    manifest["mediaType"] = media_type
    if a.index:
        manifest["platform"] = {"os": a.os, "architecture": a.arch}
        others = [{k: v for k, v in e.items() if k != "annotations"} for e in layout.named(a.index)]
        media_type = vnd + ("distribution.manifest.list.v2+json" if a.docker else "index.v1+json")
        manifest = layout.put(json.dumps({"schemaVersion": 2, "mediaType": media_type,
                                          "manifests": others + [manifest]}).encode())
        manifest["mediaType"] = media_type
    else:
        manifest["platform"] = {"os": a.os, "architecture": a.arch}
    layout.save(a.tag, manifest)
    print(manifest["digest"])


if __name__ == "__main__":
    main()
