#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Storage is stopped by kill -9 at every change it makes (t/vm/dm-fail-steps.sh, in the guest). STEPS=all tries every change; else each
# fortieth, from STEPS_FIRST (1) on. STEPS_HOW (kill) and STEPS_PART (make use open) choose.
# check: limit=1300
. "$(dirname "$0")/lib/tap.sh"

command -v linux.uml >/dev/null || skip "needs user-mode-linux"
[ "$(id -u)" = 0 ] || skip "needs root"
export TMPDIR=$tmp
stride=40 limit=400
[ "${STEPS:-}" != all ] || stride=1 limit=14400
for part in ${STEPS_PART:-make use open}; do
	first=${STEPS_FIRST:-1}
	"$top/t/vm/run" tests --scratch 1G --scratch 768M --mem 512M --timeout "$limit" --each "$limit" --log "$tmp/$part" --env TMPDIR=/tmp \
		--env "STEPS_HOW=${STEPS_HOW:-kill}" --env "STEPS_PART=$part" --env "STEPS_FIRST=$first" --env "STEPS_STRIDE=$stride" \
		"$top/t/vm/dm-fail-steps.sh" >"$tmp/out" 2>&1
	rc=$?
	grep -E '^(not ok|# [^ ]* before)' "$tmp/out" | sed 's/^/# /'
	is "$rc" 0 "the guest's test passes: $part, $(grep -o 'before each of [^:]*' "$tmp/$part/dm-fail-steps.tap")"
done
done_testing
