#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Looks for a secret in a file or device: needles.py WHERE SECRET-FILE WORD [MIB]
Prints how many pieces of the secret (32 bytes out of each 32 KiB) and how many times WORD are in WHERE, or in its first MIB. Holes of a
file are not read: in them is nothing."""
import errno, os, sys

CHUNK, OVERLAP = 4 << 20, 255
where, secret, word = sys.argv[1:4]
limit = int(sys.argv[4]) << 20 if len(sys.argv) > 4 else 1 << 62
secret = open(secret, "rb").read()
word = word.encode()
pieces = {secret[at + 100:at + 132] for at in range(0, len(secret) - 131, 32 << 10)}
fd = os.open(where, os.O_RDONLY)
end = min(os.lseek(fd, 0, os.SEEK_END), limit)


def data_from(at):
    try:
        return os.lseek(fd, at, os.SEEK_DATA)
    except OSError as e:  # a device has no holes that it tells of
        return end if e.errno == errno.ENXIO else at


found, words, read, at, tail = set(), 0, 0, 0, b""
while at < end:
    begin = data_from(at)
    if begin > at:
        at, tail = begin, b""
        continue
    chunk = os.pread(fd, min(CHUNK, end - at), at)
    if not chunk:
        break
    at += len(chunk)
    read += len(chunk)
    text = tail + chunk
    words += text.count(word) - tail.count(word)
    found |= {piece for piece in pieces - found if piece in text}
    tail = text[-OVERLAP:]
print("%d of %d pieces, %d times the word, in %d MiB" % (len(found), len(pieces), words, read >> 20))
