#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# In the guest (t/4550-dm-keys.sh): tenants' keys, headers and their backups.
# Disks: the pool's, one for the state directory.
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
keys=$state/dm/keys
headers=$state/dm/headers
export DM_DATA_DEVICE=$pool_disk DM_TENANT_MIB=512
leaks_begin

drive() {
	timeout 120 "$build/t/tools/drive-keys" "$state" "$@" 2>"$tmp/stderr"
}
sql() {
	sqlite3 "$db" "$1"
}
generation() {
	sql "SELECT key_generation FROM pools WHERE tenant='acme'"
}
# In a step "shell": the tenant's volume in the outer pool.
volume='/dev/mapper/builderd-*-tenant-1'
slots() { # HEADER: how many key slots are in use
	cryptsetup luksDump "$1" | awk '/^Keyslots:/ {on=1; next} /^[A-Z]/ {on=0} on && /^  [0-9]+: luks2/ {n++} END {print n+0}'
}
files() {
	(cd "$state/dm" && find keys headers -type f | sort | paste -sd' ')
}
# Bring the tenant's volume up alone, without its header being read, as whoever damages it would have it.
volume_run() { # COMMAND, with $dev
	local outer id size
	drive open b1 shell 'kill -9 $PPID' >/dev/null 2>&1
	dev=$(echo $volume)
	outer=$(dmsetup ls | awk '{print $1}' | grep -v -- "${dev##*/}")
	# All above it goes, it stays.
	for _ in 1 2 3 4 5; do
		for d in $outer; do
			case $d in
			*-crypt-*) cryptsetup close "$d" 2>/dev/null ;;
			*) dmsetup info -c --noheadings -o open "$d" 2>/dev/null | grep -q '^ *0' && dmsetup remove "$d" 2>/dev/null ;;
			esac
		done
	done
	dmsetup ls | grep -q -- -crypt- && diag "the volume is still decrypted"
	eval "$1"
	blockdev --flushbufs "$dev"
	dmsetup remove "${dev##*/}"
}

# --- what lies where
ok "a tenant with a product" drive build b1
is "$(files)" "headers/acme.1 keys/acme.1" "a key file and a header backup of generation 1"
is "$(stat -c %a "$headers" "$headers/acme.1" "$keys/acme.1" | paste -sd' ')" "700 400 400" "closed to others"
ok "the backup is $(du -k "$headers/acme.1" | cut -f1) KiB on the disk" test "$(du -k "$headers/acme.1" | cut -f1)" -le 320
is "$(slots "$headers/acme.1")" 1 "and has one slot"
is "$(cryptsetup luksUUID "$headers/acme.1" | tr -d -)" "$(sql "SELECT uuid FROM pools WHERE tenant='acme'")" "its uuid is the pool's"

# --- the key is in the kernel only
cat >"$tmp/scan.py" <<'END'
import sys
pid, files = sys.argv[1], sys.argv[2:]
keys = [open(f, "rb").read() for f in files]
found = [0] * len(keys)
mem = open(f"/proc/{pid}/mem", "rb", 0)
for line in open(f"/proc/{pid}/maps"):
    a, perms, name = line.split()[0], line.split()[1], line.split()[-1]
    if perms[0] != "r" or name in ("[vvar]", "[vsyscall]"):
        continue
    a, b = (int(x, 16) for x in a.split("-"))
    try:
        mem.seek(a)
        data = mem.read(b - a)
    except OSError:
        continue
    for i, k in enumerate(keys):
        # Halves, too: what was overwritten in part has leaked in part.
        found[i] += sum(data.count(part) for part in (k[:32], k[32:]) if part)
