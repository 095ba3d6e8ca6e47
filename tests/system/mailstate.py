"""All that an IMAP client may remember of an account, read with nothing but sockets: for comparing two servers over one Maildir."""
import re
import socket


class Imap:
    """Commands as bytes; answers as lists of untagged lines with their literals in place, the tagged one last."""

    def __init__(self, sock, user, password):
        self.sock, self.file, self.number = sock, sock.makefile("rb"), 0
        self.sock.settimeout(120)
        self.file.readline()
        self.ok(b'LOGIN "%s" "%s"' % (user.encode(), password.encode()))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.sock.close()

    def send(self, command):
        self.number += 1
        self.sock.sendall(b"t%d %s\r\n" % (self.number, command))

    def line(self):
        """With its literals."""
        line = self.file.readline()
        while literal := re.search(rb"\{(\d+)\}\r\n$", line):
            line += self.file.read(int(literal[1])) + self.file.readline()
        if not line.endswith(b"\n"):
            raise EOFError("connection closed")
        return line

    def answer(self):
        tag, lines = b"t%d " % self.number, []
        while True:
            line = self.line()
            if line.startswith(tag):
                return [*lines, line[len(tag) :].strip()]
            lines.append(line.strip())

    def __call__(self, command):
        self.send(command)
        return self.answer()

    def ok(self, command):
        lines = self(command)
        assert lines[-1].startswith(b"OK"), (command[:200], lines[-1])
        return lines

    def append(self, box, messages):
        """Many in one command: [(flags, date or None, bytes)]; answers their UIDs."""
        parts = [b"APPEND %s" % quoted(box)]
        for flags, date, text in messages:
            parts.append(b" (%s)%s {%d+}\r\n%s" % (flags, b' "%s"' % date if date else b"", len(text), text))
        uids = re.search(rb"APPENDUID \d+ (\S+)\]", self.ok(b"".join(parts))[-1])[1]
        return [u for part in uids.split(b",") for u in range(int(part.split(b":")[0]), int(part.split(b":")[-1]) + 1)]


def connect(port, user, password, tls=None):
    sock = socket.create_connection(("127.0.0.1", port), 30)
    return Imap(tls.wrap_socket(sock, server_hostname="localhost") if tls else sock, user, password)


def quoted(name):
    return b'"' + name.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def unquoted(word):
    word = word.strip()
    if word.startswith(b"{"):
        return word.split(b"\r\n", 1)[1].decode()
    return re.sub(rb"\\(.)", rb"\1", word[1:-1]).decode() if word.startswith(b'"') else word.decode()


def names(imap, command):
    """{name: attributes} of LIST or LSUB."""
    found = {}
    for line in imap.ok(command + b' "" "*"')[:-1]:
        if m := re.match(rb'\* (?:LIST|LSUB) \(([^)]*)\) "." (.*)$', line, re.S):
            found[unquoted(m[2])] = frozenset(m[1].split()) - {rb"\Marked", rb"\UnMarked"}
    return found


def folder(imap, name, identity=True):
    """(UIDVALIDITY, UIDNEXT, {uid: (flags, date, size, Message-ID)})."""
    lines = imap.ok(b"EXAMINE " + quoted(name))
    validity, following = (int(re.search(rb"\[%s (\d+)\]" % key, b"\n".join(lines))[1]) for key in (b"UIDVALIDITY", b"UIDNEXT"))
    items = b"UID FLAGS INTERNALDATE RFC822.SIZE" + (b" BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]" if identity else b"")
    found = {}
    if b"* 0 EXISTS" not in lines:
        for line in imap.ok(b"UID FETCH 1:* (%s)" % items):
            if m := re.match(rb"\* \d+ FETCH ", line):
                flags = frozenset(re.search(rb"FLAGS \(([^)]*)\)", line)[1].split()) - {rb"\Recent"}
                number = {key: int(re.search(rb"\b%s (\d+)" % key, line)[1]) for key in (b"UID", b"RFC822.SIZE")}
                ident = re.search(rb"(?i)message-id:\s*(\S+)", line)
                found[number[b"UID"]] = (flags, re.search(rb'INTERNALDATE "([^"]*)"', line)[1], number[b"RFC822.SIZE"], ident and ident[1])
    return validity, following, found


def record(imap, identity=True):
    """Everything."""
    listed, subscribed = names(imap, b"LIST"), names(imap, b"LSUB")
    boxes = {name: folder(imap, name, identity) for name, attributes in listed.items() if rb"\Noselect" not in attributes}
    return {"LIST": listed, "LSUB": subscribed, "boxes": boxes}


def differences(one, two, most=30):
    """What differs, as lines for a person."""
    found = []
    for what in ("LIST", "LSUB"):
        for name in sorted(one[what].keys() | two[what].keys()):
            if one[what].get(name) != two[what].get(name):
                found.append(f"{what} {name!r}: {one[what].get(name)} -> {two[what].get(name)}")
    for name in sorted(one["boxes"].keys() & two["boxes"].keys()):
        a, b = one["boxes"][name], two["boxes"][name]
        if a[:2] != b[:2]:
            found.append(f"{name!r}: UIDVALIDITY, UIDNEXT {a[:2]} -> {b[:2]}")
        for uid in sorted(a[2].keys() | b[2].keys()):
            x, y = a[2].get(uid), b[2].get(uid)
            if x is None or y is None:
                found.append(f"{name!r} uid {uid}: {x} -> {y}")
            elif x != y:
                found += [f"{name!r} uid {uid}: {set(p) - set(q)} -> {set(q) - set(p)}" if isinstance(p, frozenset) else f"{name!r} uid {uid}: {p} -> {q}" for p, q in zip(x, y) if p != q]
    return found[:most] + ([f"and {len(found) - most} more"] if len(found) > most else [])
