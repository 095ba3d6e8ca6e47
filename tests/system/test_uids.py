"""Mailboxes of many accounts: lmtpd and virtual deliver into each as its own uid and gid, and into no other."""
import contextlib
import os
import pathlib
import pwd
import random
import re
import secrets
import signal
import smtplib
import threading
import time

import pytest
from conftest import own_instance, queue_ids, wait_until
from test_jail import is_spawner, status

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: without it nobody changes uid")
FIRST, MANY, GROUP = 61001, 500, 61900  # nobody's accounts
DOMAIN = "uids.test"
USERS = ["one", "two", "three"]


def uid_of(user):
    return FIRST + USERS.index(user)


def settings(maps):
    return ["virtual_mailbox_domains = $mydomain, uids.test", f"virtual_mailbox_maps = inline:{{ {maps['box']} }}",
            f"virtual_uid_maps = inline:{{ {maps['uid']} }}", f"virtual_gid_maps = inline:{{ {maps['gid']} }}"]


def tables(users):
    """users: name -> (mailbox, uid, gid)"""
    return {"box": " ".join(f"{{{u}@{DOMAIN} = {box}}}" for u, (box, _, _) in users.items()),
            "uid": " ".join(f"{{{u}@{DOMAIN} = {uid}}}" for u, (_, uid, _) in users.items()),
            "gid": " ".join(f"{{{u}@{DOMAIN} = {gid}}}" for u, (_, _, gid) in users.items())}


def open_base(i):
    """As for users who make their own directories below it."""
    base = pathlib.Path(i.mail_dir, DOMAIN)
    base.mkdir(exist_ok=True)
    os.chmod(base, 0o1777)
    return base


USER_TABLE = {u: (f"{DOMAIN}/{u}/", uid_of(u), uid_of(u) + 100) for u in USERS}
USER_TABLE |= {"low": (f"{DOMAIN}/low/", 99, 500), "stranger": (f"{DOMAIN}/one/", uid_of("two"), uid_of("two") + 100),
               "nogroup": (f"{DOMAIN}/nogroup/", FIRST, 0)}


@pytest.fixture(scope="module")
def i():
    with own_instance(27100, *settings(tables(USER_TABLE)),
                      "mailboxd_idle_time = 2s", "virtual_mailbox_limit = 0") as own:
        open_base(own)
        yield own


@contextlib.contextmanager
def lmtp(i):
    s = smtplib.LMTP("127.0.0.1", i.lmtp_port, local_hostname="client.example")
    try:
        s.ehlo()
        yield s
    finally:
        s.close()


def send(i, *rcpts, text=None):
    """Replies of one LMTP transaction: to RCPT, then to the content, by recipient."""
    text = text or f"Subject: {secrets.token_hex(8)}\n\nx\n"
    with lmtp(i) as s:
        s.mail("sender@example.test")
        answers = {r: s.rcpt(f"{r}@{DOMAIN}") for r in rcpts}
        taken = [r for r in rcpts if answers[r][0] == 250]
        if taken:
            s.putcmd("data")
            assert s.getreply()[0] == 354
            s.send(text.replace("\n", "\r\n").encode() + b".\r\n")
            answers |= {r: s.getreply() for r in taken}
    return answers


def mails(base):
    return sorted(p for p in pathlib.Path(base).glob("new/*"))


def workers(i):
    return [pid for pid in i.pids("mailboxd") if not is_spawner(pid)]


def test_each_as_its_own_account(i):
    marker = secrets.token_hex(8)
    answers = send(i, *USERS, text=f"Subject: {marker}\n\nbody\n")
    assert all(answers[u][0] == 250 and b" Saved" in answers[u][1] for u in USERS), answers
    for u in USERS:
        box = pathlib.Path(i.mail_dir, DOMAIN, u)
        (mail,) = [m for m in mails(box) if marker in m.read_text()]
        for path in (box, box / "new", box / "tmp", box / "cur", mail):
            st = path.stat()
            assert (st.st_uid, st.st_gid) == (uid_of(u), uid_of(u) + 100), path
            assert st.st_mode & 0o077 == 0, f"{path}: {st.st_mode:o}"
        assert re.search(rf",S={mail.stat().st_size},W=\d+$", mail.name)
        assert mail.read_text().startswith("Return-Path: <sender@example.test>\nReceived: from client.example")


