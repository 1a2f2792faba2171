#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Power cuts: a guest that builds and deletes on the dm backend is killed at a random moment; then another looks whether what
# was acknowledged is there, and nothing else (t/vm/dm-powercut.sh). CUTS rounds (3).
# check: limit=400
. "$(dirname "$0")/lib/tap.sh"

command -v linux.uml >/dev/null || skip "needs user-mode-linux"
[ "$(id -u)" = 0 ] || skip "needs root"
export TMPDIR=$tmp
truncate -s 1G "$tmp/pool.img"
truncate -s 256M "$tmp/state.img"
guest() { # OPTION...; does not return
	exec "$top/t/vm/run" tests --disk "$tmp/pool.img" --disk "$tmp/state.img" --mem 512M --timeout 120 --each 110 "$@" "$top/t/vm/dm-powercut.sh"
}

at_work() { # it has written to the pool
	[ "$(stat -c %Y "$tmp/pool.img")" -ge "$before" ]
}

for round in $(seq "${CUTS:-3}"); do
	delay=$((30 + RANDOM % 80)) # tenths of a second
	before=$(date +%s)
	touch -d "@$((before - 10))" "$tmp/pool.img"
	guest >"$tmp/work" 2>&1 9>&- &
	pid=$!
	cleanup "kill $pid"
	wait_for 40 at_work
	sleep "$((delay / 10)).$((delay % 10))"
	ok "the guest works" kill -0 "$pid" || tap_show "$tmp/work"
	kill "$pid"
	wait "$pid"
	(guest --scratch 1M) >"$tmp/look" 2>&1
	is "$?" 0 "cut $round after $delay/10 s of work: $(grep -o '[0-9]* acknowledged products' "$tmp/look")" || tap_show "$tmp/look"
done
done_testing
