#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# builderd-fs: the quota on bytes and inodes, what gives it back, and a volume that is smaller than the quota.
. "$(dirname "$0")/lib/tap.sh"

drive() {
	timeout 60 "$build/t/tools/drive-fs" ${fs_mode:-} -p "$build/builderd-fs" -d "$tmp" "$@" 2>&1
}
MB=1048576

leaks_begin

cat >"$tmp/fill.py" <<'EOF'
import errno, os
os.chdir(os.environ['MNT'])
def fill(path, chunk=65536):
    n = 0
    with open(path, 'wb', buffering=0) as f:
        while True:
            try:
                n += f.write(b'x' * chunk)
            except OSError as e:
                return n, errno.errorcode[e.errno]
def left():
    s = os.statvfs('.')
    return s.f_bavail * s.f_frsize
total = os.statvfs('.').f_blocks * os.statvfs('.').f_frsize
n, why = fill('a', 60001)
print('first', why, 'partial' if n % 60001 else 'whole', total, 'left', left() < 16384)
try:
    open('b', 'w').close()
    print('create ok')
except OSError as e:
    print('create', errno.errorcode[e.errno])
f = os.open('a', os.O_WRONLY)
print('overwrite', os.pwrite(f, b'y' * 8192, 0))
os.truncate('a', n // 2)
print('truncate gives back', left() >= n // 2 - 16384)
m, why = fill('c')
print('again', why, abs(m - n // 2) < 100000)
g = open('c', 'rb'); os.unlink('c')
print('open unlinked stays', left() < 65536)
g.close()
print('closed', left() >= m - 65536)
os.ftruncate(f, 1 << 29); print('sparse growth', left() >= m - 65536)
try:
    os.ftruncate(f, 1 << 40); print('grew')
except OSError as e:
    print('cap', errno.errorcode[e.errno])
os.posix_fallocate(os.open('p', os.O_CREAT | os.O_RDWR), 0, 1 << 20)
try:
    os.posix_fallocate(os.open('p', os.O_RDWR), 0, 1 << 28)
except OSError as e:
    print('fallocate', errno.errorcode[e.errno])
EOF
out=$(drive -q $((20 * MB)) "run:timeout 30 python3 $tmp/fill.py" stop)
like "$out" "first EDQUOT partial $((20 * MB)) left True" 'a write up to the limit, then EDQUOT; statfs shows the quota'
like "$out" 'create EDQUOT' 'no new file above the limit'
like "$out" 'overwrite 8192' 'what a file has it may overwrite'
like "$out" 'truncate gives back True' 'truncate gives back'
like "$out" 'again EDQUOT True' 'what was given back can be used'
like "$out" $'open unlinked stays True\nclosed True' 'an unlinked file is charged until its last close'
like "$out" $'sparse growth True\ncap EFBIG' 'a hole takes nothing, but the apparent size has a limit'
like "$out" 'fallocate EDQUOT' 'fallocate reserves'
like "$out" 'exact status=0' 'the ledger is exact'

out=$(drive -i 50 'run:cd $MNT; for i in $(seq 100); do echo >f$i || break; done; ls | wc -l; rm f1 && echo again >g && echo ok; df -i . | tail -1 | tr -s " "' stop)
like "$out" 'Disk quota exceeded' 'the limit of inodes'
[[ ${fs_mode:-} ]] && n=46 || n=49 # "layers" and the layer are directories, too, and lost+found is not seen
like "$out" "$n"$'\nok' 'root and lost+found count; a removed file makes room'
like "$out" 'none 50 50 0 100%' 'statfs shows it'
like "$out" 'exact status=0' 'the ledger is exact'

mkdir "$tmp/layer"
for i in $(seq 20); do head -c 300000 /dev/urandom >"$tmp/layer/$i"; done
tar -C "$tmp/layer" -cf "$tmp/layer.tar" .
out=$(drive -q $((4 * MB)) "layer:$tmp/layer.tar" stop)
like "$out" 'error -122 quota-bytes: [0-9]+: the build.s limit of 4194304 bytes is used up.*exact' 'a layer above the limit: the entry is named'
out=$(drive -i 10 "layer:$tmp/layer.tar" stop)
like "$out" 'error -122 quota-inodes: [0-9]+: the build.s limit of 10 files' 'a layer with too many files'
out=$(drive -q $((8 * MB)) "layer:$tmp/layer.tar" stop "layer:$tmp/layer.tar" stop "layer:$tmp/layer.tar" stop)
is "$(grep -c 'exact status=0' <<<"$out")$(grep -c error <<<"$out")" 30 'the same layer again takes nothing more'

# Directories grow, split and are charged; fragmented files get blocks for their extents when they are written back.
out=$(drive -s 512 'run:cd $MNT; mkdir d; cd d; for i in $(seq 4000); do : >a-long-name-that-fills-the-directory-quickly-$i; done; rm *1; stat -c %b . | sed "s/^/dir /"' \
	"run:python3 - <<'EOF'
import os
f = os.open(os.environ['MNT'] + '/frag', os.O_CREAT | os.O_RDWR)
for i in range(3000):
    os.pwrite(f, b'x' * 4096, i * 8192)
g = os.open(os.environ['MNT'] + '/frag2', os.O_CREAT | os.O_RDWR)
for i in range(2000):
    os.pwrite(g, b'x', (1999 - i) * 12288)
os.unlink(os.environ['MNT'] + '/frag2')
EOF" stop)
like "$out" 'exact status=0' 'grown directories and fragmented files: the ledger is exact'

# The volume: 16 MB of it are there at first, the quota is 64 MB.
mkdir "$tmp/big"
for i in $(seq 40); do head -c 1000000 /dev/urandom >"$tmp/big/$i"; done
tar -C "$tmp/big" -cf "$tmp/big.tar" .
out=$(drive -s 16 -q $((64 * MB)) "layer:$tmp/big.tar" stop)
like "$out" 'grow: asked, code -28' 'a full volume: more is asked for'
like "$out" 'error -28 disk-full: [0-9]+: the volume is full' 'refused: disk-full'
like "$out" 'exact status=0' 'the ledger is exact'
out=$(drive -s 96 -G 80 -q $((64 * MB)) "layer:$tmp/big.tar" 'run:ls $MNT | wc -l' stop)
like "$out" 'grow: asked, code 0' 'a full volume that grows'
like "$out" $'entries=43 .*\n4[01]\n' 'the layer is whole then'
like "$out" 'exact status=0' 'the ledger is exact'

leaks_end
done_testing
