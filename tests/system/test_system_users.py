"""Users of the system: passwd and PAM, IMAP and POP3 into the home with the user's own uid; modules that hang, crash, are slow, or change the name."""
import base64
import concurrent.futures
import contextlib
import imaplib
import os
import pathlib
import poplib
import re
import shutil
import signal
import smtplib
import time

import pytest

from conftest import ROOT, own_instance, wait_until
from frames import encode
from scratch_etc import scratch_etc

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="PAM and another /etc need root")
PORTS = 23200
NSS = f"/lib/{os.uname().machine}-linux-gnu/libnss_hesiod.so.2"
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
        etc.library(NSS, pathlib.Path(os.environ.get("POSTHORN_BUILD", ROOT / "build")) / "tests/nss_probe.so")
        (etc.etc / "nss_probe").write_text(f"{etc.home}/pnss\n")
        (etc.home / "pnss").mkdir(mode=0o700)
        shutil.chown(etc.home / "pnss", 2300, 2101)

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


def test_accounts_that_are_in_no_file(site, setting):
    """nsswitch.conf says where accounts are: one that only another library knows reads mail in its home, and one at which that library hangs holds up nobody
    else."""
    i, etc = site
    if not os.path.exists(NSS):
        pytest.skip(f"{NSS} is not there")
    etc.service("anybody", "auth required pam_permit.so", "account required pam_permit.so")
    setting("auth_passdb = {pam:anybody}", "auth_worker_timeout = 4s")
    with imap(i, "pnss", "x") as m:
        assert m.select("INBOX")[0] == "OK"
    assert (etc.home / "pnss/Maildir").stat().st_uid == 2300
    mark = i.log_mark()
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        hanging = [pool.submit(i.tool, "doveadm", "user", f"phang{n}", ok=False) for n in range(5)]
        wait_until(lambda: len(workers(i)) > 5, what="children at work")
        begin = time.monotonic()
        for user in "palice", "pnss", "pbob":
            with imap(i, user, "x"):
                pass
        assert time.monotonic() - begin < 3
        assert {h.result().returncode for h in hanging} == {75}
    i.wait_log(r"no answer within 4 seconds \(auth_worker_timeout\): killed process", mark)


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


def kill(pids):
    """And they are dead: a question that reaches one before is answered "later"."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: all(status(pid) == [] or b"State:\tZ (zombie)" in status(pid) for pid in pids), what="their death")


def test_a_killed_child_costs_nobody_else(site):
    i, etc = site
    with imap(i, "palice"):
        pass
    parent = {p for p in workers(i) if ppid(p) == i.master()}
    children = workers(i) - parent
    assert len(parent) == 1 and children
    kill(children)
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


def test_modules_that_hang(site, setting):
    """Fifty logins at once, ten of them of a user at whom the module never answers: the forty are in as if those were not there, though there are fewer
    processes than hanging logins; the ten are told "later" after auth_worker_timeout, and nothing of theirs is left."""
    i, etc = site
    setting("auth_passdb = {pam:slow}", "auth_worker_timeout = 5s", "auth_worker_max_count = 8", "mail_max_userip_connections = 100")
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
    killed = re.findall(r"pam\(pbob,.*no answer within 5 seconds \(auth_worker_timeout\): killed process", i.log(mark))
    waited = re.findall(r"pam\(pbob,.*a quarter of the processes is busy with that user", i.log(mark))
    assert len(killed) >= 2 and len(killed) + len(waited) == 10  # who waits gets its turn, if only for a moment, when one is killed
    wait_until(lambda: not [1 for p in pathlib.Path("/proc").glob("[0-9]*/cmdline") if p.exists() and read(p) == b"sleep\x00300\x00"], what="the module's programs are gone")


@pytest.fixture
def setting(site):
    """setting("name = value", ...): until the test ends."""
    i, _ = site
    before = {}

    def set_all(*assignments):
        for line in assignments:
            name = line.split(" = ")[0]
            before.setdefault(name, i.tool("postconf", "-h", name).stdout.strip())
        i.postconf(*assignments)
        i.reload()

    yield set_all
    i.postconf(*(f"{name} = {value}" for name, value in before.items()))
    i.reload()


def test_what_a_module_says(site, setting):
    """failure_show_msg=yes: the module's own words, by IMAP and POP3; its name for the user is the user's."""
    i, etc = site
    etc.service("closed", "auth required pam_echo.so file=/etc/closed", "auth required pam_deny.so")
    (etc.etc / "closed").write_text("Closed for %u\n")
    etc.service("mapped", "auth required pam_user_map.so", "auth required pam_unix.so", "account required pam_unix.so")
    (etc.etc / "security/user_map.conf").write_text("visitor: palice\n")
    setting("auth_passdb = {pam:failure_show_msg=yes closed, result_failure=continue} {pam:mapped}")
    setting("auth_passdb = {pam:failure_show_msg=yes closed}")
    refused(i, "palice", "x", r"\[AUTHENTICATIONFAILED\] Closed for palice")
    p = poplib.POP3("127.0.0.1", i.pop3_port, timeout=60)
    p.user("palice")
    with pytest.raises(poplib.error_proto, match=r"\[AUTH\] Closed for palice"):
        p.pass_("x")
    p.close()
    setting("auth_passdb = {pam:mapped}")
    mark = i.log_mark()
    with imap(i, "visitor", i.password["palice"]) as m:
        assert m.append("INBOX", None, None, b"Subject: visitor\r\n\r\nhello\r\n")[0] == "OK"
    i.wait_log(r"imap-login: Login: user=<palice>", mark)


def test_what_the_administrator_must_know(site, setting):
    """Said without auth_verbose: a service without a file, an account that may not be used. A wrong password is not."""
    i, etc = site
    etc.service("closed", "auth required pam_permit.so", "account required pam_deny.so")
    setting("auth_verbose = no", "auth_passdb = {pam:nofile}")
    mark = i.log_mark()
    refused(i, "palice", "x")
    i.wait_log(r"warning: pam\(palice,127\.0\.0\.1,.*pam_authenticate\(\) failed: Authentication failure \(/etc/pam\.d/nofile missing\?\)", mark)
    setting("auth_passdb = {pam:closed}")
    refused(i, "palice", "x")
    i.wait_log(r"warning: pam\(palice,127\.0\.0\.1,.*pam_acct_mgmt\(\) failed: Authentication failure", mark)
    setting("auth_passdb = pam")
    mark = i.log_mark()
    refused(i, "palice", "x")
    i.wait_log(r"auth failed, 1 attempts", mark)
    assert "pam(" not in i.log(mark)


def test_submission(site):
    i, etc = site
    with i.smtp(i.submission_port) as s:
        s.starttls(context=i.tls)
        s.login("palice", i.password["palice"])
        assert s.noop()[0] == 250
    with i.smtp(i.submission_port) as s:
        s.starttls(context=i.tls)
        with pytest.raises(smtplib.SMTPAuthenticationError):
            s.login("palice", "wrong")


def test_only_those_who_are_introduced(site):
    """A process of mail_owner that is broken into and reaches the socket is not served."""
    i, etc = site
    with imap(i, "palice"):
        pass
    code = f"""
