"""Users of the system: passwd and PAM, IMAP and POP3 into the home with the user's own uid; modules that hang, crash, are slow, or change the name."""
import concurrent.futures
import contextlib
import imaplib
import os
import pathlib
import poplib
import re
import signal
import time

import pytest

from conftest import own_instance, wait_until
from scratch_etc import scratch_etc

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="PAM and another /etc need root")
PORTS = 26400
SERVICE = ("auth required pam_unix.so", "account required pam_unix.so", "session required pam_permit.so")


@contextlib.contextmanager
def system_users(port_base, *settings, prepare=lambda etc: None):
    """An instance whose users are those of an /etc of its own; (instance, etc)."""
    with scratch_etc() as etc:
        etc.service("dovecot", *SERVICE)
        prepare(etc)
        lines = {"auth_passdb": "pam", "auth_userdb": "passwd", "auth_failure_delay": "0", "auth_penalty": "no", "auth_verbose": "yes"}
        lines.update(line.split(" = ", 1) for line in settings)
        with own_instance(port_base, *(f"{k} = {v}" for k, v in lines.items())) as i:
            i.postfix("stop")
            wait_until(lambda: i.postfix("status", ok=False).returncode != 0, what="stop")
            i.run(*etc.inside(i.sbin_dir + "/postfix", "-c", i.config_dir, "start"))
            i.password = etc.passwords()
            yield i, etc


@contextlib.contextmanager
def imap(i, user, password=None):
    m = imaplib.IMAP4("127.0.0.1", i.imap_port, timeout=60)
    try:
        m.login(user, i.password[user] if password is None else password)
        yield m
    finally:
        m.shutdown()


def refused(i, user, password, words=r"AUTHENTICATIONFAILED"):
    with pytest.raises(imaplib.IMAP4.error, match=words), imap(i, user, password):
        pass


@pytest.fixture(scope="module")
def site():
    def prepare(etc):
        etc.service("slow", f"auth required pam_exec.so expose_authtok quiet {etc.dir}/slow", "account required pam_permit.so")
        (etc.dir / "slow").write_text('#!/bin/sh\ncase $PAM_USER in pbob) exec sleep 300;; esac\ncat >/dev/null\n')
        (etc.dir / "slow").chmod(0o755)

    with system_users(PORTS, prepare=prepare) as both:
        yield both


def test_imap_and_pop3_in_the_home(site):
    """The mailbox is the user's own, in the home, made by and readable to nobody but that user."""
    i, etc = site
    with imap(i, "palice") as m:
        assert m.append("INBOX", None, None, b"Subject: one\r\n\r\nhello\r\n")[0] == "OK"
        assert m.create("Work")[0] == "OK"
        pid = wait_until(lambda: next((p for p in i.pids("imapd") if b"2101" in uid_line(p)), None), what="imapd of 2101")
        assert uid_line(pid).split()[1:5] == [b"2101"] * 4
        assert gid_line(pid).split()[1:5] == [b"2101"] * 4
    maildir = etc.home / "palice/Maildir"
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in [maildir, *maildir.rglob("*")]}
    assert owners == {(2101, 2101)}
    assert (maildir / ".Work").is_dir()
    p = poplib.POP3("127.0.0.1", i.pop3_port, timeout=60)
    p.user("palice")
    p.pass_(i.password["palice"])
    assert p.stat()[0] == 1 and b"Subject: one" in p.retr(1)[1]
    p.quit()
    with imap(i, "pbob") as m:  # a stranger to it
        assert m.select("INBOX")[1] == [b"0"]
    assert (etc.home / "pbob/Maildir").stat().st_uid == 2102


def uid_line(pid):
    return next((line for line in status(pid) if line.startswith(b"Uid:")), b"")


def gid_line(pid):
    return next((line for line in status(pid) if line.startswith(b"Gid:")), b"")


