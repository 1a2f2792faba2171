#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every operation on every kind of name of an overlay.  overlay-ops.py lower|run|tree DIR

  lower   make the lower layer in DIR
  run     on the merged tree in DIR: for each kind and each operation bring a fresh name into that state, do it, and print
          "KIND OPERATION outcome", outcome being what came back and what is seen afterwards
  tree    print the tree, one line a name: type, mode, owner, size, content, target, xattrs, names of the same inode

Each pair has a directory of its own, so that one outcome does not depend on another.
"""
import ctypes, errno, hashlib, os, stat, sys

libc = ctypes.CDLL(None, use_errno=True)


def opener(path, flags):
    return os.open(path, flags | os.O_NONBLOCK, 0o666)  # a fifo must not wait


def put(path, data):
    with open(path, "w", opener=opener) as f:
        f.write(data)


def see(path):
    """What a name shows."""
    try:
        s = os.lstat(path)
    except OSError as e:
        return errno.errorcode[e.errno]
    if stat.S_ISDIR(s.st_mode):
        return "dir%o[%s]" % (stat.S_IMODE(s.st_mode), " ".join("%s=%s" % (n, see(path + "/" + n)) for n in sorted(os.listdir(path))))
    if stat.S_ISLNK(s.st_mode):
        return "link>" + os.readlink(path)
    if stat.S_ISREG(s.st_mode):
        x = {n: os.getxattr(path, n) for n in os.listxattr(path) if n.startswith("user.")}
        return "file%o:%d:%s:%s:%d%s" % (stat.S_IMODE(s.st_mode), s.st_uid, s.st_size,
                                         hashlib.sha1(open(path, "rb", opener=opener).read()).hexdigest()[:6], s.st_nlink, x or "")
    return "node%o" % s.st_mode


# --- kinds: below(d) makes what the lower layer has of d/x, above(d) what is done to it in the merged tree first
def lower_file(d):
    put(d + "/x", "lower content\n" * 500)
    os.chmod(d + "/x", 0o640)
    os.setxattr(d + "/x", "user.kept", b"value")


def lower_dir(d):
    os.makedirs(d + "/x/sub/deep")
    put(d + "/x/one", "one")
    put(d + "/x/sub/two", "two")
    os.symlink("one", d + "/x/link")
    os.chmod(d + "/x/sub", 0o711)


def lower_hard(d):
    lower_file(d)
    os.link(d + "/x", d + "/other")
    os.mkdir(d + "/far")
    os.link(d + "/x", d + "/far/third")


def rm_tree(path):
    for n in os.listdir(path):
        p = path + "/" + n
        rm_tree(p) if stat.S_ISDIR(os.lstat(p).st_mode) else os.unlink(p)
    os.rmdir(path)


def merge_dir(d):
    put(d + "/x/new", "new")
    os.unlink(d + "/x/one")
    put(d + "/x/sub/two", "changed")


def opaque(d):
    rm_tree(d + "/x")
    os.mkdir(d + "/x", 0o750)
    put(d + "/x/only", "only")


def whited_dir(d):
    rm_tree(d + "/x")


def emptied(d):
    rm_tree(d + "/x/sub")
    os.unlink(d + "/x/one")
    os.unlink(d + "/x/link")


def nothing(d):
    pass


KINDS = {
    "absent": (nothing, nothing),
    "lower": (lower_file, nothing),
    "upper": (nothing, lower_file),
    "both": (lower_file, lambda d: os.chmod(d + "/x", 0o604)),
    "whiteout": (lower_file, lambda d: os.unlink(d + "/x")),
    "replaced": (lower_file, lambda d: (os.unlink(d + "/x"), put(d + "/x", "anew"))),
    "symlink": (lambda d: os.symlink("nowhere", d + "/x"), nothing),
    "fifo": (lambda d: os.mkfifo(d + "/x"), nothing),
    "hardlink": (lower_hard, nothing),
    "hardlink-up": (lower_hard, lambda d: os.chmod(d + "/other", 0o611)),
    "dir": (lower_dir, nothing),
    "dir-upper": (nothing, lower_dir),
    "dir-merged": (lower_dir, merge_dir),
    "dir-opaque": (lower_dir, opaque),
    "dir-whiteout": (lower_dir, whited_dir),
    "dir-emptied": (lower_dir, emptied),
    "dir-on-file": (lower_file, lambda d: (os.unlink(d + "/x"), os.mkdir(d + "/x"))),
    "file-on-dir": (lower_dir, lambda d: (rm_tree(d + "/x"), put(d + "/x", "file"))),
}


# --- operations; d has beside x: t (a lower file), tdir (a lower directory with a file), tempty (an empty one)
def append(d):
    with open(d + "/x", "a", opener=opener) as f:
        f.write("more")


def rename2(a, b, flags):
    if libc.renameat2(-100, a.encode(), -100, b.encode(), flags) < 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def excl(d):
    os.close(os.open(d + "/x", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def create(d):
    os.close(os.open(d + "/x", os.O_CREAT | os.O_WRONLY | os.O_NONBLOCK, 0o600))


def trunc_open(d):
    f = os.open(d + "/x", os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK)
    os.write(f, b"short")
    os.close(f)


def open_unlinked(d):
    f = os.open(d + "/x", os.O_RDWR)
    os.unlink(d + "/x")
    os.pwrite(f, b"still", 0)
    n = os.fstat(f).st_nlink
    r = os.pread(f, 5, 0)
    os.close(f)
    return "%d %s" % (n, r)


def there_and_back(d):
    os.rename(d + "/x", d + "/away")
    os.rename(d + "/away", d + "/x")


def mkdir_again(d):
    (rm_tree if stat.S_ISDIR(os.lstat(d + "/x").st_mode) else os.unlink)(d + "/x")
    os.mkdir(d + "/x")


def stays(d):
    before = os.lstat(d + "/x").st_ino
    os.chmod(d + "/x", 0o700)
    return before == os.lstat(d + "/x").st_ino


def inside(d):
    put(d + "/x/inside", "in")
    os.rename(d + "/x/inside", d + "/x/sub")
    return "?"


def deep(d):
    os.rename(d + "/x/sub", d + "/x/moved")
    put(d + "/x/moved/more", "more")
    os.mkdir(d + "/x/sub")


OPS = {
    "read": lambda d: len(open(d + "/x", opener=opener).read()),
    "append": append,
    "truncate": lambda d: os.truncate(d + "/x", 5),
    "grow": lambda d: os.truncate(d + "/x", 100000),
    "open-trunc": trunc_open,
    "chmod": lambda d: os.chmod(d + "/x", 0o700),
    "chown": lambda d: os.chown(d + "/x", 12, 13, follow_symlinks=False),
    "utime": lambda d: (os.utime(d + "/x", ns=(5, 7), follow_symlinks=False), os.lstat(d + "/x").st_mtime_ns)[1],
    "setxattr": lambda d: os.setxattr(d + "/x", "user.a", b"b", follow_symlinks=False),
    "rmxattr": lambda d: os.removexattr(d + "/x", "user.kept"),
    "unlink": lambda d: os.unlink(d + "/x"),
    "rmdir": lambda d: os.rmdir(d + "/x"),
    "rm-tree": lambda d: rm_tree(d + "/x"),
    "unlink-open": open_unlinked,
    "create": create,
    "create-excl": excl,
    "mkdir": lambda d: os.mkdir(d + "/x"),
    "mkdir-again": mkdir_again,
    "symlink": lambda d: os.symlink("t", d + "/x"),
    "mkfifo": lambda d: os.mkfifo(d + "/x"),
    "link-from": lambda d: os.link(d + "/x", d + "/new", follow_symlinks=False),
    "link-over": lambda d: os.link(d + "/t", d + "/x"),
    "rename": lambda d: os.rename(d + "/x", d + "/new"),
    "rename-back": there_and_back,
    "rename-to-file": lambda d: os.rename(d + "/x", d + "/t"),
    "rename-to-dir": lambda d: os.rename(d + "/x", d + "/tdir"),
    "rename-to-empty": lambda d: os.rename(d + "/x", d + "/tempty"),
    "rename-into": lambda d: os.rename(d + "/x", d + "/tdir/x"),
    "rename-from-file": lambda d: os.rename(d + "/t", d + "/x"),
    "rename-from-dir": lambda d: os.rename(d + "/tdir", d + "/x"),
    "rename-self": lambda d: os.rename(d + "/x", d + "/x"),
    "noreplace": lambda d: rename2(d + "/t", d + "/x", 1),
    "exchange-file": lambda d: rename2(d + "/x", d + "/t", 2),
    "exchange-dir": lambda d: rename2(d + "/x", d + "/tdir", 2),
    "same-inode": stays,
    "inside": inside,
    "deep": deep,
    "list": lambda d: sorted(os.listdir(d + "/x")),
}


def dirs(root):
    for kind in KINDS:
        for op in OPS:
            yield kind, op, "%s/%s/%s" % (root, kind, op)


def make_lower(root):
    for kind, op, d in dirs(root):
        os.makedirs(d + "/tdir")
        os.mkdir(d + "/tempty")
        put(d + "/t", "target")
        put(d + "/tdir/in", "in")
        KINDS[kind][0](d)


def run(root):
    for kind, op, d in dirs(root):
        KINDS[kind][1](d)
    for kind, op, d in dirs(root):
        try:
            got = OPS[op](d)
        except OSError as e:
            got = errno.errorcode[e.errno]
        print(kind, op, got, see(d))


def tree(root):
    inodes = {}
    for path, names, files in os.walk(root):
        names.sort()
        for n in sorted(names + files):
            full = path + "/" + n
            rel, s = os.path.relpath(full, root), os.lstat(full)
            group = ""
            if not stat.S_ISDIR(s.st_mode) and s.st_nlink > 1:
                group = inodes.setdefault((s.st_dev, s.st_ino), rel)
            what = ""
            if stat.S_ISREG(s.st_mode):
                what = hashlib.sha1(open(full, "rb", opener=opener).read()).hexdigest()[:10]
            elif stat.S_ISLNK(s.st_mode):
                what = os.readlink(full)
            xattrs = sorted(x for x in os.listxattr(full, follow_symlinks=False) if x.startswith("user."))
            print(rel, "%o" % s.st_mode, s.st_uid, s.st_gid, what, xattrs, group)


os.umask(0o022)
{"lower": make_lower, "run": run, "tree": tree}[sys.argv[1]](sys.argv[2])
