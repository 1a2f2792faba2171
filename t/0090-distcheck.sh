#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# check: limit=900
# make distcheck passes, and the release holds every file of the tree.
. "$(dirname "$0")/lib/tap.sh"

cd "$build" || exit
export MAKEFLAGS=
ok "make distcheck" nice make -s -j2 distcheck
archive=$(ls builderd-*.tar.xz)
cleanup "rm -f '$build/$archive'"
tar -tf "$archive" | grep -v '/$' | sed 's|^[^/]*/||' | sort >"$tmp/released"
if [ -e "$top/.git" ]; then
	git -c safe.directory="$top" -C "$top" ls-files
elif [ -e "$top/../files" ]; then # the copy that ./check makes of a clone
	cat "$top/../files"
else
	sed '/^\.gitignore$/d' "$tmp/released" # a release: nothing to compare with
fi | grep -vx '.gitignore' | sort >"$tmp/tree"
is "$(comm -13 "$tmp/released" "$tmp/tree")" "" "no file of the tree is missing in the release"
done_testing
