"""dovecot-sql.conf.ext: the same files to Debian's auth service and to our authd and proxymap, on one MariaDB: the same answers to logins.

POSTHORN_SBIN names the directory of our commands, beside that of the daemons. Skipped when Debian's packages cannot be had.
"""
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
SBIN = pathlib.Path(os.environ.get("POSTHORN_SBIN", HERE.parents[1] / "build" / "sbin"))
os.environ.setdefault("POSTHORN_BUILD", str(SBIN.parent))
sys.path.insert(0, str(HERE.parent / "system"))
from auth_protocol import DebianAuth, OurAuthd  # noqa: E402
from conftest import wait_until  # noqa: E402
from mariadb import own_database  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="packages look installed only in a mount namespace of root's")
ROWS = [("alice", "{PLAIN}pw", "a"), ("o'brien", "{PLAIN}p'w", "b"), ("100%", "{PLAIN}pw", "c"), ("back\\slash", "{PLAIN}pw", "d"), ("twice", "{PLAIN}pw", "e"), ("twice", "{PLAIN}pw", "f"),
        ("md5", "$1$abc$BXBqpb9BZcZhXLgbee.0s/", "g"), ("bare", "pw", "h"), ("nothing", None, "i"), ("Upper", "{PLAIN}pw", "j"), ("caf\u00e9", "{PLAIN}pw", "k")]
TABLE = "FROM who WHERE name = '%n'"
# (settings of the file, user without domain, password). Each file is asked only for users of its own domain.
CASES = [
    (f"password_query = SELECT password {TABLE}\n", "alice", "pw"),
    (f"password_query = SELECT password {TABLE}\n", "alice", "wrong"),
    (f"password_query = SELECT password {TABLE}\n", "nobody", "pw"),
    (f"password_query = SELECT password {TABLE}\n", "o'brien", "p'w"),
    (f"password_query = SELECT password {TABLE}\n", "100%", "pw"),
    (f"password_query = SELECT password {TABLE}\n", "%", "pw"),
    (f"password_query = SELECT password {TABLE}\n", "back\\slash", "pw"),
    (f"password_query = SELECT password {TABLE}\n", "caf\u00e9", "pw"),
    (f"password_query = SELECT password {TABLE}\n", "' OR '1'='1", "pw"),
    (f"password_query = SELECT password {TABLE}\n", "twice", "pw"),
    (f"password_query = SELECT password {TABLE}\n", "nothing", "pw"),
    (f"default_pass_scheme = PLAIN\npassword_query = SELECT password {TABLE}\n", "bare", "pw"),
    (f"default_pass_scheme = plain\npassword_query = SELECT password {TABLE}\n", "bare", "wrong"),
    (f"password_query = SELECT password, 'y' AS nopassword {TABLE}\n", "nothing", "any"),
    (f"password_query = SELECT password AS notpassword {TABLE}\n", "alice", "pw"),
    (f"password_query = SELECT password AS PASSWORD {TABLE}\n", "alice", "pw"),
    (f"password_query = SELECT name AS user, password {TABLE}\n", "ALICE", "pw"),
    (f"password_query = SELECT name AS username, 'other.test' AS domain, password {TABLE}\n", "ALICE", "pw"),
    (f"password_query = SELECT password, 'v' AS key1, NULL AS key2, '' AS key3, value AS key4 {TABLE}\n", "alice", "pw"),
    (f"password_query = SELECT password, 'y' AS nologin, 'host.test' AS host, 'y' AS nodelay {TABLE}\n", "alice", "pw"),
    (f"password_query = SELECT password, '/h/%n' AS userdb_home, 5 AS userdb_uid, '*:bytes=7' AS userdb_quota_rule {TABLE}\n", "alice", "pw"),
    (f"password_query = SELECT password, '10.0.0.0/8' AS allow_nets {TABLE}\n", "alice", "pw"),
    (f"password_query = SELECT password, '192.0.2.0/24' AS allow_nets {TABLE}\n", "alice", "pw"),
    (f"password_query = SELECT password, '%u|%Ud|%{{rip}}|%s|%2.2Mn|%{{if;%n;eq;alice;A;%n}}' AS key1 {TABLE}\n", "alice", "pw"),
    (f"password_query = SELECT password, '%Eu' AS key1 {TABLE}\n", "o'brien", "p'w"),
    ("password_query = SELECT CONCAT('{PLAIN}', '%w') AS password\n", "any", "p'w\\ \"x\""),
    ("password_query = SELECT '%u' AS user, NULL AS password, 'y' AS nopassword FROM who WHERE name = '%n' AND CONCAT('{PLAIN}', '%w') = password\n", "alice", "pw"),
    ("password_query = SELECT '%u' AS user, NULL AS password, 'y' AS nopassword FROM who WHERE name = '%n' AND CONCAT('{PLAIN}', '%w') = password\n", "alice", "' OR '1'='1"),
    (f"password_query = SELECT password \\\n  {TABLE} # it's\n", "alice", "pw"),
    (f"password_query = \"SELECT password {TABLE}\"\n", "alice", "pw"),
    (f"password_query = \"SELECT password AS \\\"password\\\" {TABLE}\"\n", "alice", "pw"),
    (f"password_query = SELECT password {TABLE} AND '%{{nosuch}}' = ''\n", "alice", "pw"),
    (f"password_query = SELECT password {TABLE} AND nosuch = 1\n", "alice", "pw"),
    ("password_query = SELECT password FROM who WHERE name = '%Ln' OR name = '%Tn'\n", "ALICE", "pw"),
    ("password_query = SELECT password FROM who WHERE id = %n\n", "1", "pw"),
]


