"""Submitted mail leaves for another host, found by MX in a zone of the test's own; the first host is dead."""
import os
import secrets
import socketserver
import ssl
import threading
import time

import pytest
from conftest import queue_ids, wait_until
from nameserver import A, MX, NameServer

ALIVE, DEAD = "127.0.0.77", "127.0.0.78"
ZONE = {  # name -> type -> [(preference, value)]
    "relay.test": {MX: [(10, "dead.relay.test"), (20, "mx.relay.test")]},
    "mx.relay.test": {A: [(0, ALIVE)]},
    "dead.relay.test": {A: [(0, DEAD)]},
    "null.test": {MX: [(0, "")]},
    "address.test": {A: [(0, ALIVE)]},
}


class Sink(socketserver.StreamRequestHandler):
    """Takes mail and keeps (recipients, message)."""

    taken = []
    temporary = set()
    lock = threading.Lock()
    tls, ciphered = None, False
    said, offers = [], ""  # every command line of the client; EHLO keywords beside the usual ones
    slow = now = most = 0  # seconds each session lasts at least; sessions open now, and at most

    def setup(self):
        super().setup()
        with Sink.lock:
            Sink.now += 1
            Sink.most = max(Sink.most, Sink.now)

    def finish(self):
        with Sink.lock:
            Sink.now -= 1
        super().finish()

    def handle(self):
        self.say("220 mx.relay.test ESMTP")
        rcpts = []
        while line := self.rfile.readline():
            verb = line.strip().upper()
            Sink.said.append(line.decode().rstrip())
            if verb.startswith(b"EHLO"):
                encrypted = isinstance(self.connection, ssl.SSLSocket)
                Sink.ciphered |= encrypted
                starttls = "250-STARTTLS\r\n" if Sink.tls and not encrypted else ""
                self.say(f"250-mx.relay.test\r\n{starttls}{Sink.offers}250-PIPELINING\r\n250-SIZE 100000000\r\n250-8BITMIME\r\n250 DSN")
            elif verb.startswith(b"RCPT"):
                address = line.split(b"<")[1].split(b">")[0].decode()
                if address in Sink.temporary:
                    self.say("451 4.2.0 come back later")
                else:
                    rcpts.append(address)
                    self.say("250 2.1.5 Ok")
            elif verb == b"DATA":
                self.say("354 go ahead")
                text = b""
                while (row := self.rfile.readline()) != b".\r\n":
                    text += row[1:] if row.startswith(b".") else row
                Sink.taken.append((rcpts, text))
                rcpts = []
                time.sleep(Sink.slow)
                self.say("250 2.0.0 taken")
            elif verb == b"STARTTLS" and Sink.tls:
                self.say("220 2.0.0 go ahead")
                self.connection = Sink.tls.wrap_socket(self.connection, server_side=True)
                self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
            elif verb == b"QUIT":
                self.say("221 2.0.0 Bye")
                return
            else:
                self.say("250 2.0.0 Ok")

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@pytest.fixture(scope="module")
def servers():
    if os.geteuid() != 0:
        pytest.skip("needs root: the other host listens on port 25 of an address of its own")
    dns = NameServer(ZONE)
    sink = Server((ALIVE, 25), Sink)
    for s in (dns, sink):
        threading.Thread(target=s.serve_forever, daemon=True).start()
    yield dns
    for s in (dns, sink):
        s.shutdown()
        s.server_close()


@pytest.fixture
def host(servers, fresh):
    Sink.taken.clear()
    Sink.temporary.clear()
    servers.down = False
    return fresh(22000, servers.stub_zones("relay.test", "null.test", "address.test", "missing.test"), "minimal_backoff_time = 2s",
                 "maximal_backoff_time = 2s", "queue_run_delay = 2s", "smtp_connect_timeout = 3s")


def submit(i, *rcpts, body=b".dot\r\nbody\r\n"):
    marker = secrets.token_hex(8)
    text = f"From: <{i.user1}>\r\nTo: <{rcpts[0]}>\r\nSubject: {marker}\r\n\r\n".encode() + body
    with i.submission() as s:
        s.sendmail(i.user1, rcpts, text)
    return marker


def test_mx_second_host(host):
    mark = host.log_mark()
    marker = submit(host, "one@relay.test", "two@relay.test")
    rcpts, text = wait_until(lambda: next((t for t in Sink.taken if marker.encode() in t[1]), None), what="the relayed message")
    assert sorted(rcpts) == ["one@relay.test", "two@relay.test"]
    assert text.endswith(b"\r\n\r\n.dot\r\nbody\r\n")
    host.wait_log(r"connect to dead\.relay\.test\[127\.0\.0\.78\]:25: Connection refused", mark)
    host.wait_log(r"to=<one@relay\.test>, relay=mx\.relay\.test\[127\.0\.0\.77\]:25, delay=.*dsn=2\.0\.0, status=sent \(250 2\.0\.0 taken\)", mark)
    wait_until(lambda: not queue_ids(host), what="an empty queue")


def test_address_without_mx(host):
    marker = submit(host, "x@address.test")
    wait_until(lambda: any(marker.encode() in t[1] for t in Sink.taken), what="the relayed message")


