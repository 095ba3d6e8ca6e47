"""One half replaced: Debian's Postfix with our authd and lmtpd, and our MTA with Debian's Dovecot.

The other half's sockets lie in the MTA's queue directory, where the deployment guide has them. Mail and logins work; a wrong
password is wrong; a half that is away means "later"; a restart of either half loses nothing.
"""
import base64
import contextlib
import grp
import hmac
import os
import pathlib
import pwd
import re
import signal
import smtplib
import socket
import stat
import sys
import tempfile
import threading
import time

import pytest

from conftest import ROOT, own_instance, wait_until

sys.path.insert(0, str(ROOT / "tests/peer"))
from dovecot import PASSWORD, Dovecot, programs  # noqa: E402
from mta import DEBIAN, Site  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mail systems change accounts")
PORT_BASE = 24000
SETTLE = 30
BRIEF = 6  # Dovecot's auth process goes on after a stop while somebody is connected; our smtpd leaves when it is idle


CLEAR = {"clear@example.test": "as it is"}  # stored so that CRAM-MD5 can be answered


def login(port, user, password, mechanism="PLAIN", tls=None):
    """The reply to AUTH: (code, text)."""
    with smtplib.SMTP("localhost", port, local_hostname="client.example", timeout=60) as s:
        if tls:
            s.starttls(context=tls)
        s.ehlo()
        return authenticate(s, user, password, mechanism)