print("found", *found)
END
ok "the tenant's key, for the tests" drive unseal "$tmp/k1"
out=$(drive open b1 shell "cryptsetup luksDump -q --dump-volume-key --key-file $tmp/k1 --volume-key-file $tmp/vk \$(echo $volume) >/dev/null
	python3 $tmp/scan.py \$PPID $tmp/k1 $tmp/vk $state/dm/master.key; grep VmLck /proc/\$PPID/status; dmsetup table --target crypt
	cryptsetup open --test-passphrase --key-file $tmp/k1 \$(echo $volume) && echo key opens")
like "$out" "key opens" "that is the key"
is "$(stat -c %s "$tmp/vk")" 64 "and a volume key of 512 bits"
like "$out" "found 0 0 [1-9]" "neither is in the memory of whoever opened it; the master key is" || diag "$out"
like "$out" "VmLck:[[:space:]]+[1-9]" "that one in locked memory"
like "$out" ":64:logon:cryptsetup:" "the volume key is in the kernel's keyring"
like "$out" "allow_discards" "discards pass"
unlike "$(DM_ALLOW_DISCARDS=0 drive open b1 shell 'dmsetup table --target crypt')" "allow_discards" "unless they are forbidden"

# --- rekey
cp "$keys/acme.1" "$tmp/old-sealed"
cp "$headers/acme.1" "$tmp/old-header"
is "$(drive begin b2 write 4 rekey write 4 end open b1 | head -n 1)" "generation 2" "a new key while a build writes"
is "$(files)" "headers/acme.2 keys/acme.2" "files of generation 2 only"
is "$(generation):$(slots "$headers/acme.2")" "2:1" "volumes.db says so, one slot"
ok "the tenant's key, for the tests" drive unseal "$tmp/k2"
fails "it is another" cmp -s "$tmp/k1" "$tmp/k2"
out=$(drive open b2 shell "cryptsetup open --test-passphrase --key-file $tmp/k2 \$(echo $volume) && echo new; cryptsetup open --test-passphrase --key-file $tmp/k1 \$(echo $volume) || echo refused")
like "$out" "opened .*new.*refused" "the new key opens the volume, the old does not" || diag "$out"
fails "the old backup opens with today's key" cryptsetup open --test-passphrase --key-file "$tmp/k2" "$tmp/old-header"
# Without its key file, nothing has the old key: neither the state directory's disk nor the pool's.
sync
echo 3 >/proc/sys/vm/drop_caches
cat >"$tmp/find.py" <<'END'
import sys
needle, n = open(sys.argv[1], "rb").read()[24:88], 0
with open(sys.argv[2], "rb") as disk:
    tail = b""
    while block := disk.read(1 << 20):
        n += (tail + block).count(needle)
        tail = block[-len(needle):]
print(n)
END
is "$(python3 "$tmp/find.py" "$tmp/old-sealed" "$state_disk")" 0 "the old sealed key is nowhere on the disk"
is "$(python3 "$tmp/find.py" "$keys/acme.2" "$state_disk")" 1 "the new one is, once"

# --- an older backup opens nothing
like "$(drive header-restore "$tmp/old-header")" "from before a rekey, and opens nothing" "an older backup is not restored"
volume_run 'mv "$headers/acme.2" "$tmp/good-header"; dd if="$tmp/old-header" of="$dev" bs=64k conv=notrunc,fsync status=none'
out=$(drive open b1)
like "$out" "open failed: .*open the storage of tenant acme: .*key does not open" "written over the header, it opens nothing"
like "$(sql "SELECT state FROM pools WHERE tenant='acme'")" "^cannot be opened: .*key does not open" "volumes.db says why"
is "$(drive tenant other build o1 open o1 | tail -n 1 | cut -d' ' -f1)" opened "other tenants go on"
fails "nor is it taken for a header to be backed up" test -e "$headers/acme.2"
ok "today's backup is restored" drive header-restore "$tmp/good-header"
is "$(drive open b1 open b2 | grep -c '^opened')" 2 "and opens all"
is "$(sql "SELECT state FROM pools WHERE tenant='acme'")" "" "nothing is wrong any more"
ok "the backup is kept again" cmp "$tmp/good-header" "$headers/acme.2"
ok "it can be copied" drive header-backup "$tmp/copy"
ok "as it is" cmp "$tmp/copy" "$headers/acme.2"
like "$(drive tenant other header-restore "$tmp/copy")" "that of another volume" "another tenant's header is refused"
like "$(drive header-restore /bin/true)" "no LUKS2 header" "what is no header, too"
like "$(drive begin b9 header-restore "$tmp/copy")" "in use: its builds must end" "none is restored below a build"

# --- a damaged header is restored from its backup
for how in "if=/dev/urandom bs=1k count=1056" "if=/dev/zero bs=1M count=16" "if=/dev/zero bs=1k seek=32 count=1024" "if=/dev/urandom bs=4k count=1"; do
	volume_run "dd $how of=\"\$dev\" conv=notrunc,fsync status=none"
	is "$(drive open b1 | cut -d' ' -f1)" opened "overwritten with dd $how, it opens" || diag "$(cat "$tmp/stderr")"
	case $how in
	*=4k*) ;; # its second copy is whole
	*) like "$(cat "$tmp/stderr")" "restored from its backup" "and says what happened" ;;
	esac
