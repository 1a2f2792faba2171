#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# builderd-fs: what the ingest stream makes of layers, and what it refuses.
. "$(dirname "$0")/lib/tap.sh"

drive() {
	timeout 60 "$build/t/tools/drive-fs" -p "$build/builderd-fs" -d "$tmp" "$@" 2>&1
}

# rec TYPE PATH [key=value...] to stdout: one ingest record. Content, link and xattrs by key.
cat >"$tmp/rec.py" <<'EOF'
import struct, sys
T = {n: i + 1 for i, n in enumerate('begin end file dir symlink hardlink chr blk fifo socket content whiteout opaque'.split())}
def rec(type, path=b'', link=b'', xattrs={}, data=b'', mode=0o644, uid=0, gid=0, sec=1700000000, nsec=0, flags=0, apparent=0,
        offset=0, major=0, minor=0, size=None, magic=0x31474e49, path_len=None, xattr_len=None, reserved=0):
    x = b''.join(struct.pack('=HHI', len(k), 0, len(v)) + k + v for k, v in xattrs.items())
    path, link = (p.encode() if isinstance(p, str) else p for p in (path, link))
    return struct.pack('=IHHIIIIqQQQIIIIII', magic, T.get(type, type), flags, mode, uid, gid, nsec, sec, len(data) if size is None else size,
        apparent, offset, major, minor, len(path) if path_len is None else path_len, len(link),
        len(x) if xattr_len is None else xattr_len, reserved) + path + link + x + data
out = b''
def add(*a, **k):
    global out
    out += rec(*a, **k)
exec(sys.stdin.read())
sys.stdout.buffer.write(out)
EOF
stream() { # NAME, python on stdin
	python3 "$tmp/rec.py" >"$tmp/$1"
}
refused() { # NAME KIND DESC: the stream in NAME ends with an error of KIND, the process lives, its figures are exact
	local out
	out=$(drive "stream:$tmp/$1" stop)
	like "$out" " $2: .*exact status=0" "$3"
}

leaks_begin

stream all <<'EOF'
add('begin')
add('dir', 'd', mode=0o1777, uid=3, gid=4, sec=1000, nsec=5)
add('file', 'd/f', data=b'hello', mode=0o4755, uid=7, gid=8, sec=2000, nsec=9, xattrs={b'user.k': b'v',
    b'security.capability': struct.pack('<IIIII', 0x02000001, 0x400, 0, 0, 0)})