FILES = list(dict.fromkeys(text for text, _, _ in CASES))


# Not here: "WHERE id = %n" and a user "1 OR 1=1" is SQL to Debian's.
def files(db):
    connect = f"driver = mysql\nconnect = host={db.socket} dbname=peer user=reader password=secret\n"
    return {f"{n}.conf.ext": connect + text for n, text in enumerate(FILES)}


def ask(server, case):
    """The words of the answer, in no order. Debian's leaves empty ones where fields were taken out, and the value of nologin."""
    text, name, password = CASES[case]
    link = server.link("auth")
    try:
        answer = link.auth(f"{name}@c{FILES.index(text)}.test", password)
        return [answer[0], *sorted("nologin" if word.startswith("nologin") else word for word in answer[2:] if word)]
    finally:
        link.sock.close()


@pytest.fixture(scope="module")
def answers():
    out = subprocess.run([HERE / "debian", "--root", "dovecot"], capture_output=True, text=True)
    if out.returncode != 0 or not list(pathlib.Path(out.stdout.strip()).glob("usr/lib/dovecot/modules/auth/*mysql*")):
        pytest.skip(f"Debian's dovecot-mysql cannot be had: {out.stderr.strip()}")
    with own_database() as db:
        db.sql("CREATE DATABASE peer CHARACTER SET utf8mb4; CREATE USER reader@localhost IDENTIFIED BY 'secret'; GRANT ALL ON peer.* TO reader@localhost", database="mysql")
        db.sql("CREATE TABLE who (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(255), password VARCHAR(255), value VARCHAR(255))", database="peer")
        for row in ROWS:
            values = ", ".join("NULL" if c is None else "'" + c.replace("\\", "\\\\").replace("'", "''") + "'" for c in row)
            db.sql(f"INSERT INTO who (name, password, value) VALUES ({values})", database="peer")
        passdbs = "".join(f"passdb {{\n  driver = sql\n  args = DIR/{n}.conf.ext\n  username_filter = *@c{n}.test\n}}\n" for n in range(len(FILES)))
        common = "auth_username_chars =\nauth_username_format =\nuserdb {\n  driver = static\n  args = uid=7 gid=7 home=/h\n}\n"
        with DebianAuth(common + passdbs, files(db)) as theirs:
            debian = [ask(theirs, n) for n in range(len(CASES))]
        settings = {"auth_passdb": " ".join(f"{{sql:DIR/{n}.conf.ext, username_filter=*@c{n}.test}}" for n in range(len(FILES))), "auth_username_chars": "", "auth_username_format": "",
                    "auth_userdb": "{ static:uid=7 gid=7 home=/h }"}
        with OurAuthd(settings, files(db)) as ours:
            (ours.dir / "private").mkdir(exist_ok=True)
            proxymap = subprocess.Popen([SBIN.parent / "daemons/proxymap", "-c", ours.dir, "-n", "proxymap", "-t", "unix", "--listen", f"unix:{ours.dir}/private/proxymap"],
                                        stderr=open(ours.dir / "proxymap.log", "w"))
            try:
                wait_until((ours.dir / "private/proxymap").exists, what="proxymap")
                yield debian, [ask(ours, n) for n in range(len(CASES))]
            finally:
                proxymap.terminate()
                proxymap.wait(20)


@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda n: repr(CASES[n])[:90])
def test_same_answer(answers, case):
    theirs, ours = answers[0][case], answers[1][case]
    assert ours == theirs
