"""A queue directory changes hands: Debian's Postfix leaves mail in every state, ours goes on with it; and the other way round.

Each letter is delivered once by the side that made it, to a server that notes every byte: that is what the other side
must send for its twin that was left in the queue.
"""
import grp
import gzip
import os
import pathlib
import re
import shutil
import tempfile
import time

import pytest

from milter import EDITS, Milter
from mta import BUILD, DEBIAN, HOST, OURS, Site, address, free_port, smtp_talk

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


def settle(site, count, what):
    """Waits until the sink has so many letters and the queue nothing on its way."""
    site.wait(lambda: len(site.sink.letters) >= count and site.quiet(), what, 40)


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
    site.wait(lambda: not site.files(), "an empty queue")
    site.wait(lambda: not [p for q in ("defer", "bounce", "trace") for p in (site.queue / q).rglob("*") if p.is_file()], "no logs")
    time.sleep(0.5)
    assert len(sink.letters) == expected + len(left)
    for twin, want in twins.items():
        got = sink.got(f"later+{twin}@sink.test")
        assert len(got) == 1 and len(sink.got(f"done+{twin}@sink.test")) == 1, twin
        assert normal(got[0], "later+") == want, twin
    assert not re.search(r"status=bounced|corrupt|panic|fatal", site.log())


def letter(site, side, name, rcpts, header=b"", sendmail=None, **kw):
    """One letter whose content names it, so that it can be told from all others."""
    Kind(header + HEAD % name.encode() + b"\nletter " + name.encode() + b"\n", sendmail=sendmail, **kw).put(site, side, [f"{r}@sink.test" for r in rcpts])


def queue_id(site, name, *queues):
    """The id of the letter of that name: its file holds the text."""
    return next((i for i, p in site.files(*queues).items() if b"letter " + name.encode() in p.read_bytes()), None)


def listing(site, side, *how):
    out = site.run(side, "postqueue", *how).stdout
    if how[0] == "-j":
        return b"", sorted(out.splitlines())
    head, _, rest = out.partition(b"\n")
    return head, sorted(rest.split(b"\n\n"))


def make_states(site, first):
    """Mail in every directory, as it is when a machine's power goes. What the recipients must get: {letter: recipients}."""
    sink = site.sink
    sink.answers.update(later="450 4.2.0 later", redirected="450 4.2.0 later", no="550 5.1.1 no such user", stall="stall")
    site.start(first)
    checks = first == DEBIAN  # records that only Debian's header_checks make yet
    if checks:
        letter(site, first, "hold-check", ["held"], b"X-Hold: yes\n")
        letter(site, first, "redirect", ["a", "b"], b"X-Redirect: yes\n")
        letter(site, first, "filter", ["later+filter"], b"X-Filter: yes\n")
    for name in ("deferred", "hold-later", "requeued", "torn-first", "torn-second", "waiting"):
        letter(site, first, name, ["done+" + name, "later+" + name])
    site.wait(lambda: len(site.files("deferred")) == 6 + 2 * checks and len(site.files("hold")) == checks and site.quiet(), "deferred mail")
    site.run(first, "postsuper", "-h", queue_id(site, "hold-later"))
    for name in ("torn-first", "torn-second"):
        path = site.files("deferred")[queue_id(site, name)]
        os.truncate(path, 150)
        if name == "torn-first":
            due(path, time.time() - 1)
    site.run(first, "postqueue", "-f")
    site.wait(lambda: len(site.files("corrupt")) >= 1, "corrupt mail")
    site.wait(site.quiet, "the end of the queue run")
    letter(site, first, "bounced", ["done+bounced", "no+bounced", "stall+bounced"])
    letter(site, first, "traced", ["done+traced", "stall+traced"], sendmail=["-v"])
    letter(site, first, "stalled", ["stall+stalled", "done+stalled"])
    site.wait(lambda: len(site.files("active")) == 3 and all(sink.got(f"done+{n}@sink.test") for n in ("bounced", "traced", "stalled")), "active mail")
    site.wait(lambda: list((site.queue / "bounce").iterdir()) and list((site.queue / "trace").iterdir()), "logs of active mail")
    site.kill()
    sink.leave_stall.set()
    sink.answers["stall"] = "450 4.2.0 stalled"
    site.write(without=("qmgr",))
    site.start(first)
    letter(site, first, "incoming", ["incoming1", "incoming2"])
    letter(site, first, "incoming-utf8", ["incoming3"], mail="SMTPUTF8", sender="jörg@" + HOST)
    site.wait(lambda: len(site.files("incoming")) == 2, "incoming mail")
    site.stop()
    letter(site, first, "maildrop", ["maildrop1", "maildrop2"], sendmail=["-N", "delay"])
    # Debian's, with no mail system, cannot write maillog_file as mail_owner: its exit status says that only.
    site.run(first, "postsuper", "-r", queue_id(site, "requeued"), ok=first == OURS)
    (site.queue / "saved/4AA05AA49A9").write_bytes(b"kept by hand")
    os.chown(site.queue / "saved/4AA05AA49A9", site.queue.joinpath("saved").stat().st_uid, -1)
    site.write()
    count = {q: len(site.files(q)) for q in ("active", "incoming", "deferred", "hold", "maildrop", "corrupt")}
    assert count["active"] == 3 and count["incoming"] == 2 and count["hold"] == 1 + checks and count["maildrop"] == 2, count
    assert count["deferred"] + count["corrupt"] == 4 + 2 * checks and count["corrupt"] >= 1, count
    made = {"redirect": ["redirected"], "filter": ["later+filter"]} if checks else {}
    return {**made, "deferred": ["later+deferred"], "requeued": ["later+requeued"], "bounced": ["stall+bounced"],
            "traced": ["stall+traced"], "stalled": ["stall+stalled"], "incoming": ["incoming1", "incoming2"], "incoming-utf8": ["incoming3"], "maildrop": ["maildrop1", "maildrop2"]}


