#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""random-ops.py SEED COUNT DIR MODEL: the same random operations in DIR and in the directory MODEL, which is made if it
is missing and else holds what DIR holds.

Every operation must have the same result or errno in both, and both must hold the same tree in the end. After every thousand what
statfs of DIR says is used must be what a walk of $BACK, the file system below it, finds: to the byte and to the inode.
"""
import os
import random
import stat
import sys

seed, count, subject, model = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
rng = random.Random(seed)
names = [f'n{i}' for i in range(12)]


def path():
    return '/'.join(rng.choice(names) for _ in range(rng.choice([1, 1, 2, 2, 3])))


def with_fd(p, flags, fn):
    fd = os.open(p, flags, 0o644)
    try:
        return fn(fd)
    finally:
        os.close(fd)


def unlinked(p, data):
    def use(fd):
        os.unlink(p)
        os.pwrite(fd, data, 5)
        os.ftruncate(fd, 3000)
        st = os.fstat(fd)
        return st.st_nlink, st.st_size, os.pread(fd, 10000, 0)
    return with_fd(p, os.O_RDWR, use)


def operation():
    """A function of the root, with its arguments drawn now."""
    p, q, n = path(), path(), rng.randrange(200000)
    data = bytes([rng.randrange(256)]) * rng.choice([1, 100, 5000, 40000, 300000])
    write = lambda r: with_fd(f'{r}/{p}', os.O_WRONLY | os.O_CREAT, lambda fd: os.pwrite(fd, data, n))
    rename = lambda r: os.rename(f'{r}/{p}', f'{r}/{q}')
    return rng.choice([
        write, write, rename, rename,
        lambda r: os.mkdir(f'{r}/{p}'),
        lambda r: os.unlink(f'{r}/{p}'),
        lambda r: os.rmdir(f'{r}/{p}'),
        lambda r: os.link(f'{r}/{p}', f'{r}/{q}', follow_symlinks=False),
        lambda r: os.symlink('t' * (n % 300 + 1), f'{r}/{p}'),
        lambda r: os.truncate(f'{r}/{p}', n),
        lambda r: os.chmod(f'{r}/{p}', n & 0o7777),
        lambda r: os.chown(f'{r}/{p}', n % 7, n % 5, follow_symlinks=False),
        lambda r: unlinked(f'{r}/{p}', data),
        lambda r: os.setxattr(f'{r}/{p}', 'user.a', data[:n % 3000], follow_symlinks=False),
        lambda r: os.removexattr(f'{r}/{p}', 'user.a', follow_symlinks=False),
        lambda r: sorted(os.listdir(f'{r}/{p}')),
        lambda r: with_fd(f'{r}/{p}', os.O_RDWR, lambda fd: os.posix_fallocate(fd, n, len(data))),
    ])


def result(op, root):
    try:
        return 'done', op(root)
    except OSError as e:
        return 'errno', e.errno


def tree(root):
    out = {}
    for d, dirs, files in os.walk(root):
        if d == root and 'lost+found' in dirs:
            dirs.remove('lost+found')
        for name in dirs + files:
            p = os.path.join(d, name)
            st = os.lstat(p)
            content = None
            if stat.S_ISREG(st.st_mode):
                with open(p, 'rb') as f:
                    content = f.read()
            elif stat.S_ISLNK(st.st_mode):
                content = os.readlink(p)
            size = 0 if stat.S_ISDIR(st.st_mode) else st.st_size
            # a directory merged of layers does not count its subdirectories
            nlink = 0 if stat.S_ISDIR(st.st_mode) and os.environ.get('LAYERS') else st.st_nlink
            out[p[len(root):]] = (st.st_mode, st.st_uid, st.st_gid, nlink, size, content)
    return out


def used_said():
    s = os.statvfs(subject)
    return (s.f_blocks - s.f_bfree) * s.f_frsize, s.f_files - s.f_ffree


def used_found(root):
    seen, size, todo = set(), 0, [root]
    while todo:
        p = todo.pop()
        st = os.lstat(p)
        if st.st_ino not in seen:
            seen.add(st.st_ino)
            size += st.st_blocks * 512
        if stat.S_ISDIR(st.st_mode):
            todo += [e.path for e in os.scandir(p)]
    return size, len(seen)


def ledger_check(i):
    for _ in range(5):  # the kernel may write back, and allot blocks of extent trees, between the two
        said, found = used_said(), used_found(os.environ['BACK'])
        if said == found:
            return
    sys.exit(f'seed {seed}, after operation {i}: the ledger says {said}, the disk {found}')


os.makedirs(model, exist_ok=True)
for i in range(count):
    if i % 1000 == 0:
        ledger_check(i)
    op = operation()
    a, b = result(op, subject), result(op, model)
    if a != b:
        sys.exit(f'seed {seed}, operation {i}: {str(a)[:200]}, on the model {str(b)[:200]}')
ledger_check(count)
a, b = tree(subject), tree(model)
bad = [p for p in sorted(set(a) | set(b)) if a.get(p) != b.get(p)]
for p in bad[:5]:
    print(p, *(t and t[:5] for t in (a.get(p), b.get(p))))
print(f'seed {seed}: {len(b)} entries,', f'{len(bad)} differ' if bad else 'same tree')
sys.exit(bool(bad))
