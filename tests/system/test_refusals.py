"""What no well-behaved program of ours would hand over: envelopes of several lines, deliveries that cannot be read, too many sessions at once."""
import concurrent.futures
import contextlib
import imaplib
import os
import pathlib
import re
import secrets
import shutil
import smtplib
import socket
import socketserver
import struct
import threading

import pytest
from conftest import own_instance, queue_ids, wait_until
from frames import Frames, encode
from nameserver import A, NameServer

RETRY = "minimal_backoff_time = 1s", "maximal_backoff_time = 1s", "queue_run_delay = 1s", "transport_retry_time = 60s"


@pytest.fixture(scope="module")
def own():
    if os.geteuid() != 0:
        pytest.skip("needs root: files are put into the spool under other accounts")
    with Host() as host:
        with own_instance(26200, host.names.stub_zones("host.test"), *RETRY, "mail_max_userip_connections = 3", "mail_process_idle_time = 1s",
                          "transport_maps = inline:{ {host.test = smtp:[host.test]:%d} {fake.test = fake:} {wait.test = retry:4.3.0 not today} "
                          "{virtual.test = virtual:} {error.test = error:5.1.1 no} {discard.test = discard:} }" % host.port,
                          "virtual_mailbox_domains = $mydomain, virtual.test", "virtual_mailbox_limit = 0") as i:
            box = pathlib.Path(i.config_dir) / "vmailbox"
            box.write_text(box.read_text() + "carol@virtual.test virtual.test/carol/\n")
            i.tool("postmap", str(box))
            i.reload()
            i.host = host
            yield i


class Session(socketserver.StreamRequestHandler):
    """Takes everything, and remembers each command line."""

    def handle(self):
        self.wfile.write(b"220 host.test\r\n")
        while line := self.rfile.readline():
            self.server.said.append(line)
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go ahead\r\n")
                while self.rfile.readline() not in (b".\r\n", b""):
                    pass
            self.wfile.write(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 ok\r\n")


class Host(contextlib.ExitStack):
    """Another host, and its name."""

    def __enter__(self):
        super().__enter__()
        self.names = NameServer({"host.test": {A: [(0, "127.0.0.1")]}})
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)
        self.server.daemon_threads = True
        self.server.said = self.said = []
        self.port = self.server.server_address[1]
        for s in (self.names, self.server):
            threading.Thread(target=s.serve_forever, daemon=True).start()
            self.callback(s.server_close)
            self.callback(s.shutdown)
        return self


def records(*pairs):
    """Queue file records; all shorter than 128 bytes."""
    return b"".join(kind + bytes([len(data)]) + data for kind, data in pairs)


def drop(i, *envelope):
    """A file in maildrop/ as a local user could make it who got hold of postdrop's group; its name."""
    name = f"{secrets.randbelow(0xFFFFF):05X}{secrets.randbelow(0xFFFFFFFF):X}"
    path = pathlib.Path(i.queue_dir) / "maildrop" / name
    text = records((b"T", b"1795313613 886855"), *envelope, (b"M", b""), (b"N", b"Subject: dropped"), (b"N", b""), (b"N", b"x"), (b"X", b""), (b"E", b""))
    path.write_bytes(text)
    shutil.chown(path, "nobody", path.parent.group())
    path.chmod(0o744)
    return name


@pytest.mark.parametrize("envelope", [[(b"S", b"a@b.example\r\nDATA"), (b"R", b"USER")], [(b"S", b"a@b.example"), (b"R", b"USER\r\nQUIT")],
                                      [(b"A", b"envelope_id=x\nQUIT"), (b"S", b"a@b.example"), (b"R", b"USER")],
                                      [(b"S", b"a@b.example\0"), (b"R", b"USER")]])
def test_maildrop_files_of_several_lines(own, envelope):
    """pickup puts them away; those behind them are delivered."""
    own.empty(own.user1)
    mark = own.log_mark()
    user = own.user1.encode()
    bad = drop(own, *((kind, data.replace(b"USER", user)) for kind, data in envelope))
    good = drop(own, (b"S", b"a@b.example"), (b"R", user))
    own.tool("sendmail", "-i", own.user1, input="Subject: wakes pickup\n\nx\n")
    own.wait_log(f"{bad}: moved to corrupt", mark)
    corrupt = pathlib.Path(own.queue_dir) / "corrupt" / bad
    assert corrupt.exists()
    corrupt.unlink()
    own.wait_message("Subject: dropped", user=own.user1)
    wait_until(lambda: not list((pathlib.Path(own.queue_dir) / "maildrop").iterdir()), what="an empty maildrop")
    assert good not in own.log(mark) or "corrupt" not in own.log(mark).split(good)[-1]
    assert len(own.messages(own.user1)) == 2


