#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Send stdin to 127.0.0.1:PORT and print what comes back, up to the end or SECONDS without a byte.

raw.py PORT [SECONDS] [half]   half: say FIN behind the last byte
"""
import socket
import sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as s:
    s.sendall(sys.stdin.buffer.read())
    if "half" in sys.argv:
        s.shutdown(socket.SHUT_WR)
    s.settimeout(float(sys.argv[2]) if len(sys.argv) > 2 else 1)
    try:
        while data := s.recv(65536):
            sys.stdout.buffer.write(data)
        print("<end>")
    except socket.timeout:
        print("<open>")
    except ConnectionResetError:
        print("<reset>")
