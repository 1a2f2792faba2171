#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two clones of one sealed rootfs on thin pools (t/vm/dm-clones.sh, in a guest), and VMs that boot from them. A guest does not run in a
# guest: the clones' bytes are copied out and booted here, by the same kernel, which counts as booting the clones.
# By hand, with the big image of the shared bench/make-images.sh:  CLONES_LAYOUT=OUTDIR/oci CLONES_TAG=python bash t/4592-dm-clones.sh
# check: limit=400
. "$(dirname "$0")/lib/tap.sh"

command -v linux.uml >/dev/null || skip "needs user-mode-linux"
[ "$(id -u)" = 0 ] || skip "needs root"
export TMPDIR=$tmp
if [ -n "${CLONES_LAYOUT:-}" ]; then
	layout=$(realpath -e "$CLONES_LAYOUT") tag=${CLONES_TAG:-python} file=app/main.py format='print("clone %d says hello")' pool=6G mem=3G
else
	layout=$tmp/layout tag=small file=etc/note format='clone %d says hello' pool=1G mem=512M
	"$top/t/lib/mkimage.py" "$layout" small --cmd "/bin/probe cat /etc/note" layer d:etc f:etc/passwd='root:x:0:0::/:/bin/sh\n' f:etc/note='nothing' \
		layer d:bin x:bin/probe="$build/t/tools/guest-probe" >/dev/null
fi
mkdir "$tmp/out"
{
	printf '#!/bin/bash\nexec %q' "$(realpath "$top/t/vm/dm-clones.sh")"
	printf ' %q' "$layout" "$tag" "$file" "$format" "$tmp/out"
} >"$tmp/dm-clones"
chmod +x "$tmp/dm-clones"
"$top/t/vm/run" tests --scratch "$pool" --scratch 256M --mem "$mem" --timeout 390 --each 380 --log "$tmp/log" "$tmp/dm-clones" >"$tmp/out.txt" 2>&1
rc=$?
grep -E '^(not ok|#)' "$tmp/out.txt" | sed 's/^/# /'
is "$rc" 0 "the guest's test passes: $(grep -c '^ok' "$tmp/log/dm-clones.tap") checks"
for n in 1 2; do
	out=$("$top/t/vm/run" boot "$tmp/out/clone$n.ext4" 2>&1)
	is "$? $(head -n 1 <<<"$out")" "0 clone $n says hello" "a VM boots from clone $n and finds what was written to it" || diag "$out"
done
done_testing