def status(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/status").read_bytes().splitlines()
    return []


def test_wrong_passwords_and_users(site):
    i, etc = site
    mark = i.log_mark()
    refused(i, "palice", "wrong")
    refused(i, "nobodyhere", "x")
    refused(i, "plocked", "x")
    i.wait_log(r"pam\(palice,127\.0\.0\.1,<[^>]+>\): pam_authenticate\(\) failed: Authentication failure \(Password mismatch\?\)", mark)
    assert "wrong" not in i.log(mark).replace("wrong password", "")


def test_names_are_what_the_module_says(site):
    """%Lu first: the system knows palice, not PAlice."""
    i, etc = site
    with imap(i, "PAlice", i.password["palice"]) as m:
        assert m.select("INBOX")[0] == "OK"


def test_ranges(site):
    """Below virtual_minimum_uid nobody reads mail, whatever PAM says; the log says why in Dovecot's words."""
    i, etc = site
    mark = i.log_mark()
    with pytest.raises(imaplib.IMAP4.error), imap(i, "plow"):
        pass
    i.wait_log(r"user plow: Mail access for users with UID 90 not permitted \(see first_valid_uid in main\.cf, uid from userdb lookup\)", mark)


def test_listing(site):
    i, etc = site
    users = i.tool("doveadm", "user", "*").stdout.split()
    assert {"palice", "pbob", "phigh", "nobody"} <= set(users)
    assert not {"root", "plow", "daemon"} & set(users)
    assert i.tool("doveadm", "user", "-f", "home", "palice").stdout.strip() == str(etc.home / "palice")
    assert i.tool("doveadm", "user", "nobodyhere", ok=False).returncode == 67


def test_a_new_user_exists_at_once(site):
    i, etc = site
    refused(i, "pnew", "new-pw")
    etc.add("pnew", "new-pw", 2150, 2101)
    with imap(i, "pnew", "new-pw") as m:
        assert m.select("INBOX")[0] == "OK"
    etc.remove("pnew")
    refused(i, "pnew", "new-pw")


def workers(i):
    return set(i.pids("auth-worker"))


def test_a_killed_child_costs_nobody_else(site):
    i, etc = site
    with imap(i, "palice"):
        pass
    parent = {p for p in workers(i) if ppid(p) == i.master()}
    children = workers(i) - parent
    assert len(parent) == 1 and children
    for child in children:
        os.kill(child, signal.SIGKILL)
    with imap(i, "palice"):
        pass
    assert {p for p in workers(i) if ppid(p) == i.master()} == parent and not workers(i) & children


def ppid(pid):
    return int(next(line for line in status(pid) if line.startswith(b"PPid:")).split()[1])


def test_children_hold_nothing_and_lookups_are_not_root(site):
    """A child has one descriptor beside its standard ones; who looks up accounts is not root."""
    i, etc = site
    with imap(i, "palice"):
        pass
    parent = next(p for p in workers(i) if ppid(p) == i.master())
    children = workers(i) - {parent}
    uids = set()
    for child in children:
        held = [os.readlink(f"/proc/{child}/fd/{fd}") for fd in os.listdir(f"/proc/{child}/fd") if int(fd) > 2]
        assert len(held) == 1 and held[0].startswith("socket:"), held
        uids.add(uid_line(child).split()[1])
    assert b"0" in uids and len(uids) == 2


def test_modules_that_hang(site):
    """Fifty logins at once, ten of them into a module that never answers: the forty are in as if those were not there; the ten are told "later" after
    auth_worker_timeout, and nothing of theirs is left."""
    i, etc = site
    i.postconf("auth_passdb = {pam:slow}", "auth_worker_timeout = 5s", "auth_worker_max_count = 20", "mail_max_userip_connections = 100")
    i.reload()
    try:
        mark = i.log_mark()

        def login(user):
            begin = time.monotonic()
            try:
                with imap(i, user):
                    return user, None, time.monotonic() - begin
            except imaplib.IMAP4.error as x:
                return user, str(x), time.monotonic() - begin

        users = ["pbob" if n % 5 == 0 else "palice" for n in range(50)]
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(login, users))
        good = [seconds for user, error, seconds in answers if user == "palice" and error is None]
        assert len(good) == 40, [a for a in answers if a[0] == "palice" and a[1]]
        assert max(good) < 5, max(good)  # nobody waited for one that hangs
        late = [(error, seconds) for user, error, seconds in answers if user == "pbob"]
        assert len(late) == 10 and all(error and "UNAVAILABLE" in error and 4.5 < seconds < 15 for error, seconds in late), late
        assert len(re.findall(r"no answer within 5 seconds \(auth_worker_timeout\): killed process", i.log(mark))) >= 10
        wait_until(lambda: not [1 for p in pathlib.Path("/proc").glob("[0-9]*/cmdline") if p.exists() and read(p) == b"sleep\x00300\x00"], what="the module's programs are gone")
    finally:
        i.postconf("auth_passdb = pam", "auth_worker_timeout = 60s", "auth_worker_max_count = 30")
        i.reload()


def read(path):
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""
