"""Mailboxes of many accounts: lmtpd and virtual deliver into each as its own uid and gid, and into no other."""
import contextlib
import os
import pathlib
import pwd
import random
import re
import secrets
import shutil
import signal
import smtplib
import threading
import time

import pytest
from conftest import own_instance, wait_until
from test_jail import is_spawner, status

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: without it nobody changes uid")
FIRST, MANY, GROUP = 61001, 500, 62900  # nobody's accounts
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
               "first": ("shared.test/first/", FIRST + 10, FIRST), "second": ("shared.test/second/", FIRST + 11, FIRST),
               "nogroup": (f"{DOMAIN}/nogroup/", FIRST, 0)}


@pytest.fixture(scope="module")
def i():
    with own_instance(27100, *settings(tables(USER_TABLE)),
                      "mailboxd_idle_time = 2s", "virtual_mailbox_limit = 0", f"mail_access_groups = {GROUP}") as own:
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
    found = []
    for pid in i.pids("mailboxd"):
        with contextlib.suppress(OSError):  # it ends just now
            found += [] if is_spawner(pid) else [pid]
    return found


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
        assert st["Uid"].split() == [str(uid)] * 4 and st["Gid"].split() == [str(gid)] * 4 and sorted(st["Groups"].split()) == [str(gid), str(GROUP)]
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


def test_a_group_that_is_shared(i):
    """mail_access_groups: one/ is closed to two's account, but open to the group."""
    send(i, "one")
    box = pathlib.Path(i.mail_dir, DOMAIN, "one")
    for path in (box, box / "tmp", box / "new", box / "cur"):
        os.chown(path, uid_of("one"), GROUP)
        os.chmod(path, 0o770)
    try:
        before = mails(box)
        assert send(i, "stranger")["stranger"][0] == 250
        (mail,) = set(mails(box)) - set(before)
        assert mail.stat().st_uid == uid_of("two")
    finally:
        for path in (box / "tmp", box / "new", box / "cur", box):
            os.chmod(path, 0o700)


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


def test_two_accounts_in_a_domain_without_directory(i):
    """Who comes first makes it, as open as the directory it is made in, not for itself alone."""
    shared = pathlib.Path(i.mail_dir, "shared.test")
    os.chmod(i.mail_dir, 0o1777)
    answers = send(i, "first", "second")
    assert {a[0] for a in answers.values()} == {250}, answers
    assert shared.stat().st_mode & 0o7777 == 0o1777 and (shared / "second").stat().st_mode & 0o7777 == 0o700
    assert {p.name: p.stat().st_uid for p in shared.iterdir()} == {"first": FIRST + 10, "second": FIRST + 11}


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