def same_view(site):
    """The tools of both sides say the same about the queue."""
    for how in (["-p"], ["-j"]):
        ours, theirs = listing(site, OURS, *how), listing(site, DEBIAN, *how)
        assert ours[0] == theirs[0] and [l for l in ours[1] if l not in theirs[1]] == [l for l in theirs[1] if l not in ours[1]]
    for ident, path in site.files().items():
        for how in (["-q", ident], ["-eoq", ident], ["-bhq", ident], ["-vq", ident]):
            if "corrupt" not in str(path):
                assert site.run(OURS, "postcat", *how).stdout == site.run(DEBIAN, "postcat", *how).stdout, (ident, how)


def body_of(name):
    return b"letter " + name.encode() + b"\r\n"


@pytest.mark.parametrize("first,second", [(DEBIAN, OURS), (OURS, DEBIAN)])
def test_states(site, first, second):
    """Active, incoming, deferred, held, corrupt and maildrop mail, half written logs: delivered once, none lost."""
    sink = site.sink
    site.settings.append("smtp_destination_recipient_limit = 1")  # who stalls keeps nobody else waiting
    site.write()
    expected = make_states(site, first)
    same_view(site)
    before = len(sink.letters)
    first_requeued = queue_id(site, "requeued", "maildrop")
    now = time.time()
    for ident, path in site.files("deferred").items():
        due(path, now + 1000 if ident == queue_id(site, "waiting") else now - 1)
    del sink.answers["later"], sink.answers["redirected"], sink.answers["stall"]

    def delivered():
        return [(name, rcpt) for name, rcpts in expected.items() for rcpt in rcpts
                if len([l for l in sink.got(f"{rcpt}@sink.test") if l.data.endswith(body_of(name))]) == 1]

    site.start(second)
    want = [(name, rcpt) for name, rcpts in expected.items() for rcpt in rcpts]
    site.wait(lambda: delivered() == want and site.quiet(), "what was due")
    site.wait(lambda: len(sink.got(SENDER)) >= 2, "the reports")
    assert site.files("hold") and set(site.files("deferred")) == {queue_id(site, "waiting")}
    site.run(second, "postsuper", "-H", "ALL")
    site.run(second, "postqueue", "-f")
    expected.update({"hold-later": ["later+hold-later"], "waiting": ["later+waiting"]})
    if first == DEBIAN:
        expected["hold-check"] = ["held"]
    want = [(name, rcpt) for name, rcpts in expected.items() for rcpt in rcpts]
    site.wait(lambda: delivered() == want and not site.files("incoming", "active", "deferred", "hold", "maildrop"), "held mail")
    assert len(site.files("corrupt")) == 2
    assert (site.queue / "saved/4AA05AA49A9").read_bytes() == b"kept by hand"
    gone = {first_requeued} if first == DEBIAN else set()  # its postsuper leaves the defer log of an id that is no more
    logs = {p.name for q in ("defer", "bounce", "trace") for p in (site.queue / q).rglob("*") if p.is_file()}
    assert logs - gone <= set(site.files("corrupt"))
    # One report of the failure, one of the trace; nothing else.
    reports = [l.data for l in sink.got(SENDER)]
    assert len([r for r in reports if b"no+bounced@sink.test" in r and b"Action: failed" in r]) == 1
    trace = [r for r in reports if b"Mail Delivery Status Report" in r]
    assert all(any(name in r for r in trace) for name in (b"done+traced@sink.test", b"stall+traced@sink.test"))
    assert len(reports) == 1 + len(trace) and len(trace) <= 2
    total = sum(map(len, expected.values()))
    # A letter whose recipients share a delivery is one transaction.
    assert sum(len(l.rcpts) for l in sink.letters[before:]) == total + len(reports)
    for rcpt in ("done+bounced", "done+traced", "done+stalled", "done+deferred", "done+requeued"):
        assert len(sink.got(f"{rcpt}@sink.test")) == 1