import os, pwd, socket, sys
if sys.argv[1] == "postfix":
    who = pwd.getpwnam("postfix")
    os.setgroups([]), os.setgid(who.pw_gid), os.setuid(who.pw_uid)
s = socket.socket(socket.AF_UNIX)
s.settimeout(10)
s.connect("{i.queue_dir}/private/auth-worker")
s.sendall(bytes.fromhex(sys.argv[2]))
print(len(s.recv(1000)))
"""
    frame = encode("greeting", [("protocol", "auth-worker"), ("version", 1)]).hex()
    mark = i.log_mark()
    answers = {who: i.run("/usr/bin/python3", "-c", code, who, frame, ok=False) for who in ("root", "postfix")}
    assert int(answers["root"].stdout) > 0, answers
    assert answers["postfix"].stdout.strip() in ("0", ""), answers  # the end, or a reset
    i.wait_log(r"turned away process \d+ of uid \d+: only master connects", mark)


def test_a_killed_worker(site):
    """Its children end with it; the next login has another, at once."""
    i, etc = site
    with imap(i, "palice"):
        pass
    before = workers(i)
    parent = next(p for p in before if ppid(p) == i.master())
    kill({parent})
    with imap(i, "palice"):
        pass
    wait_until(lambda: not before & workers(i), what="the children are gone")


def test_setcred_and_session_children_serve_once(site, setting):
    i, etc = site
    setting("auth_passdb = {pam:setcred=yes session=yes dovecot}")
    with imap(i, "palice"):
        pass
    parent = next(p for p in workers(i) if ppid(p) == i.master())
    assert all(uid_line(p).split()[1] != b"0" for p in workers(i) - {parent})


def test_shadow_and_passwd(site, setting):
    """The hash stays with the worker; who has none may not come in; passwd's "x" matches nothing."""
    i, etc = site
    setting("auth_passdb = shadow")
    with imap(i, "palice"):
        pass
    refused(i, "palice", "wrong")
    refused(i, "plocked", "!", "disabled")
    refused(i, "pstar", "*", "disabled")
    refused(i, "pempty", "", "disabled")
    refused(i, "nobodyhere", "x")
    setting("auth_passdb = passwd")
    refused(i, "palice", i.password["palice"])
    refused(i, "palice", "x")
    setting("auth_passdb = {shadow, deny=yes, username_filter=pbob} {shadow}")
    with imap(i, "palice"):
        pass
    refused(i, "pbob", i.password["pbob"], "disabled")