def test_queue_files_of_several_lines(own):
    """A spool of an older system may hold such an address: it reaches the other host as one line."""
    own.postconf("defer_transports = smtp")
    own.reload()
    own.tool("sendmail", "-i", "-f", "joexxRSETxxy@old.test", "x@host.test", input="Subject: x\n\nx\n")
    try:
        # Only there it is one file: pickup removes its own after cleanup has the message.
        (path,) = wait_until(lambda: [p for p in pathlib.Path(own.queue_dir, "deferred").rglob("*") if p.is_file()], what="the deferred file")
        text = path.read_bytes()
        assert b"joexxRSETxxy@old.test" in text
        path.write_bytes(text.replace(b"joexxRSETxxy@", b"joe\r\nRSET\r\ny@"))
    finally:
        own.host.said.clear()
        own.postconf("defer_transports =")
        own.reload()
    own.tool("postqueue", "-f")
    wait_until(lambda: not queue_ids(own), what="an empty queue")
    (mail,) = [line for line in own.host.said if line.startswith(b"MAIL")]
    assert b"joe" in mail and b"@old.test>" in mail, own.host.said
    assert not any(line.startswith(b"RSET") or line.startswith(b"y") for line in own.host.said), own.host.said


NOT_DELIVERIES = {
    "nothing": [], "one value": [("queue_id", "4AA05AA49A9")], "no descriptor": None, "no recipients": None, "a surplus value": None,
    "too many recipients": None}


def delivery(name):
    values = [(n, "") for n in "queue_id transport nexthop sender encoding envid client_name client_address client_port client_protocol "
              "client_helo log_origin log_ident rewrite_context sasl_method sasl_username sasl_sender".split()]
    values += [(n, 0) for n in "data_offset data_size content_bytes arrival_us active_us ret trace_flags sendopts".split()]
    count = {"no recipients": 0, "too many recipients": 999999}.get(name, 1)
    values += [("rcpt_count", count), ("place", "10 0"), ("rcpt", "joe@x.test"), ("original", ""), ("orcpt", "")]
    return values + ([("surplus", 1)] if name == "a surplus value" else [])


@pytest.mark.parametrize("agent", ["smtp", "lmtp", "virtual", "error", "discard"])
def test_agents_refuse_what_they_cannot_read(own, agent):
    """They say so, stay what they are, and go on delivering."""
    marker = secrets.token_hex(8)
    to = {"smtp": f"{marker}@host.test", "lmtp": own.user2, "virtual": "carol@virtual.test", "error": f"{marker}@error.test",
          "discard": f"{marker}@discard.test"}[agent]

    def deliver():
        mark = own.log_mark()
        own.tool("sendmail", "-i", "-f", own.user1, to, input=f"Subject: {marker}\n\nx\n")
        own.wait_log(rf"/{agent}\[\d+\]: \w+: to=<{re.escape(to)}>.*status=", mark)

    deliver()
    before = set(own.pids(agent))
    assert before
    for name, values in NOT_DELIVERIES.items():
        f = Frames(pathlib.Path(own.queue_dir) / "private" / agent, "deliver", 2, timeout=10)
        assert f.ask("deliver", delivery(name) if values is None else values)[0] == "malformed", name
        assert f.ask("deliver", [])[0] == "malformed"  # the connection is as good as before
        f.s.sendall(b"\0\0\0\x09noise\xff\xff\xff\xff")
        with pytest.raises((EOFError, ConnectionError)):
            f.receive()
        f.close()
    deliver()
    assert before <= set(own.pids(agent))


class FakeAgent:
    """private/fake: refuses the delivery to bad@ as malformed, and says of all others that they are done."""

    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.bind(str(path))
        path.chmod(0o666)
        self.s.listen(10)
        self.path, self.done = path, []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=(self.s.accept()[0],), daemon=True).start()

    def serve(self, client):
        def receive():
            head, fds, _, _ = socket.recv_fds(client, 4, 4)
            for fd in fds:
                os.close(fd)
            body = b""
            while len(body) < struct.unpack(">I", head)[0]:
                body += client.recv(struct.unpack(">I", head)[0] - len(body))
            return body

        with contextlib.suppress(OSError, struct.error):
            receive()
            client.sendall(encode("greeting", [("protocol", "deliver"), ("version", 2)]))
            while body := receive():
                number = struct.unpack(">I", body[1 + body[0] : 5 + body[0]])[0]
                if b"bad@fake.test" in body:
                    client.sendall(encode("malformed", [], number))
                else:
                    self.done.append(body)
                    client.sendall(encode("done", [("deferred", 0), ("logs", 0), ("dsn", ""), ("reason", "")], number))

    def close(self):
        self.s.close()
        self.path.unlink()


