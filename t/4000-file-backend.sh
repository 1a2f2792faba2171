#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The file backend on real loop devices: a volume's life, products, caches, crashes, a full medium, threads.
. "$(dirname "$0")/lib/tap.sh"

[ "$(id -u)" = 0 ] || skip "needs root"
# A medium of its own: what lies below $tmp may know no holes (the guest's hostfs).
mkdir "$tmp/medium"
truncate -s 8G "$tmp/medium.img"
mke2fs -q -t ext4 -F "$tmp/medium.img"
mount -o loop "$tmp/medium.img" "$tmp/medium"
cleanup "umount '$tmp/medium'"
state=$tmp/medium/state
acme=$state/tenants/acme
leaks_begin

drive() {
	timeout 120 "$build/t/tools/drive-volume" "$state" "$@" 2>"$tmp/stderr"
}
count() { # files below KIND
	find "$acme/$1" -type f | wc -l
}

ok "the host can run it" drive probe

# --- a volume's life
out=$(drive create b1 - 256 1000 mount fill a 20 sum a unmount check snapshot k1 mount fill b 5 unmount check seal p1)
is $? 0 "create, mount, write, unmount, check, snapshot, write on, seal"
sum=$(grep -m1 '^sha256:' <<<"$out")
like "$out" "$acme/rootfs/b1.ext4" "the product has a path"
is "$(cat "$acme/rootfs/b1.metadata.json")" '{"key":"p1"}' "and its metadata beside it"
is "$(stat -c %a:%u "$acme/rootfs/b1.ext4" "$state" "$acme/blobs" | paste -sd' ')" "444:0 700:0 700:64002" \
	"read-only product, closed state directory, blobs of the fetch uid"
ok "the product is clean" e2fsck -fn "$acme/rootfs/b1.ext4"
features=$(dumpe2fs -h "$acme/rootfs/b1.ext4" 2>/dev/null | sed -n 's/^Filesystem features: *//p')
like "$features" metadata_csum_seed "metadata checksums with a seed"
unlike "$features" "has_journal|orphan_file" "no journal, nothing that older guests cannot mount"
is "$(count builds)" 0 "nothing is left below builds"

# --- chains
is "$(drive find k1)" "found 1234 56 268435456" "a chain is found with its ledger"
is "$(drive find nothing)" "not found" "another is not"
out=$(drive create b2 k1 256 1000 mount sum a fill c 3 unmount check seal p2)
like "$out" "$sum" "a volume made from a chain holds what the chain held"
out=$(drive create b3 k1 1024 1000 check mount fill big 400 unmount check discard)
is "$?" 0 "a chain grows when more is asked for: $out"
out=$(drive create b3 k1 256 200000 check mount unmount check discard)
is "$?" 0 "inodes, too: $out"
fails "a build id is used once" drive create b1x - 64 10 create b1x - 64 10
ok "leaving a chain as it is" drive create b4 - 64 100 mount unmount snapshot k1 discard
is "$(drive find k1)" "found 1234 56 268435456" "an existing chain stays"

out=$(drive create b7 - 256 1000 mount fill a 100 unmount snapshot-cheap k7 snapshot-cheap k8 snapshot k9 discard)
if [ "$(stat -f -c %T "$state")" = btrfs ] || cp --reflink=always "$state/volumes.db" "$tmp/clone" 2>/dev/null; then
	is "$out" "" "where files share blocks every chain is kept"
else
	is "$out" "not kept
not kept" "a chain that costs much to copy and little to make again is not kept"
	is "$(drive find k8 find k9 | cut -d' ' -f1,2 | paste -sd' ')" "not found found 1234" "one that was work is"
fi
rm -f "$acme"/chains/"$(printf k9 | sha256sum | cut -d' ' -f1)".ext4
is "$(drive find k9)" "not found" "a chain whose file somebody removed is forgotten"

# --- products
out=$(drive share b5 p1 share b6 other open b5)
like "$out" 'shared .*/b5.ext4 \{"key":"p1"\}' "the same product key shares the product"
like "$out" "not shared" "another key does not"
like "$out" "opened .*/b5.ext4 268435456" "a shared product opens"
is "$(stat -c %h "$acme/rootfs/b5.ext4")" 2 "by a hard link"
is "$(drive delete b1)" "freed 0 MiB" "deleting one of two frees nothing yet"
ok "the other is still whole" e2fsck -fn "$acme/rootfs/b5.ext4"
is "$(drive delete b5)" "freed 25 MiB" "deleting the last frees its bytes"
fails "deleting it again says so" drive delete b5
fails "and so does opening it" drive open b5
ok "delete b2" drive delete b2
is "$(count rootfs)" 0 "no product is left"