def authenticate(s, user, password, mechanism):
    if mechanism == "PLAIN":
        return s.docmd("AUTH", "PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()).decode())
    code, challenge = s.docmd("AUTH", mechanism)
    if code != 334:
        return code, challenge
    if mechanism == "LOGIN":
        s.docmd(base64.b64encode(user.encode()).decode())
        return s.docmd(base64.b64encode(password.encode()).decode())
    digest = hmac.new(password.encode(), base64.b64decode(challenge), "md5").hexdigest()
    return s.docmd(base64.b64encode(f"{user} {digest}".encode()).decode())


def letter(number):
    return (f"From: <sender@elsewhere.test>\r\nTo: <x@example.test>\r\nSubject: letter-{number}\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n"
            f"Message-Id: <{number}@elsewhere.test>\r\n\r\n.dot\r\nText {number}.\r\n").encode()


def socket_of(path):
    st = os.stat(path)
    assert stat.S_ISSOCK(st.st_mode)
    return oct(st.st_mode & 0o777), pwd.getpwuid(st.st_uid).pw_name, grp.getgrgid(st.st_gid).gr_name


def numbers(messages):
    return sorted(int(n) for m in messages for n in re.findall(rb"Subject: letter-(\d+)", m))


class Flood:
    """Letters are sent one after the other from a thread; what was answered 250 is counted."""

    def __init__(self, port, rcpt):
        self.port, self.rcpt, self.taken, self.on = port, rcpt, [], True
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        number = 1000
        while self.on:
            number += 1
            with contextlib.suppress(OSError, smtplib.SMTPException):
                with smtplib.SMTP("localhost", self.port, local_hostname="client.example", timeout=30) as s:
                    s.sendmail("sender@elsewhere.test", [self.rcpt], letter(number))
                    self.taken.append(number)
            time.sleep(0.03)

    def end(self):
        self.on = False
        self.thread.join()
        return self.taken


# Debian's Postfix, our authd and lmtpd.


@pytest.fixture(scope="module")
def imap_half():
    """(Debian's Postfix, our instance with nothing but logins, auth and LMTP)."""
    with tempfile.TemporaryDirectory(prefix="posthorn-halves.") as top, own_instance(PORT_BASE) as ours:
        site = Site(pathlib.Path(top), "virtual_mailbox_domains = example.test", f"virtual_mailbox_maps = texthash:{top}/boxes",
                    "virtual_transport = lmtp:unix:private/dovecot-lmtp", "smtpd_sasl_auth_enable = yes", "smtpd_sasl_type = dovecot",
                    "smtpd_sasl_path = private/auth", "mynetworks =", "minimal_backoff_time = 1s", "maximal_backoff_time = 2s",
                    "smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination", "queue_run_delay = 1s",
                    "transport_retry_time = 1s", "service_throttle_time = 1s", "lmtp_destination_recipient_limit = 10")
        (pathlib.Path(top) / "boxes").write_text(f"{ours.user1} a/\n{ours.user2} b/\nnobody@example.test c/\n")
        there = f"{site.queue}/private"
        try:
            site.run(DEBIAN, "postfix", "check")  # makes the directories; its smtpd does not serve without the auth socket
            with open(ours.config_dir + "/users", "a") as f:
                f.writelines(f"{user}:{{PLAIN}}{password}::::::\n" for user, password in CLEAR.items())
            ours.postconf("auth_mechanisms = plain login cram-md5", "auth_penalty = no", "auth_failure_delay = 1s", f"unix_listeners = {{ auth {there}/auth mode=0660 user=postfix group=postfix }}"
                          f" {{ dovecot-lmtp {there}/dovecot-lmtp mode=0660 user=postfix group=postfix }}")
            master_cf = pathlib.Path(ours.config_dir) / "master.cf"
            kept = [line for line in master_cf.read_text().splitlines()
                    if re.match(r"\S+:\d+ .* login |(143|993|110|995) ", line)]
            assert len(kept) == 4 + 4
            master_cf.write_text("\n".join(kept) + "\n")
            ours.restart()
            site.start(DEBIAN)
            yield site, ours
        finally:
            site.close()


def test_sockets(imap_half):
    site, ours = imap_half
    for name in ("auth", "dovecot-lmtp"):
        assert socket_of(site.queue / "private" / name) == ("0o660", "postfix", "postfix")
    assert {n for n in ours.daemons().values()} <= {"authd", "login", "dispatcher", "imapd", "pop3d", "lmtpd", "proxymap", "anvil", "tlsmgr", "postlogd", "resolver"}
    out = ours.postfix("check")
    assert "unix_listeners" not in out.stderr


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_logins_at_debians_postfix(imap_half, mechanism):
    site, ours = imap_half
    for user, password in {**ours.users, **CLEAR}.items():
        # A hash answers no challenge.
        assert login(site.smtp_port, user, password, mechanism)[0] == (235 if mechanism != "CRAM-MD5" or user in CLEAR else 535)
    user, password = next(iter(CLEAR.items()))
    assert login(site.smtp_port, user, password + "x", mechanism)[0] == 535
    assert login(site.smtp_port, "nobody@example.test", "x" * 200, mechanism)[0] == 535


def test_mail_from_debians_postfix(imap_half):
    site, ours = imap_half
    with smtplib.SMTP("localhost", site.smtp_port, local_hostname="client.example", timeout=60) as s:
        s.ehlo()
        assert authenticate(s, ours.user1, ours.users[ours.user1], "PLAIN")[0] == 235
        s.sendmail(ours.user1, [ours.user1, ours.user2, "far@elsewhere.test"], letter(1))
    for user in ours.users:
        got = ours.wait_message("letter-1", user)
        assert got.endswith(letter(1)) and got.startswith(f"Return-Path: <{ours.user1}>\r\n".encode())
    wait_until(lambda: site.sink.got("far@elsewhere.test"), what="relayed mail")
    # Without the login nothing is relayed.
    with smtplib.SMTP("localhost", site.smtp_port, local_hostname="client.example", timeout=60) as s, pytest.raises(smtplib.SMTPRecipientsRefused):
        s.sendmail(ours.user1, ["far@elsewhere.test"], letter(2))


def test_unknown_at_our_lmtpd(imap_half):
    """Whom Postfix's table knows and we do not is returned, by Postfix."""
    site, ours = imap_half
    with smtplib.SMTP("localhost", site.smtp_port, local_hostname="client.example", timeout=60) as s:
        s.sendmail(ours.user1, ["nobody@example.test"], letter(3))
    report = ours.wait_message("Undelivered Mail Returned to Sender", ours.user1)
    assert b"nobody@example.test" in report and b"Status: 5.1.1" in report


def test_our_half_away_means_later(imap_half):
    site, ours = imap_half
    user, password = ours.user1, ours.users[ours.user1]
    with smtplib.SMTP("localhost", site.smtp_port, local_hostname="client.example", timeout=60) as s:
        s.ehlo()
        ours.postfix("stop")
        code, text = authenticate(s, user, password, "PLAIN")
        assert (code, text[:5]) == (454, b"4.7.0"), (code, text)
        s.rset()
        s.sendmail("sender@elsewhere.test", [ours.user2], letter(4))
    site.wait(lambda: re.search(r"status=deferred \(connect to \S+dovecot-lmtp\]?: Connection refused", site.log()), "a deferral")
    ours.postfix("start")
    assert ours.wait_message("letter-4", ours.user2, seconds=SETTLE)
    site.wait(lambda: not site.files(), "an empty queue")
    assert numbers(ours.messages(ours.user2)).count(4) == 1
    wait_until(lambda: login(site.smtp_port, user, password)[0] == 235, what="a login")


@pytest.mark.parametrize("how", ["restart ours", "reload ours", "kill daemons", "restart theirs", "kill theirs"])
def test_nothing_is_lost_with_our_half(imap_half, how):
    site, ours = imap_half
    ours.empty(ours.user2)
    mark = site.log_mark()
    flood = Flood(site.smtp_port, ours.user2)
    try:
        for _ in range(2):
            time.sleep(0.4)
            if how == "restart ours":
                ours.restart()
            elif how == "reload ours":
                ours.postfix("reload")
            elif how == "kill daemons":
                for name in ("lmtpd", "authd", "dispatcher", "imapd"):
                    for pid in ours.pids(name):
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, 9)
            elif how == "restart theirs":
                site.stop()
                site.start(DEBIAN)
            else:
                site.kill()
                site.start(DEBIAN)
    finally:
        taken = flood.end()
    site.wait(lambda: not site.finished(), "an empty queue", SETTLE)
    got = numbers(ours.messages(ours.user2))
    assert len(taken) > 5 and set(taken) <= set(got)
    # A process that ends between delivery and answer makes a second copy; nothing else does. Debian's agents end so at a stop.
    assert len(got) == len(set(got)) or how in ("kill daemons", "kill theirs", "restart theirs")
    assert "status=bounced" not in site.log(mark)


