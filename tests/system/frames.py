"""The daemons' own protocol (lib/ipc/msg.h), for tests that ask a daemon what no well-behaved caller would."""
import socket
import struct


def encode(name, values=(), number=1):
    body = bytes([len(name)]) + name.encode() + struct.pack(">IB", number, 0)
    for key, value in values:
        value = value if isinstance(value, bytes) else str(value).encode()
        body += bytes([len(key)]) + key.encode() + struct.pack(">I", len(value)) + value
    return struct.pack(">I", len(body)) + body


def decode(body):
    """One frame without its length: (name, [(key, value as bytes), ...])"""
    n = body[0]
    name, at, values = body[1 : n + 1].decode(), n + 6, []
    while at < len(body):
        n = body[at]
        key = body[at + 1 : at + 1 + n].decode()
        (size,) = struct.unpack(">I", body[at + 1 + n : at + 5 + n])
        at += 5 + n
        values.append((key, body[at : at + size]))
        at += size
    return name, values


def frames_in(data):
    """The whole frames at the start of data, without their lengths."""
    at, out = 0, []
    while at + 4 <= len(data) and at + 4 + (size := struct.unpack_from(">I", data, at)[0]) <= len(data):
        out.append(bytes(data[at + 4 : at + 4 + size]))
        at += 4 + size
    return out


class Frames:
    """One connection to a socket of a daemon."""

    def __init__(self, path, protocol, version=1, timeout=60):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(timeout)
        self.s.connect(str(path))
        self.input = self.s.makefile("rb")
        self.number = 0
        self.send("greeting", [("protocol", protocol), ("version", version)])
        assert self.receive()[0] == "greeting"

    def send(self, name, values=()):
        self.number += 1
        self.s.sendall(encode(name, values, self.number))

    def exactly(self, count):
        got = self.input.read(count)
        if len(got) < count:
            raise EOFError("the daemon closed the connection")
        return got

    def receive(self):
        """(name, [(key, value as bytes), ...])"""
        (length,) = struct.unpack(">I", self.exactly(4))
        return decode(self.exactly(length))

    def ask(self, name, values=()):
        self.send(name, values)
        return self.receive()

    def close(self):
        self.input.close()
        self.s.close()