def test_null_mx_and_missing_domain_bounce(host):
    marker = submit(host, "x@null.test")
    got = host.wait_message("Final-Recipient: rfc822; x@null.test", user=host.user1)
    assert marker.encode() in got and b"Status: 5.1.10" in got
    marker = submit(host, "x@missing.test")
    got = host.wait_message("Final-Recipient: rfc822; x@missing.test", user=host.user1)
    assert marker.encode() in got and b"Host or domain name not found" in got


def test_name_server_down_defers(host, servers):
    servers.down = True
    mark = host.log_mark()
    marker = submit(host, "x@relay.test")
    host.wait_log(r"to=<x@relay\.test>.*status=deferred", mark, seconds=60)
    assert not Sink.taken and len(queue_ids(host)) == 1
    servers.down = False
    wait_until(lambda: any(marker.encode() in t[1] for t in Sink.taken), seconds=60, what="the relayed message")


def test_one_recipient_later(host):
    Sink.temporary.add("later@relay.test")
    mark = host.log_mark()
    marker = submit(host, "now@relay.test", "later@relay.test")
    host.wait_log(r"to=<later@relay\.test>.*dsn=4\.2\.0, status=deferred \(host mx\.relay\.test\[127\.0\.0\.77\] said: 451 4\.2\.0 come back later "
                  r"\(in reply to RCPT TO command\)\)", mark)
    Sink.temporary.clear()
    wait_until(lambda: ["later@relay.test"] in [t[0] for t in Sink.taken if marker.encode() in t[1]], seconds=60, what="the second delivery")
    assert sorted(r for t in Sink.taken for r in t[0]) == ["later@relay.test", "now@relay.test"]


def test_maxproc_two_never_has_a_third_delivery(servers, fresh):
    Sink.taken.clear()
    Sink.slow, Sink.most = 0.3, 0
    i = fresh(22200, servers.stub_zones("address.test"), "transport_maps = inline:{address.test=two:}",
              "two_destination_recipient_limit = 1", services="two unix - - y - 2 smtp\n")
    try:
        with i.submission() as s:
            s.sendmail(i.user1, [f"r{n}@address.test" for n in range(10)], b"Subject: x\r\n\r\nx\r\n")
        wait_until(lambda: len(Sink.taken) >= 10, seconds=60, what="ten deliveries")
        assert Sink.most == 2
    finally:
        Sink.slow = 0


@pytest.mark.parametrize("level, offers, arrives, ciphered", [("may", True, True, True), ("may", False, True, False),
                                                              ("encrypt", True, True, True), ("encrypt", False, False, False),
                                                              ("none", True, True, False)])
def test_starttls_levels(servers, fresh, level, offers, arrives, ciphered):
    i = fresh(22400, servers.stub_zones("address.test"), f"smtp_tls_security_level = {level}")
    Sink.taken.clear()
    Sink.ciphered = False
    if offers:
        Sink.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        Sink.tls.load_cert_chain(i.config_dir + "/../tls/cert.pem", i.config_dir + "/../tls/key.pem")
    try:
        mark = i.log_mark()
        submit(i, "x@address.test")
        i.wait_log(r"to=<x@address\.test>.*status=" + ("sent" if arrives else r"deferred \(TLS is required, but was not offered"), mark)
        assert (len(Sink.taken), Sink.ciphered) == (int(arrives), ciphered)
    finally:
        Sink.tls = None


def test_what_the_peer_offers_is_used(host):
    """SIZE, 8BITMIME, DSN and SMTPUTF8 go on to a host that offers them; without SMTPUTF8 there the mail comes back."""
    text = f"From: <{host.user1}>\r\nSubject: caf\u00e9\r\n\r\nbody\r\n".encode()

    def send():
        with host.submission() as s:
            s.ehlo()
            s.command_encoding = "utf-8"
            assert s.mail(host.user1, ["SMTPUTF8", "BODY=8BITMIME", "RET=HDRS", "ENVID=QQ1"])[0] == 250
            assert s.rcpt("jos\u00e9@address.test", ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;orig@address.test"])[0] == 250
            assert s.data(text)[0] == 250

    Sink.offers = "250-SMTPUTF8\r\n"
    Sink.said.clear()
    try:
        send()
        wait_until(lambda: Sink.taken, what="the relayed message")
        [mail] = [x for x in Sink.said if x.startswith("MAIL")]
        [rcpt] = [x for x in Sink.said if x.startswith("RCPT")]
        for word in ("SIZE=", "BODY=8BITMIME", "SMTPUTF8", "RET=HDRS", "ENVID=QQ1"):
            assert word in mail, mail
        assert rcpt.startswith("RCPT TO:<jos\u00e9@address.test>") and "NOTIFY=SUCCESS,FAILURE" in rcpt and "ORCPT=rfc822;orig@address.test" in rcpt
    finally:
        Sink.offers = ""
    time.sleep(3)  # smtp_connection_cache_time_limit: the session that offered it is not kept longer
    Sink.taken.clear()
    send()
    got = host.wait_message("Undelivered Mail Returned to Sender", user=host.user1, seconds=60)
    assert b"SMTPUTF8 is required, but was not offered" in got and not Sink.taken