def test_a_listener_that_is_taken_back(imap_half):
    site, ours = imap_half
    was = ours.tool("postconf", "-h", "unix_listeners").stdout.strip()
    extra = f"{site.queue}/private/auth-extra"
    ours.postconf(f"unix_listeners = {was} {{ auth {extra} mode=0600 }}")
    ours.postfix("reload")
    wait_until(lambda: os.path.exists(extra), what="the new socket")
    assert socket_of(extra)[0] == "0o600" and socket_of(site.queue / "private/auth") == ("0o660", "postfix", "postfix")
    ours.postconf(f"unix_listeners = {was}")
    ours.postfix("reload")
    wait_until(lambda: not os.path.exists(extra), what="the end of the socket")
    assert login(site.smtp_port, ours.user1, ours.users[ours.user1])[0] == 235


def test_a_faulty_list_stops_the_start(imap_half):
    site, ours = imap_half
    was = ours.tool("postconf", "-h", "unix_listeners").stdout.strip()
    ours.postfix("stop")
    ours.postconf("unix_listeners = { auth /x mode=0660 user=no-such-user }")
    try:
        out = ours.postfix("start", ok=False)
    finally:
        ours.postconf(f"unix_listeners = {was}")
        ours.postfix("start")
    assert out.returncode != 0 and "unix_listeners: { auth /x mode=0660 user=no-such-user }: no such user" in out.stderr


# Our MTA, Debian's Dovecot.


def dovecot_settings(queue):
    return f"""
auth_mechanisms = plain login cram-md5
service auth {{
  unix_listener {queue}/private/auth {{
    mode = 0660
    user = postfix
    group = postfix
  }}
}}
service lmtp {{
  unix_listener {queue}/private/dovecot-lmtp {{
    mode = 0660
    user = postfix
    group = postfix
  }}
}}
"""


MTA_ONLY = "".join(f"{name} {kind} - - - - - none\n" for name, kind in (("auth", "unix"), ("dovecot-lmtp", "unix"), ("dispatcher", "unix"),
                                                                         ("imapd", "unix"), ("pop3d", "unix")))


