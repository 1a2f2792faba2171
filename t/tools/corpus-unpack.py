#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""corpus-unpack BUILD CORPUS CHECK_TREE CHOICES [CASE...]: the archive cases of the layer corpus through builderd-unpack alone.

Each layer goes through BUILD/t/tools/drive-unpack; the ingest stream is applied here, by a plain reading of ipc/ingest.h, to a
directory that CHECK_TREE's functions then judge. CHOICES (JSON) pins, where a case allows several outcomes, the one we chose.
Prints TAP lines. What only builderd-fs can decide (links, parents, whiteouts) is decided by the applier below, so this proves the
unpacker and the stream, not builderd-fs; with WITH_FS=1 in the environment builderd-fs applies it (BUILD/t/tools/drive-fs). Needs root and an ext4 or another file system with xattrs."""
import errno, importlib.util, json, os, shutil, stat, struct, subprocess, sys, tempfile

GROUPS = 'basic bomb dup gnu gzip hl layer meta mt name parent pax rep size sparse sym tar wh zstd'.split()
RECORD = struct.Struct('=IHHIIIIqQQQIIIIII')
(BEGIN, END, FILE, DIR, SYMLINK, HARDLINK, CHR, BLK, FIFO, SOCKET, CONTENT, WHITEOUT, OPAQUE) = range(1, 14)
SPARSE, KEEP_DIR, IF_ABSENT = 4, 2, 1
FORMS = {'tar': 'none', 'tar+gzip': 'gzip', 'tar.gzip': 'gzip', 'tar+zstd': 'zstd'}


class Fail(Exception):
    def __init__(self, kind, why=''): super().__init__(kind + ': ' + why); self.kind = kind


class Tree:
    """A root directory and what the current layer wrote into it."""

    def __init__(self, root): self.root, self.times, self.written = os.fsencode(root), {}, set()

    def real(self, p): return os.path.join(self.root, p) if p else self.root

    def lstat(self, p):
        try: return os.lstat(self.real(p))
        except OSError: return None

    def parent(self, path, make):
        """-> the directory that holds path's last component, links resolved inside the root; None if absent"""
        todo, at, hops = path.split(b'/')[:-1], [], 0
        while todo:
            c = todo.pop(0)
            if c in (b'', b'.'): continue
            if c == b'..':
                at = at[:-1]
                continue
            p = b'/'.join(at + [c]); st = self.lstat(p)
            if st is None:
                if not make: return None
                os.mkdir(self.real(p), 0o755); os.chown(self.real(p), 0, 0); self.written.add(p); at.append(c)
            elif stat.S_ISLNK(st.st_mode):
                hops += 1
                if hops > 40: raise Fail('path-loop', repr(path))
                t = os.readlink(self.real(p))
                if t.startswith(b'/'): at = []
                todo = t.split(b'/') + todo
            elif stat.S_ISDIR(st.st_mode):
                at.append(c)
                if make: self.written.add(p)
            else: raise Fail('not-a-directory', repr(p))
        return b'/'.join(at)

    def place(self, path, make=True):
        if not path: return b''
        d = self.parent(path, make)
        if d is None: return None
        return (d + b'/' if d else b'') + path.split(b'/')[-1]

    def forget(self, p):
        for k in [k for k in self.times if k == p or k.startswith(p + b'/')]: del self.times[k]
        for k in [k for k in self.written if k.startswith(p + b'/')]: self.written.discard(k)

    def remove(self, p):
        st = self.lstat(p)
        if st is None: return
        if stat.S_ISDIR(st.st_mode): shutil.rmtree(self.real(p))
        else: os.unlink(self.real(p))
        self.forget(p)

    def hide(self, p):
        """Remove what lower layers brought below directory p."""
        for n in os.listdir(self.real(p)):
            c = (p + b'/' if p else b'') + n
            if c not in self.written: self.remove(c)
            elif stat.S_ISDIR(self.lstat(c).st_mode): self.hide(c)

    def whiteout(self, path):
        p = self.place(path, False); st = p is not None and self.lstat(p)
        if not st: return
        if p not in self.written: self.remove(p)
        elif stat.S_ISDIR(st.st_mode): self.hide(p)

    def opaque(self, path):
        p = self.place(path + b'/x', False)
        p = None if p is None else p[:-2] if p != b'x' else b''
        st = p is not None and self.lstat(p)
        if st and not stat.S_ISDIR(st.st_mode): raise Fail('not-a-directory', repr(path))
        if st: self.hide(p)

    def hardlink(self, path, target):
        t = self.place(target, False); st = t is not None and self.lstat(t)
        if not st or stat.S_ISDIR(st.st_mode): raise Fail('bad-hardlink', repr(target))
        p = self.place(path)
        if p == t: raise Fail('bad-hardlink', 'to itself')
        self.remove(p); os.link(self.real(t), self.real(p), follow_symlinks=False); self.written.add(p)

    def make(self, r, path, link, xattrs, f):
        p = self.place(path); full = self.real(p); st = self.lstat(p); kind = r['type']
        if st and not (kind == DIR and stat.S_ISDIR(st.st_mode)): self.remove(p); st = None
        if kind == DIR:
            if not st: os.mkdir(full)
            for n in os.listxattr(full): os.removexattr(full, n)
        elif kind == SYMLINK: os.symlink(link, full)
        elif kind == FILE:
            self.open = open(full, 'xb')
            if r['flags'] & SPARSE: self.open.truncate(r['apparent'])
            else: self.copy(f, r['size'])
        else: os.mknod(full, {CHR: stat.S_IFCHR, BLK: stat.S_IFBLK, FIFO: stat.S_IFIFO, SOCKET: stat.S_IFSOCK}[kind] | 0o600, os.makedev(*r['rdev']))
        self.written.add(p)
        when = r['sec'] * 10 ** 9 + r['nsec']
        self.attributes = (full, kind, r, xattrs, when)
        if kind == DIR: self.times[p] = when
        if not r['flags'] & SPARSE: self.finish()

    def finish(self):
        if getattr(self, 'open', None): self.open.close()
        self.open = None
        if not getattr(self, 'attributes', None): return
        (full, kind, r, xattrs, when), self.attributes = self.attributes, None
        os.chown(full, r['uid'], r['gid'], follow_symlinks=False)
        if kind != SYMLINK: os.chmod(full, r['mode'])
        for n, v in xattrs: os.setxattr(full, n, v, follow_symlinks=False)
        os.utime(full, ns=(when, when), follow_symlinks=False)

    def copy(self, f, n):
        while n:
            b = f.read(min(n, 1 << 20))
            if not b: raise Fail('stream', 'ends inside content')
            self.open.write(b); n -= len(b)

    def end(self):
        self.finish()
        for p in sorted(self.times, reverse=True): os.utime(self.real(p), ns=(self.times[p],) * 2)


