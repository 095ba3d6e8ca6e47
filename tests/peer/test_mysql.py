"""mysql_table(5): the same file and key to Debian's postmap -q and to ours, on one MariaDB: the same answer and exit code.

POSTHORN_SBIN names the directory of our commands. Skipped when Debian's packages cannot be had.
"""
import concurrent.futures
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "system"))
from mariadb import own_database  # noqa: E402

SBIN = pathlib.Path(os.environ.get("POSTHORN_SBIN", HERE.parents[1] / "build" / "sbin"))
PLAIN = "SELECT v FROM t WHERE k='%s'"
ROWS = [("u@d.example.org", "r1@x.y", "r2"), ("u@d.example.org", "r3", None), ("empty", "", "x"), ("null", None, None), ("quo'te@d", "yes", None),
        ("a%b", "pct", "p"), ("a_b", "und", "p"), ("back\\slash", "bs", "p"), ("multi", "m1", "m2"), ("multi", "m3", "m4"), ('say"so"', "dq", None),
        ("semi;colon -- x", "sc", None), ("caf\u00e9", "utf8", None)]
# What the file says beside host, user and database (None: not at all), and the key.
CASES = [
    ({"query": PLAIN}, b'u@d.example.org'),
    ({"query": "SELECT v,w FROM t WHERE k='%s'"}, b'u@d.example.org'),
    ({"query": "SELECT v,w FROM t WHERE k='%s'"}, b'empty'),
    ({"query": PLAIN}, b'empty'),
    ({"query": PLAIN}, b'null'),
    ({"query": PLAIN}, b'none'),
    ({"query": PLAIN}, b"quo'te@d"),
    ({"query": PLAIN}, b'a%b'),
    ({"query": "SELECT v FROM t WHERE k LIKE '%s'"}, b'a%b'),
    ({"query": "SELECT v FROM t WHERE k LIKE '%s'"}, b'a_b'),
    ({"query": "SELECT v FROM t WHERE k LIKE '%s'"}, b'm%'),
    ({"query": PLAIN}, b'back\\\\slash'),
    ({"query": "SELECT concat('<%u|%d|%1|%2|%S|%U|%D>')"}, b'u@d.example.org'),
    ({"query": "SELECT '%u'"}, b'nodomain'),
    ({"query": "SELECT '%u'"}, b'@dom'),
    ({"query": "SELECT '%d'"}, b'nodomain'),
    ({"query": "SELECT '%d'"}, b'u@'),
    ({"query": "SELECT '%u'"}, b'u@'),
    ({"query": "SELECT '%s'"}, b'u@'),
    ({"query": "SELECT '%1'"}, b'u@d'),
    ({"query": "SELECT '%2'"}, b'u@d'),
    ({"query": "SELECT '%1 %2'"}, b'example.org'),
    ({"query": "SELECT '%1 %2'"}, b'.example.org'),
    ({"query": "SELECT '%1 %2 %3'"}, b'.example.org'),
    ({"query": "SELECT '%1 %2 %3'"}, b'a@.example.org'),
    ({"query": "SELECT '%1 %2 %3'"}, b'a@x..org'),
    ({"query": "SELECT '%1 %2 %3'"}, b'a@example.org.'),
    ({"query": "SELECT '%1'"}, b'nodomain'),
    ({"query": "SELECT '%u %d'"}, b'a@b@c.d'),
    ({"query": "SELECT '100%%'"}, b'x'),
    ({"query": "SELECT '%x'"}, b'x'),
    ({"query": "SELECT '%'"}, b'x'),
    ({"query": "SELECT '%0'"}, b'x'),
    ({"query": PLAIN, "result_format": '<%s>'}, b'u@d.example.org'),
    ({"query": PLAIN, "result_format": '%u|%d'}, b'u@d.example.org'),
    ({"query": PLAIN, "result_format": '%u'}, b'u@d.example.org'),
    ({"query": PLAIN, "result_format": '%S %U %D %1 %2 %%'}, b'u@d.example.org'),
    ({"query": PLAIN, "result_format": '%S %U %D'}, b'multi'),
    ({"query": PLAIN, "result_format": '%U'}, b'multi'),
    ({"query": PLAIN, "result_format": '%1'}, b'multi'),
    ({"query": PLAIN, "result_format": '%3'}, b'u@d.example.org'),
    ({"query": PLAIN, "result_format": '%4'}, b'u@d.example.org'),
    ({"query": PLAIN, "result_format": 'const'}, b'u@d.example.org'),
    ({"query": PLAIN, "result_format": ''}, b'u@d.example.org'),
    ({"query": PLAIN, "result_format": '%x'}, b'u@d.example.org'),
    ({"query": PLAIN, "result_format": '%'}, b'u@d.example.org'),
    ({"query": "SELECT 'x@'", "result_format": '%d'}, b'u'),
    ({"query": "SELECT 'x@'", "result_format": '[%u]'}, b'u'),
    ({"query": "SELECT '@x'", "result_format": '[%u]'}, b'u'),
    ({"query": "SELECT '@x'", "result_format": '[%d]'}, b'u'),
    ({"query": "SELECT v,w FROM t WHERE k='%s'", "expansion_limit": '1'}, b'u@d.example.org'),
    ({"query": "SELECT v,w FROM t WHERE k='%s'", "expansion_limit": '3'}, b'u@d.example.org'),
    ({"query": "SELECT v,w FROM t WHERE k='%s'", "expansion_limit": '2'}, b'u@d.example.org'),
    ({"query": 'SELECT v FROM t', "expansion_limit": '-1'}, b'u@d.example.org'),
    ({"query": 'SELECT v FROM t', "expansion_limit": 'x'}, b'u@d.example.org'),
    ({"query": 'SELECT v FROM t', "expansion_limit": ''}, b'u@d.example.org'),
    ({"query": "SELECT v FROM t where k='%s'", "domain": 'd.example.org'}, b'u@d.example.org'),
    ({"query": "SELECT v FROM t where k='%s'", "domain": 'D.example.org'}, b'u@d.example.org'),
    ({"query": "SELECT 'yes'", "domain": 'example.org'}, b'u@d.example.org'),
    ({"query": "SELECT 'yes'", "domain": '.example.org'}, b'u@d.example.org'),
    ({"query": "SELECT 'yes'", "domain": '!example.org, static:all'}, b'u@d.example.org'),
    ({"query": "SELECT 'yes'", "domain": '!d.example.org, static:all'}, b'u@d.example.org'),
    ({"query": "SELECT 'yes'", "domain": 'static:all'}, b'd.example.org'),
    ({"query": "SELECT 'yes'", "domain": 'static:all'}, b'@d.example.org'),
    ({"query": "SELECT 'yes'", "domain": 'static:all'}, b'u@'),
    ({"query": "SELECT 'yes'", "domain": 'fail:all'}, b'u@d'),
    ({"query": "SELECT 'yes'", "domain": ''}, b'u@d'),
    ({"query": "SELECT 'yes'", "domain": 'nosuch:all'}, b'u@d'),
    ({"table": 't', "select_field": 'v', "where_field": 'k'}, b'multi'),
    ({"table": 't', "select_field": 'v', "where_field": 'k', "additional_conditions": 'and n = 9'}, b'multi'),
    ({"table": 't', "select_field": 'v'}, b'multi'),
    ({"table": 't', "select_field": 'v', "where_field": 'k', "query": "SELECT 'q'"}, b'multi'),
    ({}, b'multi'),
    ({"query": ''}, b'multi'),
    ({"query": 'SELECT v FROM nosuch'}, b'multi'),
    ({"query": 'SELECT v FROM'}, b'multi'),
    ({"query": "UPDATE t SET w='p' WHERE k='a_b'"}, b'multi'),
    ({"query": "UPDATE t SET w='p' WHERE k='a_b'", "require_result_set": 'no'}, b'multi'),
    ({"query": "UPDATE t SET w='p' WHERE k='a_b'", "require_result_set": 'maybe'}, b'multi'),
    ({"query": 'SELECT 1', "password": 'wrong'}, b'multi'),
    ({"query": 'SELECT 1', "dbname": 'nosuch'}, b'multi'),
    ({"query": 'SELECT 1', "dbname": None}, b'multi'),
    ({"query": 'SELECT 1', "dbname": ''}, b'multi'),
    ({"query": 'SELECT 1', "user": None, "password": None}, b'multi'),
    ({"query": 'SELECT 1', "foo": 'bar'}, b'multi'),
    ({"query": 'SELECT 1 UNION SELECT 2'}, b'multi'),
    ({"query": "SELECT '%s'"}, b'caf\\xc3\\xa9'),
    ({"query": "SELECT '%s'"}, b'caf\\xe9'),
    ({"query": "SELECT '%s'"}, b'MiXed'),
    ({"query": "SELECT x'c3a9'"}, b'x'),
    ({"query": "SELECT x'e9'"}, b'x'),
    ({"query": 'SELECT "%s"'}, b'it\'s "q"'),
    ({"query": 'SELECT 1;'}, b'x'),
    ({"query": 'SELECT 1; SELECT 2'}, b'x'),
    ({"query": 'SELECT NULL'}, b'x'),
    ({"query": "SELECT '$myhostname'"}, b'x'),
    ({"query": "SELECT 'a'  'b'"}, b'x'),
    ({"query": PLAIN}, b'say"so"'),
    ({"query": "SELECT v FROM t WHERE k=\"%s\""}, b'say"so"'),
    ({"query": "SELECT v FROM t WHERE k=\"%s\""}, b"quo'te@d"),
    ({"query": PLAIN}, b"semi;colon -- x"),
    ({"query": PLAIN}, b"' OR '1'='1"),
    ({"query": PLAIN}, b"\\' OR 1=1 -- "),
    ({"query": PLAIN}, b"x' UNION SELECT 'r"),
    ({"query": PLAIN}, "caf\u00e9".encode()),
    ({"query": PLAIN}, "CAF\u00c9".encode()),
    ({"query": PLAIN}, b"caf\xe9"),
    ({"query": PLAIN}, b"\xc0\xa7 OR 1=1"),
    ({"query": PLAIN}, b"x" * 5000),
    ({"query": "SELECT 'a' '%s'"}, b"it's"),
    ({"query": "SELECT _utf8mb4'%s' AS 'x %u'"}, b"it's@b"),
    ({"query": "SELECT CONCAT('it''s ', '%u', ' \\\\ ', '%d')"}, b"o'x@d'e"),
    ({"query": "SELECT v FROM t WHERE k IN ('multi', '%s') /* '%u' */ -- '%d'"}, b"a%b"),
    ({"query": "SELECT v FROM t WHERE k LIKE 'm%%' AND v LIKE '%u%%'"}, b"m3"),
    ({"query": "SELECT %u + 1"}, b"41@x"),
    ({"query": "SELECT v FROM t LIMIT %u"}, b"1@x"),
    ({"query": "SELECT v FROM %1 WHERE k = 'a_b'"}, b"u@t"),
    ({"query": "SELECT v FROM `%d` WHERE k = 'a_b'"}, b"u@t"),
    ({"query": "CALL find('%s')"}, b"multi"),
    ({"query": "CALL find('%s')"}, b"none"),
    ({"query": "SELECT BINARY '%s' COLLATE utf8mb4_bin"}, b"x"),
    ({"query": "SELECT IF('%u' REGEXP '^[0-9]+$', 'number', 'word')"}, b"17@x"),
    ({"query": "SELECT 'one', 'two'", "result_format": "%s:%U", "expansion_limit": "2"}, b"a@b"),
    ({"query": "SELECT 1.50, 2e3, DATE('2026-11-22'), TRUE, 9999999999"}, b"a"),
    ({"query": "SELECT '%s' UNION ALL SELECT 'end'"}, b"a"),
]


