#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The layer corpus as far as builderd-fetch decides: t/data/corpus-fetch.txt pins the error kind of each case that it refuses; every
# other case must reach DONE (what is wrong inside a layer is builderd-unpack's to find).
. "$(dirname "$0")/lib/tap.sh"

[ "$(id -u)" = 0 ] || skip "needs root: builderd-fetch enters its sandbox"
corpus=${BUILDERD_SHARED:-$top/../shared}/corpus
[ -e "$corpus/layers.tar.zst" ] || skip "the corpus is not beside this tree ($corpus)"
leaks_begin
zstd -dcq "$corpus/layers.tar.zst" | tar -xf - -C "$tmp"
chmod -R a+rX "$tmp/layers"
export UNKEY_BUILDERD_LOCAL_IMAGES_DIR=$tmp/layers
while IFS='=' read -r name value; do
	export "UNKEY_BUILDERD_LIMIT_$name=$value"
done < <(jq -r 'to_entries[] | "\(.key | ascii_upcase)=\(.value)"' "$tmp/layers/limits.json")

declare -A want
while read -r name kind _; do
	[ -z "$name" ] || [ "$name" = '#' ] || want[$name]=$kind
done <"$top/t/data/corpus-fetch.txt"

cases=0
odd=
odd_classes=
for dir in "$tmp"/layers/*/; do
	name=$(basename "$dir")
	# One directory of blobs for all: what caches hold must not change an outcome.
	line=$(timeout 20 "$build/t/tools/drive-fetch" --quiet --blobs "$tmp/blobs" --images "$tmp/layers" "oci:$name:latest" 2>/dev/null)
	read -r word kind _ <<<"$line"
	[ "$word" = fail ] || kind=$word
	[ "$kind" = "${want[$name]:-done}" ] || odd+="$name: $line (want ${want[$name]:-done})"$'\n'
	if [ "$word" = fail ]; then
		jq -e --arg k "$kind" '[.error, .alt[]?.error] | index($k)' "$dir/expected.json" >/dev/null || odd_classes+="$name: $kind"$'\n'
	fi
	cases=$((cases + 1))
done
is "$cases" 285 "the whole corpus"
is "$odd" "" "each case has its pinned outcome"
is "$odd_classes" "" "each refusal is one of the classes that the corpus expects"
is "$(ls -A "$tmp/blobs" | grep -c '^\.tmp')" 0 "no temporary file is left"
leaks_end
done_testing
