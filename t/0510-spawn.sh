#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# spawn_program(): what a child inherits, how it ends, and that it never outlives its parent.
. "$(dirname "$0")/lib/tap.sh"

drive() {
	timeout 60 "$build/t/tools/spawn-driver" "$@"
}

[ "$(id -u)" = 0 ] || skip "needs root"

# Descriptors the child must not get: a file on 77, stdin from a pipe.
out=$(echo x | drive plain 77</dev/null 2>&1)
like "$out" "^fds=0,1,2,3 " "a child has descriptors 0 to 3 and no other"
like "$out" "uid=0 gid=0 .*pid1=0 pdeathsig=9 blocked=0 ignored=0" "signals are at their defaults, PDEATHSIG is armed"
like "$out" "exited with code 7" "a child leaves at the end of its channel"
out=$(drive plain 0<&- 1>&1 2>&-)
like "$out" "^fds=0,1,2,3 " "a parent without stdin and stderr gives the same descriptors"

out=$(drive namespaces 2>&1)
like "$out" "uid=0 gid=0 groups=0 pid1=1 pdeathsig=9" "a child in new namespaces is root there, pid 1, without groups"
like "$out" "exited with code 7" "and leaves at the end of its channel"

like "$(drive kill 2>&1)" "killed by signal 9" "a pid 1 that ignores its channel is killed"

gone() {
	! kill -0 "$1"
}
for kind in orphan orphan-namespaces; do
	pid=$(drive $kind 2>&1 | sed -n 's/^pid=//p')
	like "$pid" "^[0-9]+$" "$kind: the child ran"
	ok "$kind: the child dies with its parent" wait_for 5 gone "$pid"
done

out=$(drive missing 2>&1)
like "$out" "/nonexistent/program: No such file" "a missing program is named"
like "$out" "could not execute: Permission denied" "a file that cannot be executed is told by the parent"
like "$out" "never ran" "and leaves no child"

is "$(drive threads 2>&1)" "bad=0 leaked=0" "8 threads start 400 children at once"
done_testing