@pytest.fixture(scope="module")
def site():
    out = subprocess.run([HERE / "debian", "--root", "postfix-mysql"], capture_output=True, text=True)
    if out.returncode != 0:
        pytest.skip(f"Debian's postfix-mysql cannot be had: {out.stderr.strip()}")
    root = pathlib.Path(out.stdout.strip())
    with own_database() as db:
        db.sql("CREATE DATABASE peer CHARACTER SET utf8mb4; CREATE USER reader@localhost IDENTIFIED BY 'secret'; GRANT ALL ON peer.* TO reader@localhost", database="mysql")
        db.sql("CREATE TABLE t (k VARCHAR(255), v VARCHAR(255), w VARCHAR(255)); CREATE PROCEDURE find(IN x VARCHAR(255)) SELECT v FROM t WHERE k = x;", database="peer")
        for row in ROWS:
            db.sql("INSERT INTO t VALUES (" + ", ".join("NULL" if c is None else "'" + c.replace("\\", "\\\\").replace("'", "''") + "'" for c in row) + ")", database="peer")
        etc = db.dir / "etc"
        (etc / "queue").mkdir(parents=True)
        (etc / "main.cf").write_text(f"compatibility_level = 3.6\nmeta_directory = {etc}\nshlib_directory = {root}/usr/lib/postfix\nqueue_directory = {etc}/queue\nmyhostname = peer.test\n")
        (etc / "dynamicmaps.cf").write_text("mysql postfix-mysql.so dict_mysql_open\n")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:  # Postfix's commands sleep for a second before they fail
            yield dict(enumerate(pool.map(lambda n: both(root, db, etc, n), range(len(CASES)))))