def test_the_processes_are_confined(i):
    send(i, *USERS)
    seen = set()
    for pid in workers(i):
        st = status(pid)
        assert st["Seccomp"] == "2" and st["NoNewPrivs"] == "1" and int(st["CapEff"], 16) == 0 and int(st["CapBnd"], 16) == 0
        assert os.readlink(f"/proc/{pid}/root") == i.mail_dir
        uid, gid = int(st["Uid"].split()[0]), int(st["Gid"].split()[0])
        assert st["Uid"].split() == [str(uid)] * 4 and st["Gid"].split() == [str(gid)] * 4 and st["Groups"].split() == [str(gid)]
        seen.add((uid, gid))
    assert seen == {(uid_of(u), uid_of(u) + 100) for u in USERS}
    for pid in i.pids("lmtpd"):  # no one account owns all mailboxes
        assert status(pid)["Uid"].split()[0] == str(pwd.getpwnam(i.tool("postconf", "-h", "mail_owner").stdout.strip()).pw_uid)
    wait_until(lambda: not workers(i), 10, "the end of idle processes")


def test_what_is_not_allowed_is_deferred(i):
    mark = i.log_mark()
    answers = send(i, "low", "nogroup", "nobody", "one")
    assert answers["low"][0] == answers["nogroup"][0] == 451 and answers["nobody"][0] == 550 and answers["one"][0] == 250
    assert re.search(r"low@uids\.test: bad or forbidden value 99 in virtual_uid_maps", i.log(mark))
    assert not (pathlib.Path(i.mail_dir, DOMAIN, "low")).exists()


def test_a_mailbox_of_the_wrong_owner(i):
    send(i, "one")
    before, mark = mails(pathlib.Path(i.mail_dir, DOMAIN, "one")), i.log_mark()
    answers = send(i, "stranger", "two")
    assert answers["stranger"] == (451, b"4.3.0 <stranger@uids.test> Temporary internal error") and answers["two"][0] == 250
    assert mails(pathlib.Path(i.mail_dir, DOMAIN, "one")) == before
    i.wait_log(rf"to=<stranger@uids\.test>.* status=deferred \(.*{re.escape(i.mail_dir)}/uids.test/one/: Permission denied\)", mark)
    assert f"UID/GID={uid_of('two')}/{uid_of('two') + 100}" in i.log(mark)


def test_large_and_limited(i):
    text = "Subject: large\n\n" + ("x" * 75 + "\n") * 200_000
    assert send(i, "one", "two", text=text)["two"][0] == 250
    for u in ("one", "two"):
        mail = mails(pathlib.Path(i.mail_dir, DOMAIN, u))[-1]
        assert any(m.read_text().endswith(text) for m in mails(pathlib.Path(i.mail_dir, DOMAIN, u))), mail


def test_virtual_delivers_as_each_account(i):
    marker = secrets.token_hex(8)
    i.postconf("virtual_transport = virtual")
    i.reload()
    try:
        with i.smtp() as s:
            s.sendmail("sender@example.test", [f"{u}@{DOMAIN}" for u in USERS], f"Subject: {marker}\r\n\r\nx\r\n")
        for u in USERS:
            (mail,) = wait_until(lambda: [m for m in mails(pathlib.Path(i.mail_dir, DOMAIN, u)) if marker in m.read_text()], what="delivery")
            st = mail.stat()
            assert (st.st_uid, st.st_gid) == (uid_of(u), uid_of(u) + 100)
            assert mail.read_text().startswith(f"Return-Path: <sender@example.test>\nX-Original-To: {u}@{DOMAIN}\nDelivered-To: {u}@{DOMAIN}\n")
        mark = i.log_mark()
        with i.smtp() as s:
            s.sendmail("sender@example.test", [f"low@{DOMAIN}", f"stranger@{DOMAIN}"], f"Subject: {marker}\r\n\r\nx\r\n")
        i.wait_log(r"to=<low@uids\.test>.*dsn=4\.3\.5, status=deferred \(mail system configuration error\)", mark)
        i.wait_log(rf"to=<stranger@uids\.test>.*dsn=4\.2\.0, status=deferred \(maildir delivery failed: create maildir file in "
                   rf"{re.escape(i.mail_dir)}/uids.test/one/: Permission denied\)", mark)
    finally:
        i.tool("postsuper", "-d", "ALL")
        i.postconf("virtual_transport = lmtp:unix:private/dovecot-lmtp")
        i.reload()
