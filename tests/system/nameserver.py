"""A name server for zones of a test's own, on a free UDP port of loopback."""
import socket
import socketserver
import struct

A, MX = 1, 15
SERVFAIL, NXDOMAIN = 2, 3


def wire(name):
    return b"".join(bytes([len(p)]) + p.encode() for p in name.split(".") if p) + b"\0"


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        at, labels = 12, []
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode().lower())
            at += 1 + data[at]
        question = data[12 : at + 5]
        kind = struct.unpack("!H", data[at + 1 : at + 3])[0]
        node = self.server.zone.get(".".join(labels))
        answers = b""
        rows = (node or {}).get(kind, [])
        for preference, value in rows:
            rdata = socket.inet_aton(value) if kind == A else struct.pack("!H", preference) + wire(value)
            answers += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, self.server.ttl, len(rdata)) + rdata
        rcode = SERVFAIL if self.server.down else 0 if node is not None else NXDOMAIN
        count = 0 if rcode else len(rows)
        sock.sendto(data[:2] + struct.pack("!HHHHH", 0x8400 | rcode, 1, count, 0, 0) + question + (answers if count else b""), self.client_address)


class NameServer(socketserver.ThreadingUDPServer):
    """zone: name -> type -> [(preference, value)]; with `down` set each answer is SERVFAIL."""

    daemon_threads = True

    def __init__(self, zone, ttl=5):
        super().__init__(("127.0.0.1", 0), Handler)
        self.zone, self.ttl, self.down = zone, ttl, False

    def stub_zones(self, *names):
        """The parameter that sends questions for these names here."""
        return "resolver_stub_zones = " + " ".join(f"{n}=127.0.0.1@{self.server_address[1]}" for n in names)