def both(root, db, etc, case):
    """What Debian's postmap and ours say: (exit code, answer, standard error) each."""
    settings, key = CASES[case]
    lines = {"hosts": f"unix:{db.socket}", "user": "reader", "password": "secret", "dbname": "peer", **settings}
    file = etc / f"{case}.cf"
    file.write_text("".join(f"{k} = {v}\n" for k, v in lines.items() if v is not None))
    theirs = dict(os.environ, LD_LIBRARY_PATH=f"{root}/usr/lib/postfix")
    answers = []
    for program, env in ((f"{root}/usr/sbin/postmap", theirs), (SBIN / "postmap", None)):
        out = subprocess.run([program, "-c", etc, "-q", key, f"mysql:{file}"], capture_output=True, env=env, timeout=120)
        answers.append((out.returncode, out.stdout, out.stderr))
    return answers


@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda n: repr(CASES[n])[:80])
def test_same_answer(site, case):
    theirs, ours = site[case]
    assert ours[:2] == theirs[:2], (ours, theirs)
    told_by_one = "foo" in CASES[case][0] or b"non-UTF-8 key" in theirs[2]  # a name that nothing obeys; a key that nothing can have
    assert bool(ours[2]) == bool(theirs[2]) or told_by_one, (ours, theirs)
    assert b"secret" not in ours[2]
