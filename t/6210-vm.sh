#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The guest harness, and metald-init on a kernel of its own.
# check: limit=120
. "$(dirname "$0")/lib/tap.sh"

command -v linux.uml >/dev/null || skip "needs user-mode-linux"
[ "$(id -u)" = 0 ] || skip "needs root"
export TMPDIR=$tmp
root=$tmp/root
mkdir -p "$root"/{usr/bin,bin,etc,proc,dev,sys,tmp,run}
cp "$build/metald-init" "$root/usr/bin/"
cp "$build/t/tools/guest-probe" "$root/bin/probe"
printf 'root:x:0:0::/root:\napp:x:1000:1001::/home/app:\n' >"$root/etc/passwd"
printf 'app:x:1001:\nextra:x:2000:app\n' >"$root/etc/group"

make_rootfs() { # CMD-JSON [ENV-JSON]
	printf '%s' "$1" >"$root/container.cmd"
	printf '%s' "${2:-{\}}" >"$root/container.env"
	rm -f "$tmp/rootfs.ext4"
	mke2fs -q -t ext4 -d "$root" "$tmp/rootfs.ext4" 16M >/dev/null 2>&1
	chmod 0444 "$tmp/rootfs.ext4"
}
boot() { # OPTION...
	rc=0
	out=$("$top/t/vm/run" boot "$@" "$tmp/rootfs.ext4" 2>"$tmp/err" <&-) || rc=$?
	out=${out//$'\r'/}
}

make_rootfs '["probe","show","A","K"]' '{"user":"app","working_dir":"/srv/app","env":{"A":"1"}}'
sum=$(sha256sum "$tmp/rootfs.ext4")
begin=$EPOCHREALTIME
boot --append 'env.K="a b" hostname=guest'
spent=$(((${EPOCHREALTIME//./} - ${begin//./}) / 1000))
is "$rc" 0 "boots and powers off" || diag "$(cat "$tmp/err")"
ok "in $spent ms" test "$spent" -lt 20000
is "$out" "uid=1000 euid=1000 suid=1000 gid=1001 groups=2000
cwd=/srv/app host=guest pid=0 ppid=1 leader=1 tty=1
A=1
K=a b
metald-init: command exited with code 0" "user, groups, directory, terminal, variables; nothing but the console"
is "$(sha256sum "$tmp/rootfs.ext4")" "$sum" "the rootfs was not written to"

make_rootfs '["probe","exit","7"]'
boot
is "$rc" 7 "its exit code is the command's"
boot --append 'reboot=k panic=1'
is "$rc" 7 "after a reset, too"
make_rootfs '["probe","kill","9"]'
boot
is "$rc" 137 "128 + the signal"
make_rootfs '["probe","orphans","20"]'
boot
is "$rc $out" "0 zombies=0
metald-init: command exited with code 0" "reaps"
make_rootfs '["probe","write","/dev/stdout"]' '{"user":"app"}'
boot
is "$rc" 0 "a user may open /dev/stdout" || diag "$out"
boot --init /nothing
is "$rc" 125 "no init is a failure"
make_rootfs '["probe","signal"]'
boot --timeout 4
is "$rc" 124 "time is up"
rm -f "$tmp/rootfs.ext4"
boot
is "$rc" 2 "no such file"

# The other mode: a test of device-mapper, as it will be run.
cat >"$tmp/dm.sh" <<EOF
. "$top/t/lib/tap.sh"
set -- \$VM_DISKS
targets=\$(dmsetup targets)
for t in thin-pool crypt; do like "\$targets" "\$t" "target \$t"; done
ok "a device" dmsetup create mapped --table "0 2048 linear \$1 0"
key=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
ok "dm-crypt on it" dmsetup create crypted --table "0 2048 crypt aes-xts-plain64 \$key 0 /dev/mapper/mapped 0"
ok "a thin pool" dmsetup create pool --table "0 8192 thin-pool \$2 \$1 128 0 1 skip_block_zeroing"
ok "a thin device" dmsetup message pool 0 "create_thin 0"
is "\$(stat -f -c %T /sys/fs/cgroup)" cgroup2fs "cgroup v2"
is "\$VM_GUEST" 1 "knows that it is in the guest"
done_testing
EOF
printf '#!/bin/bash\nexit 3\n' >"$tmp/three.sh"
chmod 755 "$tmp"/*.sh
sed -i '1i #!/bin/bash' "$tmp/dm.sh"
ok "a test of device-mapper in the guest" "$top/t/vm/run" tests --scratch 8M --scratch 4M --log "$tmp/log" "$tmp/dm.sh"
ok "its log is kept" grep -q '^ok 1 - target thin-pool' "$tmp/log/dm.tap"
out=$("$top/t/vm/run" tests "$tmp/three.sh" 2>&1) && rc=0 || rc=$?
is "$rc" 1 "a failing test is a failure"
like "$out" 'three failed with exit code 3' "with its code"
is "$(pgrep -fc "linux.uml.*$tmp")" 0 "nothing is left running"
done_testing
