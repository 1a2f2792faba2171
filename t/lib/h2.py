# SPDX-License-Identifier: GPL-2.0-or-later
"""Just enough HTTP/2 to send what a good client never sends. Header fields go as literals without Huffman or index."""
import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
NAMES = ["DATA", "HEADERS", "PRIORITY", "RST", "SETTINGS", "PUSH", "PING", "GOAWAY", "WINDOW", "CONTINUATION"]
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def number(value, bits):
    top = (1 << bits) - 1
    if value < top:
        return bytes([value])
    out = [top]
    value -= top
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + [value])


def field(name, value):
    name, value = name.encode(), value.encode()
    return b"\0" + number(len(name), 7) + name + number(len(value), 7) + value


def block(method, path, *fields):
    out = field(":method", method) + field(":scheme", "http") + field(":path", path) + field(":authority", "h")
    return out + b"".join(field(n, v) for n, v in fields)


class Client:
    def __init__(self, port, settings=b"", timeout=3):
        self.s = socket.create_connection(("127.0.0.1", int(port)))
        self.s.settimeout(timeout)
        self.buffer = b""
        self.s.sendall(PREFACE + self.pack(SETTINGS, 0, 0, settings))

    @staticmethod
    def pack(kind, flags, stream, payload=b""):
        return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload

    def send(self, kind, flags, stream, payload=b""):
        self.s.sendall(self.pack(kind, flags, stream, payload))

    def request(self, stream, method, path, *fields, end=True):
        self.send(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block(method, path, *fields))

    def recv(self):
        """The next frame as (kind, flags, stream, payload); None at the end or when nothing comes."""
        try:
            while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
                data = self.s.recv(65536)
                if not data:
                    return None
                self.buffer += data
        except (socket.timeout, ConnectionResetError):
            return None
        length = int.from_bytes(self.buffer[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
        payload, self.buffer = self.buffer[9:9 + length], self.buffer[9 + length:]
        return kind, flags, stream, payload

    def wait(self, kind, stream=None):
        """The next frame of KIND (on STREAM), None."""
        while frame := self.recv():
            if frame[0] == kind and stream in (None, frame[2]):
                return frame
        return None