@pytest.mark.parametrize("running,tools", [(DEBIAN, OURS), (OURS, DEBIAN)])
def test_tools_of_the_other_side(site, running, tools):
    """A mail system that runs, listed and ordered about by the commands of the other."""
    sink = site.sink
    site.settings.append("fast_flush_domains = sink.test")
    site.write()
    site.start(running)
    sink.answers["*"] = "450 4.2.0 later"
    for name in ("one", "two", "three", "four", "five"):
        letter(site, running, name, [name])
    Kind(HEAD % b"far" + b"\nletter far\n").put(site, running, ["far@other.test"])
    site.wait(lambda: len(site.files("deferred")) == 6 and site.quiet(), "deferred mail")
    for how in (["-p"], ["-j"]):
        assert listing(site, tools, *how) == listing(site, running, *how)
    ids = {name: queue_id(site, name) for name in ("one", "two", "three", "four", "five", "far")}
    assert site.run(tools, "postcat", "-q", ids["one"]).stdout == site.run(running, "postcat", "-q", ids["one"]).stdout
    sink.answers.clear()

    def delivered(*names):
        site.wait(lambda: all(len(sink.got(f"{n}@sink.test")) == 1 for n in names), f"mail for {names}")
        assert sum(len(l.rcpts) for l in sink.letters) == len(names)

    site.run(tools, "postqueue", "-i", ids["one"])
    delivered("one")
    site.run(tools, "postsuper", "-h", ids["two"])
    site.run(tools, "postsuper", "-d", ids["five"])
    site.run(tools, "postqueue", "-s", "sink.test")
    delivered("one", "three", "four")
    for wrong in (["-s", "other.test"], ["-s", "[x]"], ["-s", "a b"], ["-i", "a b"]):
        one, two = (site.run(side, "postqueue", *wrong, ok=False) for side in (tools, running))
        assert one.returncode == two.returncode == 69 and one.stderr == two.stderr, (one, two)
    assert site.run(tools, "postqueue", "-i", "ABCDEF12345").returncode == 0
    site.run(tools, "postsuper", "-r", ids["two"])
    site.run(tools, "sendmail", "-f", SENDER, "six@sink.test", input=HEAD % b"six" + b"\nletter six\n")  # wakes pickup, which Debian's postsuper does not
    delivered("one", "two", "three", "four", "six")
    site.run(tools, "postqueue", "-f")
    site.wait(lambda: len(sink.got("far@other.test")) == 1 and not site.files(), "an empty queue")
    assert site.run(tools, "postqueue", "-p").stdout == site.run(running, "postqueue", "-p").stdout == b"Mail queue is empty\n"
    site.run(tools, "postfix", "reload")
    assert site.run(tools, "postfix", "status").returncode == 0


def owners(queue):
    return {str(p.relative_to(queue)): (p.lstat().st_uid, p.lstat().st_gid if p.parent == queue and p.name in ("maildrop", "public") else None,
                                        oct(p.lstat().st_mode & 0o7777)) for p in queue.rglob("*") if not p.is_socket()}