done

# --- a rekey that is killed at every step; what the next start finds, it ends or takes back before anything else
cat >"$tmp/is-settled" <<END
g=\$(sqlite3 $db "SELECT key_generation FROM pools WHERE tenant='acme'")
[ "\$(cd $state/dm && echo keys/* headers/*)" = "keys/acme.\$g keys/other.1 headers/acme.\$g headers/other.1" ] || { ls $keys $headers; exit 1; }
[ "\$(cryptsetup luksDump \$(echo $volume) | grep -c ': luks2')" = 1 ] || { echo "generation \$g has more than one slot"; exit 1; }
cryptsetup open --test-passphrase --key-file $tmp/kn $headers/acme.\$g
END
last=0
for ((n = 1; n < 80; n++)); do
	out=$(KILL_AT_SYNC=$n drive open b1 unseal "$tmp/kn" shell "sh $tmp/is-settled" arm rekey)
	case $? in
	0) last=$n && break ;;
	1) diag "$out" && break ;;
	esac
done
ok "killed at each of its $((last - 1)) syncs, a rekey is ended or taken back at the next start" test "$last" -gt 10
is "$(drive open b1 shell "[ \$(cryptsetup luksDump \$(echo $volume) | grep -c ': luks2') = 1 ] && echo one" | tail -n 1)" one "one slot in the volume"
g=$(generation)
sql "UPDATE pools SET key_generation=$((g - 1)) WHERE tenant='acme'"
is "$(drive open b1 | cut -d' ' -f1):$(generation)" "opened:$g" "a volumes.db of before the rekey learns the generation"

# --- key files
mv "$keys/acme.$g" "$tmp/lost"
like "$(drive open b1)" "open failed: .*key file acme.$g is missing" "without its key file nothing is opened"
like "$(sql "SELECT state FROM pools WHERE tenant='acme'")" "^cannot be opened: .*is missing" "volumes.db says why"
is "$(drive tenant other open o1 | cut -d' ' -f1)" opened "other tenants go on"
is "$(stat -c %s "$headers/acme.$g")" 1081344 "the header backup is left alone"
cp "$keys/other.1" "$keys/acme.$g"
like "$(drive open b1)" "damaged, or was sealed under another" "another tenant's is no use"
mv -f "$tmp/lost" "$keys/acme.$g"
is "$(drive open b1 | cut -d' ' -f1)" opened "with its own it opens"

# --- another master key
cp "$state/dm/master.key" "$tmp/master1"
ok "the master key is changed while a build writes" drive begin b3 write 1 master - write 1 end
fails "it is another" cmp -s "$tmp/master1" "$state/dm/master.key"
is "$(stat -c %a "$state/dm/master.key")" 400 "of mode 0400"
is "$(drive open b1 tenant other open o1 | grep -c '^opened')" 2 "all tenants open"
is "$(DM_MASTER_KEY_FILE=$tmp/master1 drive open b1 | grep -c 'sealed under another master key')" 1 "under the old one none does"
last=0
for ((n = 1; n < 40; n++)); do
	out=$(KILL_AT_SYNC=$n drive open b1 tenant other open o1 shell "[ ! -e $state/dm/master.key.next ]" arm master -)
	case $? in
	0) last=$n && break ;;
	1) diag "$out" && break ;;
	esac
done
ok "killed at each of its $((last - 1)) syncs, the next start ends it" test "$last" -gt 5
head -c 32 /dev/urandom >"$tmp/mine"
chmod 400 "$tmp/mine"
ok "a master key of the operator's" drive master "$tmp/mine"
is "$(DM_MASTER_KEY_FILE=$tmp/mine drive open b1 | cut -d' ' -f1)" opened "opens"
mkdir -m 700 "$tmp/credentials"
mv "$tmp/mine" "$tmp/credentials/builderd.master-key"
export CREDENTIALS_DIRECTORY=$tmp/credentials
is "$(drive open b1 | cut -d' ' -f1)" opened "as the service manager's credential, too"

leaks_end
done_testing