add('symlink', 'd/l', link='f', uid=9, gid=9, sec=3000)
add('hardlink', 'd/h', link='d/f')
add('chr', 'd/null', major=1, minor=3, mode=0o666)
add('fifo', 'd/p', mode=0o600)
add('file', 'x/y/z', data=b'z' * 3000000)
add('file', 'sparse', flags=4, apparent=1 << 20)
add('content', data=b'a' * 10, offset=5)
add('content', data=b'b' * 10, offset=(1 << 20) - 10)
add('end')
EOF
out=$(drive "stream:$tmp/all" 'run:cd $MNT; stat -c "%n %f %u:%g %Y %h %s" d d/f d/l d/h d/p x x/y sparse; stat -c "%t:%T %a" d/null
	cat d/f; echo; readlink d/l; getfattr -d -m . -e hex d/f; sha256sum x/y/z | cut -c 1-8; tail -c 10 sparse; echo; stat -c %b sparse; ls -A' stop)
like "$out" 'd 43ff 3:4 1000 2 4096' 'a directory keeps the time of its entry'
like "$out" 'd/f 89ed 7:8 2000 2 5' 'owner, set-id bits and time of a file'
like "$out" 'd/l a1ff 9:9 3000 1 1' 'a symlink of its own owner and time'
like "$out" 'd/h 89ed 7:8 2000 2 5' 'a hard link'
like "$out" '1:3 666' 'a device'
like "$out" 'security.capability=0x0100000200040000' 'capabilities outlive chown'
like "$out" 'user.k=0x76' 'an xattr'
like "$out" 'x 41ed 0:0' 'missing parents: 0755 0:0'
like "$out" 'sparse 81a4 0:0 1700000000 1 1048576' 'a sparse file has its size'
like "$out" $'bbbbbbbbbb\n16\n' 'a sparse file has its content and no more blocks than that'
unlike "$out" 'builderd-ingest' 'the control file is not listed'
like "$out" 'exact status=0' 'the ledger is exact'

# The same in pieces: writes of odd sizes.
python3 - "$tmp/all" >"$tmp/pieces.sh" <<'EOF'
import os, sys
print('exec 7<>"$MNT/.builderd-ingest"')
n = os.path.getsize(sys.argv[1])
print(f"python3 -c \"import os,sys\nd=open(sys.argv[1],'rb').read()\ni=0;k=1\nwhile i<len(d):\n s=k*7919%5003+1; os.write(7,d[i:i+s]); i+=s; k+=1\" {sys.argv[1]}")
EOF
out=$(drive "run:. $tmp/pieces.sh" 'run:cd $MNT; sha256sum x/y/z d/f sparse | cut -c 1-8 | paste -sd,' stop)
out2=$(drive "stream:$tmp/all" 'run:cd $MNT; sha256sum x/y/z d/f sparse | cut -c 1-8 | paste -sd,' stop)
is "$(grep , <<<"$out")" "$(grep , <<<"$out2")" 'a stream cut anywhere gives the same tree'

stream over <<'EOF'
add('begin')
add('file', 'a', data=b'old')
add('hardlink', 'b', link='a')
add('file', 'a', data=b'new')
add('dir', 'd', mode=0o700, xattrs={b'user.old': b'1'})
add('file', 'd/inner', data=b'x' * 9000)
add('dir', 'd', mode=0o755, xattrs={b'user.new': b'2'})
add('dir', 'e')
add('file', 'e/1', data=b'x' * 9000)
add('file', 'e', data=b'file now')
add('symlink', 's', link='/d')
add('file', 's/through', data=b'1')
add('dir', 's')
add('file', 's/own', data=b'2')
add('end')
EOF
out=$(drive "stream:$tmp/over" 'run:cd $MNT; cat a b e; echo; ls d s; getfattr -d d; stat -c %a d; test -d s -a ! -L s; echo $?' stop)
like "$out" $'newoldfile now\n' 'an entry replaces a file without writing into its other names; a directory gives way to a file'
like "$out" $'d:\ninner\nthrough' 'a symlink in a path is followed inside the root'
like "$out" $'s:\nown' 'a directory entry replaces a symlink'
like "$out" 'user.new="2"' 'a directory over a directory replaces attributes ...'
unlike "$out" 'user.old' '... xattrs too'
like "$out" 'exact status=0' 'replaced trees are credited'

stream escape <<'EOF'
add('begin')
add('symlink', 'up', link='../../../..')
add('file', 'up/etc/clamped', data=b'1')
add('symlink', 'abs', link='/etc')
add('file', 'abs/too', data=b'1')
add('symlink', 'magic', link='/proc/self/root')
add('file', 'magic/made', data=b'1')
add('end')
EOF
out=$(drive "stream:$tmp/escape" 'run:cd $MNT; find . -type f | sort | paste -sd " "' stop)
like "$out" './etc/clamped ./etc/too ./proc/self/root/made' 'links cannot lead out of the root'

bad() { # KIND DESC, python on stdin behind a begin record
	(echo "add('begin')"; cat) | stream bad
	refused bad "$1" "$2"
}
bad path-escape '".." in a path' <<<"add('file', 'a/../b')"
bad bad-name 'an empty component' <<<"add('file', 'a//b')"
bad bad-name 'a name of 256 bytes' <<<"add('file', 'n' * 256)"
bad bad-name 'a NUL in a path' <<<"add('file', b'a\\0b')"
bad bad-name 'the control file as an entry' <<<"add('file', '.builderd-ingest')"
bad bad-whiteout 'a stored whiteout name' <<<"add('file', 'd/.wh.x')"
bad limit-path 'a path above the limit' <<<"add('file', 'd/' * 2500 + 'f')"
bad limit-path 'too many directories' <<<"add('file', 'd/' * 1100 + 'f')"
bad path-loop 'a symlink to itself' <<<"add('symlink', 'l', link='l'); add('file', 'l/x')"
bad not-a-directory 'a parent that is a file' <<<"add('file', 'f'); add('file', 'f/x')"
bad bad-hardlink 'a hard link to what is missing' <<<"add('hardlink', 'h', link='nope')"
bad bad-hardlink 'a hard link to a directory' <<<"add('dir', 'd'); add('hardlink', 'h', link='d')"
bad bad-hardlink 'a hard link to itself' <<<"add('file', 'f'); add('hardlink', 'f', link='f')"
bad limit-size 'a file above the limit' <<<"add('file', 'f', size=1 << 40)"
bad limit-size 'a size that wraps' <<<"add('file', 'f', size=(1 << 64) - 1)"
bad limit-xattr 'too many xattrs' <<<"add('file', 'f', xattrs={b'user.%d' % i: b'' for i in range(200)})"
bad limit-xattr 'more xattrs than the inode takes' <<<"add('file', 'f', xattrs={b'user.a': b'x' * 60000})"
bad bad-xattr 'a malformed capability' <<<"add('file', 'f', xattrs={b'security.capability': b'x'})"
bad bad-xattr 'xattr lengths that lie' <<<"out += rec('file', 'f', xattr_len=12) + struct.pack('=HHI', 5, 0, 0xffffffff) + b'abcd'"
bad bad-id 'an owner of 2^32-1' <<<"add('file', 'f', uid=0xffffffff)"
bad bad-archive 'a wrong magic number' <<<"add('file', 'f', magic=1)"
bad bad-archive 'an unknown type' <<<"add(99, 'f')"
bad bad-archive 'content without a file' <<<"add('content', data=b'x')"
bad bad-archive 'content behind the end of a sparse file' <<<"add('file', 'f', flags=4, apparent=10); add('content', data=b'x' * 20)"
bad bad-archive 'an entry after the end' <<<"add('end'); add('file', 'f')"
bad bad-archive 'a root that is no directory' <<<"add('file', '')"
bad limit-entries 'too many entries' <<<"out += rec('dir', 'd') * 100001"

stream flags <<'EOF'
add('begin')
add('dir', 'etc', mode=0o700)
add('symlink', 'lib', link='etc')
add('file', 'etc/kept', data=b'kept')
add('file', 'etc/kept', data=b'other', flags=1)
add('dir', 'lib', mode=0o755, flags=2)
add('file', 'etc/new', data=b'new', flags=1)
add('end')
EOF
out=$(drive "stream:$tmp/flags" 'run:cd $MNT; cat etc/kept etc/new; stat -c " %a %F" etc lib | paste -sd,' stop)
like "$out" 'keptnew 700 directory, 777 symbolic link' 'IF_ABSENT and KEEP_DIR leave alone what is there'
stream flags2 <<<"add('begin'); add('dir', 'd'); add('file', 'd', data=b'x', flags=8)"
refused flags2 bad-layout 'REPLACE does not remove a directory'

head -c 3000000 "$tmp/all" >"$tmp/cut"
out=$(drive "stream:$tmp/cut" stop)
like "$out" 'entries=7 .*exact status=0' 'a stream that ends in the middle of a file is an incomplete layer, exactly charged'

out=$(drive "run:python3 - <<'EOF'
import os, struct
fd = os.open(os.environ['MNT'] + '/.builderd-ingest', os.O_RDWR)
for data in (b'x' * 200, b'y'):
    try:
        os.write(fd, data)
    except OSError as e:
        print('errno', e.errno)
print(struct.unpack('=ii', os.pread(fd, 8, 0)))
EOF" stop)
like "$out" $'errno 22\nerrno 5\n\\(-22, ' 'the first write tells the errno, all others EIO, a read the sentence'
out=$(drive 'run:setpriv --reuid 1000 --clear-groups cat $MNT/.builderd-ingest; true' stop)
like "$out" 'No such file' 'nobody but root finds the control file'

leaks_end
done_testing