@pytest.fixture(scope="module")
def mta_half():
    """(our MTA, Debian's Dovecot)."""
    if programs() is None:
        pytest.skip("Debian's dovecot packages cannot be had")
    with own_instance(PORT_BASE + 1000, "auth_passwd_file =", "minimal_backoff_time = 1s", "maximal_backoff_time = 2s", "queue_run_delay = 1s",
                      services=MTA_ONLY) as ours:
        ours.postfix("stop")
        with open(ours.config_dir + "/master.cf") as f:
            lines = [line for line in f.read().splitlines() if not re.match(r"\S+:\d+ .* (login|lmtpd)\b", line)]
        with open(ours.config_dir + "/master.cf", "w") as f:
            f.write("\n".join(lines) + "\n")
        ours.postfix("start")
        with Dovecot(ours.mail_dir, PORT_BASE + 1000, settings=dovecot_settings(ours.queue_dir)) as theirs:
            yield ours, theirs


def their_messages(theirs, user):
    with theirs.imap(user) as m:
        count = m.select("INBOX", readonly=True)[1][0]
        return [part[1] for part in m.fetch("1:*", "(BODY.PEEK[])")[1] if isinstance(part, tuple)] if count != b"0" else []


def wait_their_message(theirs, marker, user, seconds=SETTLE):
    return wait_until(lambda: next((m for m in their_messages(theirs, user) if marker.encode() in m), None), seconds, f"message with {marker}")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_logins_at_debians_dovecot(mta_half, mechanism):
    ours, theirs = mta_half
    for user in ours.users:
        assert login(ours.submission_port, user, PASSWORD, mechanism, ours.tls)[0] == 235
    assert login(ours.submission_port, ours.user1, PASSWORD + "x", mechanism, ours.tls)[0] == 535
    assert not {"authd", "login", "dispatcher", "lmtpd"} & set(ours.daemons().values())


def test_mail_to_debians_dovecot(mta_half):
    ours, theirs = mta_half
    with smtplib.SMTP("localhost", ours.submission_port, local_hostname="client.example", timeout=60) as s:
        s.starttls(context=ours.tls)
        s.ehlo()
        assert authenticate(s, ours.user1, PASSWORD, "PLAIN")[0] == 235
        s.sendmail(ours.user1, [ours.user1, ours.user2], letter(1))
    for user in ours.users:
        got = wait_their_message(theirs, "letter-1", user)
        assert got.endswith(letter(1))
    with ours.smtp() as s, pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        s.sendmail(ours.user1, ["nobody@example.test"], letter(2))
    assert refused.value.recipients["nobody@example.test"][0] == 550


def test_their_half_away_means_later(mta_half):
    ours, theirs = mta_half
    theirs.stop()
    time.sleep(BRIEF)
    for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
        code, text = login(ours.submission_port, ours.user1, PASSWORD, mechanism, ours.tls)
        assert (code, text[:5]) == (454, b"4.7.0"), (code, text)
    mark = ours.log_mark()
    with ours.smtp() as s:
        s.sendmail("sender@elsewhere.test", [ours.user2], letter(4))
    ours.wait_log(r"status=deferred \(connect to \S*dovecot-lmtp", mark)
    theirs.start()
    wait_their_message(theirs, "letter-4", ours.user2)
    wait_until(lambda: ours.tool("postqueue", "-j").stdout == "", what="an empty queue")
    assert numbers(their_messages(theirs, ours.user2)).count(4) == 1
    assert login(ours.submission_port, ours.user1, PASSWORD, "PLAIN", ours.tls)[0] == 235


def test_a_session_lives_through_a_restart_of_dovecot(mta_half):
    ours, theirs = mta_half
    with smtplib.SMTP("localhost", ours.submission_port, local_hostname="client.example", timeout=60) as s:
        s.starttls(context=ours.tls)
        s.ehlo()
        assert authenticate(s, ours.user1, PASSWORD + "x", "PLAIN")[0] == 535
        theirs.stop()
        time.sleep(BRIEF)
        assert authenticate(s, ours.user1, PASSWORD, "PLAIN")[0] == 454
        theirs.start()
        assert authenticate(s, ours.user1, PASSWORD, "PLAIN")[0] == 235


