#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest (t/4554-dm-destroy.sh): the end of a tenant, and what is left of it. Disks: the pool's, one for the state
# directory.
. "$(dirname "$0")/../lib/tap.sh"

[ -n "${VM_GUEST:-}" ] || skip "runs in the guest"
read -r pool_disk state_disk _ <<<"$VM_DISKS"
mnt=/tmp/state
mkdir -p "$mnt"
mke2fs -q -t ext4 "$state_disk"
mount "$state_disk" "$mnt"
cleanup "umount $mnt"
state=$mnt/b
db=$state/dm/volumes.db
export DM_DATA_DEVICE=$pool_disk DM_TENANT_MIB=512
leaks_begin

drive() {
	timeout 120 "$build/t/tools/drive-keys" "$state" "$@" 2>"$tmp/stderr"
}
sql() {
	sqlite3 "$db" "$1"
}
rows() { # TENANT: how many rows name it
	sql "SELECT (SELECT count(*) FROM pools WHERE tenant='$1') + (SELECT count(*) FROM devices WHERE name='$1') + (SELECT count(*) FROM rootfs WHERE tenant='$1')
		+ (SELECT count(*) FROM chains WHERE tenant='$1') + (SELECT count(*) FROM leases WHERE tenant='$1')"
}
files() {
	(cd "$state/dm" && find keys headers -type f | sort | paste -sd' ')
}
cat >"$tmp/find.py" <<'END'
# OFFSET LENGTH FILE DISK: how often the disk has these bytes of the file
import sys
offset, length = int(sys.argv[1]), int(sys.argv[2])
needle, n, tail = open(sys.argv[3], "rb").read()[offset : offset + length], 0, b""
assert len(needle) == length and len(set(needle)) > 8
with open(sys.argv[4], "rb") as disk:
    while block := disk.read(1 << 20):
        n += (tail + block).count(needle)
        tail = block[-(length - 1) :]
print(n)
END
on_disk() { # OFFSET LENGTH FILE DISK
	sync
	echo 3 >/proc/sys/vm/drop_caches
	python3 "$tmp/find.py" "$@"
}

ok "two tenants with products" drive build b1 build b2 rekey tenant other build o1
ok "what the tests compare with: the key" drive unseal "$tmp/key"
cp "$state/dm/keys/acme.2" "$tmp/sealed"
cp "$state/dm/headers/acme.2" "$tmp/header"
slot=$(cryptsetup luksDump "$tmp/header" | awk '/Area offset:/ {sub(/.*offset:/, ""); print $1; exit}')
is "$(drive open b1 shell "dd if=\$(echo /dev/mapper/builderd-*-tenant-1) of=$mnt/raw bs=1M conv=sparse status=none" | cut -d' ' -f1)" opened "a copy of its volume, as a thief would have"
ok "which its key opens" cryptsetup open --test-passphrase --key-file "$tmp/key" "$mnt/raw"
is "$(on_disk 24 64 "$tmp/sealed" "$state_disk"):$(on_disk "$slot" 4096 "$tmp/header" "$pool_disk")" "1:1" "the sealed key and the key slot are on the disks"

# --- refused
sql "INSERT INTO leases (id, tenant, build, mode, holder, jail, device, created_ms) VALUES ('lease_1', 'acme', 'b1', 1, 'vm', '', 0, 0)"
like "$(drive destroy)" "destroy failed: .*tenant acme has 1 leases: lease_1" "not while it has leases: they are named"
sql "DELETE FROM leases"
like "$(drive begin b7 destroy)" "destroy failed: .*tenant acme is in use by 1 builds or requests: b7" "not while it builds: they are named"
like "$(drive hold b1 destroy)" "destroy failed: .*builderd-.*-rootfs-" "not while somebody reads a product"
like "$(drive tenant nobody destroy)" "destroy failed: not-found: there is no tenant nobody" "one that does not exist is said to"
is "$(drive open b1 open b2 | grep -c ^opened)" 2 "nothing was done so far"

# --- done
before=$(drive shell 'dmsetup status --target thin-pool' | awk '{split($7, a, "/"); print a[1]; exit}')
out=$(drive destroy)
like "$out" "^keys 1 headers 1 freed [0-9]+ MiB: files 1 header 1 key 1 device 1 rows 1$" "a tenant is destroyed, and each step seen"
is "$(files):$(rows acme)" "headers/other.1 keys/other.1:0" "no key, no header backup, no row"
after=$(drive shell 'dmsetup status --target thin-pool' | awk '{split($7, a, "/"); print a[1]; exit}')
ok "the pool has its blocks again: $before, $after" test "$((before - after))" -gt 20
is "$(on_disk 24 64 "$tmp/sealed" "$state_disk"):$(on_disk "$slot" 4096 "$tmp/header" "$pool_disk")" "0:0" "the sealed key and the key slot are on no disk"
dd if=/dev/zero of="$mnt/raw" bs=1M count=16 conv=notrunc status=none
fails "the thief's copy with the header wiped as the volume's was opens with the key" cryptsetup open --test-passphrase --key-file "$tmp/key" "$mnt/raw"
is "$(drive tenant other open o1 | cut -d' ' -f1)" opened "the other tenant is as it was"
like "$(drive open b1)" "open failed: not-found" "its builds are gone"
is "$(drive build b1 open b1 | tail -n 1 | cut -d' ' -f1):$(files)" "opened:headers/acme.1 headers/other.1 keys/acme.1 keys/other.1" "the id can be used again"
ok "the key, for the tests" drive unseal "$tmp/key2"
fails "it is another" cmp -s "$tmp/key" "$tmp/key2"

# --- what cannot be opened can be destroyed
rm "$state/dm/keys/acme.1"
like "$(drive open b1)" "keys?.* is missing" "a tenant without its key"
like "$(drive destroy)" "^keys 0 headers 1 .*files 1 header 1 key 1 device 1 rows 1$" "can be destroyed"

# --- killed at every step: the next start goes on
cat >"$tmp/is-whole" <<END
files=\$(cd $state/dm && echo keys/* headers/*)
names=\$(sqlite3 $db "SELECT kind, name FROM devices WHERE pool=(SELECT id FROM pools WHERE tenant='')" | sort | paste -sd' ')
case "\$files: \$names" in
"keys/other.1 headers/other.1: tenant|other" | "keys/acme.1 keys/other.1 headers/acme.1 headers/other.1: tenant|acme tenant|other") ;;
*) echo "\$files: \$names" && exit 1 ;;
esac
END
last=0
for ((n = 1; n < 60; n++)); do
	out=$(KILL_AT_SYNC=$n drive shell "sh $tmp/is-whole" blobs drop arm destroy)
	case $? in
	0) last=$n && break ;;
	1) diag "$n: $out" && break ;;
	esac
done
ok "killed at each of its $((last - 1)) syncs, it is not begun or is ended by the next start" test "$last" -gt 8
is "$(drive tenant other open o1 shell 'dmsetup ls | grep -c -- -tenant-' | tail -n 1)" 1 "one tenant is left"
is "$(sql "SELECT count(*) FROM devices WHERE pool=(SELECT id FROM pools WHERE tenant='')")" 1 "in volumes.db, too"
leaks_end
done_testing
