"""Authentication: the Dovecot auth protocol on its sockets, what IMAP and POP3 say before a login, doveadm pw."""
import base64
import os
import smtplib
import socket
import ssl
import time

import pytest

from conftest import wait_until


def b64(text):
    return base64.b64encode(text.encode()).decode()


class Auth:
    """A connection to private/NAME, greeting read."""

    def __init__(self, instance, name, minor=2):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(f"{instance.queue_dir}/private/{name}")
        self.file = self.sock.makefile("rb")
        self.send(f"VERSION\t1\t{minor}")
        self.greeting = []
        last = "DONE" if name in ("auth", "auth-login") else "SPID"
        while not self.greeting or self.greeting[-1][0] != last:
            self.greeting.append(self.read())
        if last == "DONE":
            self.send("CPID\t4711")

    def send(self, line):
        self.sock.sendall(line.encode() + b"\n")

    def read(self):
        line = self.file.readline().decode()
        return line.rstrip("\n").split("\t") if line else None

    def ask(self, line):
        self.send(line)
        return self.read()

    @property
    def cookie(self):
        return next(words[1] for words in self.greeting if words[0] == "COOKIE")


def plain(user, password, authzid=""):
    return b64(f"{authzid}\0{user}\0{password}")


def test_greeting(instance):
    a = Auth(instance, "auth")
    assert [w[0] for w in a.greeting] == ["VERSION", "MECH", "MECH", "SPID", "CUID", "COOKIE", "DONE"]
    assert a.greeting[0] == ["VERSION", "1", "3"] and len(a.cookie) == 32
    assert [w for w in a.greeting if w[0] == "MECH"] == [["MECH", "PLAIN", "plaintext"], ["MECH", "LOGIN", "plaintext"]]


def test_plain_and_login(instance):
    user, password = instance.user1, instance.users[instance.user1]
    a = Auth(instance, "auth")
    assert a.ask(f"AUTH\t1\tPLAIN\tservice=smtp\tnologin\tresp={plain(user.upper(), password)}") == ["OK", "1", f"user={user}", f"original_user={user.upper()}"]
    assert a.ask("AUTH\t2\tLOGIN\tservice=smtp\tnologin") == ["CONT", "2", b64("Username:")]
    assert a.ask("CONT\t2\t" + b64(user)) == ["CONT", "2", b64("Password:")]
    assert a.ask("CONT\t2\t" + b64(password)) == ["OK", "2", f"user={user}"]


def test_failures_are_alike_and_late_and_hold_up_nobody(instance):
    user, password = instance.user1, instance.users[instance.user1]
    a = Auth(instance, "auth")
    start = time.monotonic()
    a.send(f"AUTH\t1\tPLAIN\tservice=smtp\tresp={plain(user, 'wrong')}")
    a.send(f"AUTH\t2\tPLAIN\tservice=smtp\tresp={plain('nobody@' + instance.domain, 'wrong')}")
    a.send(f"AUTH\t3\tPLAIN\tservice=smtp\tresp={plain(user, password, 'somebody@else')}")
    a.send(f"AUTH\t4\tPLAIN\tservice=smtp\tresp={plain(user, password)}")
    assert a.read()[:2] == ["OK", "4"] and time.monotonic() - start < 1.5
    fails = {tuple(a.read()) for _ in range(3)}
    assert fails == {("FAIL", "1", f"user={user}"), ("FAIL", "2", f"user=nobody@{instance.domain}"), ("FAIL", "3", f"user={user}")}
    assert 2 <= time.monotonic() - start < 5


@pytest.mark.parametrize("minor,answer", [(0, ["CONT", "1", ""]), (2, ["FAIL", "1"])])
def test_empty_response_by_version(instance, minor, answer):
    assert Auth(instance, "auth", minor).ask("AUTH\t1\tPLAIN\tservice=smtp\tresp=") == answer


@pytest.mark.parametrize("line", ["AUTH\t1\tANONYMOUS\tservice=smtp", "AUTH\t0\tPLAIN\tservice=smtp", "AUTH\t1\tPLAIN",
                                  "AUTH\t1\tPLAIN\tservice=smtp\tresp=AAAA\tnologin", "NONSENSE", "AUTH\t1\tNTLM\tservice=smtp"])
def test_broken_protocol_ends_the_connection(instance, line):
    assert Auth(instance, "auth").ask(line) is None


def test_a_response_that_nobody_asked_for(instance):
    """It would change the first one's bytes while they are being checked."""
    a = Auth(instance, "auth")
    a.send(f"AUTH\t1\tPLAIN\tservice=smtp\tresp={plain(instance.user1, 'wrong')}\nCONT\t1\t{b64('x' * 3000)}")
    assert a.read() is None


