"""A queue directory changes hands: Debian's Postfix leaves mail in every state, ours goes on with it; and the other way round.

Each letter is delivered once by the side that made it, to a server that notes every byte: that is what the other side
must send for its twin that was left in the queue.
"""
import os
import pathlib
import re
import shutil
import tempfile
import time

import pytest

from mta import DEBIAN, HOST, OURS, Site, address, smtp_talk, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mail systems change accounts")
SENDER = f"sender@{HOST}"


class Kind:
    """A way to write a letter: envelope and content. `put(site, side, rcpts)` submits it."""

    def __init__(self, content, mail="", rcpt="", sender=SENDER, sendmail=None):
        self.content, self.mail, self.rcpt, self.sender, self.sendmail = content, mail, rcpt, sender, sendmail

    def put(self, site, side, rcpts):
        if self.sendmail is not None:
            site.run(side, "sendmail", "-f", self.sender, *self.sendmail, *rcpts, input=self.content)
            return
        lines = [b"EHLO client.example\r\n", f"MAIL FROM:<{self.sender}> {self.mail}".strip().encode() + b"\r\n"]
        lines += [f"RCPT TO:<{r}> {self.rcpt}".strip().encode() + b"\r\n" for r in rcpts]
        text = re.sub(rb"(?m)^\.", b"..", self.content.replace(b"\n", b"\r\n"))
        smtp_talk(site.smtp_port, *lines, b"DATA\r\n", text + b".\r\n", b"QUIT\r\n")


HEAD = b"From: <sender@spool.example.test>\nTo: undisclosed-recipients:;\nDate: Sun, 22 Nov 2026 10:00:00 +0000\nMessage-Id: <%s@x.test>\n"
KINDS = {
    "plain": Kind(HEAD % b"plain" + b"Subject: plain\n\nHello.\n.\n..dots\n\n  blanks  \n\n"),
    "empty": Kind(b""),
    "headless": Kind(b"\nno header at all, From: Date: and Message-Id: are made\n"),
    "nobody": Kind(HEAD % b"nobody" + b"Subject: header only\n"),
    "dsn": Kind(HEAD % b"dsn" + b"\nwith notification\n", mail="RET=HDRS ENVID=env+2B1",
                rcpt="NOTIFY=FAILURE,DELAY ORCPT=rfc822;o+2Brig@x.test"),
    "never": Kind(HEAD % b"never" + b"\nwithout notification\n", rcpt="NOTIFY=NEVER"),
    "eight": Kind(HEAD % b"eight" + "Subject: Grüße\n\nÄrger\n".encode("latin-1"), mail="BODY=8BITMIME"),
    "utf8": Kind(HEAD % b"utf8" + "Subject: Grüße\n\nдом\n".encode(), mail="SMTPUTF8 BODY=8BITMIME", sender="jörg@spool.example.test"),
    "large": Kind(HEAD % b"large" + b"\n" + b"".join(b"%07d " % i + b"x" * 70 + b"\n" for i in range(4000))),
    "lines": Kind(HEAD % b"lines" + b"X-Long: " + b"y" * 5000 + b"\nX-Folded: a\n\tb\n " + b"c" * 1200 + b"\n\n" + b"z" * 70000 + b"\n" +
                  b"q" * 2048 + b"\n" + b"r" * 998 + b"\nend\n"),
    "bounce": Kind(HEAD % b"bounce" + b"\nfrom the null sender\n", sender=""),
    "local": Kind(HEAD % b"local" + b"\nby sendmail\n", sendmail=["-F", "Full Name"]),
    "local-dsn": Kind(HEAD % b"ldsn" + b"\nby sendmail\n", sendmail=["-N", "failure,delay", "-V", "locally", "-R", "hdrs"]),
    "no-from": Kind(b"To: x@y.test\n\nFrom: is made of -F\n", sendmail=["-F", "A. Döe"]),
    "unended": Kind(HEAD % b"unended" + b"\nno line end", sendmail=["-B8BITMIME"]),
    "verp": Kind(HEAD % b"verp" + b"\neach recipient has a sender of his own\n", sendmail=["-XV", ], sender="list@spool.example.test"),
    "verp-marks": Kind(HEAD % b"verpm" + b"\nother delimiters\n", sendmail=["-XV-="], sender="list@spool.example.test"),
}


