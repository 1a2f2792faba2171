#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# builderd-unpack in its sandbox: layers in every form, the answers, memory, hashes.
. "$(dirname "$0")/lib/tap.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
drive=$build/t/tools/drive-unpack
cd "$tmp" || exit

mkdir tree && echo hello >tree/file && ln -s file tree/link && mkdir tree/dir && head -c 3000000 /dev/urandom >tree/dir/noise
tar --format=pax -cf layer.tar -C tree .
diff_id=sha256:$(sha256sum <layer.tar | cut -d' ' -f1)
gzip -nk layer.tar
zstd -qk layer.tar
cat <(head -c 5000 layer.tar | gzip -n) <(tail -c +5001 layer.tar | gzip -n) >members.gz

unpack() { # FORM BLOB [LIMIT...]: the answer in $tmp/answer, the stream in $tmp/stream
	local form=$1 blob=$2
	shift 2
	timeout 60 "$drive" layer "$blob" "$form" "$diff_id" "$@" 2>answer | cat >stream
	return "${PIPESTATUS[0]}"
}

ok "an uncompressed layer" unpack none layer.tar
like "$(cat answer)" "^done $diff_id entries=5 bytes=$(stat -c %s layer.tar) " "its diffID, entries and bytes"
mv stream want
ok "the same by gzip" unpack gzip layer.tar.gz
ok "is the same stream" cmp stream want
ok "by zstd" unpack zstd layer.tar.zst
ok "is the same stream" cmp stream want
ok "in two gzip members" unpack gzip members.gz
ok "is the same stream" cmp stream want

fails "another media type" unpack gzip layer.tar.zst
like "$(cat answer)" "^fail mediatype-mismatch: " "is told"
cp layer.tar.gz garbage.gz && echo garbage >>garbage.gz
fails "bytes behind the last member" unpack gzip garbage.gz
like "$(cat answer)" "^fail trailing-garbage: " "are told"
head -c 1000000 layer.tar.gz >short.gz
fails "a layer that was cut" unpack gzip short.gz
like "$(cat answer)" "^fail truncated: " "is told"
fails "more bytes than allowed" unpack none layer.tar max_file=2999999
like "$(cat answer)" "^fail limit-size: " "are told"
fails "more entries than allowed" unpack none layer.tar max_entries=4
like "$(cat answer)" "^fail limit-entries: " "are told"
diff_id=sha256:$(printf '%064d' 1)
fails "another diffID" unpack gzip layer.tar.gz
like "$(cat answer)" "^fail digest-mismatch: " "is told"
fails "and the stream has no end record" cmp stream want
is "$(cmp stream want 2>&1 | grep -c 'EOF on stream')" 1 "but is a prefix of the right one"

# 300 MB in one file and 20,000 small ones: memory is bounded.
truncate -s 300M big
tar -cf big.tar big
diff_id=sha256:$(sha256sum <big.tar | cut -d' ' -f1)
ok "a big file" unpack none big.tar
peak=$(sed -n 's/.*peak_kb=\([0-9]*\).*/\1/p' answer)
diag "peak ${peak} KiB"
ok "in bounded memory" test "${peak:-999999}" -lt 32768
like "$(cat answer)" "progress=[0-9]+$" "with progress"
progress=$(sed -n 's/.*progress=//p' answer) ms=$(sed -n 's/.* ms=\([0-9]*\).*/\1/p' answer)
ok "told at most ten times a second" test "$progress" -le $((ms / 100 + 1))

# Hashes: holes are hashed and not read.
truncate -s 64M holes
printf x | dd of=holes bs=1 seek=1234567 conv=notrunc status=none
printf y | dd of=holes bs=1 seek=67108863 conv=notrunc status=none
: >empty
for f in holes empty layer.tar big; do
	timeout 60 "$drive" hash $f 2>answer
	like "$(cat answer)" "^done sha256:$(sha256sum <$f | cut -d' ' -f1) " "the hash of $f"
done
done_testing
