#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# builderd-fs: whiteouts remove what lower layers brought, never what the same layer wrote, wherever they stand in it.
. "$(dirname "$0")/lib/tap.sh"

drive() {
	timeout 60 "$build/t/tools/drive-fs" ${fs_mode:-} -p "$build/builderd-fs" -d "$tmp" "$@" 2>&1
}

# layer FILE NAME...: a tar with these entries in this order. "x/" a directory, "x" a file with its name as content, "x=y" a hard link.
layer() {
	python3 - "$@" <<'EOF'
import io, sys, tarfile
with tarfile.open(sys.argv[1], 'w') as t:
    for name in sys.argv[2:]:
        name, _, link = name.partition('=')
        m = tarfile.TarInfo(name.rstrip('/'))
        m.mtime = 1600000000
        data = name.encode()
        if link:
            m.type, m.linkname, data = tarfile.LNKTYPE, link, b''
        elif name.endswith('/'):
            m.type, m.mode, data = tarfile.DIRTYPE, 0o711, b''
        m.size = len(data)
        t.addfile(m, io.BytesIO(data))
EOF
}
layer "$tmp/base.tar" a/ a/1 a/2 a/s/ a/s/3 a/s/t/ a/s/t/4 top

# case DESC WANTED NAME...: the tree after base and a layer of these names
case_of() {
	local desc=$1 want=$2 out
	shift 2
	layer "$tmp/upper.tar" "$@"
	out=$(drive "layer:$tmp/base.tar" next "layer:$tmp/upper.tar" stop \
		'run:cd $MNT; echo "TREE $(find . -mindepth 1 ! -name lost+found -printf "%P\n" | sort | paste -sd " ")"' stop)
	is "$(sed -n 's/^TREE //p' <<<"$out")" "$want" "$desc"
	[ "$(grep -c 'exact status=0' <<<"$out")" = 3 ] || is "$out" exact "$desc: the ledger is exact"
}

leaks_begin

ALL='a a/1 a/2 a/s a/s/3 a/s/t a/s/t/4'
case_of 'a file' "a a/2 a/s a/s/3 a/s/t a/s/t/4 top" a/.wh.1
case_of 'a directory with all below it' 'top' .wh.a
case_of 'a name that is not there' "$ALL top" a/.wh.9 no/.wh.x
case_of 'a name that is not there, below a directory that this layer removed' 'top' .wh.a a/s/.wh.3
case_of 'a file of this layer, before it' "$ALL top" .wh.top top
case_of 'a file of this layer, behind it' "$ALL top" top .wh.top
case_of 'a directory of this layer, before it' 'a a/n top' .wh.a a/ a/n
case_of 'a directory of this layer, behind it' 'a a/n top' a/ a/n .wh.a
case_of 'an implicit parent is written as well' 'a a/s a/s/n top' a/s/n .wh.a
case_of 'an implicit parent, marker first' 'a a/s a/s/n top' .wh.a a/s/n
case_of 'a hard link of this layer to what is removed' 'h top' h=a/1 .wh.a
case_of 'a new name of a lower file is written, the lower name is not' 'a a/2 a/new a/s a/s/3 a/s/t a/s/t/4 top' a/new=a/1 a/.wh.1
case_of 'opaque first' 'a a/n top' a/.wh..wh..opq a/n
case_of 'opaque last' 'a a/n top' a/n a/.wh..wh..opq
case_of 'opaque between' 'a a/m a/n top' a/m a/.wh..wh..opq a/n
case_of 'opaque keeps what this layer wrote deep below' 'a a/s a/s/t a/s/t/n top' a/s/t/n a/.wh..wh..opq
case_of 'opaque in a subdirectory' 'a a/1 a/2 a/s top' a/s/.wh..wh..opq
case_of 'opaque of the root' 'n' n .wh..wh..opq
case_of 'a lower file written again is of this layer' "$ALL top" a/1 a/2 a/s/3 a/s/t/4 a/.wh.1 a/s/.wh.3 a/s/t/.wh.4

out=$(drive "layer:$tmp/base.tar" next 'run:cd $MNT; stat -c "%Y before" a' "layer:$tmp/upper.tar" 'run:cd $MNT; stat -c "%Y after" a' stop)
like "$out" '1600000000 before.*1600000000 after' 'a directory that the layer does not name keeps its time'

# Through POSIX: making the marker is the whiteout.
out=$(drive "layer:$tmp/base.tar" next "run:cd \$MNT; ls a; echo n >a/n; mknod a/.wh.1 c 0 0; : >a/.wh.n; ls -A a; echo opaque; : >a/s/.wh..wh..opq; ls -A a/s; echo end
	python3 - <<'EOF'
import os
os.chdir(os.environ['MNT'])
f = os.open('.wh.top', os.O_CREAT | os.O_WRONLY, 0o600)
os.fchown(f, 5, 6); os.fchmod(f, 0o640); os.utime(f, (1, 2))
print('marker', os.fstat(f).st_uid, oct(os.fstat(f).st_mode), os.path.exists('top'), sorted(os.listdir('.')))
for bad in ('.wh.', '.wh..', '.wh...'):
    try:
        os.open('a/' + bad, os.O_CREAT | os.O_WRONLY); print('made', bad)
    except OSError as e:
        print('refused', e.errno)
for fn in (lambda: os.mkdir('.wh.d'), lambda: os.symlink('x', '.wh.l'), lambda: os.rename('a/2', '.wh.2'), lambda: os.link('a/2', '.wh.2')):
    try:
        fn(); print('made')
    except OSError as e:
        print('refused', e.errno)
EOF" 'run:cd $MNT; find . -name ".wh*"; echo none' stop)
like "$out" $'1\n2\ns\n2\nn\ns\nopaque\nend' 'markers made by mknod and open act at once, and spare what this session wrote'
like "$out" "marker 5 0o100640 False \['a'(, 'lost\+found')?\]" 'the maker of a marker can set its owner, mode and times'
is "$(grep -c 'refused 22' <<<"$out")" 7 'names and types that are no whiteout are refused'
like "$out" $'status 0\nnone' 'no marker is stored or listed'
is "$(grep -c 'exact status=0' <<<"$out")" 2 'the ledger is exact'

# Deep and wide trees: no recursion, one descriptor.
out=$(drive -s 512 "run:python3 - <<'EOF'
import os
os.chdir(os.environ['MNT'])
os.mkdir('deep'); os.chdir('deep')
for i in range(1000):
    os.mkdir('d' * 28); open('f', 'w').close(); os.chdir('d' * 28)
os.chdir(os.environ['MNT']); os.mkdir('wide')
for i in range(5000):
    open('wide/%d' % i, 'w').close()
EOF" stop 'run:cd $MNT; : >.wh.deep; : >.wh.wide; ls' stop)
like "$out" $'exact[^\n]*\n(lost\\+found\n)?run: status 0' 'a tree 1000 deep and one 5000 wide'
is "$(grep -c 'exact status=0' <<<"$out")" 2 'the ledger is exact'

leaks_end
done_testing
