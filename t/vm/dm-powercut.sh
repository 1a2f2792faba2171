#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest (t/4520-dm-powercut.sh): builds and deletes until the power goes; with a third disk it looks instead whether
# what was acknowledged is there, and nothing else. Disks: the pool's, the state directory's.
. "$(dirname "$0")/../lib/tap.sh"

[ -n "${VM_GUEST:-}" ] || skip "runs in the guest"
read -r pool_disk state_disk only_look <<<"$VM_DISKS"
mkdir -p /tmp/state
[ -n "$(blkid "$state_disk")" ] || mke2fs -q -t ext4 "$state_disk" || exit # the first round
mount "$state_disk" /tmp/state || exit
cleanup "umount /tmp/state"
state=/tmp/state/b
db=$state/dm/volumes.db
journal=/tmp/state/journal # "+build sum" acknowledged, "?build" may be deleted, "-build" is
touch "$journal"
export DM_DATA_DEVICE=$pool_disk DM_TENANT_MIB=4096

drive() {
	timeout 120 "$build/t/tools/drive-volume" "$state" "$@" 2>"$tmp/stderr"
}
note() {
	echo "$*" >>"$journal" && sync "$journal"
}
sum_of() { # BUILD, while it is open
	drive open "$1" shell "sha256sum \$(sqlite3 '$db' \"SELECT printf('/dev/mapper/builderd-%.8s-rootfs-%x', p.uuid, d.id) FROM devices d
		JOIN pools p ON p.id=d.pool WHERE d.kind='rootfs' AND d.name='$1'\")" | sed -n 's/^\([0-9a-f]\{64\}\) .*/\1/p'
}

# --- look
look() {
	ok "the storage opens" drive usage || tap_show "$tmp/stderr"
	lost= damaged=0 n=0
	while read -r name sum; do
		name=${name#+}
		grep -qx -- "[?-]$name" "$journal" && continue
		n=$((n + 1))
		[ -n "$sum" ] && [ "$(sum_of "$name")" = "$sum" ] || lost="$lost $name"
	done < <(grep '^+' "$journal")
	is "$lost" "" "$n acknowledged products are there, byte by byte"
	while read -r name; do
		drive open "${name#-}" >/dev/null && lost="$lost $name"
	done < <(grep '^-' "$journal")
	is "$lost" "" "what was deleted is gone"
	drive usage shell 'for d in /dev/mapper/*-rootfs-*; do [ ! -b "$d" ] || e2fsck -fn "$d" >/dev/null 2>&1 || echo "damaged $d"; done' >"$tmp/fsck"
	is "$(grep -c damaged "$tmp/fsck")" 0 "every product is clean under e2fsck"
	is "$(sqlite3 "$db" "SELECT count(*) FROM intents"):$(sqlite3 "$db" "SELECT count(*) FROM devices WHERE kind='build'")" "0:0" \
		"no transaction is open, no unfinished volume is left"
	# The pools' own lists of devices against the database's.
	for tenant in '' acme; do
		pool=$(sqlite3 "$db" "SELECT substr(uuid, 1, 8) FROM pools WHERE tenant='$tenant'")
		[ -n "$pool" ] || continue
		drive usage shell "dmsetup message builderd-$pool-pool-0 0 reserve_metadata_snap && thin_ls -m --no-headers -o DEV /dev/mapper/builderd-$pool-meta-0
		dmsetup message builderd-$pool-pool-0 0 release_metadata_snap" | sed -n 's/^ *\([0-9][0-9]*\) *$/\1/p' | sort -n >"$tmp/kernel"
		is "$(paste -sd' ' "$tmp/kernel")" "$(sqlite3 "$db" "SELECT d.id FROM devices d JOIN pools p ON p.id=d.pool WHERE p.tenant='$tenant' ORDER BY d.id" |
			paste -sd' ')" "no thin device is lost or leaked in the pool of '$tenant'"
	done
	done_testing
}
[ -z "$only_look" ] || look

# --- work: acknowledged and written down while the storage is open
cat >"$tmp/ack" <<EOF2
#!/bin/bash
node=\$(sqlite3 '$db' "SELECT printf('/dev/mapper/builderd-%.8s-rootfs-%x', p.uuid, d.id) FROM devices d
	JOIN pools p ON p.id=d.pool WHERE d.kind='rootfs' AND d.name='\$1'")
sum=\$(sha256sum "\$node") && echo "+\$1 \${sum%% *}" >>'$journal' && sync '$journal'
EOF2
chmod +x "$tmp/ack"
steps_build() { # BUILD CHAIN: the steps of one build
	echo create "$1" - 64 100 mount fill "f$1" 3 unmount check snapshot "$2" mount fill g 1 unmount check seal "p$1" shell "$tmp/ack $1"
}
while :; do
	steps=()
	for k in 1 2 3; do
		read -ra words < <(steps_build "b$(date +%s%N)" "k$k")
		steps+=("${words[@]:0:${#words[@]}-2}" "${words[-2]} ${words[-1]}")
	done
	drive "${steps[@]}" >/dev/null || exit
	old=$(grep -o '^+b[0-9]*' "$journal" | tail -n 5 | head -n 1)
	old=${old#+}
	grep -qx -- "[?-]$old" "$journal" && continue
	note "?$old"
	CACHE_MAX=1000 drive delete "$old" trim >/dev/null || exit
	note "-$old"
done