def xattrs_of(b):
    out = []
    while b:
        n, _, v = struct.unpack_from('=HHI', b); out.append((b[8:8 + n], b[8 + n:8 + n + v])); b = b[8 + n + v:]
    return out


def apply(tree, f):
    """-> True when the stream ended with END"""
    while True:
        h = f.read(RECORD.size)
        if not h: return False
        if len(h) < RECORD.size: return False
        v = RECORD.unpack(h)
        r = dict(zip('magic type flags mode uid gid nsec sec size apparent offset'.split(), v), rdev=v[11:13])
        path, link, xattrs = (f.read(n) for n in v[13:16])
        if r['magic'] != 0x31474e49: raise Fail('stream', 'bad magic')
        k = r['type']
        if k == CONTENT: tree.open.seek(r['offset']); tree.copy(f, r['size']); continue
        tree.finish()
        if k == BEGIN: tree.written = set()
        elif k == END: tree.end(); return True
        elif k == WHITEOUT: tree.whiteout(path)
        elif k == OPAQUE: tree.opaque(path)
        elif k == HARDLINK: tree.hardlink(path, link)
        else: tree.make(r, path, link, xattrs_of(xattrs), f)


def unpack(drive, tree, blob, form, diff_id, limits):
    """-> None or the kind of error"""
    with tempfile.TemporaryFile() as answer:
        p = subprocess.Popen([drive, 'layer', blob, form, diff_id] + limits, stdout=subprocess.PIPE, stderr=answer, bufsize=1 << 20)
        applied = None
        try: complete = apply(tree, p.stdout)
        except Fail as e: applied = e.kind
        except OSError as e:
            if e.errno in (errno.ENOSPC, errno.E2BIG): applied = 'limit-xattr'
            elif e.errno in (errno.ENAMETOOLONG,): applied = 'limit-path'
            else: raise
        p.stdout.close(); p.wait(); answer.seek(0); text = answer.read().decode(errors='replace').strip()
    if applied: return applied, applied
    if p.returncode == 0: return (None, text) if complete else ('no-end-record', text)
    return (text.split(':')[0][5:] if text.startswith('fail ') else text), text