def normal(letter, user):
    """What must be alike in the letter and its twin: all but the queue id, times, and the twin's name."""
    mail = re.sub(rb" SIZE=\d+", b"", letter.mail)
    data = re.sub(rb"\A(?:Received: .*\r\n(?:[ \t].*\r\n)*)+", b"", letter.data)
    data = re.sub(rb"(?m)^(Date: ).*|^(Message-Id: <)\d{14}\.[0-9A-Za-z]+@", rb"\1\2", data)
    rcpt = next(r for r in letter.rcpts if address(r).startswith(user))
    swap = lambda text: text.replace(user.encode(), b"RCPT")
    return swap(mail), swap(rcpt), swap(data)


@pytest.fixture
def site(request):
    with tempfile.TemporaryDirectory(prefix="posthorn-peer-spool.") as top:
        s = Site(pathlib.Path(top), "minimal_backoff_time = 1000", "queue_run_delay = 300", "smtputf8_enable = yes",
                 "header_checks = regexp:" + top + "/checks", "line_length_limit = 2048", "recipient_delimiter = +",
                 "enable_long_queue_ids = no", "smtpd_authorized_verp_clients = 127.0.0.0/8", "strict_smtputf8 = no",
                 "message_size_limit = 50000000", "in_flow_delay = 0")
        (pathlib.Path(top) / "checks").write_text(
            "/^X-Hold:/ HOLD\n/^X-Redirect:/ REDIRECT redirected@sink.test\n/^X-Filter:/ FILTER relay:[127.0.0.1]:%d\n" % s.sink.port)
        try:
            yield s
        finally:
            s.close()


def settle(site, count, what, seconds=40):
    """Waits until the sink has so many letters and the queue nothing on its way."""
    def there():
        return len(site.sink.letters) >= count and site.quiet()
    try:
        wait_until(there, seconds, what)
    except AssertionError:
        raise AssertionError(f"{what}: {len(site.sink.letters)} of {count}\n{site.log()[-4000:]}") from None


def due(path, when):
    os.utime(path, (when, when))


@pytest.mark.parametrize("first,second", [(DEBIAN, OURS), (OURS, DEBIAN)])
def test_deferred(site, first, second):
    """Every kind of letter, with short and with long ids; one recipient of each done, one deferred."""
    sink = site.sink
    expected = 0
    for ids in ("short", "long"):
        site.write(f"enable_long_queue_ids = {'yes' if ids == 'long' else 'no'}")
        site.start(first)
        sink.answers["later"] = "450 4.2.0 come back later"
        for name, kind in KINDS.items():
            kind.put(site, first, [f"done+{name}{ids}@sink.test", f"later+{name}{ids}@sink.test"])
            expected += 1
        settle(site, expected, f"the done ones, {ids}")
        site.stop()
    left = site.files("deferred")
    assert len(left) == 2 * len(KINDS) and len(site.files()) == len(left)
    twins = {n + i: normal(sink.got(f"done+{n}{i}@sink.test")[0], "done+") for n in KINDS for i in ("short", "long")}
    now = time.time()
    assert all(p.stat().st_mtime > now + 300 for p in left.values())
    waiting = set(list(left)[::3])
    for ident, path in left.items():
        if ident not in waiting:
            due(path, now - 1)

    del sink.answers["later"]
    site.start(second)
    settle(site, expected + len(left) - len(waiting), "what was due")
    time.sleep(0.5)
    assert set(site.files()) == waiting and len(sink.letters) == expected + len(left) - len(waiting)
    assert all(p.stat().st_mtime > now + 300 for p in site.files().values())
    site.run(second, "postqueue", "-f")
    settle(site, expected + len(left), "what was flushed")
    wait_until(lambda: not site.files(), what="an empty queue")
    wait_until(lambda: not [p for q in ("defer", "bounce", "trace") for p in (site.queue / q).rglob("*") if p.is_file()], what="no logs")
    time.sleep(0.5)
    assert len(sink.letters) == expected + len(left)
    for twin, want in twins.items():
        got = sink.got(f"later+{twin}@sink.test")
        assert len(got) == 1 and len(sink.got(f"done+{twin}@sink.test")) == 1, twin
        assert normal(got[0], "later+") == want, twin
    assert not re.search(r"status=bounced|corrupt|panic|fatal", site.log())
