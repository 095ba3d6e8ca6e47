"""The database is killed, hangs, is locked, refuses: mail and logins of those who are known go on, others wait, nobody is bounced, and the log stays short.

The users stand in PostfixAdmin's tables; mail and logins ask them through proxymap, as the guide's files have it. What was not found is never
remembered: that the domain is no virtual_alias_domains would be asked for each recipient, so that parameter is empty here.
"""
import contextlib
import imaplib
import os
import pathlib
import pwd
import re
import selectors
import signal
import socket
import subprocess
import threading
import time

import pytest
from conftest import ROOT, own_instance, wait_until
from frames import Frames, decode, encode, frames_in
from mariadb import own_database

PORT_BASE, DATABASE_PORT = 28100, 28190
KNOWN = 20
PASSWORD = "let me in"


class Site:
    def user(self, n):
        return f"user{n}@db.test"

    def add_user(self, name, password=PASSWORD):
        """As PostfixAdmin does: a mailbox, and an alias to itself."""
        self.db.sql(f"INSERT INTO alias (address, goto, domain, created, modified) VALUES ('{name}', '{name}', 'db.test', NOW(), NOW()); INSERT INTO mailbox (username, password, name, maildir, local_part, domain, created, modified) VALUES "
                    f"('{name}', '{{PLAIN}}{password}', '', 'db.test/{name.split('@')[0]}/', '{name.split('@')[0]}', 'db.test', NOW(), NOW())")

    def write_maps(self, hosts):
        secret = self.db.login()["password"]
        queries = {
            "domains": "SELECT domain FROM domain WHERE domain = '%s' AND active = '1'",
            "mailboxes": "SELECT maildir FROM mailbox WHERE username = '%s' AND active = '1'",
            "aliases": "SELECT goto FROM alias WHERE address = '%s' AND active = '1'",
        }
        for name, query in queries.items():
            self.write(f"{name}.cf", f"user = postfix\npassword = {secret}\nhosts = {hosts}\ndbname = {self.db.name}\nquery = {query}\n")

    def write(self, name, text):
        path = self.dir / name
        new = path.with_suffix(".new")
        new.write_text(text)
        os.chown(new, 0, pwd.getpwnam("postfix").pw_gid)
        new.chmod(0o640)
        new.rename(path)

    def rcpt(self, address):
        with self.i.smtp() as s:
            s.ehlo()
            s.mail("x@elsewhere.example")
            return s.rcpt(address)[0]

    def login(self, name, password=PASSWORD):
        """"OK", "NO" (wrong) or "later"."""
        m = imaplib.IMAP4_SSL("localhost", self.i.imaps_port, ssl_context=self.i.tls, timeout=60)
        try:
            m.login(name, password)
            return "OK"
        except imaplib.IMAP4.error as e:
            assert "AUTHENTICATIONFAILED" in str(e) or "UNAVAILABLE" in str(e), e
            return "later" if "UNAVAILABLE" in str(e) else "NO"
        finally:
            m.shutdown()

    def send(self, address, marker):
        with self.i.smtp() as s:
            s.sendmail("sender@elsewhere.example", [address], f"From: sender@elsewhere.example\r\nSubject: {marker}\r\n\r\n{marker}\r\n")

    def delivered(self, n):
        """Subjects in the mailbox of user n, as files: nobody is asked."""
        found = []
        for folder in ("new", "cur"):
            for f in (pathlib.Path(self.mail) / f"db.test/user{n}" / folder).glob("*"):
                found += re.findall(rb"^Subject: (\S+)", f.read_bytes(), re.M)
        return [s.decode() for s in found]

    def well(self):
        """The database is asked again."""
        wait_until(lambda: self.rcpt("nobody@db.test") == 550 and self.rcpt("user0@db.test") == 250, 90, "the database's return")

    def know_all(self):
        for n in range(KNOWN):
            assert self.rcpt(self.user(n)) == 250
        assert self.login(self.user(0)) == "OK" and self.login(self.user(1)) == "OK"
        time.sleep(2.5)  # older than what is used without asking

    def faults(self, mark, pattern):
        return [line for line in self.i.log(mark).splitlines() if "proxymap" in line and re.search(pattern, line)]