def test_only_the_master_claims_and_only_once(instance):
    user, password = instance.user1, instance.users[instance.user1]
    login, master = Auth(instance, "auth-login"), Auth(instance, "auth-master")
    assert login.ask(f"AUTH\t7\tPLAIN\tservice=imap\tresp={plain(user, password)}")[0] == "OK"
    assert Auth(instance, "auth-userdb").ask(f"REQUEST\t1\t4711\t7\t{login.cookie}") is None
    assert master.ask(f"REQUEST\t1\t4712\t7\t{login.cookie}") == ["FAIL", "1"]
    assert master.ask(f"REQUEST\t2\t4711\t7\t{'0' * 32}") == ["FAIL", "2"]
    reply = master.ask(f"REQUEST\t3\t4711\t7\t{login.cookie}")
    assert reply[:3] == ["USER", "3", user] and "auth_mech=PLAIN" in reply
    assert master.ask(f"REQUEST\t4\t4711\t7\t{login.cookie}") == ["FAIL", "4"]


def test_a_master_that_is_told_ahead(instance):
    """It has the claim, and nobody else; what is not for it, or finds it gone, is claimed as ever."""
    user, password = instance.user1, instance.users[instance.user1]
    login, told, master = Auth(instance, "auth-login"), Auth(instance, "auth-master"), Auth(instance, "auth-master")

    def auth(number, ahead):
        assert login.ask(f"AUTH\t{number}\tPLAIN\tservice=imap\tclaim_ahead={ahead}\tresp={plain(user, password)}")[0] == "OK"
        return f"REQUEST\t{number}\t4711\t{number}\t{login.cookie}"

    assert Auth(instance, "auth-userdb").ask("CLAIMS\t1\t4242") is None
    for line in ("CLAIMS\t1", "CLAIMS\t1\t0", "CLAIMS\t1\tx"):
        assert Auth(instance, "auth-master").ask(line) is None
    assert told.ask("CLAIMS\t1\t4242") == ["OK", "1"]
    request = auth(7, 4242)
    claim = told.read()
    assert claim[0] == "CLAIM" and claim[2:6] == ["4711", "7", login.cookie, user] and "auth_mech=PLAIN" in claim[6:]
    assert master.ask(request) == ["FAIL", "7"]
    request = auth(8, 4243)
    reply = master.ask(f"{request}\tclaim_ahead")
    assert reply[:3] == ["USER", "8", user] and sorted(set(reply[3:]) - {"claim_ahead"}) == sorted(claim[6:]) and "claim_ahead" in reply
    told.sock.shutdown(socket.SHUT_RDWR)
    assert master.ask(auth(9, 4242))[:3] == ["USER", "9", user]


def test_userdb(instance):
    a = Auth(instance, "auth-userdb")
    reply = a.ask(f"USER\t1\t{instance.user1.upper()}\tservice=lmtp")
    assert reply[:3] == ["USER", "1", instance.user1]
    home = f"{instance.mail_dir}/{instance.domain}/{instance.user1.split('@')[0]}"
    assert f"home={home}" in reply and f"mail=maildir:{home}" in reply
    assert a.ask(f"USER\t2\tnobody@{instance.domain}\tservice=lmtp") == ["NOTFOUND", "2"]
    assert a.ask("USER\t3\t../../etc\tservice=lmtp") == ["NOTFOUND", "3"]


def talk(port):
    sock = socket.create_connection(("127.0.0.1", port), timeout=20)
    return sock, sock.makefile("rwb", buffering=0)


def test_imap_before_login(instance):
    user, password = instance.user1, instance.users[instance.user1]
    _, f = talk(instance.imap_port)
    assert f.readline().startswith(b"* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ STARTTLS AUTH=PLAIN AUTH=LOGIN] ")

    def ask(text, lines=1):
        f.write(text.encode() + b"\r\n")
        return [f.readline().decode().rstrip() for _ in range(lines)][-1]

    assert ask("a AUTHENTICATE CRAM-MD5") == "a NO [ALERT] Unsupported authentication mechanism."
    assert ask("b AUTHENTICATE PLAIN") == "+"
    assert ask("*") == "b BAD Authentication aborted by client."
    assert ask(f'c LOGIN "{user}" wrong') == "c NO [AUTHENTICATIONFAILED] Authentication failed."
    assert ask("d SELECT INBOX") == "d BAD Error in IMAP command received by server."
    assert ask(f"e LOGIN {{{len(user)}}}") == "+ OK"
    f.write(f"{user} {{{len(password)}+}}\r\n{password}\r\nf NOOP\r\n".encode())  # what follows travels along
    assert f.readline().startswith(b"e OK [CAPABILITY ")
    assert f.readline().startswith(b"f OK ")


def test_three_bad_commands(instance):
    _, f = talk(instance.imap_port)
    f.write(b"a X\r\nb X\r\nc X\r\n")
    assert f.read().endswith(b"* BYE Too many invalid IMAP commands.\r\n")


