#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# builderd-fs: ordinary system calls on the mount. The same random operations on it and on a plain directory must have the
# same results, and the ledger must be exact after them.
. "$(dirname "$0")/lib/tap.sh"

drive() {
	timeout 100 "$build/t/tools/drive-fs" ${fs_mode:-} -p "$build/builderd-fs" -d "$tmp" "$@" 2>&1
}

leaks_begin

for seed in 1 2 3; do
	out=$(drive -s 512 "run:timeout 90 python3 $top/t/tools/random-ops.py $seed 6000 \$MNT $tmp/model-$seed" stop)
	like "$out" 'same tree' "random operations, seed $seed: as on a plain directory"
	like "$out" 'exact status=0' "random operations, seed $seed: the ledger is exact"
	rm -rf "$tmp/model-$seed"
done

# One script, many checks: each prints one word.
cat >"$tmp/posix.py" <<'EOF'
import ctypes, errno, os, stat, struct, sys, time
M = os.environ['MNT']
os.chdir(M)
libc = ctypes.CDLL(None, use_errno=True)
def check(name, ok):
    print('pass' if ok else 'FAIL', name)
def errno_of(f, *a):
    try:
        f(*a)
        return 0
    except OSError as e:
        return e.errno
def put(p, data=b'x'):
    with open(p, 'wb') as f:
        f.write(data)
check('name-too-long', errno_of(put, 'n' * 256) == errno.ENAMETOOLONG and errno_of(os.stat, 'n' * 256) == errno.ENAMETOOLONG)
put('n' * 255)
check('name-255', os.path.exists('n' * 255))
# readdir: all names once, while names come and go
os.mkdir('big')
for i in range(3000):
    put(f'big/{i}', b'')
seen = []
with os.scandir('big') as it:
    for k, e in enumerate(it):
        seen.append(e.name)
        if k == 500:
            for i in range(3000, 3100):
                put(f'big/{i}', b'')
            os.unlink('big/2999') if '2999' not in seen else None
old = [n for n in seen if int(n) < 2999]
check('readdir-while-changing', len(old) == len(set(old)) == 2999)
# rename flags
put('a', b'a'); put('b', b'b')
R = lambda x, y, f: libc.renameat2(-100, x.encode(), -100, y.encode(), f)
check('rename-noreplace', R('a', 'b', 1) == -1 and ctypes.get_errno() == errno.EEXIST)
check('rename-exchange', R('a', 'b', 2) == 0 and open('a').read() == 'b' and open('b').read() == 'a')
os.link('a', 'a2')
os.rename('a', 'a2')
check('rename-same-inode', os.path.exists('a') and os.path.exists('a2'))
os.mkdir('d1'); os.mkdir('d2'); put('d2/x')
check('rename-over-full-dir', errno_of(os.rename, 'd1', 'd2') == errno.ENOTEMPTY)
check('rename-into-itself', errno_of(os.rename, 'd2', 'd2/y') == errno.EINVAL)
# open and unlinked
f = open('gone', 'w+b'); f.write(b'12345'); f.flush(); os.unlink('gone')
os.ftruncate(f.fileno(), 3); f.seek(0); os.fchmod(f.fileno(), 0o600)
check('unlinked-open', f.read() == b'123' and os.fstat(f.fileno()).st_nlink == 0 and not os.path.exists('gone'))
put('gone', b'again')
check('unlinked-open-name-again', open('gone').read() == 'again' and os.pread(f.fileno(), 9, 0) == b'123')
f.close()
# replaced while open
put('r1', b'one'); put('r2', b'two'); f = open('r2', 'rb'); os.rename('r1', 'r2')
check('replaced-open', f.read() == b'two' and open('r2').read() == 'one')
f.close()
# holes
with open('holes', 'w+b') as f:
    f.seek(1 << 20); f.write(b'end'); f.flush()
    check('seek-data', os.lseek(f.fileno(), 0, os.SEEK_DATA) == 1 << 20 and os.lseek(f.fileno(), 0, os.SEEK_HOLE) == 0)
    check('hole-takes-nothing', os.fstat(f.fileno()).st_blocks <= 16)
    check('punch', libc.fallocate(f.fileno(), 3, ctypes.c_long(1 << 20), ctypes.c_long(4096)) == 0 and os.fstat(f.fileno()).st_blocks == 0)
# append, sparse growth, mmap
with open('app', 'ab') as f: f.write(b'1')
with open('app', 'ab') as f: f.write(b'2')
check('append', open('app').read() == '12')
import mmap
with open('m', 'w+b') as f:
    f.truncate(8192); m = mmap.mmap(f.fileno(), 8192); m[5000] = 65; m.flush(); m.close()