@pytest.fixture(scope="module")
def site():
    if os.geteuid() != 0:
        pytest.skip("files of root and the daemons' group are root's to make")
    with contextlib.ExitStack() as stack:
        s = Site()
        s.db = stack.enter_context(own_database("--port", str(DATABASE_PORT)))
        s.dir = s.db.dir / "maps"
        s.dir.mkdir()
        s.unix = f"unix:{s.db.socket}"
        s.write_maps(s.unix)
        # A host name that DNS does not answer for, in a table that one service uses.
        s.silent_dns = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        s.silent_dns.bind(("127.0.0.1", 0))
        s.write("named.cf", f"user = postfix\npassword = x\nhosts = database.test:{DATABASE_PORT}\ndbname = {s.db.name}\nquery = SELECT 'REJECT'\n")
        s.write("dovecot-sql.conf.ext", "")
        s.db.sql("INSERT INTO domain (domain, description, transport, created, modified) VALUES ('db.test', '', 'virtual', NOW(), NOW())")
        for n in range(KNOWN):
            s.add_user(s.user(n))
        s.i = stack.enter_context(own_instance(
            PORT_BASE, f"virtual_mailbox_domains = proxy:mysql:{s.dir}/domains.cf", f"virtual_mailbox_maps = proxy:mysql:{s.dir}/mailboxes.cf",
            f"virtual_alias_maps = proxy:mysql:{s.dir}/aliases.cf", "virtual_alias_domains =", f"auth_passdb = sql:{s.dir}/dovecot-sql.conf.ext", f"auth_userdb = sql:{s.dir}/dovecot-sql.conf.ext",
            "smtpd_client_connection_count_limit = 0", "smtpd_error_sleep_time = 0", "auth_cache_size = 0", "auth_failure_delay = 0", "minimal_backoff_time = 2s", "queue_run_delay = 2s",
            f"resolver_stub_zones = test=127.0.0.1@{s.silent_dns.getsockname()[1]}",
            services=f"127.0.0.1:{PORT_BASE + 26} inet n - y - - smtpd -o smtpd_sender_restrictions=check_sender_access,mysql:{s.dir}/named.cf\n"))
        s.mail = s.i.tool("postconf", "-h", "virtual_mailbox_base").stdout.strip()
        uid, gid = (s.i.tool("postconf", "-h", f"virtual_{kind}_maps").stdout.strip().split(":")[1] for kind in ("uid", "gid"))
        s.write("dovecot-sql.conf.ext", f"driver = mysql\nconnect = host={s.db.socket} dbname={s.db.name} user=postfix password={s.db.login()['password']}\n"
                "default_pass_scheme = PLAIN\npassword_query = SELECT username AS user, password FROM mailbox WHERE username = '%u' AND active = '1'\n"
                f"user_query = SELECT CONCAT('{s.mail}/', maildir) AS home, CONCAT('maildir:{s.mail}/', maildir) AS mail, {uid} AS uid, {gid} AS gid FROM mailbox WHERE username = '%u' AND active = '1'\n")
        s.i.restart()
        s.well()
        yield s


def processes(site):
    return int(site.db.sql("SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'postfix'")[0][0])


def kill_connections(site):
    for (number,) in site.db.sql("SELECT id FROM information_schema.processlist WHERE user = 'postfix'"):
        site.db.sql(f"KILL {number}", ok=False)


