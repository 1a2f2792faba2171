#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# metald-init as PID 1 of a pid namespace, in a root directory of its own: everything but the hardware.
# There reboot(2) ends the namespace: its init dies of SIGINT for a power off, of SIGHUP for a reset (reboot(2)).
. "$(dirname "$0")/lib/tap.sh"

[ "$(id -u)" = 0 ] || skip "needs root for namespaces"
root=$tmp/root
mkdir -p "$root"/{usr/bin,proc,dev,etc,bin,tmp,run/kept}
cp "$build/metald-init" "$root/usr/bin/metald-init"
cp "$build/t/tools/guest-probe" "$root/bin/probe"
printf 'root:x:0:0::/root:\napp:x:1000:1001::/home/app:\n' >"$root/etc/passwd"
printf 'root:x:0:\napp:x:1001:\nextra:x:2000:app\n' >"$root/etc/group"
ln -s ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"

# CMD-JSON ENV-JSON [KERNEL-LINE]: out = what the console got, rc = how the namespace ended
enter='mount -t tmpfs none dev && mknod dev/null c 1 3 && mount -t proc proc proc && mount --bind "$1" proc/cmdline &&
	exec chroot . /usr/bin/metald-init'
prepare() {
	rm -f "$root/container.cmd"
	[ -z "$1" ] || printf '%s' "$1" >"$root/container.cmd"
	printf '%s' "${2:-{\}}" >"$root/container.env"
	printf '%s\n' "${3:-quiet}" >"$tmp/cmdline"
}
boot() {
	prepare "$@"
	rc=0
	out=$(cd "$root" && env -i TERM=linux timeout 20 unshare --pid --mount --uts --net --ipc --fork --kill-child \
		sh -c "$enter" sh "$tmp/cmdline" 2>&1 </dev/null) || rc=$?
}
off=130 # 128 + SIGINT
reset=129

boot '["/bin/probe", "exit", "7"]'
is "$rc" $off "powers off when the command ends"
is "$out" "metald-init: command exited with code 7" "says the exit code, and nothing else"
boot '["/bin/probe", "exit", "0"]' '{}' 'console=ttyS0 reboot=k panic=1 pci=off init=/usr/bin/metald-init root=/dev/vda rw'
is "$rc" $reset "resets where the kernel line says reboot=k"
boot '["/bin/probe", "kill", "15"]'
is "$out" "metald-init: command killed by signal 15 (Terminated)" "names the signal that killed the command"

boot '["probe", "show", "A", "lower-case.name", "PATH", "HOME", "K", "TERM"]' \
	'{"working_dir":"/srv/app","user":"app","env":{"A":"1","lower-case.name":"x y","bad":[]},"exposed_ports":["80"]}' \
	'quiet env.K="a b" env.A=2 hostname=testvm nameserver=10.9.8.7'
like "$out" 'uid=1000 euid=1000 suid=1000 gid=1001 groups=2000' "runs as the image's user, with his groups"
like "$out" 'cwd=/srv/app host=testvm pid=0 ppid=1 leader=1' "in the working directory it made, host name set, leader of a session"
like "$out" $'\nA=2\nlower-case.name=x y\n' "kernel line over container.env; any variable name goes"
like "$out" $'\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nHOME=/home/app\nK=a b\nTERM=linux\n' "defaults"
like "$out" 'variable "bad" is an array, not a string, skipped' "what does not fit is skipped, and said"
is "$(cat "$root/etc/resolv.conf")" "nameserver 10.9.8.7" "the name server, in place of a dangling link"
like "$(cat "$root/etc/hosts")" 127.0.0.1 "/etc/hosts knows localhost"
ok "the directories of /var" test -d "$root/var/log" -a -d "$root/var/cache" -a -L "$root/var/run"
boot '["probe", "show"]' '{"user":"12:34","working_dir":"/srv"}' 'workdir=/etc'
like "$out" 'uid=12 .*gid=34 groups=' "numeric user and group"
like "$out" 'cwd=/etc ' "workdir= of the kernel line"

boot '["/bin/probe", "mounts", "/sys", "/dev/pts", "/dev/shm", "/tmp", "/run", "/dev/fd", "/run/kept"]'
like "$out" '/sys: type=62656572' "sysfs"
like "$out" '/dev/pts: type=1cd1 ' "devpts"
like "$out" '/dev/shm: type=1021994 mode=41777' "shared memory"
like "$out" '/tmp: type=1021994 mode=41777' "an empty /tmp becomes a tmpfs"
unlike "$out" '/run: type=1021994' "/run with something in it stays the image's"
unlike "$out" 'No such file' "the links of /dev"

boot '["/bin/probe", "orphans", "50"]'
like "$out" zombies=0 "reaps what others left behind"
SECONDS=0
boot '["/bin/probe", "linger"]'
is "$rc" $off "ends although a process does not listen"
like "$out" 'code 3.*killing them' "after a grace period, by SIGKILL"
ok "within seconds" test $SECONDS -le 5

boot '["no-such-program"]'
like "$out" 'cannot start no-such-program: No such file.*exited with code 127' "a missing command is 127"
boot '["/etc/passwd"]'
like "$out" 'cannot start /etc/passwd: Permission denied.*exited with code 126' "one that cannot run is 126"
is "$rc" $off "and the machine is still powered off"
boot '["/bin/probe", "show"]' '{"user":"nobody"}'
like "$out" 'user "nobody" is not in .*exited with code 126' "an unknown user is no reason to run as root"
unlike "$out" uid= "nothing ran"
boot '{"a":' '[]'
like "$out" '/container.cmd: .*no command to run.*code 127' "broken files are messages"
boot '["/bin/probe", "show"]' '{"env":{'
like "$out" '/container.env: .*uid=0 ' "a broken container.env leaves the defaults"
printf '{"entrypoint":["/bin/probe"],"command":["show","M","E"],"env":{"M":"from metadata","E":"too"}}' >"$root/metadata.json"
boot '' '{"env":{"E":"from env"}}' 'metadata=/metadata.json'
like "$out" $'M=from metadata\nE=from env' "metadata= fills in what is missing"

boot '["/bin/probe", "show"]' '{"init_strategy":"direct","user":"app"}'
like "$out" 'uid=1000 euid=1000 suid=1000.* pid=1 ' "direct: the command is PID 1, as its user"
unlike "$out" metald-init: "and nobody reports on it"
boot '["/nothing"]' '{"init_strategy":"direct","user":"app"}'
like "$out" 'code 127' "direct, without a command"
is "$rc" $off "powers off all the same"

# A signal from outside: to PID 1 of the namespace, as the kernel and the VM manager send it.
for sig in TERM INT HUP; do
	prepare '["/bin/probe", "signal"]'
	: >"$tmp/console"
	(cd "$root" && exec env -i timeout 20 unshare --pid --mount --uts --net --ipc --fork --kill-child \
		sh -c "$enter" sh "$tmp/cmdline") >"$tmp/console" 2>&1 </dev/null &
	starter=$!
	wait_for 10 grep -q ready "$tmp/console" || diag "$(cat "$tmp/console")"
	unshare_pid=$(pgrep -P $starter) && init_pid=$(pgrep -P "$unshare_pid")
	kill -$sig "$init_pid"
	wait $starter
	is "$(cat "$tmp/console")" "ready
caught=$(kill -l $sig)
metald-init: command exited with code 0" "SIG$sig reaches the command"
done

fails "refuses to be anything but PID 1" "$build/metald-init"
like "$("$build/metald-init" --version)" '^metald-init [0-9]' "--version"
done_testing
