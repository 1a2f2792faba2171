#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Power cuts: builderd on the dm backend, in a guest, builds and deletes over its API until the guest is killed at a random
# moment. The next guest looks first whether what was acknowledged is there, and nothing else, then it works on
# (t/vm/dm-powercut.sh). CUTS of them (20); one of four comes while the storage is being opened or looked at.
# CUTS_LOG: a file that gets a line for each cut; CUTS_KEEP: a directory for the guests' logs of a failure.
# check: limit=900
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"

command -v linux.uml >/dev/null || skip "needs user-mode-linux"
[ "$(id -u)" = 0 ] || skip "needs root"
cuts=${CUTS:-20} cuts_log=${CUTS_LOG:-$tmp/log}
export TMPDIR=$tmp
report=$tmp/report # the guest's, through its root file system
mkdir "$report"

for i in 1 2 3 4 5 6; do
	image_make "image$i" --cmd /bin/run layer d:etc f:etc/passwd='root:x:0:0::/:/bin/sh\n' n:base=300000 \
		layer "d:srv" "n:srv/$i=$((i * 200000))" layer "f:late=$i" >/dev/null
done
truncate -s 1G "$tmp/pool.img"
truncate -s 192M "$tmp/state.img"
mke2fs -q -t ext4 "$tmp/state.img"

guest() { # does not return
	exec "$top/t/vm/run" tests --disk "$tmp/pool.img" --disk "$tmp/state.img" --mem 512M --timeout 300 --each 290 --env TMPDIR=/tmp \
		--env "CUT_IMAGES=$tmp/images" --env "CUT_REPORT=$report" --env "CUT_LAST=$1" "$top/t/vm/dm-powercut.sh"
}

guest_start() { # LAST
	rm -f "$report"/*
	: >"$report/events"
	(guest "$1") >"$tmp/guest" 2>&1 9>&- &
	pid=$!
	cleanup "kill $pid"
}

has_reached() { # up | looked; or it has ended
	[ -e "$report/$1" ] || ! kill -0 "$pid" 2>/dev/null
}

has_worked() { # STEPS: created, acknowledged, to be deleted, deleted
	has_reached looked && [ "$(wc -l <"$report/events")" -ge "$1" ] || ! kill -0 "$pid" 2>/dev/null
}

# What the guest said about the state it found. A guest that was cut before it had looked said nothing wrong so far.
look_result() { # DESC
	local rc=0
	! grep -q '^not ok' "$report/look" 2>/dev/null || rc=1
	[ -n "$early" ] || [ -e "$report/looked" ] || rc=1
	tap_result "$rc" "$1"
	[ "$rc" = 0 ] && return
	[ ! -e "$report/look" ] || grep -A 8 '^not ok' "$report/look" | sed 's/^/# /'
	tap_show "$tmp/guest"
	[ -z "${CUTS_KEEP:-}" ] || { mkdir -p "$CUTS_KEEP/$cut" && cp "$report"/* "$tmp/guest" "$CUTS_KEEP/$cut/"; }
	return 1
}

products_found() {
	cat "$report/looked" 2>/dev/null || echo "-"
}

failed=0
for cut in $(seq "$cuts"); do
	early= steps=$((RANDOM % 9)) delay=$((RANDOM % 15)) # tenths of a second
	what="after $steps steps of work"
	guest_start ''
	if [ $((RANDOM % 4)) = 0 ]; then
		early=1 what=opening delay=$((RANDOM % 40))
		wait_for 60 has_reached up
	else
		wait_for 300 has_worked "$steps"
	fi
	sleep "$((delay / 10)).$((delay % 10))"
	kill "$pid" 2>/dev/null
	wait "$pid"
	found=$(products_found)
	if look_result "cut $cut, $what and $delay/10 s: $found"; then rc=ok; else rc=FAILED failed=$((failed + 1)); fi
	echo "$(date '+%F %T') cut $cut $what, $delay/10 s: $rc, $found" >>"$cuts_log"
done

early= cut=last
guest_start 1
wait "$pid"
is "$?" 0 "the last guest looks, builds, deletes and takes everything down"
look_result "after the last cut: $(products_found)"
echo "$(date '+%F %T') $cuts cuts, $failed failed; at the end: $(products_found)" >>"$cuts_log"
done_testing