check('mmap', open('m', 'rb').read()[5000] == 65)
# ownership
def as_user(uid, gid, fn):
    pid = os.fork()
    if pid == 0:
        os.setgroups([]); os.setgid(gid); os.setuid(uid)
        rc = 1
        try:
            rc = 0 if fn() else 1
        finally:
            os._exit(rc)
    return os.waitpid(pid, 0)[1] == 0
os.mkdir('pub'); os.chmod('pub', 0o777)
check('create-as-user', as_user(1000, 1001, lambda: put('pub/u') is None) and os.stat('pub/u')[4:6] == (1000, 1001))
os.mkdir('sg'); os.chown('sg', 0, 55); os.chmod('sg', 0o2777)
check('setgid-dir', as_user(1000, 1001, lambda: (put('sg/f'), os.mkdir('sg/d')) and 1) and os.stat('sg/f').st_gid == 55 and
    os.stat('sg/d').st_mode & 0o2000 and os.stat('sg/d').st_gid == 55)
check('denied', as_user(1000, 1001, lambda: errno_of(put, 'sg2') == errno.EACCES))
os.umask(0o027); put('um'); check('umask', stat.S_IMODE(os.stat('um').st_mode) == 0o640); os.umask(0o022)
put('suid'); os.chown('suid', 1000, 1000); os.chmod('suid', 0o6777)
check('write-clears-set-id', as_user(1000, 1000, lambda: os.write(os.open('suid', os.O_WRONLY), b'y')) and stat.S_IMODE(os.stat('suid').st_mode) == 0o777)
os.chmod('suid', 0o6755)
os.chown('suid', 1001, 1001)
check('chown-clears-set-id', stat.S_IMODE(os.stat('suid').st_mode) == 0o755)
def keeps(uid, how):
    os.chown('suid', 1000, 1000); os.chmod('suid', 0o6777)
    return as_user(uid, 1000, lambda: how() or 1) and stat.S_IMODE(os.stat('suid').st_mode) == 0o6777
ways = {'truncate': lambda: os.truncate('suid', 0), 'open-trunc': lambda: os.open('suid', os.O_WRONLY | os.O_TRUNC),
    'fallocate': lambda: os.posix_fallocate(os.open('suid', os.O_WRONLY), 0, 4096), 'write': lambda: put('suid')}
for how, do in ways.items():
    check(f'{how}-clears-set-id-of-others', not keeps(1000, do) and stat.S_IMODE(os.stat('suid').st_mode) == 0o777)
    check(f'{how}-by-root-keeps-set-id', keeps(0, do))
os.chmod('suid', 0o2767); as_user(1000, 1000, lambda: put('suid') or 1)
check('write-keeps-setgid-of-group-without-x', stat.S_IMODE(os.stat('suid').st_mode) == 0o2767)
os.chmod('suid', 0o6777); f = os.open('suid', os.O_WRONLY); os.write(f, b'1')
os.chmod('suid', 0o777); os.chmod('suid', 0o6777)
check('chmod-while-open-stays', stat.S_IMODE(os.fstat(f).st_mode) == 0o6777); os.close(f)
def moves_ctime(path):
    before = os.lstat(path).st_ctime_ns
    time.sleep(0.02)
    os.chown(path, -1, -1, follow_symlinks=False)
    return os.lstat(path).st_ctime_ns > before
