#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The test helpers themselves: a helper that cannot fail proves nothing.
. "$(dirname "$0")/lib/tap.sh"

run() { # SCRIPT TEXT: its output and exit code
	printf '. "%s/t/lib/tap.sh"\n%s\n' "$top" "$1" >"$tmp/script.sh"
	(unset BASH_ENV; TMPDIR=$tmp bash "$tmp/script.sh" 2>&1; echo "rc=$?")
}

like "$(run 'ok a true; done_testing')" $'^ok 1 - a\n1..1\nrc=0$' "a pass"
like "$(run 'ok a false; done_testing')" $'not ok 1 - a\n.*1..1\nrc=1$' "a failure and its exit code"
like "$(run 'fails a false; done_testing')" 'rc=0$' "a refusal is what fails wants"
like "$(run 'fails a true; done_testing')" 'rc=1$' "fails: success is a failure"
like "$(run 'fails a bash -c "kill -SEGV \$\$"; done_testing')" 'rc=1$' "fails: a crash is no refusal"
like "$(run 'is a b c; done_testing')" $'got:  a\n.*want: b\n.*rc=1$' "is shows both"
like "$(run 'like abc ^b x; done_testing')" 'rc=1$' "like"
like "$(run 'unlike abc ^a x; done_testing')" 'rc=1$' "unlike"
like "$(run 'ok a true; exit 0')" 'Bail out!.*rc=1$' "an early end is no success"
like "$(run 'skip because')" $'^1..0 # SKIP because\nrc=0$' "skip of a whole script"
like "$(run 'ok a false; skip because')" 'rc=1$' "skip does not hide a failure"
like "$(run 'cleanup "echo 1 >>'"$tmp/order"'"; cleanup "echo 2 >>'"$tmp/order"'"; done_testing')" 'rc=0' "cleanup"
is "$(tr -d '\n' <"$tmp/order")" 21 "cleanups run backwards"
is "$(run 'echo $tmp >'"$tmp/where"'; done_testing' >/dev/null; [ -e "$(cat "$tmp/where")" ] || echo gone)" gone 'its $tmp is removed'

truncate -s 1M "$tmp/file"
leaks_begin
loop=$(losetup -f --show "$tmp/file")
cleanup "losetup -d $loop"
like "$(leaks_list)" "loop ${loop#/dev/}/" "a loop is seen"
mkdir "$tmp/mnt"
mount -t tmpfs none "$tmp/mnt"
cleanup "umount $tmp/mnt"
like "$(leaks_list)" "mount .*$tmp/mnt " "a mount is seen"
cp "$(command -v sleep)" "$tmp/builderd-fs"
UNKEY_BUILDERD_STATE_DIR=$tmp/state "$tmp/builderd-fs" 60 9>&- &
pid=$!
wait_for 5 grep -qx builderd-fs "/proc/$pid/comm"
like "$(leaks_list)" "process $pid builderd-fs" "a process is seen"
kill $pid
wait $pid 2>/dev/null
umount "$tmp/mnt"
losetup -d "$loop"
leaks_end "and nothing once all are gone"
done_testing