# --- online growth
if grep -q '^CapEff:.*[13579bdf]......$' /proc/self/status && capsh --has-p=cap_sys_resource 2>/dev/null; then
	ok "a mounted volume grows while it is written" drive create g1 - 256 1000 mount fill a 100 grow 4096 fill b 600 unmount check \
		mount fill c 100 unmount check discard
else
	like "$(drive create g1 - 256 1000 mount grow 4096 discard)" "needs CAP_SYS_RESOURCE" \
		"growing a mounted volume without CAP_SYS_RESOURCE says what is missing"
fi
ok "an unmounted volume grows" drive create g2 - 64 1000 grow 512 check mount fill a 300 unmount check discard

# --- caches
old=sha256-$(printf '%064d' 1) new=sha256-$(printf '%064d' 2)
drive blob "$old" 10 blob .tmp-x 10 >/dev/null
touch -d 2001-01-01 "$acme/blobs/$old"
drive blob "$new" 10 >/dev/null # opening the store removes .tmp-x
is "$(ls -A "$acme/blobs" | paste -sd' ')" "$old $new" "half a download is gone after a restart"
drive blob .tmp-now 1 blob .tmp-dead 1 blob junk 1 blob "${new}0" 1 blob sha256-short 1 shell "cd $acme/blobs; \
	mkdir -p deep/er; touch deep/er/f; ln -s / link; mkdir sha256-$(printf '%064d' 3); touch -d 2001-01-01 .tmp-dead" \
	trim shell "ls -A $acme/blobs" >"$tmp/names"
is "$(grep -v trimmed "$tmp/names" | sort | paste -sd' ')" ".tmp-now $old $new" \
	"trim removes what is no blob and downloads that died, not one that goes on"
like "$(drive usage blob "sha256-$(printf '%064d' 4)" 20 usage | sort -u | wc -l)" '^1$' "usage is not walked anew within seconds"
rm "$acme/blobs/sha256-$(printf '%064d' 4)"
export CACHE_MAX=$((36 << 20))
is "$(drive trim)" "trimmed 10 MiB" "trim takes the oldest first"
is "$(ls "$acme/blobs"):$(count chains)" "$new:1" "and no more than needed"
CACHE_MAX=1
drive trim >/dev/null
unset CACHE_MAX
is "$(count blobs):$(count chains):$(drive find k1)" "0:0:not found" "trim takes everything if it must"

# --- crashes
crash() { # STEPS...: run until "paused", then kill -9
	"$build/t/tools/drive-volume" "$state" "$@" pause >"$tmp/crash" 2>&1 &
	local pid=$!
	wait_for 30 grep -q paused "$tmp/crash"
	kill -9 "$pid"
	wait "$pid" 2>/dev/null
}
crash create c1 - 256 1000 mount fill a 20
wait_for 5 leaks_none
is "$(leaks_list)" "$tap_leaks" "a kill -9 while a volume is mounted leaves no loop and no mount"
is "$(count builds)" 1 "it leaves the file"
crash create c2 - 256 1000 mount fill a 5 unmount snapshot k2 seal p2
is "$(count builds)" 0 "which the next start removes"
is "$(drive find k2 open c2 | paste -sd' ')" "found 1234 56 268435456 opened $acme/rootfs/c2.ext4 268435456" \
	"chain and product of a killed builderd are kept"
crash create c3 - 256 1000 mount fill a 5 unmount snapshot k3
sqlite3 "$state/volumes.db" "UPDATE chains SET is_durable=0, boot_id='another'"
is "$(drive find k2 find k3 | paste -sd' ')" "not found not found" "after a power cut unsynced chains are not believed"
is "$(count chains)" 0 "and their files are gone"
cp "$acme/rootfs/c2.ext4" "$acme/rootfs/stray.ext4"
: >"$acme/chains/$(printf '%064d' 0).ext4"
: >"$acme/chains/$(printf '%064d' 1).b.tmp"
drive usage >/dev/null
is "$(count rootfs):$(count chains)" "2:0" "files without rows are removed"
rm "$acme/rootfs/c2.ext4"
drive usage >/dev/null
like "$(cat "$tmp/stderr")" "rootfs is lost" "a product that somebody removed is reported"
fails "and forgotten" drive open c2