def test_permissions(site):
    """A spool that was restored as root: named by check, mended by set-permissions, and nothing of anybody else's touched."""
    site.sink.answers["*"] = "450 4.2.0 later"
    site.start(DEBIAN)
    letter(site, DEBIAN, "one", ["one"])
    site.wait(lambda: len(site.files("deferred")) == 1 and site.quiet(), "deferred mail")
    site.stop()
    sbin = site.top / "sbin"  # our commands, where they may be changed
    shutil.copytree(BUILD / "sbin", sbin, symlinks=True)
    site.where[OURS]["command_directory"] = sbin
    site.write()
    site.run(OURS, "postfix", "set-permissions")
    right = owners(site.queue)
    outside = site.top / "outside"
    outside.write_text("of root")
    outside.chmod(0o600)
    for path in site.queue.rglob("*"):
        os.lchown(path, 0, 0)
        if path.is_dir():
            path.chmod(0o755)
    os.symlink(outside, site.queue / "deferred/link")
    os.symlink(site.top, site.queue / "deferred/Z")
    os.link(outside, site.queue / "deferred/hardlink")
    (sbin / "postdrop").chmod(0o755)
    shutil.chown(sbin / "postdrop", "root", "root")
    said = site.run(OURS, "postfix", "check", ok=False).stderr.decode()
    assert f"not owned by group postdrop: {sbin}/postdrop" in said and f"not owned by group postdrop: {site.queue}/maildrop" in said
    site.run(OURS, "postfix", "set-permissions")
    now = owners(site.queue)
    assert {k: v for k, v in now.items() if k in right} == right
    assert outside.stat().st_uid == 0 and site.top.stat().st_uid == 0 and oct(outside.stat().st_mode & 0o7777) == "0o600"
    assert "not owned" not in site.run(OURS, "postfix", "check").stderr.decode()
    for name in ("postdrop", "postqueue", "postlog"):
        st = (sbin / name).stat()
        assert oct(st.st_mode & 0o7777) == "0o2755" and grp.getgrgid(st.st_gid).gr_name == "postdrop"
    for name in ("link", "Z", "hardlink"):
        (site.queue / "deferred" / name).unlink()
    site.run(OURS, "postfix", "set-permissions", "setgid_group=nogroup")
    assert "setgid_group = nogroup" in (site.etc(OURS) / "main.cf").read_text()
    assert grp.getgrgid((sbin / "postdrop").stat().st_gid).gr_name == "nogroup"
    site.write()
    site.run(OURS, "postfix", "set-permissions")
    site.sink.answers.clear()
    site.start(OURS)
    site.run(OURS, "postqueue", "-f")
    site.wait(lambda: len(site.sink.got("one@sink.test")) == 1, "the mail")


def test_logrotate(site):
    site.start(OURS)
    site.wait(lambda: "daemon started" in site.log(), "the log")
    site.run(OURS, "postfix", "logrotate")
    packed = [p for p in site.top.iterdir() if p.name.startswith("mail.log.")]
    assert len(packed) == 1 and re.fullmatch(r"mail\.log\.\d{8}-\d{6}\.gz", packed[0].name)
    assert b"daemon started" in gzip.decompress(packed[0].read_bytes())
    letter(site, OURS, "after", ["after"])
    site.wait(lambda: "to=<after@sink.test>" in site.log() and "daemon started" not in site.log(), "the new log")
    site.settings.append("maillog_file_compressor = /no/such/program")
    site.write()
    out = site.run(OURS, "postfix", "logrotate", ok=False)
    assert out.returncode == 1 and b"/no/such/program" in out.stderr
    assert site.run(OURS, "postfix", "logrotate", "now", ok=False).returncode == 1


def test_edited_by_a_milter(site):
    """Queue files full of pointers, as Debian's cleanup leaves them where a milter adds, deletes and replaces."""
    milter = Milter(free_port(site.sink.port + 1))
    sink = site.sink
    site.settings.append(f"smtpd_milters = inet:127.0.0.1:{milter.port}")
    head = b"Subject: before\nX-Many: one\nX-Many: two\nX-Many: three\n" + HEAD
    try:
        site.write()
        site.start(DEBIAN)
        sink.answers["later"] = "450 4.2.0 later"
        for edit in map(bytes.decode, EDITS):
            kind = Kind(b"X-Edit: " + edit.encode() + b"\n" + head % edit.encode() + b"\nbody\n" * 100)
            kind.put(site, DEBIAN, [f"done+{edit}@sink.test", f"later+{edit}@sink.test"] + ["later+dropped@sink.test"] * (edit == "rcpt"))
        settle(site, len(EDITS), "the done ones")
        site.stop()
    finally:
        milter.close()
    left = site.files("deferred")
    assert len(left) == len(EDITS) and b"milter-reject" not in site.log().encode()
    for ident in left:
        for how in (["-q", ident], ["-eoq", ident], ["-bhq", ident], ["-vq", ident]):
            ours, theirs = (site.run(side, "postcat", *how).stdout.decode("latin-1").splitlines() for side in (OURS, DEBIAN))
            assert ours == theirs, (how, [x for x in zip(ours, theirs) if x[0] != x[1]][:5])
    before = len(sink.letters)
    assert listing(site, OURS, "-j") == listing(site, DEBIAN, "-j")
    sink.answers.clear()
    site.settings.pop()  # ours speaks to no milters yet, and does not pretend to
    site.write()
    site.start(OURS)
    site.run(OURS, "postqueue", "-f")
    site.wait(lambda: not site.files(), "an empty queue")
    for edit in map(bytes.decode, EDITS):
        want, got = sink.got(f"done+{edit}@sink.test"), sink.got(f"later+{edit}@sink.test")
        assert len(want) == len(got) == 1 and normal(got[0], "later+") == normal(want[0], "done+"), edit
    assert len(sink.got("later+added@sink.test")) == len(sink.got("later+more@sink.test")) == 1 and not sink.got("later+dropped@sink.test")
    assert sum(len(l.rcpts) for l in sink.letters[before:]) == len(EDITS) + 2


