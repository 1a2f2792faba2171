#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# builderd-fetch: OCI layouts and docker archives below the operator's image directory.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/builderd.sh"

[ "$(id -u)" = 0 ] || skip "needs root: builderd-fetch enters its sandbox"
leaks_begin
export UNKEY_BUILDERD_LOCAL_IMAGES_DIR=$tmp/images
fetch() { # REF
	out=$(timeout 60 "$build/t/tools/drive-fetch" --blobs "$tmp/blobs" --images "$tmp/images" "$1" 2>/dev/null)
	last=$(tail -n 1 <<<"$out")
}
good() { # REF DESC
	fetch "$1"
	like "$last" "^done " "$2"
}
bad() { # REF KIND REGEX DESC
	fetch "$1"
	like "$last" "^fail $2 .*$3" "$4"
}

image_make one layer f:a=one layer=none n:big=200000 >/dev/null
skopeo copy -q "oci:$images:one" "docker-archive:$tmp/images/one.tar:repo/one:1"
skopeo copy -q "oci:$images:one" "oci-archive:$tmp/images/oci.tar:one"
image_make two layer f:a=two >/dev/null

good "oci:layout:one" "a layout"
is "$(grep -c '^blob . fresh' <<<"$out")" 2 "its layers are copied"
good "oci:$tmp/images/layout:one" "its path may be absolute"
is "$(grep -c '^blob . cached' <<<"$out")" 2 "the second time nothing is copied"
bad "oci:layout" bad-reference "several images" "without a tag there must be one image"
bad "oci:layout:none" not-found "names no image" "an unknown tag"
bad "oci:/etc:x" bad-reference "not below" "a path elsewhere"
bad "oci:../images/../../etc:x" bad-layout "leads out" "a path that climbs"
ln -s /etc "$tmp/images/etc"
bad "oci:etc:x" bad-layout "leads out" "a link that leads out"
bad "oci:nowhere:x" not-found "no image at" "nothing there"
bad "oci:one.tar:x" "(bad-layout|not-found)" "" "a file where a layout should be"
bad "docker-archive:layout" bad-layout "no regular file" "a layout where a file should be"

good "docker-archive:one.tar" "a docker archive with one image"
good "docker-archive:one.tar:repo/one:1" "... by name"
bad "docker-archive:one.tar:repo/other:1" not-found "no image is called" "... by a wrong name"
is "$(awk '/^layer/ { print $3 }' <<<"$(fetch docker-archive:one.tar; echo "$out")" | xargs)" "none none" "its layers are plain tars"
good "docker-archive:oci.tar:one" "a tar of a layout"
head -c 4000 "$tmp/images/one.tar" >"$tmp/images/cut.tar"
bad "docker-archive:cut.tar" bad-layout "cut off" "an archive that is cut off"
gzip -c "$tmp/images/one.tar" >"$tmp/images/one.tgz"
bad "docker-archive:one.tgz" bad-layout "decompressed first" "a compressed archive"
mkfifo "$tmp/images/fifo.tar"
bad "docker-archive:fifo.tar" bad-layout "no regular file" "a fifo"

# The old form of docker save: ID/layer.tar, links for layers that stand twice.
/usr/bin/python3 - "$tmp/images/old.tar" <<'P'
import hashlib, io, json, os, sys, tarfile
def tar():
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode="w") as t:
        i = tarfile.TarInfo("a"); i.size = 1; t.addfile(i, io.BytesIO(b"a"))
    return b.getvalue()
layer = tar(); d = "sha256:" + hashlib.sha256(layer).hexdigest()
arch = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
config = json.dumps({"os": "linux", "architecture": arch, "rootfs": {"type": "layers", "diff_ids": [d, d]}}).encode()
cid = hashlib.sha256(config).hexdigest()
with tarfile.open(sys.argv[1], "w") as t:
    def add(name, data):
        i = tarfile.TarInfo(name); i.size = len(data); t.addfile(i, io.BytesIO(data))
    add("a" * 64 + "/layer.tar", layer)
    i = tarfile.TarInfo("b" * 64 + "/layer.tar"); i.type = tarfile.SYMTYPE; i.linkname = "../" + "a" * 64 + "/layer.tar"; t.addfile(i)
    add(cid + ".json", config)
    add("manifest.json", json.dumps([{"Config": cid + ".json", "RepoTags": ["old:latest"], "Layers": ["a" * 64 + "/layer.tar", "b" * 64 + "/layer.tar"]}]).encode())
P
good "docker-archive:old.tar:old" "the old form of docker save, with a link"

# A layer that is damaged is found whatever the caches hold.
cp -r "$images" "$tmp/images/damaged"
good "oci:layout:two" "a good layout"
blob=$(awk '/^layer 0/ { print $5 }' <<<"$out")
chmod u+w "$tmp/images/damaged/blobs/sha256/${blob#sha256:}"
printf X | dd of="$tmp/images/damaged/blobs/sha256/${blob#sha256:}" bs=1 seek=20 conv=notrunc status=none
bad "oci:damaged:two" digest-mismatch "has the digest" "a damaged copy of it, although the layer is stored"
good "oci:layout:two" "the good one still works"

leaks_end
done_testing