class Load:
    """Mail and logins without a pause: for users who are, and for such that are not."""

    def __init__(self, site):
        self.site, self.stop, self.sent, self.wrong, self.answers, self.count = site, threading.Event(), {}, [], set(), 0
        self.threads = [threading.Thread(target=self.mail, args=(n,)) for n in range(4)] + [threading.Thread(target=self.strangers), threading.Thread(target=self.logins)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for t in self.threads:
            t.join(90)
            assert not t.is_alive()

    def mail(self, worker):
        while not self.stop.is_set():
            self.count += 1
            n, marker = self.count % KNOWN, f"load-{worker}-{time.monotonic_ns()}"
            with contextlib.suppress(OSError), self.site.i.smtp() as s:
                s.ehlo()
                s.mail("sender@elsewhere.example")
                code, text = s.rcpt(self.site.user(n))
                self.answers.add(code)
                if code != 250:
                    if not 400 <= code < 500:
                        self.wrong.append((self.site.user(n), code, text))
                    continue
                if s.data(f"From: sender@elsewhere.example\r\nSubject: {marker}\r\n\r\n{marker}\r\n")[0] == 250:
                    self.sent.setdefault(n, set()).add(marker)

    def strangers(self):
        while not self.stop.is_set():
            self.count += 1
            code = self.site.rcpt(f"stranger{self.count}@db.test")
            if code != 550 and not 400 <= code < 500:
                self.wrong.append(("stranger", code))

    def logins(self):
        while not self.stop.is_set():
            for user, password, good in ((self.site.user(0), PASSWORD, {"OK"}), (self.site.user(1), "wrong", {"NO", "later"}), ("stranger@db.test", PASSWORD, {"NO", "later"})):
                result = self.site.login(user, password)
                if result not in good:
                    self.wrong.append(("login", user, result))


def test_killed_and_restarted_under_load(site):
    site.know_all()
    mark = site.i.log_mark()
    with Load(site) as load:
        for _ in range(3):
            time.sleep(2)
            site.db.signal(signal.SIGKILL)
            time.sleep(2)
            site.db.start()
        time.sleep(6)
    assert not load.wrong, load.wrong[:10]
    assert sum(map(len, load.sent.values())) > 50
    for n, markers in load.sent.items():
        wait_until(lambda: markers <= set(site.delivered(n)), 60, f"mail to user {n}")
        assert len(site.delivered(n)) == len(set(site.delivered(n)))
    said = site.i.log(mark)
    assert "status=bounced" not in said and "status=undeliverable" not in said
    assert 1 <= len(site.faults(mark, "start the server")) <= 2, site.faults(mark, ".")  # one pool for mail, one for logins


def test_it_hangs(site):
    site.know_all()
    mark = site.i.log_mark()
    site.db.signal(signal.SIGSTOP)
    try:
        start = time.monotonic()
        assert site.rcpt(site.user(0)) == 250 and site.login(site.user(0)) == "OK"
        assert time.monotonic() - start < 20
        start = time.monotonic()
        for n in range(KNOWN):
            assert site.rcpt(site.user(n)) == 250
        assert site.login(site.user(1)) == "OK"
        assert time.monotonic() - start < 10  # it is known by now that it hangs
        assert site.rcpt("new@db.test") == 451 and site.login("new@db.test") == "later"
        assert site.login(site.user(0), "wrong") == "later"  # a changed password cannot be told from a wrong one
        assert len(site.faults(mark, "no answer in time")) <= 2, site.faults(mark, ".")
    finally:
        site.db.signal(signal.SIGCONT)
    site.well()


def test_its_password_is_changed(site):
    site.know_all()
    mark = site.i.log_mark()
    site.db.sql("SET PASSWORD FOR postfix@localhost = PASSWORD('other')")
    try:
        kill_connections(site)
        for n in range(KNOWN):
            assert site.rcpt(site.user(n)) == 250
        assert site.login(site.user(0)) == "OK"
        assert site.rcpt("new@db.test") == 451 and site.login("new@db.test") == "later"
        said = site.faults(mark, "Access denied")
        assert 1 <= len(said) <= 2 and "check user and password" in said[0] and ".cf: unix:" in said[0]
        secret = site.db.login()["password"]
        assert secret not in site.i.log(mark)
    finally:
        site.db.sql(f"SET PASSWORD FOR postfix@localhost = PASSWORD('{site.db.login()['password']}')")
    site.well()
    wait_until(lambda: site.login("new@db.test") == "NO", 90, "logins asked of the database again")


def test_its_tables_are_locked(site):
    site.know_all()
    lock = subprocess.Popen(["mariadb", f"--defaults-file={site.db.dir}/root.cnf", site.db.name, "-e", "LOCK TABLES mailbox WRITE; SELECT SLEEP(25)"], stdout=subprocess.DEVNULL)
    try:
        time.sleep(1)
        assert site.rcpt(site.user(0)) == 250 and site.login(site.user(0)) == "OK"
        assert site.rcpt("new@db.test") == 451
        threads = [threading.Thread(target=site.rcpt, args=(f"new{n}@db.test",)) for n in range(60)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert processes(site) <= 2 * 21  # who gave up has not left his question behind and opened another connection
        assert site.rcpt(site.user(0)) == 250
    finally:
        lock.wait(60)
    site.well()


def test_three_hosts_one_down(site):
    """One refuses, one takes connections and says nothing; the third answers as if it were alone."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        site.write_maps(f"inet:127.0.0.1:1 inet:127.0.0.1:{silent.getsockname()[1]} inet:127.0.0.1:{DATABASE_PORT}")
        site.i.reload()
        try:
            site.well()
            took = []
            for n in range(60):
                start = time.monotonic()
                assert site.rcpt(site.user(n % KNOWN)) == 250
                took.append(time.monotonic() - start)
                time.sleep(0.05)
            assert sorted(took)[-3] < 0.3 and max(took) < 2, sorted(took)[-5:]
        finally:
            site.write_maps(site.unix)
            site.i.reload()
    site.well()


def test_a_host_by_name_while_dns_is_dead(site):
    def sender(port):
        with site.i.smtp(port) as s:
            s.ehlo()
            s.mail("x@elsewhere.example")
            return s.rcpt(site.user(0))[0]

    waiting = threading.Thread(target=lambda: results.append(sender(PORT_BASE + 26)))
    results = []
    waiting.start()
    start = time.monotonic()
    for n in range(KNOWN):
        assert site.rcpt(site.user(n)) == 250
    assert time.monotonic() - start < 5
    waiting.join(60)
    assert results == [451]


def test_a_user_refused_then_inserted_then_mailed(site):
    for n in range(5):
        name = f"user{100 + n}@db.test"
        assert site.rcpt(name) == 550 and site.login(name) == "NO"
        start = time.monotonic()
        site.add_user(name)
        site.send(name, f"first-{n}")
        assert time.monotonic() - start < 1.5
        assert site.login(name) == "OK"
        wait_until(lambda: f"first-{n}" in site.delivered(100 + n), what="the mail")


def test_a_domain_refused_then_inserted_then_mailed(site):
    """Asked for again at once, under other names: what is known of a name may be used for a second, what is unknown of a domain may not."""
    for n in range(5):
        assert site.rcpt(f"a@late{n}.test") == 554
        site.db.sql(f"INSERT INTO domain (domain, description, transport, created, modified) VALUES ('late{n}.test', '', 'virtual', NOW(), NOW()); "
                    f"INSERT INTO mailbox (username, password, name, maildir, local_part, domain, created, modified) VALUES "
                    f"('b@late{n}.test', '', '', 'late{n}.test/b/', 'b', 'late{n}.test', NOW(), NOW())")
        assert site.rcpt(f"b@late{n}.test") == 250


def test_the_same_address_refused_then_inserted_then_mailed(site):
    """In one session, so that one process hears both: what it remembers of an answer is not of use to who asks again."""
    with site.i.smtp() as s:
        s.ehlo()
        s.mail("x@elsewhere.example")
        for n in range(5):
            assert s.rcpt(f"b@again{n}.test")[0] == 554
            site.db.sql(f"INSERT INTO domain (domain, description, transport, created, modified) VALUES ('again{n}.test', '', 'virtual', NOW(), NOW()); "
                        f"INSERT INTO mailbox (username, password, name, maildir, local_part, domain, created, modified) VALUES "
                        f"('b@again{n}.test', '', '', 'again{n}.test/b/', 'b', 'again{n}.test', NOW(), NOW())")
            assert s.rcpt(f"b@again{n}.test")[0] == 250


def test_changes_show_within_seconds(site):
    name = "user110@db.test"
    site.add_user(name)
    assert site.rcpt(name) == 250 and site.login(name) == "OK"
    site.db.sql(f"UPDATE mailbox SET password = '{{PLAIN}}another' WHERE username = '{name}'")
    assert site.login(name, "another") == "OK"  # at once: what does not match is asked for again
    assert site.login(name, PASSWORD) == "NO"
    site.db.sql(f"UPDATE mailbox SET active = 0 WHERE username = '{name}'; UPDATE alias SET active = 0 WHERE address = '{name}'")
    time.sleep(2.5)
    assert site.rcpt(name) == 550 and site.login(name, "another") == "NO"


def memory(site):
    (pid,) = site.i.pids("proxymap")
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


def test_many_different_users(site):
    """10,000 a second for ten seconds, each once: right answers, and no more memory than sql_cache_size allows."""
    at_a_time, clients, users, seconds = 100, 8, 200000, 10
    site.db.sql("INSERT INTO mailbox (username, password, name, maildir, local_part, domain, created, modified) "
                f"SELECT CONCAT('many', seq, '@db.test'), '', '', CONCAT('db.test/many', seq, '/', REPEAT('x', 150)), CONCAT('many', seq), 'db.test', NOW(), NOW() FROM seq_1_to_{users}")
    table = f"mysql:{site.dir}/mailboxes.cf"
    version = int(re.search(r"PROXY_VERSION = (\d+)", (ROOT / "lib/table/proxy.h").read_text())[1])
    # the questions are written before the clock starts and the answers are read after it, as the daemons' own clients would cost less than Python
    questions = [b"".join(encode("lookup", [("table", table), ("flags", 1), ("key", f"many{n}@db.test")], n) for n in range(first, first + at_a_time))
                 for first in range(1, users + 1, at_a_time)]
    links = [Frames(f"{site.i.queue_dir}/private/proxymap", "proxymap", version) for _ in range(clients)]
    pending, got, asked = iter(questions), [], 0
    before, selector = memory(site), selectors.DefaultSelector()
    began = time.monotonic()
    for link in links:
        link.s.sendall(next(pending))
        selector.register(link.s, selectors.EVENT_READ, bytearray())
    while (took := time.monotonic() - began) < seconds:
        for key, _ in selector.select(10):
            answer = key.data
            answer += key.fileobj.recv(1 << 18)
            if answer.count(b"\x05value") >= at_a_time and len(frames := frames_in(answer)) == at_a_time:
                got += frames
                answer.clear()
                asked += at_a_time
                key.fileobj.sendall(next(pending))
    for link in links:
        link.close()
    values = {dict(decode(frame)[1])["value"] for frame in got}
    assert values == {f"db.test/many{n}/{'x' * 150}".encode() for n in range(1, users + 1)} & values and len(values) == asked
    print(f"{asked / took:.0f} different users a second; proxymap: {before} KiB, then {memory(site)} KiB")
    assert asked / took > 10000
    assert memory(site) - before < (33 + 30) * 1024
    assert site.rcpt(site.user(0)) == 250