def test_one_refused_delivery_is_not_a_dead_transport(own):
    """The message that the agent cannot read waits; the mail behind it goes the same way at once."""
    agent = FakeAgent(pathlib.Path(own.queue_dir) / "private/fake")
    try:
        mark = own.log_mark()
        own.tool("sendmail", "-i", "-f", own.user1, "bad@fake.test", input="Subject: x\n\nx\n")
        own.wait_log(r"to=<bad@fake\.test>.*status=deferred \(malformed delivery request\)", mark)
        own.tool("sendmail", "-i", "-f", own.user1, "good@fake.test", input="Subject: x\n\nx\n")
        wait_until(lambda: any(b"good@fake.test" in d for d in agent.done), seconds=10, what="the delivery of the next message")
    finally:
        agent.close()
        own.tool("postsuper", "-d", "ALL")


def test_expiry_without_a_reason(own):
    """Mail whose time is over, but of which no defer log tells why: the sender would hear of nothing. It is kept until it can be said."""
    marker = secrets.token_hex(8)
    log_dir = pathlib.Path(own.queue_dir) / "defer"
    own.postconf("maximal_queue_lifetime = 4s")
    own.reload()
    mark = own.log_mark()
    owner = log_dir.stat()
    os.chown(log_dir, 0, 0)  # bounce may not write there
    try:
        with own.submission() as s:
            s.sendmail(own.user1, ["x@wait.test"], f"Subject: {marker}\r\n\r\nx\r\n".encode())
        own.wait_log(r"expired, but of 1 recipients only 0 have a reason", mark, seconds=30)
        assert len(queue_ids(own)) == 1
    finally:
        os.chown(log_dir, owner.st_uid, owner.st_gid)
    report = own.wait_message(marker, user=own.user1, seconds=30)
    assert b"Action: failed" in report and b"not today" in report and b"x@wait.test" in report
    wait_until(lambda: not queue_ids(own), what="an empty queue")
    own.postconf("maximal_queue_lifetime = 5d")
    own.reload()


def test_sessions_of_one_address_at_once(own):
    """mail_max_userip_connections counts those who wait for the same process to be started, too."""
    wait_until(lambda: len(own.pids("imapd")) <= 1, seconds=90, what="no process of a user")
    clients = [imaplib.IMAP4("localhost", own.imap_port) for _ in range(20)]

    def login(m):
        try:
            return m.login(own.user2, own.users[own.user2])[0]
        except imaplib.IMAP4.error as e:
            return str(e)

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(login, clients))
    assert answers.count("OK") == 3, answers
    assert all("[UNAVAILABLE]" in a and "mail_max_userip_connections=3" in a for a in answers if a != "OK"), answers
    for m in clients:
        m.shutdown()

    def again():
        with contextlib.suppress(imaplib.IMAP4.error):
            with own.imap():
                return True

    wait_until(again, what="a login after the others have left")


@pytest.mark.parametrize("settings", [["inet_interfaces = 127.0.0.1"], ["mydestination = texthash:CONFIG/local"]], ids=["interfaces", "a table"])
def test_what_is_local_is_known_in_the_jail(fresh, settings):
    """A key without a domain stands for an address of this host: cleanup and lmtpd know that without files and interfaces."""
    i = fresh(26400, "virtual_alias_maps = inline:{joe=alice@$mydomain}", "virtual_mailbox_maps = inline:{alice=$mydomain/alice/, alice@$mydomain=$mydomain/alice/}")
    pathlib.Path(i.config_dir, "local").write_text("here.test x\n")
    i.postconf(*(s.replace("CONFIG", i.config_dir) for s in settings))
    i.restart()
    domain = "here.test" if "mydestination" in settings[0] else "[127.0.0.1]"
    marker = secrets.token_hex(8)
    i.tool("sendmail", "-i", f"joe@{domain}", input=f"Subject: {marker}\n\nx\n")
    i.wait_message(marker, user=i.user1)
    with contextlib.closing(smtplib.LMTP("127.0.0.1", i.lmtp_port, local_hostname="x")) as lmtp:
        lmtp.ehlo()
        lmtp.mail("a@b.example")
        assert lmtp.rcpt(f"alice@{domain}")[0] == 250
        assert lmtp.rcpt(f"nobody@{domain}")[0] == 550
