"""smtpd_sasl_type = cyrus: libsasl2 with sasldb2 and a real saslauthd, beside Debian's Postfix with the same files.

The same conversations go to both; replies and smtpd's log lines are compared. A verifier that is away, hangs or cannot be read
means "later" with us, and holds nobody else.
"""
import base64
import concurrent.futures
import contextlib
import os
import pathlib
import re
import shutil
import smtplib
import socketserver
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

import pytest
from conftest import ROOT, own_instance, wait_until
from mariadb import own_database
from sasl_client import Digest, Scram, cram_md5

sys.path.insert(0, str(ROOT / "tests/peer"))
from mta import DEBIAN, HOST, OURS, Site  # noqa: E402

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="mail systems change accounts"),
              pytest.mark.skipif(not shutil.which("saslauthd"), reason="no saslauthd (package sasl2-bin)")]
REALM, USER, PASSWORD = "example.test", "ann", "Sesame \u00f6ffne dich"
FAR, FAR_PASSWORD = "far", "behind IMAP"  # known to saslauthd alone


class Imap(socketserver.ThreadingTCPServer):
    """The IMAP server that saslauthd asks (-a rimap). With `hang` set it answers nothing until that is cleared."""

    daemon_threads = allow_reuse_address = True

    def __init__(self):
        self.go, self.asked = threading.Event(), []
        self.go.set()
        super().__init__(("127.0.0.1", 0), ImapSession)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class ImapSession(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"* OK ready\r\n")
        while line := self.rfile.readline():
            words = line.decode().split(" ", 2)
            if words[1].strip().upper() == "LOGIN":
                self.server.asked.append(words[2].strip())
                self.server.go.wait(60)
                good = words[2].strip() == f'"{FAR}" "{FAR_PASSWORD}"'
                self.wfile.write(f"{words[0]} {'OK' if good else 'NO'} that is it\r\n".encode())
            else:
                self.wfile.write(f"{words[0]} OK bye\r\n".encode())
                return