def test_tables_of_a_running_system(site):
    """Aliases change on either side in turn; whoever runs next knows the last word of whoever ran before."""
    table = site.top / "virtual"
    site.settings += ["virtual_alias_domains = alias.test", f"virtual_alias_maps = hash:{table}"]
    site.write()
    table.write_text("who@alias.test start@sink.test\n")
    site.run(DEBIAN, "postmap", f"hash:{table}")
    for turn, side in enumerate((OURS, DEBIAN, OURS)):
        if turn == 2:
            table.unlink()  # only the .db is left, of Debian's last turn
        site.start(side)
        target = f"turn{turn - 1}@sink.test" if turn else "start@sink.test"
        letter(site, side, f"before{turn}", [], sendmail=["who@alias.test"])
        site.wait(lambda: [l for l in site.sink.got(target) if b"letter before%d" % turn in l.data], f"mail for {target}")
        if turn == 2:
            site.run(side, "postmap", "-r", "-i", f"hash:{table}", input=f"who@alias.test turn{turn}@sink.test\n".encode())
        else:
            table.write_text(f"who@alias.test turn{turn}@sink.test\n")
            site.run(side, "postmap", f"hash:{table}")
        site.wait(lambda: said_new(site, side, turn), "the change")
        site.stop()
    assert "bounced" not in site.log()


def said_new(site, side, turn):
    """A letter at a time until the running daemons have noticed the new table."""
    letter(site, side, f"after{turn}", [], sendmail=["who@alias.test"])
    site.wait(site.quiet, "delivery")
    return [l for l in site.sink.got(f"turn{turn}@sink.test") if b"letter after%d" % turn in l.data]


@pytest.mark.parametrize("first,second", [(DEBIAN, OURS), (OURS, DEBIAN)])
def test_hashed_otherwise(site, first, second):
    """hash_queue_depth and hash_queue_names change with the side."""
    sink = site.sink
    sink.answers["*"] = "450 4.2.0 later"
    site.start(first)
    for name in ("one", "two", "three"):
        letter(site, first, name, [name])
    site.wait(lambda: len(site.files("deferred")) == 3 and site.quiet(), "deferred mail")
    site.run(first, "postsuper", "-h", queue_id(site, "three"))
    site.stop()
    site.write("hash_queue_depth = 2", "hash_queue_names = deferred, defer, hold, incoming, active", "enable_long_queue_ids = yes")
    sink.answers.clear()
    site.start(second)
    assert len(site.files("hold")[queue_id(site, "three", "hold")].relative_to(site.queue).parts) == 4
    site.run(second, "postsuper", "-H", "ALL")
    site.run(second, "postqueue", "-f")
    site.wait(lambda: not site.files(), "an empty queue")
    assert all(len(sink.got(f"{n}@sink.test")) == 1 for n in ("one", "two", "three"))
    sink.answers["*"] = "450 4.2.0 later"
    letter(site, second, "four", ["four"])
    site.wait(lambda: len(site.files("deferred")) == 1 and site.quiet(), "deferred mail")
    site.stop()
    site.write("hash_queue_depth = 1", "hash_queue_names = deferred, defer")
    site.log_file.chmod(0o666)  # Debian's postsuper writes it itself, no longer as root, when it renames files before the start
    sink.answers.clear()
    site.start(first)
    site.run(first, "postqueue", "-f")
    site.wait(lambda: len(sink.got("four@sink.test")) == 1 and not site.files(), "the last mail")
