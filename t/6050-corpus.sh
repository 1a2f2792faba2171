#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# check: limit=900
# The layer corpus (285 corner cases and attacks) through the whole daemon, without the finishing pass.
# By hand: some cases only with  t/6050-corpus.sh NAME...  t/data/corpus-passing.txt pins what passes, and how.
. "$(dirname "$0")/lib/tap.sh"
. "$top/t/lib/builderd.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
corpus=${BUILDERD_SHARED:-$top/../shared}/corpus
[ -e "$corpus/layers.tar.zst" ] || skip "the corpus is not beside this tree ($corpus)"
leaks_begin

mkdir "$tmp/corpus" "$tmp/mnt"
zstd -dcq "$corpus/layers.tar.zst" | tar -xf - -C "$tmp/corpus"
chmod -R a+rX "$tmp/corpus"
# Damage outside of a tree shows here: a file beside each of the directories that a path could climb to.
echo sentinel | tee "$tmp/sentinel" "$tmp/corpus/sentinel" "$tmp/mnt/sentinel" >/dev/null
outside() {
	find "$tmp" -path "$state" -prune -o -path "$tmp/.out" -prune -o -path "$builderd_log" -prune -o -type f -printf '%P %s %T@ %m %u\n' |
		LC_ALL=C sort | sha256sum
	find / -maxdepth 1 -printf '%f %m\n' | sort
}
before=$(outside)

limits=$(jq -r 'to_entries[] | "LIMIT_\(.key | ascii_upcase)=\(.value)"' "$tmp/corpus/layers/limits.json")
# shellcheck disable=SC2086
ok "builderd starts with the corpus' limits" \
	builderd_start LOCAL_IMAGES_DIR="$tmp/corpus/layers" MAX_CONCURRENT_BUILDS=4 $limits || done_testing
while IFS= read -r line; do
	case $line in
	"ok - "*) tap_result 0 "${line#ok - }" ;;
	"not ok - "*) tap_result 1 "${line#not ok - }" ;;
	*) diag "${line#\# }" ;;
	esac
done < <("$top/t/lib/corpus.py" "$url" "$tmp/corpus/layers" "$corpus/check_tree.py" "$top/t/data/corpus-passing.txt" "$tmp/mnt" "$@" 2>&1)
is "$(outside)" "$before" "nothing changed outside of the trees"
ok "builderd has lived through it" builderd_stop
leaks_end
done_testing