class Cyrus:
    """A site whose smtpd asks libsasl2, and what that needs: its configuration, sasldb2, saslauthd."""

    def __init__(self, top):
        self.top = pathlib.Path(top)
        self.mux, self.db = self.top / "mux", self.top / "sasldb2"
        self.site = Site(self.top, "smtpd_sasl_auth_enable = yes", "smtpd_sasl_type = cyrus",
                         "mynetworks =", "smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination",
                         f"smtpd_sasl_local_domain = {REALM}", "smtpd_error_sleep_time = 0", "smtpd_sasl_security_options = noanonymous")
        self.imap, self.daemon = Imap(), None
        self.set_password(USER, PASSWORD)
        self.configure("auxprop")

    def configure(self, method, more="", mechs="PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-256"):
        """smtpd.conf where Debian has it: beside main.cf."""
        for side in (OURS, DEBIAN):
            folder = self.site.etc(side) / "sasl"
            folder.mkdir(exist_ok=True)
            (folder / "smtpd.conf").write_text(f"# test\npwcheck_method: {method}\nmech_list: {mechs}\nauxprop_plugin: sasldb\n"
                                               f"sasldb_path: {self.db}\nsaslauthd_path: {self.mux}/mux\n{more}")

    def set_password(self, user, password):
        subprocess.run(["saslpasswd2", "-f", self.db, "-c", "-p", "-u", REALM, user], input=password.encode(), check=True)
        shutil.chown(self.db, "root", "postfix")
        os.chmod(self.db, 0o640)

    def saslauthd(self):
        self.mux.mkdir(exist_ok=True)
        self.daemon = subprocess.Popen(["saslauthd", "-a", "rimap", "-O", f"127.0.0.1/{self.imap.port}", "-m", self.mux, "-n", "3", "-d"],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        wait_until((self.mux / "mux").exists, what="saslauthd's socket")

    def no_saslauthd(self):
        if self.daemon:
            os.killpg(self.daemon.pid, 15)
            try:
                self.daemon.wait(10)
            except subprocess.TimeoutExpired:  # its processes can wait for each other when all are told to end at once
                os.killpg(self.daemon.pid, 9)
                self.daemon.wait()
            self.daemon = None

    def close(self):
        self.imap.go.set()
        self.no_saslauthd()
        self.site.close()
        self.imap.shutdown()
        self.imap.server_close()

    @contextlib.contextmanager
    def session(self):
        with smtplib.SMTP("127.0.0.1", self.site.smtp_port, local_hostname="client.example", timeout=120) as s:
            s.ehlo()
            yield s


@contextlib.contextmanager
def cyrus_site():
    with tempfile.TemporaryDirectory(prefix="posthorn-cyrus.") as top:
        os.chmod(top, 0o755)
        c = Cyrus(top)
        try:
            yield c
        finally:
            c.close()


def b64(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def exchange(s, mech, *steps):
    """AUTH; each step is text to send, or a function of the challenge. All replies, as text; challenges are not compared."""
    replies, first = [], steps[0] if steps and isinstance(steps[0], str) else None
    code, text = s.docmd("AUTH", mech if first is None else f"{mech} {first}")
    for step in steps[1:] if first is not None else steps:
        replies.append((code, ""))
        if code != 334:
            break
        challenge = base64.b64decode(text)
        made = step(challenge) if callable(step) else step
        code, text = s.docmd(made if isinstance(made, str) else b64(made))
    return [*replies, (code, text.decode())]


def plain(user=f"{USER}@{REALM}", password=PASSWORD, authzid=""):
    return b64(f"{authzid}\0{user}\0{password}")


def login(user=f"{USER}@{REALM}", password=PASSWORD):
    return [lambda c: user.encode(), lambda c: password.encode()]


def cram(user=f"{USER}@{REALM}", password=PASSWORD):
    return [lambda c: cram_md5(user, password, c)]


def digest(user=USER, password=PASSWORD, **kw):
    d = Digest(user, REALM, password, uri=f"smtp/{HOST}".encode(), **kw)

    def proof(data):
        assert d.proven(data)
        return b""

    return [d.answer, proof]


def scram(mech, user=f"{USER}@{REALM}", password=PASSWORD, **kw):
    client = Scram(user, password, "sha256" if mech.endswith("256") else "sha1", **kw)

    def proof(data):
        assert client.proven(data)
        return b""

    return [b64(client.first()), client.final, proof]


CONVERSATIONS = {
    "plain": ("PLAIN", plain()),
    "plain without initial": ("PLAIN", lambda c: base64.b64decode(plain())),
    "plain, name without realm": ("PLAIN", plain(USER)),
    "plain, own authzid": ("PLAIN", plain(authzid=f"{USER}@{REALM}")),
    "plain, other authzid": ("PLAIN", plain(authzid=f"bob@{REALM}")),
    "plain, wrong": ("PLAIN", plain(password="wrong")),
    "plain, unknown": ("PLAIN", plain("nobody")),
    "plain, cut": ("PLAIN", b64("\0ann")),
    "plain, empty": ("PLAIN", "="),
    "plain, no base64": ("PLAIN", "%%%"),
    "login": ("LOGIN", *login()),
    "login, wrong": ("LOGIN", *login(password="wrong")),
    "login, unknown": ("LOGIN", *login("nobody")),
    "login, aborted": ("LOGIN", lambda c: "*"),
    "login, no base64": ("LOGIN", lambda c: "%%"),
    "cram-md5": ("CRAM-MD5", *cram()),
    "cram-md5, wrong": ("CRAM-MD5", *cram(password="wrong")),
    "cram-md5, unknown": ("CRAM-MD5", *cram("nobody")),
    "cram-md5, malformed": ("CRAM-MD5", lambda c: b"nothing"),
    "digest-md5": ("DIGEST-MD5", *digest()),
    "digest-md5, wrong": ("DIGEST-MD5", *digest(password="wrong")),
    "digest-md5, malformed": ("DIGEST-MD5", lambda c: b"rubbish"),
    "scram-sha-1": ("SCRAM-SHA-1", *scram("SCRAM-SHA-1")),
    "scram-sha-256": ("SCRAM-SHA-256", *scram("SCRAM-SHA-256")),
    "scram-sha-256, wrong": ("SCRAM-SHA-256", *scram("SCRAM-SHA-256", password="wrong")),
    "scram-sha-1, malformed": ("SCRAM-SHA-1", b64("garbage")),
    "scram-sha-1, malformed: binds": ("SCRAM-SHA-1", *scram("SCRAM-SHA-1", header=b"p=tls-unique,,", binding=b"x")),
    "scram-sha-1, saw no binding": ("SCRAM-SHA-1", *scram("SCRAM-SHA-1", header=b"y,,")),
    "not offered": ("GSSAPI",),
    "unknown": ("NOSUCH", plain()),
}


def ended(log, whole):
    """The session that began with this part of the log, and whoever looked before whether the server was there."""
    return re.search(r"\]: connect from", log) and len(re.findall(r"\]: connect from", whole)) == len(re.findall(r"\]: disconnect from", whole))


def both(c, conversations):
    """{side: (AUTH words of EHLO, {name: replies}, {name: smtpd's lines})}"""
    out = {}
    for side in (DEBIAN, OURS):
        whole = c.site.log_mark()
        c.site.start(side)
        said, lines = {}, {}
        for name, (mech, *steps) in conversations.items():
            mark = c.site.log_mark()
            with c.session() as s:
                words = s.esmtp_features.get("auth", "").split()
                said[name] = exchange(s, mech, *steps)
            wait_until(lambda: ended(c.site.log(mark), c.site.log(whole)), what="the end of a session")
            lines[name] = [re.sub(r".*?postfix/smtpd\[\d+\]: ", "", line) for line in c.site.log(mark).splitlines()
                           if "postfix/smtpd[" in line and "SASL" in line and "SASL authentication" not in line]
        out[side] = words, said, lines
        c.site.stop()
    return out


@pytest.fixture(scope="module")
def compared():
    with cyrus_site() as c:
        yield both(c, CONVERSATIONS)


def test_offered(compared):
    assert compared[OURS][0] == compared[DEBIAN][0]
    assert len(compared[OURS][0]) == 6


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_as_debian(compared, name):
    ours, debian = (compared[side][1][name] for side in (OURS, DEBIAN))
    if re.search("empty|no base64", name):  # Postfix decodes no "=", and has other words for what is no base64
        ours, debian = ([code for code, _ in said] for said in (ours, debian))
        assert ours == debian
        return
    assert ours == debian
    assert ours[-1][0] == (501 if "aborted" in name else 535 if re.search(r", (wrong|unknown|cut|empty|no base64|malformed|other)|not offered|^unknown", name) else 235)
    assert [line.replace(HOST, "") for line in compared[OURS][2][name]] == [line.replace(HOST, "") for line in compared[DEBIAN][2][name]]


@pytest.fixture
def ours():
    with cyrus_site() as c:
        yield c


def test_saslauthd(ours):
    """Its users; dead and hanging it means "later", and others log in meanwhile; when it is back all is well."""
    ours.configure("auxprop saslauthd")
    ours.saslauthd()
    ours.site.start(OURS)
    for user, password, code in ((FAR, FAR_PASSWORD, 235), (FAR, "wrong", 535), (USER, PASSWORD, 235)):
        with ours.session() as s:
            assert exchange(s, "PLAIN", plain(user, password))[-1][0] == code
    assert ours.imap.asked
    ours.imap.go.clear()
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        def far():
            with ours.session() as s:
                return exchange(s, "PLAIN", plain(FAR, FAR_PASSWORD))[-1]

        held = [pool.submit(far) for _ in range(12)]
        wait_until(lambda: len(ours.imap.asked) > 3, what="the hang")
        began = time.monotonic()
        with ours.session() as s:
            assert exchange(s, "CRAM-MD5", *cram())[-1][0] == 235
            assert time.monotonic() - began < 5
        assert not any(f.done() for f in held)
        ours.imap.go.set()
        assert [f.result()[0] for f in held] == [235] * 12
    ours.no_saslauthd()
    for mech, steps in (("PLAIN", [plain(FAR, FAR_PASSWORD)]), ("LOGIN", login(FAR, FAR_PASSWORD)), ("PLAIN", [plain(FAR, "wrong")])):
        with ours.session() as s:
            code, text = exchange(s, mech, *steps)[-1]
            assert code == 454 and text.startswith("4.7.0 Temporary authentication failure: ")
    assert "cannot connect to saslauthd server" in ours.site.log()
    ours.saslauthd()
    with ours.session() as s:
        assert exchange(s, "PLAIN", plain(FAR, FAR_PASSWORD))[-1][0] == 235
    assert not ours.site.log().count("fatal") and not ours.site.log().count("panic")
    text = ours.site.log()
    assert FAR_PASSWORD not in text and b64(FAR_PASSWORD) not in text and "Sesame" not in text


def test_saslauthd_as_debian(ours):
    """Replies and smtpd's lines, with saslauthd and without it."""
    asked = {"good": ("PLAIN", plain(FAR, FAR_PASSWORD)), "with realm": ("PLAIN", plain(f"{FAR}@{REALM}", FAR_PASSWORD)), "wrong": ("PLAIN", plain(FAR, "wrong")),
             "login": ("LOGIN", *login(FAR, FAR_PASSWORD)), "login, wrong": ("LOGIN", *login(FAR, "wrong")), "empty password": ("PLAIN", plain(FAR, "")),
             "long": ("PLAIN", plain(FAR, "x" * 1000)), "no proof": ("CRAM-MD5", *cram())}
    ours.configure("saslauthd", mechs="PLAIN LOGIN")
    ours.saslauthd()
    alive = both(ours, asked)
    ours.no_saslauthd()
    dead = both(ours, asked)
    for name in asked:
        assert alive[OURS][1][name] == alive[DEBIAN][1][name], name
        assert alive[OURS][2][name] == alive[DEBIAN][2][name], name
        assert dead[OURS][1][name] == dead[DEBIAN][1][name], name
        assert dead[OURS][2][name] == dead[DEBIAN][2][name], name
    assert alive[OURS][1]["good"][-1][0] == 235 and dead[OURS][1]["good"][-1][0] == 454
    assert alive[OURS][0] == alive[DEBIAN][0]


def test_all_calls_wait(ours):
    """A hundred calls of libsasl2 hang: the next is told "later" at once, and all get their answer in the end."""
    ours.configure("saslauthd")
    ours.saslauthd()
    ours.site.write("smtpd_client_connection_count_limit = 0", "default_process_limit = 200")
    ours.site.start(OURS)
    ours.imap.go.clear()

    def far():
        with ours.session() as s:
            return exchange(s, "PLAIN", plain(FAR, FAR_PASSWORD))[-1]

    with concurrent.futures.ThreadPoolExecutor(110) as pool:
        held = [pool.submit(far) for _ in range(110)]
        wait_until(lambda: sum(f.done() for f in held) == 10, what="the ten that are put off")
        assert all(f.result()[0] == 454 for f in held if f.done())
        assert "one more is put off" in ours.site.log()
        ours.imap.go.set()
        assert sorted(f.result()[0] for f in held) == [235] * 100 + [454] * 10
    assert last(ours, "PLAIN", plain(FAR, FAR_PASSWORD))[0] == 235


def last(c, mech, *steps):
    with c.session() as s:
        return exchange(s, mech, *steps)[-1]


def test_configuration_changes(ours):
    """smtpd.conf is read again without a reload; sasldb2 that cannot be read is "later"."""
    ours.site.start(OURS)
    assert last(ours, "CRAM-MD5", *cram())[0] == 235
    os.chmod(ours.db, 0o600)
    code, text = last(ours, "CRAM-MD5", *cram())
    assert code == 454, text
    os.chmod(ours.db, 0o640)
    ours.configure("auxprop", mechs="PLAIN LOGIN")
    wait_until(lambda: last(ours, "CRAM-MD5", *cram())[0] == 535, what="the new configuration")
    with ours.session() as s:
        assert sorted(s.esmtp_features["auth"].split()) == ["LOGIN", "PLAIN"]
    assert last(ours, "PLAIN", plain())[0] == 235


def test_reloads(ours):
    """Who logs in while the services are exchanged notices nothing."""
    ours.site.start(OURS)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        def logins(_):
            return [last(ours, mech, *steps)[0] for _ in range(10) for mech, steps in (("PLAIN", [plain()]), ("CRAM-MD5", cram()))]

        running = [pool.submit(logins, n) for n in range(4)]
        for _ in range(4):
            time.sleep(0.3)
            ours.site.run(OURS, "postfix", "reload")
        assert [f.result() for f in running] == [[235] * 20] * 4


def test_below_the_queue_directory(ours):
    """Where a chrooted smtpd of Debian's looked: saslauthd's socket and sasldb2 in the queue directory come first."""
    below = pathlib.Path(f"{ours.site.queue}{ours.db}")
    below.parent.mkdir(parents=True)
    shutil.move(ours.db, below)
    ours.mux = pathlib.Path(f"{ours.site.queue}{ours.mux}")
    for side in ours.mux.parents:
        if side != ours.site.queue and ours.site.queue in side.parents:
            os.chmod(side, 0o755)
    (ours.site.etc(OURS) / "sasl/smtpd.conf").write_text((ours.site.etc(OURS) / "sasl/smtpd.conf").read_text().replace("auxprop\n", "auxprop saslauthd\n", 1))
    ours.saslauthd()
    ours.site.start(OURS)
    assert last(ours, "CRAM-MD5", *cram())[0] == 235
    assert last(ours, "PLAIN", plain(FAR, FAR_PASSWORD))[0] == 235


def sql_configuration(c, engine, place, user="none", password="none"):
    c.configure("auxprop", f"auxprop_plugin: sql\nsql_engine: {engine}\nsql_hostnames: {place}\nsql_user: {user}\nsql_passwd: {password}\n"
                f"sql_database: {'postfixadmin' if engine == 'mysql' else place}\nsql_select: SELECT %p FROM secrets WHERE name = '%u' AND realm = '%r'\n")
    conf = c.site.etc(OURS) / "sasl/smtpd.conf"
    conf.write_text(conf.read_text().replace("auxprop_plugin: sasldb\n", ""))
    os.chmod(conf, 0o600)  # a password is in it: root alone


@pytest.mark.skipif(not list(pathlib.Path("/usr/lib").glob("*/sasl2/libsql.so")), reason="no sql plug-in (package libsasl2-modules-sql)")
@pytest.mark.parametrize("engine", ["sqlite3", "mysql"])
def test_sql_plugin(ours, engine):
    """The jail leaves the sql plug-in what it needs; a database that is away is "later"."""
    rows = f"CREATE TABLE secrets (name VARCHAR(50), realm VARCHAR(50), userPassword VARCHAR(50)); INSERT INTO secrets VALUES ('{USER}', '{REALM}', '{PASSWORD}');"
    with contextlib.ExitStack() as stack:
        if engine == "mysql":
            db = stack.enter_context(own_database("--port", "24306"))
            db.sql(rows + f"GRANT SELECT ON secrets TO '{db.login()['user']}'@'%';", ok=False)
            sql_configuration(ours, engine, "127.0.0.1:24306", db.login()["user"], db.login()["password"])
        else:
            file = ours.top / "secrets.db"
            with contextlib.closing(sqlite3.connect(file)) as base:
                base.executescript(rows)
            shutil.chown(file, "root", "postfix")
            os.chmod(file, 0o640)
            sql_configuration(ours, engine, file)
        ours.site.start(OURS)
        for mech, steps in (("PLAIN", [plain()]), ("CRAM-MD5", cram()), ("SCRAM-SHA-256", scram("SCRAM-SHA-256"))):
            assert last(ours, mech, *steps)[0] == 235, ours.site.log()[-2000:]
        assert last(ours, "PLAIN", plain(password="wrong"))[0] == 535
        assert last(ours, "PLAIN", plain("nobody"))[0] == 535
    if engine == "mysql":
        assert last(ours, "PLAIN", plain())[0] == 454, ours.site.log()[-2000:]


def test_refusals(ours):
    """Another application name than main.cf's is refused in words."""
    master_cf = ours.site.etc(OURS) / "master.cf"
    master_cf.write_text(master_cf.read_text().replace("- smtpd\n", "- smtpd -o smtpd_sasl_path=other\n", 1))
    ours.site.start(OURS)
    code, text = last(ours, "PLAIN", plain())
    assert code == 454 and "smtpd_sasl_path = other" in ours.site.log()


@contextlib.contextmanager
def traced(pid, calls, out):
    """strace of a process; out holds what it saw when the block has ended."""
    p = subprocess.Popen(["strace", "-f", "-o", out, "-e", f"trace={calls}", "-p", str(pid)], stderr=subprocess.PIPE, text=True)
    try:
        assert "attached" in p.stderr.readline()
        yield
    finally:
        p.terminate()
        p.wait()


def opened(out):
    return [line.rsplit("=", 1)[1].split()[0] for line in pathlib.Path(out).read_text().splitlines() if '"/dev/urandom"' in line]


def test_nonces_are_random(ours, tmp_path):
    """libsasl2 makes its nonces of the time of day where it cannot read /dev/urandom: both jails must let it."""
    ours.site.start(OURS)
    assert last(ours, "CRAM-MD5", *cram())[0] == 235
    pid = next(int(p.name) for p in pathlib.Path("/proc").glob("[0-9]*") if str(ours.site.top).encode() in read(p / "environ") and b"saslauth" in read(p / "cmdline"))
    with traced(pid, "open,openat", tmp_path / "saslauth"):
        assert last(ours, "CRAM-MD5", *cram())[0] == 235
    assert opened(tmp_path / "saslauth") and "-1" not in opened(tmp_path / "saslauth")
    ours.site.stop()
    with own_instance(24000, "auth_mechanisms = plain login cram-md5", "smtpd_sasl_auth_enable = yes") as i:
        with open(i.config_dir + "/users", "a") as f:
            f.write(f"{USER}@{REALM}:{{PLAIN}}{PASSWORD}::::::\n")
        wait_until(lambda: (exchange_at(i.smtp_port, "CRAM-MD5", *cram()))[0] == 235, what="the new user")
        with traced(i.pids("authd")[0], "open,openat", tmp_path / "authd"):
            assert exchange_at(i.smtp_port, "CRAM-MD5", *cram())[0] == 235
        assert opened(tmp_path / "authd") and "-1" not in opened(tmp_path / "authd")


def read(path):
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


def exchange_at(port, mech, *steps):
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=60) as s:
        s.ehlo()
        return exchange(s, mech, *steps)[-1]