def test_remembered_answers(site, setting):
    """cache_key=: PAM is asked once; another password is asked of PAM."""
    i, etc = site
    count = etc.dir / "count"
    etc.service("counted", f"auth required pam_exec.so quiet {etc.dir}/counting", "auth required pam_unix.so", "account required pam_unix.so")
    (etc.dir / "counting").write_text(f"#!/bin/sh\necho $PAM_USER >>{count}\n")
    (etc.dir / "counting").chmod(0o755)
    setting("auth_passdb = {pam:cache_key=%u%r%s counted}", "auth_cache_size = 1000000")
    for _ in range(3):
        with imap(i, "palice"):
            pass
    assert count.read_text().split() == ["palice"]
    refused(i, "palice", "wrong")
    with imap(i, "pbob"):
        pass
    assert count.read_text().split() == ["palice", "palice", "pbob"]


def test_names_of_accounts(site, setting):
    """uid and gid by name: in the configuration, in a passwd-file; mail_uid and mail_gid where no database says any."""
    i, etc = site
    (etc.dir / "users").write_text("named:{PLAIN}pw:palice:pusers::/h::\nbare:{PLAIN}pw:::::\nwrong:{PLAIN}pw:nosuchuser:8::/h::\n")
    fields = lambda user: re.sub(r" +: ", ":", i.tool("doveadm", "user", "-u", user).stdout)  # noqa: E731
    setting(f"auth_passdb = passwd-file:{etc.dir}/users", f"auth_userdb = passwd-file:{etc.dir}/users", "mail_uid = pbob", "mail_gid = 2101")
    assert "uid:2101\n" in fields("named") and "gid:2101\n" in fields("named")
    assert "uid:2102\n" in fields("bare") and "gid:2101\n" in fields("bare")
    assert i.tool("doveadm", "user", "wrong", ok=False).returncode == 75
    setting("auth_userdb = {static:uid=phigh gid=pbob home=/h allow_all_users=yes}")
    assert "uid:64000\n" in fields("any") and "gid:2102\n" in fields("any")
    setting("auth_userdb = {passwd:home=/x/%u, override_fields=gid=pusers quota_rule=*:bytes=1}")
    assert "home:/x/pbob\n" in fields("pbob") and "gid:2101\n" in fields("pbob") and "quota_rule: *:bytes=1\n" in fields("pbob")


def test_last_valid_uid(site, setting):
    i, etc = site
    setting("last_valid_uid = 3000", "first_valid_gid = 2000")
    mark = i.log_mark()
    with pytest.raises(imaplib.IMAP4.error), imap(i, "phigh"):
        pass
    i.wait_log(r"user phigh: Mail access for users with UID 64000 not permitted \(see last_valid_uid in main\.cf", mark)
    with imap(i, "palice"):
        pass
    users = i.tool("doveadm", "user", "*").stdout.split()
    assert "palice" in users and "phigh" not in users and "nobody" not in users


@pytest.mark.parametrize("value,given", [("no", None), ("plain", "given password: wr0ng-one"), ("plain:3", "given password: wr0)"),
                                         ("sha1:6", "SHA1 of given password: 7d0f0d)"), ("sha1", "SHA1 of given password: 7d0f0d")])
def test_verbose_passwords(site, setting, value, given):
    i, etc = site
    setting(f"auth_verbose_passwords = {value}", "auth_passdb = shadow")
    mark = i.log_mark()
    refused(i, "palice", "wr0ng-one")
    text = i.wait_log(r"shadow\(palice,127\.0\.0\.1,<[^>]+>\): Password mismatch(.*)", mark)[1]
    if given is None:
        assert text == "" and "wr0ng" not in i.log(mark)
    else:
        import hashlib
        assert given.replace("7d0f0d", hashlib.sha1(b"wr0ng-one").hexdigest()[:6] if value == "sha1:6" else hashlib.sha1(b"wr0ng-one").hexdigest()) in text


def test_debug_hides_passwords(site, setting):
    i, etc = site
    setting("auth_debug = yes")
    mark = i.log_mark()
    with imap(i, "palice"):
        pass
    refused(i, "palice", "wr0ng-one")
    log = i.wait_log(r"(?s)Debug: client in: AUTH.*resp=<hidden>.*Debug: pam\(palice,.*Performing passdb lookup.*Debug: client out: FAIL", mark) and i.log(mark)
    assert base64_of("palice", i.password["palice"]) not in log and base64_of("palice", "wr0ng-one") not in log
    assert i.password["palice"] not in log and "wr0ng-one" not in log
    setting("auth_debug = no", "auth_debug_passwords = yes")
    mark = i.log_mark()
    refused(i, "palice", "wr0ng-one")
    i.wait_log("resp=" + base64_of("palice", "wr0ng-one"), mark)


def base64_of(user, password):
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


def test_what_nothing_obeys_is_said(site):
    i, etc = site
    names = ["auth_policy_server_url", "auth_policy_hash_nonce", "mail_privileged_group", "mail_chroot"]
    with open(i.config_dir + "/main.cf", "a") as f:
        f.writelines(f"{name} = x\n" for name in names)
    try:
        out = i.postfix("check", ok=False)
        for name in names:
            assert re.search(rf"main\.cf, line \d+: .*{name}", out.stdout + out.stderr), name
    finally:
        i.tool("postconf", "-X", *names)


def read(path):
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""