# --- a data base that cannot be read is no reason to remove what it names
drive create q1 - 64 100 mount fill a 2 unmount seal q1 >/dev/null
cp "$state/volumes.db" "$tmp/volumes.db"
page=$(sqlite3 "$state/volumes.db" "SELECT rootpage FROM sqlite_schema WHERE name='sqlite_autoindex_rootfs_1'")
size=$(sqlite3 "$state/volumes.db" "PRAGMA page_size")
dd if=/dev/zero of="$state/volumes.db" bs="$size" seek=$((page - 1)) count=1 conv=notrunc status=none
like "$(drive usage)" "open failed: .*volumes.db.*damaged" "a damaged volumes.db refuses the start"
is "$(count rootfs)" 2 "and removes nothing"
rm "$state/volumes.db"
like "$(drive usage)" "open failed: .*volumes.db is missing.*put volumes.db back" "so does a missing one beside a product"
is "$(count rootfs)" 2 "and removes nothing"
: >"$state/volumes.db"
like "$(drive usage)" "open failed: .*volumes.db is missing" "an empty one is as good as none"
cp "$tmp/volumes.db" "$state/volumes.db"
is "$(drive open q1)" "opened $acme/rootfs/q1.ext4 67108864" "the copy put back, all is as it was"
drive delete q1 >/dev/null

# --- a stop reaches copies and e2fsprogs
like "$(drive create s1 - 64 100 mount fill a 20 unmount snapshot ks stop-in 1 shell 'sleep 0.1' check)" "^check failed: .*stopped \\(-125\\)" \
	"a stop ends e2fsck"
like "$(drive stop-in 1 shell 'sleep 0.1' create s2 - 64 100)" "^create failed: .*stopped \\(-125\\)" "and mke2fs"
if ! cp --reflink=always "$state/volumes.db" "$tmp/medium/clone" 2>/dev/null; then
	like "$(drive stop-in 1 shell 'sleep 0.1' create s3 ks 64 100)" "^create failed: .*copy an image.*\\(-125\\)" "and a copy"
fi
is "$(count builds)" 0 "nothing is left of what was stopped"

# --- one at a time, many threads
"$build/t/tools/drive-volume" "$state" pause >"$tmp/crash" 2>&1 &
pid=$!
wait_for 10 grep -q paused "$tmp/crash"
like "$(drive usage)" "in use by another builderd" "a state directory has one owner"
kill -9 "$pid"
{ wait "$pid"; } 2>/dev/null
is "$(drive threads 8; cat "$tmp/stderr")" "bad 0" "8 threads, 32 builds"
is "$(count builds):$(count rootfs)" "0:0" "they leave nothing"

# --- damage is found
cat >"$tmp/damage" <<'END'
import sys
f = open(sys.argv[1], "r+b")
f.seek(4096 * 40)
f.write(b"\xff" * 4096 * 200)
END
out=$(drive create d1 - 64 100 mount fill a 2 unmount shell "python3 $tmp/damage $acme/builds/d1.ext4" check)
like "$out" "^check failed: internal: e2fsck finds errors in the volume \(status 0x[0-9a-f]+\): ." "a damaged volume fails its check"

# --- a full medium
mkdir "$tmp/small"
truncate -s 200M "$tmp/small.img"
mke2fs -q -F "$tmp/small.img"
mount -o loop "$tmp/small.img" "$tmp/small"
cleanup "umount '$tmp/small'"
state=$tmp/small/state acme=$tmp/small/state/tenants/acme
out=$(drive create f1 - 1024 1000 mount fill a 300 unmount)
like "$out" "disk-full: " "a medium that fills up while a volume is written: disk-full"
ok "after that one can build again" drive create f2 - 256 1000 mount fill a 20 unmount check snapshot k1 seal p1
is "$(count builds)" 0 "nothing is left of the failed build"
out=$(drive create f3 k1 256 1000 mount fill b 60 unmount snapshot k9 discard)
like "$out" "disk-full: " "a medium too full for a chain's copy: disk-full"
drive usage >/dev/null
is "$(count chains):$(count builds)" "1:0" "and no part of the copy stays"
ok "the first product is still whole" e2fsck -fn "$acme/rootfs/f2.ext4"
umount "$tmp/small"
leaks_end
done_testing