@pytest.mark.parametrize("how", ["restart theirs", "restart ours", "kill ours"])
def test_nothing_is_lost_with_their_half(mta_half, how):
    ours, theirs = mta_half
    mark = ours.log_mark()
    flood = Flood(ours.smtp_port, ours.user2)
    try:
        for _ in range(2):
            time.sleep(0.4)
            if how == "restart theirs":
                theirs.stop()
                time.sleep(0.2)
                theirs.start()
            elif how == "restart ours":
                ours.restart()
            else:
                for pid, name in ours.daemons().items():
                    if name in ("smtpd", "qmgr", "lmtp", "cleanup", "smtp"):
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, 9)
    finally:
        taken = flood.end()
    wait_until(lambda: ours.tool("postqueue", "-j").stdout == "", SETTLE, "an empty queue")
    got = numbers(their_messages(theirs, ours.user2))
    with theirs.imap(ours.user2) as m:
        m.select("INBOX")
        m.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")
        m.expunge()
    # A server that goes away between the message and its answer, or says there that it is shutting down, may have kept it.
    deferred = [line for line in ours.log(mark).splitlines() if "status=deferred" in line]
    unanswered = sum("(connect to" not in line for line in deferred)
    assert len(taken) > 5 and set(taken) <= set(got)
    assert len(got) - len(set(got)) <= unanswered or how == "kill ours", deferred
    assert "status=bounced" not in ours.log(mark)


def test_what_a_killed_master_left_behind_is_no_other_program():
    """It has died, its parent has not looked yet, and one of its daemons still holds the socket it listened on."""
    with own_instance(PORT_BASE + 2000) as ours:
        ours.postfix("stop")
        path, (reader, writer) = pathlib.Path(ours.queue_dir, "private/auth"), os.pipe()
        path.unlink(missing_ok=True)
        dead = os.fork()
        if dead == 0:
            with contextlib.suppress(Exception):
                s = socket.socket(socket.AF_UNIX)
                s.bind(str(path))
                s.listen()
                if (daemon := os.fork()) == 0:
                    time.sleep(60)
                else:
                    os.write(writer, str(daemon).encode())
            os._exit(0)
        try:
            daemon = int(os.read(reader, 20))
            wait_until(lambda: pathlib.Path(f"/proc/{dead}/stat").read_text().rpartition(")")[2].split()[0] == "Z", what="death")
            mark = ours.log_mark()
            ours.postfix("start")
            assert login(ours.submission_port, ours.user1, ours.users[ours.user1], "PLAIN", ours.tls)[0] == 235
            assert "in use by another program" not in ours.log(mark)
        finally:
            os.kill(daemon, signal.SIGKILL)
            os.waitpid(dead, 0)
            os.close(reader)
            os.close(writer)


def test_a_dovecot_that_was_there_first_keeps_its_sockets():
    """Without the "none" lines: what another program serves is left to it, and said."""
    if programs() is None:
        pytest.skip("Debian's dovecot packages cannot be had")
    with own_instance(PORT_BASE + 2000) as ours:
        ours.postfix("stop")
        with Dovecot(ours.mail_dir, PORT_BASE + 2700, settings=dovecot_settings(ours.queue_dir)):
            mark = ours.log_mark()
            ours.postfix("start")
            ours.wait_log(r"private/auth is in use by another program, and left to it", mark)
            ours.wait_log(r"private/dovecot-lmtp is in use by another program, and left to it", mark)
            assert login(ours.submission_port, ours.user1, PASSWORD, "PLAIN", ours.tls)[0] == 235
            assert login(ours.submission_port, ours.user1, ours.users[ours.user1], "PLAIN", ours.tls)[0] == 535
            with ours.smtp() as s:
                s.sendmail("sender@elsewhere.test", [ours.user2], letter(5))
            ours.wait_message("letter-5", ours.user2)  # by our imapd, from the same Maildir
        # Its sockets are dead files now: a reload takes them over.
        ours.reload()
        wait_until(lambda: login(ours.submission_port, ours.user1, ours.users[ours.user1], "PLAIN", ours.tls)[0] == 235, what="our authd")
