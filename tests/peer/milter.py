"""A milter (protocol 6) that edits each message as its X-Edit header says: what a queue file with pointers is made of."""
import socketserver
import struct
import threading

VERSION, ACTIONS = 6, 0x1FF


class Milter(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True

    def __init__(self, port):
        super().__init__(("127.0.0.1", port), Session)
        self.port = port
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request, client_address):
        pass

    def close(self):
        self.shutdown()
        self.server_close()


def header_change(name, index, value):
    return b"m", struct.pack("!I", index) + name + b"\0" + value + b"\0"


EDITS = {
    b"add": [(b"h", b"X-Added\0last\0"), (b"i", struct.pack("!I", 0) + b"X-First\0first\0"), (b"i", struct.pack("!I", 3) + b"X-Middle\0in\n\tbetween\0")],
    b"delete": [header_change(b"Subject", 1, b""), header_change(b"X-Many", 2, b"")],
    b"change": [header_change(b"Subject", 1, b"x"), header_change(b"X-Many", 1, b"long " * 300), header_change(b"X-Many", 3, b"s")],
    b"again": [header_change(b"Subject", 1, b"first"), header_change(b"Subject", 1, b"second " * 40), header_change(b"Subject", 1, b"third"),
               (b"h", b"X-Added\0a\0"), header_change(b"X-Added", 1, b"b" * 200)],
    b"body-shorter": [(b"b", b"new body\r\n")],
    b"body-longer": [(b"b", b"new body, line %d of many\r\n" % i * 50) for i in range(100)],
    b"rcpt": [(b"+", b"<later+added@sink.test>\0"), (b"-", b"<later+dropped@sink.test>\0")],
    b"sender": [(b"e", b"<changed@x.test>\0")],
    b"everything": [(b"+", b"<later+more@sink.test>\0"), header_change(b"Subject", 1, b""), (b"h", b"X-Added\0last\0"),
                    (b"b", b"line\r\n" * 2000), header_change(b"X-Many", 2, b"two " * 100), (b"i", struct.pack("!I", 1) + b"X-Top\0t\0")],
}


class Session(socketserver.StreamRequestHandler):
    def send(self, command, data=b""):
        self.wfile.write(struct.pack("!I", len(data) + 1) + command + data)

    def handle(self):
        edit = None
        while len(head := self.rfile.read(5)) == 5:
            size, command = struct.unpack("!Ic", head)
            data = self.rfile.read(size - 1)
            if command == b"O":
                self.send(b"O", struct.pack("!III", VERSION, ACTIONS, 0))
            elif command in b"DA":
                continue
            elif command == b"Q":
                return
            elif command == b"L":
                name, value = data.split(b"\0")[:2]
                if name.lower() == b"x-edit":
                    edit = value.strip()
                self.send(b"c")
            elif command == b"E":
                for kind, content in EDITS.get(edit, []):
                    self.send(kind, content)
                edit = None
                self.send(b"c")
            else:
                self.send(b"c")