def test_starttls_forgets_plaintext_input(instance):
    sock, f = talk(instance.imap_port)
    f.readline()
    f.write(b"a STARTTLS\r\nb LOGOUT\r\n")
    assert f.readline().startswith(b"a OK ")
    context = ssl.create_default_context(cafile=instance.ca_file)
    with context.wrap_socket(sock, server_hostname="localhost") as tls:
        tls.sendall(b"c NOOP\r\n")
        assert tls.recv(100).startswith(b"c OK ")


def test_pop3_before_login(instance):
    user, password = instance.user1, instance.users[instance.user1]
    _, f = talk(instance.pop3_port)

    def ask(text):
        f.write(text.encode() + b"\r\n")
        return f.readline().decode().rstrip()

    assert f.readline().startswith(b"+OK ")
    assert ask("STAT") == "-ERR Unknown command."
    assert ask("PASS x") == "-ERR No username given."
    assert ask(f"USER {user}") == "+OK"
    assert ask("PASS wrong") == "-ERR [AUTH] Authentication failed."
    assert ask(f"AUTH PLAIN {plain(user, password)}") == "+OK Logged in."


def test_limit_of_sessions(instance):
    user, password = instance.user2, instance.users[instance.user2]
    open_ones, last = [], b""
    for _ in range(11):
        _, f = talk(instance.imap_port)
        f.readline()
        f.write(f"a LOGIN {user} {password}\r\n".encode())
        last = f.readline()
        open_ones.append(f)
        if b"OK" not in last:
            break
    assert last == b"a NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)\r\n"


def test_limit_of_sessions_that_come_at_once(instance):
    """All wait for the same new process: none may be counted before the others are."""
    user, password = instance.user2, instance.users[instance.user2]
    instance.restart()
    clients = [talk(instance.imap_port)[1] for _ in range(40)]
    for f in clients:
        f.readline()
        f.write(f"a LOGIN {user} {password}\r\n".encode())
    assert sum(b"a OK" in f.readline() for f in clients) == 10


def test_a_new_user_can_log_in_at_once(instance):
    users = os.path.join(instance.config_dir, "users")
    name = f"new{time.time_ns()}@{instance.domain}"
    before = open(users, "rb").read()
    try:
        with open(users, "a") as f:
            f.write(f"{name}:{{PLAIN}}secret\n")
        time.sleep(1.2)
        a = Auth(instance, "auth")
        assert a.ask(f"AUTH\t1\tPLAIN\tservice=smtp\tresp={plain(name, 'secret')}") == ["OK", "1", f"user={name}"]
    finally:
        with open(users, "wb") as f:
            f.write(before)


@pytest.mark.parametrize("scheme", ["PLAIN", "SHA256", "SSHA256", "SHA512-CRYPT", "BLF-CRYPT", "ARGON2I", "ARGON2ID", "SSHA.HEX"])
def test_doveadm_pw(instance, scheme):
    made = instance.tool("doveadm", "pw", "-s", scheme, "-p", "secret").stdout.strip()
    assert made.startswith("{" + scheme + "}")
    assert instance.tool("doveadm", "pw", "-t", made, "-p", "secret").stdout == made + " (verified)\n"
    bad = instance.tool("doveadm", "pw", "-t", made, "-p", "other", ok=False)
    assert bad.returncode == 75 and "Password mismatch" in bad.stderr
    twice = instance.tool("doveadm", "pw", "-s", scheme, input="secret\nsecret\n").stdout
    assert twice.startswith("{" + scheme + "}")


def test_an_authd_that_cannot_start_keeps_nobody_waiting(fresh):
    """Port 587 answers at once, and 454 to AUTH, as Postfix does when the socket refuses; with authd back it works. A restart is waited for."""
    i = fresh(23600, "auth_failure_delay = 0", "service_throttle_time = 8s")
    user, password = i.user1, i.users[i.user1]
    with i.submission() as s:
        assert s.noop()[0] == 250
    for pid in i.pids("authd"):
        os.kill(pid, 9)
    with i.submission() as s:  # master starts the next one
        assert s.noop()[0] == 250
    before = i.tool("postconf", "-h", "auth_passdb").stdout.strip()
    mark = i.log_mark()
    i.postconf("auth_passdb = nosuchdriver:x")
    i.postfix("reload")
    i.wait_log("reload", mark)

    wait_until(lambda: not i.pids("authd"), what="authd has ended")

    def first_answer():
        begin = time.monotonic()
        with i.smtp(i.submission_port) as s:
            s.starttls(context=i.tls)
            s.ehlo()
            code, words = s.docmd("AUTH PLAIN " + plain(user, password))
            assert code == 454, (code, words)
        return time.monotonic() - begin

    assert first_answer() < 4  # it came before the start failed
    i.wait_log("authd: bad command startup -- throttling", mark)
    assert first_answer() < 2
    i.postconf(f"auth_passdb = {before}")
    i.postfix("reload")

    def login():
        try:
            with i.submission():
                return True
        except smtplib.SMTPException:
            return False

    wait_until(login, 40, "authd is back")
