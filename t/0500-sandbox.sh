#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every role's sandbox, tried from inside: what must not work does not, what the program needs does.
. "$(dirname "$0")/lib/tap.sh"

[ "$(id -u)" = 0 ] || skip "needs root"

# These end the process whatever the role: no errno to go on with.
deadly="ptrace process_vm_readv mount fsopen chroot setns fork execve setresuid capset keyctl bpf perf_event_open
	userfaultfd io_uring_setup init_module reboot TIOCSTI F_SETOWN F_SETOWN_EX F_SETSIG O_ASYNC F_NOTIFY FIOASYNC SIOCSPGRP FIOSETOWN"

for role in api fetch unpack fs; do
	dir=$tmp/$role
	mkdir "$dir"
	mount -t tmpfs "builderd-$role" "$dir" # a file system with handles and xattrs, whatever is below $tmp
	cleanup "umount '$dir'"
	chown 64123 "$dir"
	out=$(timeout 120 "$build/t/tools/sandbox-probe" "$role" "$dir" 2>&1)
	bad=$(grep -v '^must: ' <<<"$out" | grep -e ': worked$' -e 'not started' -e 'exited with' -e 'never ran' | grep -v 'code 159')
	is "$bad" "" "$role: nothing that must not work does"
	like "$(grep -vc '^must: ' <<<"$out")" '^[5-9][0-9]$' "$role: all attempts were made"
	is "$(grep '^must: ' <<<"$out" | grep -v ': worked$')" "" "$role: what it needs works"
	soft=
	for call in $deadly; do
		grep -qx "$call: \(killed by signal 31.*\|exited with code 159\)" <<<"$out" || soft+=" $call"
	done
	is "$soft" "" "$role: breaking calls kill"
done
is "$(grep -c "$tmp" /proc/self/mountinfo)" 4 "no mount is left but this script's own"
done_testing