def layers(case):
    """-> (file, form, diffID) of each layer"""
    def blob(d): return os.path.join(case, 'blobs', *d.split(':'))
    index = json.load(open(os.path.join(case, 'index.json')))
    m = json.load(open(blob(index['manifests'][0]['digest'])))
    ids = json.load(open(blob(m['config']['digest'])))['rootfs']['diff_ids']
    return [(blob(l['digest']), FORMS[l['mediaType'].split('layer.v1.')[-1].split('rootfs.diff.')[-1]], d) for l, d in zip(m['layers'], ids)]


def run(drive, case, work, limits):
    tree = Tree(work)
    for blob, form, diff_id in layers(case):
        kind, text = unpack(drive, tree, blob, form, diff_id, limits)
        if kind: return kind, text
    return None, 'unpacked'


def judge_in_place():
    """corpus-unpack.py --judge CHECK_TREE CASE ROOT: prints [outcome or null, differences]"""
    check, case, root = sys.argv[2:5]
    spec = importlib.util.spec_from_file_location('check_tree', check); m = importlib.util.module_from_spec(spec); spec.loader.exec_module(m)
    json.dump(m.judge(root, json.load(open(os.path.join(case, 'expected.json')))), sys.stdout)


def run_fs(build, check, case, work, limits):
    """The same through builderd-fs: a session per layer, the tree judged on the backing file system. -> (kind or None, text, verdict)"""
    answer, verdict = os.path.join(work, 'answer'), os.path.join(work, 'verdict'); steps = []
    for blob, form, diff_id in layers(case):
        command = [os.path.join(build, 't/tools/drive-unpack'), 'layer', blob, form, diff_id] + limits
        steps += ['run:grep -q ^fail %s || INGEST=$MNT/.builderd-ingest %s 2>>%s' % (answer, ' '.join(command), answer), 'stop']
    steps += ['run:python3 %s --judge %s %s $BACK > %s' % (os.path.abspath(__file__), check, case, verdict)]
    open(answer, 'w').close()
    p = subprocess.run(['timeout', '-k', '5', '120', os.path.join(build, 't/tools/drive-fs'), '-p', os.path.join(build, 'builderd-fs'), '-d', work, '-s', '1024'] + steps,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace')
    lines = open(answer, errors='replace').read().splitlines()
    bad = [l for l in lines if l.startswith('fail ')]
    if bad: return bad[0].split(':')[0][5:], bad[0], None
    if not os.path.exists(verdict) or not os.path.getsize(verdict): return 'no-verdict', p.stdout[-600:], None
    return None, lines[-1] if lines else '', json.load(open(verdict))


def main():
    if sys.argv[1] == '--judge': return judge_in_place()
    build, corpus, checker, choices = sys.argv[1:5]
    spec = importlib.util.spec_from_file_location('check_tree', checker); check = importlib.util.module_from_spec(spec); spec.loader.exec_module(check)
    limits = ['%s=%d' % kv for kv in json.load(open(os.path.join(corpus, 'limits.json'))).items()]
    chosen = json.load(open(choices))
    cases = sys.argv[5:] or [c for c in sorted(os.listdir(corpus)) if c.split('-')[0] in GROUPS and os.path.isdir(os.path.join(corpus, c))]
    top = tempfile.mkdtemp(prefix='corpus-unpack.', dir=os.environ.get('TMPDIR', '/var/tmp'))
    score, failed = {}, 0
    for c in cases:
        exp = json.load(open(os.path.join(corpus, c, 'expected.json'))); work = os.path.join(top, 'root')
        os.mkdir(work)
        verdict = None
        if os.environ.get('WITH_FS'): got, text, verdict = run_fs(os.path.abspath(build), os.path.abspath(checker), os.path.abspath(os.path.join(corpus, c)), work, limits)
        else: got, text = run(os.path.join(build, 't/tools/drive-unpack'), os.path.join(corpus, c), work, limits)
        wanted = [i for i, o in enumerate(check.outcomes(exp)) if o.get('error') == got] if got else []
        why = text
        if not got:
            i, why = verdict or check.judge(work, exp); wanted = [] if i is None else [i]
        want = chosen.get(c, {}).get('outcome', 0)
        good = bool(wanted) and wanted[0] == want
        n = score.setdefault(c.split('-')[0], [0, 0]); n[0] += good; n[1] += 1; failed += not good
        print('%sok - %s%s' % ('' if good else 'not ', c, '' if good else ' # got outcome %s, %s' % (wanted or 'none', why)), flush=True)
        if os.environ.get('VERBOSE'): print('#   ' + text)
        subprocess.run(['rm', '-rf', work], check=True)
    os.rmdir(top)
    print('# ' + ' '.join('%s %d/%d' % (g, *n) for g, n in score.items()))
    print('1..%d' % len(cases))
    return failed != 0


if __name__ == '__main__': sys.exit(main())