def test_killed_at_work(i):
    """kill -9 of the processes again and again: 250 is kept, everything else is 451, and mail goes on."""
    sent, faults, over, kills = {u: [] for u in USERS}, [], threading.Event(), 0

    def deliver(user):
        while not over.is_set():
            token = secrets.token_hex(12)
            try:
                code = send(i, user, "nobody", text=f"Subject: {token}\n\n" + "x\n" * random.choice([1, 1000, 100_000]))[user][0]
            except (OSError, smtplib.SMTPException) as e:  # lmtpd itself is not touched
                faults.append(repr(e))
                return
            if code == 250:
                sent[user].append(token)
            elif code != 451:
                faults.append(code)

    threads = [threading.Thread(target=deliver, args=(u,)) for u in USERS * 3]
    for t in threads:
        t.start()
    begun = time.monotonic()
    while (worked := time.monotonic() - begun) < 6 or (worked < 60 and (kills < 40 or min(map(len, sent.values())) < 20)):
        time.sleep(random.uniform(0.01, 0.1))
        for pid in random.sample(alive := workers(i), min(len(alive), 2)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                kills += 1
    over.set()
    for t in threads:
        t.join()
    assert not faults and kills >= 40 and min(map(len, sent.values())) >= 20, (faults, kills, sent)
    for u in USERS:
        text = "\n".join(m.read_text().split("\n\n")[0] for m in mails(pathlib.Path(i.mail_dir, DOMAIN, u)))
        lost = [t for t in sent[u] if t not in text]
        assert not lost, f"{len(lost)} of {len(sent[u])}"
    print(f"{kills} kills, {sum(map(len, sent.values()))} delivered")
    assert send(i, *USERS)["three"][0] == 250


MANY_TABLE = {f"u{n}": (f"{DOMAIN}/u{n}/", FIRST + n, FIRST + n) for n in range(MANY)}


def test_many_accounts():
    """More accounts than processes: bounded, each gets its mail, and none waits long."""
    with own_instance(27200, *settings(tables(MANY_TABLE)), "mailboxd_process_limit = 20", "lmtpd_recipient_limit = 1000") as i:
        base, most, servers, over = open_base(i), [0], [1], threading.Event()

        def watch():
            while not over.wait(0.05):
                most.append(len(workers(i)))
                servers.append(len(i.pids("lmtpd")))

        watcher = threading.Thread(target=watch)
        watcher.start()
        began = time.monotonic()
        answers = send(i, *MANY_TABLE)  # one message for all
        one = time.monotonic() - began
        assert {a[0] for a in answers.values()} == {250}
        began = time.monotonic()
        codes = []
        threads = [threading.Thread(target=lambda part: codes.extend(send(i, u)[u][0] for u in part), args=(list(MANY_TABLE)[n::10],))
                   for n in range(10)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        each = time.monotonic() - began
        over.set()
        watcher.join()
        print(f"{MANY} accounts: {MANY / one:.0f}/s in one message, {MANY / each:.0f}/s in ten sessions, at most {max(most)} processes")
        assert codes.count(250) == MANY
        for name, (_, uid, gid) in MANY_TABLE.items():
            found = mails(base / name)
            assert len(found) == 2 and all((m.stat().st_uid, m.stat().st_gid) == (uid, gid) for m in found)
        assert max(most) <= 20 * max(servers) + MANY // 5  # beside them who is just ending, which takes a busy machine a while
        assert one < 60 and each < 60


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """Users of authd with homes of their own, outside of the mail directory."""
    where = pathlib.Path("/tmp") / f"posthorn-homes.{secrets.token_hex(6)}"
    where.mkdir(mode=0o755)
    with own_instance(27300, "virtual_mailbox_domains = $mydomain, uids.test", "userdb_service = private/auth-userdb", "virtual_uid_maps =",
                      "virtual_gid_maps =", "virtual_mailbox_maps =", "mail_location = maildir:~/Maildir",
                      "virtual_mailbox_base =", "recipient_delimiter = +", f"last_valid_uid = {FIRST + 50}") as i:
        rows = ""
        for u in USERS:
            home = where / u
            home.mkdir(mode=0o700)
            os.chown(home, uid_of(u), uid_of(u) + 100)
            rows += f"{u}@{DOMAIN}:{{PLAIN}}secret-{u}:{uid_of(u)}:{uid_of(u) + 100}::{home}::\n"
        rows += f"gone@{DOMAIN}:{{PLAIN}}x:{FIRST + 9}:{FIRST + 9}::{where}/gone::\n"
        rows += f"high@{DOMAIN}:{{PLAIN}}x:{FIRST + 51}:{FIRST}::{where}/one::\nroot@{DOMAIN}:{{PLAIN}}x:{FIRST}:0::{where}/one::\n"
        with open(i.config_dir + "/users", "a") as f:
            f.write(rows)
        i.restart()
        i.homes = where
        try:
            yield i
        finally:
            shutil.rmtree(where)


def test_homes_elsewhere(homes):
    answers = send(homes, "one", "two+ext", "gone", "nobody")
    assert {u: a[0] for u, a in answers.items()} == {"one": 250, "two+ext": 250, "gone": 451, "nobody": 550}, answers
    for u in ("one", "two"):
        (mail,) = mails(homes.homes / u / "Maildir")
        assert (mail.stat().st_uid, mail.stat().st_gid) == (uid_of(u), uid_of(u) + 100)
    roots = {os.readlink(f"/proc/{pid}/root") for pid in workers(homes)}
    assert roots == {str(homes.homes / u) for u in ("one", "two")}, "each sees its own home"
    assert not (homes.homes / "gone").exists()


def test_ids_out_of_range(homes):
    """Refused for now, as by Dovecot, and said in its words."""
    mark = homes.log_mark()
    assert [a[0] for a in send(homes, "high", "root").values()] == [451, 451]
    homes.wait_log(rf"user high@uids\.test: Mail access for users with UID {FIRST + 51} not permitted \(see last_valid_uid in main\.cf, "
                   r"uid from userdb lookup\)", mark)


@pytest.mark.parametrize("removed", [False, True], ids=["renamed", "removed"])
def test_a_home_that_is_made_again(homes, removed):
    """Its process stands in the directory of before: what it is told is delivered must be where the user looks."""
    home, old = homes.homes / "three", homes.homes / f"old{removed}"
    assert send(homes, "three")["three"][0] == 250
    home.rename(old)
    if removed:
        shutil.rmtree(old)
    home.mkdir(mode=0o700)
    os.chown(home, uid_of("three"), uid_of("three") + 100)
    assert send(homes, "three")["three"][0] == 250
    assert len(mails(home / "Maildir")) == 1