os.symlink('x', 'cl'); os.mkdir('cd'); put('cf'); os.mkfifo('cp')
check('chown-of-nothing-moves-ctime', all(moves_ctime(p) for p in ('cl', 'cd', 'cf', 'cp')))
os.chmod('suid', 0o6755)
os.setxattr('suid', 'security.capability', struct.pack('<IIIII', 0x02000001, 0x400, 0, 0, 0))
put('suid', b'new')
check('write-clears-capability', 'security.capability' not in os.listxattr('suid'))
CAP = struct.pack('<IIIII', 0x02000001, 0x400, 0, 0, 0)
f = os.open('suid', os.O_WRONLY); os.write(f, b'1'); os.setxattr('suid', 'security.capability', CAP); os.write(f, b'2')
check('second-write-clears-capability', 'security.capability' not in os.listxattr('suid')); os.close(f)
os.setxattr('suid', 'security.capability', CAP); os.truncate('suid', 0)
check('truncate-clears-capability', 'security.capability' not in os.listxattr('suid'))
os.setxattr('suid', 'security.capability', CAP); os.chown('suid', 1002, 1002)
check('chown-clears-capability', 'security.capability' not in os.listxattr('suid'))
# nodes, times, xattrs
os.mknod('fifo', 0o640 | stat.S_IFIFO); os.mknod('dev', 0o600 | stat.S_IFCHR, os.makedev(1, 3)); os.chmod('dev', 0o666)
check('mknod', os.stat('dev').st_rdev == os.makedev(1, 3) and stat.S_IMODE(os.stat('dev').st_mode) == 0o666)
check('device-stays-closed', errno_of(os.open, 'dev', os.O_RDONLY) == errno.EACCES)
os.symlink('t' * 4000, 'long'); check('symlink-4000', len(os.readlink('long')) == 4000)
os.symlink('nowhere', 'sl'); os.utime('sl', ns=(1, 2), follow_symlinks=False); os.chown('sl', 5, 6, follow_symlinks=False)
s = os.lstat('sl'); check('symlink-attrs', (s.st_mtime_ns, s.st_uid, s.st_gid) == (2, 5, 6))
os.setxattr('um', 'user.a', b'1'); os.setxattr('um', 'user.b', b'2' * 3000)
check('xattr', sorted(os.listxattr('um')) == ['user.a', 'user.b'] and os.getxattr('um', 'user.b') == b'2' * 3000)
check('xattr-create', errno_of(os.setxattr, 'um', 'user.a', b'', os.XATTR_CREATE) == errno.EEXIST)
os.removexattr('um', 'user.a'); check('xattr-remove', errno_of(os.getxattr, 'um', 'user.a') == errno.ENODATA)
check('rmdir-full', errno_of(os.rmdir, 'pub') == errno.ENOTEMPTY)
check('unlink-dir', errno_of(os.unlink, 'pub') in (errno.EISDIR, errno.EPERM))
check('excl', errno_of(os.open, 'um', os.O_CREAT | os.O_EXCL) == errno.EEXIST)
d = os.open('pub', os.O_RDONLY); os.unlink('pub/u'); os.rmdir('pub')
check('removed-dir', errno_of(lambda: os.open('x', os.O_CREAT, dir_fd=d)) == errno.ENOENT)
fds = [os.open('a', os.O_RDONLY) for _ in range(600)]
check('600-open', all(os.pread(f, 1, 0) == b'b' for f in fds))
[os.close(f) for f in fds]
EOF
out=$(drive "run:timeout 60 python3 $tmp/posix.py" stop)
while read -r result name; do
	is "$result" pass "$name"
done < <(grep -E '^(pass|FAIL) ' <<<"$out")
like "$out" 'run: status 0.*exact status=0' 'the ledger is exact'
[[ $out == *'run: status 0'* ]] || diag "$out"

# Names and attributes that the kernel knows, changed behind it by the ingest stream.
cat >"$tmp/stale.py" <<'EOF'
import os, struct
M = os.environ['MNT']; os.chdir(M)
def rec(type, path=b'', data=b'', mode=0o644):
    return struct.pack('=IHHIIIIqQQQIIIIII', 0x31474e49, type, 0, mode, 0, 0, 0, 1, len(data), 0, 0, 0, 0, len(path), 0, 0, 0) + path + data
os.makedirs('d/sub'); open('d/f', 'w').write('old'); open('d/w', 'w').write('w')
held = open('d/f'); os.stat('d/f'); os.listdir('d'); assert not os.path.exists('d/new') and os.path.exists('d/sub')
c = os.open('.builderd-ingest', os.O_RDWR)
os.write(c, rec(1) + rec(3, b'd/new', b'1') + rec(3, b'd/f', b'newer') + rec(12, b'd/w') + rec(4, b'd/sub', mode=0o700))
a = [os.path.exists('d/new'), open('d/f').read(), os.path.exists('d/w'), oct(os.stat('d/sub').st_mode), held.read(), os.fstat(held.fileno()).st_nlink]
os.write(c, rec(2)); os.close(c)
print('after', a, sorted(os.listdir('d')))
EOF
out=$(drive "run:timeout 20 python3 $tmp/stale.py" stop)
# The first of the session was written by POSIX and no lower layer: BEGIN makes it lower, so that the whiteout removes d/w.
like "$out" "after \[True, 'newer', False, '0o40700', 'old', 0\] \['f', 'new', 'sub'\]" 'a reader sees what the stream did, in spite of caches'
like "$out" 'exact status=0' 'a file that the stream replaced while it was open is credited'

leaks_end
done_testing
