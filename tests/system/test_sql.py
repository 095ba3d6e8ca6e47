"""mysql: tables through proxymap: who is asked, what is served, and that no name becomes SQL.

The expected answers of mysql_table(5) are those of Debian's postmap; tests/peer/test_mysql.py asks both.
"""
import contextlib
import os
import pwd
import re

import pytest
from auth_protocol import Link
from conftest import own_instance, wait_until
from frames import Frames
from mariadb import own_database

SECRET = "s3cret-of-the-database"
PORT = 27290
# Names that somebody has; each is found under that very name and no other.
ODD = ["o'brien", "100%", "under_score", "back\\slash", 'say"so"', "semi;colon", "d--ash", "hash#", "`tick`", "caf\u00e9", "\u4e2d\u6587", "x" * 64]
# Names that nobody has, and that would find somebody were they SQL or a pattern.
EVIL = ["' OR '1'='1", "' OR ''='", "x' UNION SELECT 'r' -- ", "'; DROP TABLE who; -- ", "\\' OR 1=1 -- ", "%", "_lice", "a%", "alice'", "alice\\", "alice\"",
        "alice' #", "alice'/*", "\u2019 OR 1=1", "ALICE ' OR 'a'='a", "?", "alice?", "%s", "%u", "1 OR 1=1"]


class Site:
    pass


def table(site, name, query, mode=0o640, **settings):
    """A file as mysql_table(5) has it, of root and the daemons' group or of root alone."""
    path = site.dir / f"{name}.cf"
    settings = {"hosts": f"unix:{site.db.socket}", "user": "reader", "password": SECRET, "dbname": "posthorn", "query": query, **settings}
    path.write_text("".join(f"{k} = {v}\n" for k, v in settings.items() if v is not None))
    os.chown(path, 0, pwd.getpwnam("postfix").pw_gid if mode == 0o640 else 0)
    path.chmod(mode)
    return f"mysql:{path}"


def quoted(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


@pytest.fixture(scope="module")
def site():
    if os.geteuid() != 0:
        pytest.skip("files that only root reads are root's to make")
    with contextlib.ExitStack() as stack:
        s = Site()
        s.db = stack.enter_context(own_database("--port", str(PORT)))
        s.dir = s.db.dir / "tables"
        s.dir.mkdir()
        s.db.sql("CREATE DATABASE posthorn CHARACTER SET utf8mb4; " + "".join(
            f"CREATE USER reader@'{host}' IDENTIFIED BY '{SECRET}'; GRANT SELECT ON posthorn.* TO reader@'{host}';" for host in ("localhost", "127.0.0.1")), database="mysql")
        s.sql = lambda text: s.db.sql(text, database="posthorn")
        s.sql("CREATE TABLE who (name VARCHAR(255) COLLATE utf8mb4_bin, domain VARCHAR(255), value VARCHAR(255), id INT); CREATE TABLE domains (domain VARCHAR(255));"
              "INSERT INTO domains VALUES ('sql.test'), ('second.test'); INSERT INTO who VALUES ('alice', 'sql.test', 'sql.test/alice/', 1), ('bob', 'sql.test', 'sql.test/bob/', 2);"
              + "".join(f"INSERT INTO who VALUES ({quoted(n)}, 'odd.test', {quoted('v-' + n)}, 10);" for n in ODD))
        s.domains = table(s, "domains", "SELECT domain FROM domains WHERE domain='%s'")
        s.boxes = table(s, "boxes", "SELECT value FROM who WHERE name = '%u' AND domain = '%d'", mode=0o600)
        s.access = table(s, "access", "SELECT 'REJECT not you' FROM who WHERE CONCAT(name, '@', domain) = '%s' AND name = 'bob'")
        s.senders = table(s, "senders", "SELECT '550 5.7.1 blocked' FROM who WHERE name='%u' AND '%d' = 'blocked.test'")
        s.aliases = table(s, "aliases", "SELECT CONCAT('alice@', '%d') FROM domains WHERE '%u' = 'postmaster' AND domain = '%d'")
        s.network = table(s, "network", "SELECT value FROM who WHERE name = '%u' AND domain = '%d'", hosts=f"inet:127.0.0.1:{PORT}")
        s.nowhere = table(s, "nowhere", "SELECT value FROM who WHERE name = '%u' AND domain = '%d'", hosts="no-such-host.invalid")
        s.wrong = table(s, "wrong", "SELECT 1", expansion_limit="many")
        s.unnamed = table(s, "unnamed", "SELECT '1'")
        s.sql_ext = s.dir / "dovecot-sql.conf.ext"
        s.sql_ext.write_text(f"driver = mysql\nconnect = host={s.db.socket} dbname=posthorn user=reader password={SECRET}\ndefault_pass_scheme = PLAIN\n"
                             "password_query = SELECT '%u' AS user, value AS password, NULL AS nothing, '' AS empty, '%s' AS userdb_service FROM who WHERE name = '%n' AND domain = '%d'\n"
                             "user_query = SELECT value AS home, 5000 AS uid, 5000 AS gid, '*:bytes=1048576' AS quota_rule FROM who WHERE CONCAT(name, '@', domain) = '%u'\n"
                             "iterate_query = SELECT name AS username, domain FROM who ORDER BY name\nunknown_key = 1\n")
        for name, query in (("many", "SELECT CONCAT('user', seq) AS username, 'many.test' AS domain FROM seq_1_to_150000"), ("broken_list", "SELECT nosuch AS user FROM who")):
            path = s.dir / f"{name}.conf.ext"
            path.write_text(f"driver = mysql\nconnect = host={s.db.socket} dbname=posthorn user=reader password={SECRET}\niterate_query = {query}\n")
            setattr(s, name, path)
        s.word = s.dir / "word.conf.ext"  # the password goes into the query
        s.word.write_text(f"driver = mysql\nconnect = host={s.db.socket} dbname=posthorn user=reader password={SECRET}\n"
                          "password_query = SELECT '%u' AS user, NULL AS password, 'y' AS nopassword FROM who WHERE name = '%n' AND domain = '%d' AND CONCAT('w-', value) = '%w'\n")
        s.sql_ext.chmod(0o600)
        s.i = stack.enter_context(own_instance(
            27200, f"virtual_mailbox_domains = proxy:{s.domains}", f"virtual_mailbox_maps = {s.boxes}", f"virtual_alias_maps = unionmap:{{{s.aliases},inline:{{x@sql.test=bob@sql.test}}}}",
            "smtpd_restriction_classes = asked", f"asked = check_recipient_access {s.access}", "smtpd_recipient_restrictions = reject_unauth_destination, asked",
            f"relay_domains = {s.wrong}", "smtpd_client_connection_count_limit = 0", "smtpd_hard_error_limit = 1000", "smtpd_junk_command_limit = 1000",
            "smtpd_error_sleep_time = 0", f"auth_userdb = sql:{s.sql_ext} {{ sql:{s.many}, skip=found }}, sql:{s.broken_list}",
            f"auth_passdb = sql:{s.sql_ext} sql:{s.word}", "auth_username_chars =", "auth_failure_delay = 0",
            f"smtpd_sender_login_maps = {s.network} proxy:{s.nowhere}", services=f"127.0.0.1:27226 inet n - y - - smtpd -o smtpd_sender_restrictions=check_sender_access,{s.senders}\n"))
        yield s


@contextlib.contextmanager
def session(site, port=None):
    with site.i.smtp(port) as s:
        s.ehlo()
        s.mail("x@elsewhere.example")
        yield s


def rcpt(site, address, *options):
    """The code of one RCPT in a session of its own; address: bytes or text, as it goes between < and >."""
    with site.i.smtp() as s:
        s.ehlo()
        s.sock.sendall(b"MAIL FROM:<x@elsewhere.example>" + (b" SMTPUTF8" if options else b"") + b"\r\n")
        assert s.getreply()[0] == 250
        s.sock.sendall(b"RCPT TO:<" + (address if isinstance(address, bytes) else address.encode()) + b">\r\n")
        return s.getreply()


def postmap(site, key, spec, ok=False):
    return site.i.tool("postmap", "-q", key, spec, ok=ok)


def test_recipients(site):
    assert rcpt(site, "alice@sql.test")[0] == 250
    assert rcpt(site, "alice+tag@sql.test")[0] == 250
    assert rcpt(site, "postmaster@sql.test")[0] == 250  # by the alias table inside unionmap:
    code, text = rcpt(site, "nobody@sql.test")
    assert code == 550 and b"User unknown" in text
    code, text = rcpt(site, "bob@sql.test")
    assert code == 554 and b"not you" in text  # by the table inside a restriction class


def test_a_user_refused_then_inserted(site):
    assert rcpt(site, "fresh@sql.test")[0] == 550
    site.sql("INSERT INTO who VALUES ('fresh', 'sql.test', 'sql.test/fresh/', 3)")
    assert rcpt(site, "fresh@sql.test")[0] == 250


def test_a_table_that_only_master_cf_names(site):
    with site.i.smtp(27226) as s:
        s.ehlo()
        s.mail("alice@blocked.test")
        assert s.rcpt("alice@sql.test")[0] == 550
        s.rset()
        s.mail("alice@other.test")
        assert s.rcpt("alice@sql.test")[0] == 250


def test_a_wrong_line_stops_only_its_own_table(site):
    mark = site.i.log_mark()
    codes = [rcpt(site, f"x@unknown{n}.test")[0] for n in range(3)]  # relay_domains cannot tell
    assert codes == [451] * 3
    assert rcpt(site, "alice@sql.test")[0] == 250
    said = [l for l in site.i.log(mark).splitlines() if "wrong.cf, line 6: expansion_limit: bad numerical configuration" in l]
    assert len(said) <= 2, said  # once when it was opened, then once a minute
    assert f"{site.dir}/wrong.cf, line 6: expansion_limit" in site.i.log()
    assert f"{site.sql_ext} line 7: Unknown setting: unknown_key" in site.i.log()


@pytest.mark.parametrize("name", EVIL)
def test_no_name_is_sql(site, name):
    local = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    utf8 = () if name.isascii() else ("SMTPUTF8",)
    code, text = rcpt(site, f"{local}@sql.test", *utf8)  # 554: "%" makes it an address to relay for
    assert code in (550, 554), text
    assert postmap(site, f"{name}@sql.test", site.boxes).returncode == 1
    assert postmap(site, f"alice@{name}", site.boxes).returncode == 1
    assert site.sql("SELECT COUNT(*) FROM who WHERE name = 'alice'") == [["1"]]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_found(site, name):
    out = postmap(site, f"{name}@odd.test", site.boxes)
    assert (out.returncode, out.stdout) == (0, f"v-{name}\n"), out.stderr
    assert postmap(site, f"{name}x@odd.test", site.boxes).returncode == 1


def test_bytes_that_are_no_text(site):
    for address in (b"al\xffice@sql.test", b"\xc0\xa7 OR 1=1@sql.test", b'"\xbf\x27 OR 1=1 -- "@sql.test', b"alice\x00@sql.test", b"\xed\xa0\x80@sql.test"):
        code, text = rcpt(site, address, "SMTPUTF8")
        assert 500 <= code < 600, (address, text)
    assert rcpt(site, b"a" * 1000 + b"@sql.test")[0] in (500, 501, 550)
    out = postmap(site, b"al\xffice@sql.test", site.boxes)
    assert (out.returncode, out.stdout) == (1, "") and "error" not in out.stderr
    long = postmap(site, "x" * 65000 + "@sql.test", site.boxes)
    assert long.returncode == 1 and long.stdout == ""
    assert rcpt(site, "alice@sql.test")[0] == 250


def proxymap(site):
    return Frames(f"{site.i.queue_dir}/private/proxymap", "proxymap", 5)


def lookup(f, table, key, flags=1):
    name, values = f.ask("lookup", [("table", table), ("flags", flags), ("key", key)])
    return name, [v for v in values if v not in (("at", b"0"), ("key", b"0"), ("keep_ms", b"1000"))]


def test_several_keys_are_one_question(site):
    """The first key that any table knows wins, as if they were asked one after the other."""
    f = proxymap(site)
    two = [("table", site.boxes), ("table", site.aliases), ("flags", 1)]
    found = lambda *keys: f.ask("lookup", [*two, *[("key", k) for k in keys]])
    assert found("nobody@sql.test", "alice@sql.test", "bob@sql.test") == ("found", [("at", b"0"), ("key", b"1"), ("value", b"sql.test/alice/"), ("keep_ms", b"0")])
    assert found("alice@sql.test", "bob@sql.test") == ("found", [("at", b"0"), ("key", b"0"), ("value", b"sql.test/alice/"), ("keep_ms", b"1000")])
    assert found("nobody@sql.test") == ("none", [])
    assert f.ask("lookup", [("table", site.boxes), ("table", site.unnamed), ("flags", 1), ("key", "nobody@sql.test"), ("key", "alice@sql.test")]) == (
        "denied", [("at", b"1"), ("key", b"0")])


def test_what_nothing_names_is_not_served(site):
    mark = site.i.log_mark()
    f = proxymap(site)
    assert lookup(f, site.boxes, "alice@sql.test") == ("found", [("value", b"sql.test/alice/")])
    for spec in (site.unnamed, f"sql:{site.sql_ext}", f"mysql:{site.sql_ext}", "mysql:/etc/shadow", "mysql:", "", f"proxy:{site.boxes}", "texthash:/etc/passwd"):
        assert lookup(f, spec, "x") == ("denied", []), spec
    both = [("table", site.unnamed), ("table", site.boxes)]
    assert f.ask("lookup", [*both, ("flags", 1), ("key", "alice@sql.test")]) == ("denied", [("at", b"0"), ("key", b"0")])
    assert f.ask("lookup", [*both[::-1], ("flags", 1), ("key", "nobody@sql.test")]) == ("denied", [("at", b"1"), ("key", b"0")])
    assert f.ask("lookup", [("table", site.boxes)] * 17 + [("flags", 1), ("key", "nobody@sql.test")])[0] == "retry"
    assert f.ask("lookup", [("table", site.boxes), ("flags", 1), *[("key", "nobody@sql.test")] * 17])[0] == "retry"
    assert f.ask("lookup", [("table", site.boxes), ("flags", 1)])[0] == "retry"
    for source in (str(site.dir / "boxes.cf"), "/etc/shadow", ""):
        assert f.ask("sql", [("source", source), ("query", "password"), ("fresh", 0)]) == ("denied", [])
    assert 'request for unauthorized table: "mysql:/etc/shadow"' in site.i.log(mark)
    f.close()


def sql_ask(f, source, query, then=None, **variables):
    values = [("source", source), ("query", query), ("fresh", variables.pop("fresh", 0)), *([("then", then)] if then else [])]
    for name, value in variables.items():
        values += [("name", name), ("value", value)]
    name, answer = f.ask("sql", values)
    row = {}
    for i, (key, value) in enumerate(answer):
        if key == "column":
            cell = answer[i + 1][1]
            row[value.decode()] = cell[1:].decode() if cell else None
    return name, row, dict(answer)


def test_queries_of_dovecot(site):
    f = proxymap(site)
    name, row, all = sql_ask(f, site.sql_ext, "password", user="alice@sql.test", service="imap")
    assert name == "found" and row == {"user": "alice@sql.test", "password": "sql.test/alice/", "nothing": None, "empty": "", "userdb_service": "imap"}
    assert all["scheme"] == b"PLAIN" and set(all["variables"].split()) == {b"user", b"service"}
    name, row, all = sql_ask(f, site.sql_ext, "user", user="alice@sql.test")
    assert name == "found" and row == {"home": "sql.test/alice/", "uid": "5000", "gid": "5000", "quota_rule": "*:bytes=1048576"}
    assert sql_ask(f, site.sql_ext, "user", user="nobody@sql.test")[0] == "none"
    name, _, all = sql_ask(f, site.sql_ext, "password", user="alice@sql.test")
    assert name == "retry" and b"Unknown variable '%s'" in all["why"]
    site.sql("INSERT INTO who VALUES ('twice', 'sql.test', 'a', 4), ('twice', 'sql.test', 'b', 5)")
    assert sql_ask(f, site.sql_ext, "password", user="twice@sql.test", service="x")[0] == "retry"
    assert sql_ask(f, site.sql_ext, "user", user="twice@sql.test")[0] == "found"  # Dovecot takes the first
    f.close()


def test_a_user_is_asked_along_with_the_password(site):
    f = proxymap(site)
    name, row, all = sql_ask(f, site.sql_ext, "password", then=site.sql_ext, user="alice@sql.test", service="imap")
    assert name == "found" and row["password"] == "sql.test/alice/" and b"user" in all["then_variables"].split()
    values = [("source", site.sql_ext), ("query", "password"), ("fresh", 0), ("then", site.sql_ext), ("name", "user"), ("value", "alice@sql.test"), ("name", "service"), ("value", "imap")]
    then = [v for k, v in f.ask("sql", values)[1] if k in ("then_column", "then_cell")]
    assert dict(zip(then[::2], then[1::2])) == {b"home": b"=sql.test/alice/", b"uid": b"=5000", b"gid": b"=5000", b"quota_rule": b"=*:bytes=1048576"}
    for source in ("/etc/shadow", str(site.dir / "boxes.cf")):  # not served, and the password is answered all the same
        name, row, all = sql_ask(f, site.sql_ext, "password", then=source, user="alice@sql.test", service="imap")
        assert name == "found" and row["password"] == "sql.test/alice/" and "then_variables" not in all
    assert "then_variables" not in sql_ask(f, site.sql_ext, "password", then=site.sql_ext, user="nobody@sql.test", service="imap")[2]
    assert "then_variables" not in sql_ask(f, site.sql_ext, "user", then=site.sql_ext, user="alice@sql.test")[2]
    f.close()


def test_no_login_name_is_sql(site):
    f = proxymap(site)
    for name in EVIL + [n + "@sql.test" for n in EVIL] + ["alice@" + n for n in EVIL]:
        for query in ("password", "user"):
            assert sql_ask(f, site.sql_ext, query, user=name, service=name)[0] == "none", name
    for name in ODD:
        got, row, _ = sql_ask(f, site.sql_ext, "password", user=f"{name}@odd.test", service="' OR 1 --")
        assert got == "found" and row["password"] == f"v-{name}" and row["userdb_service"] == "' OR 1 --"
    for name in (b"a\xff@sql.test", b"\xc0\xa7@sql.test", b"x" * 65536, b"'" * 65536 + b"@sql.test"):
        assert sql_ask(f, site.sql_ext, "user", user=name)[0] == "none"
    for name in (b"alice\0@sql.test", b"x" * 200000):
        assert sql_ask(f, site.sql_ext, "user", user=name)[0] == "retry"
    assert site.sql("SELECT COUNT(*) FROM who WHERE name = 'alice'") == [["1"]]
    f.close()


def login(site, user, password):
    link = Link(f"{site.i.queue_dir}/private/auth")
    try:
        return (link.auth(user, password, params="service=smtp\tno-penalty") or ["CLOSED"])[0]
    finally:
        link.sock.close()


def test_no_login_is_sql(site):
    assert login(site, "alice@sql.test", "sql.test/alice/") == "OK" and login(site, "alice@sql.test", "w-sql.test/alice/") == "OK"
    for name in ODD:
        assert login(site, f"{name}@odd.test", f"v-{name}") == "OK", name
        assert login(site, f"{name}@odd.test", f"w-v-{name}") == "OK", name  # the password is in the query
    for evil in EVIL:
        for user, password in ((evil, evil), (evil, "sql.test/alice/"), (f"{evil}@sql.test", "sql.test/alice/"), (f"alice@{evil}", "sql.test/alice/"), ("alice@sql.test", evil),
                               ("alice@sql.test", f"w-sql.test/alice/{evil}")):
            assert login(site, user, password) == "FAIL", (user, password)
    for odd in ("al\udcffice", "\udcc0\udca7 OR 1=1", "x" * 3000, "'" * 3000, "x" * 65536, "\udced\udca0\udc80"):
        assert login(site, f"{odd}@sql.test", "sql.test/alice/") in ("FAIL", "CLOSED"), odd[:20]
        assert login(site, "alice@sql.test", odd) in ("FAIL", "CLOSED"), odd[:20]
    assert login(site, "alice@sql.test", "sql.test/alice/") == "OK"
    assert site.sql("SELECT COUNT(*) FROM who WHERE name = 'alice'") == [["1"]]


def all_users(site, source):
    """(what ended the rows, users, most memory that proxymap took meanwhile in KiB)"""
    f = proxymap(site)
    f.send("sql_each", [("source", str(source))])
    names = []
    while True:
        name, values = f.receive()
        if name != "row":
            f.close()
            return name, names, dict(values)
        row = dict(zip((v for k, v in values if k == "column"), (v[1:] for k, v in values if k == "cell")))
        names.append((row[b"username"] + b"@" + row[b"domain"]).decode())


def test_all_users(site):
    end, names, _ = all_users(site, site.sql_ext)
    assert end == "end" and "alice@sql.test" in names and {n + "@odd.test" for n in ODD} <= set(names)


def test_very_many_users_pass_through(site):
    def peak():
        return int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{site.i.pids('proxymap')[0]}/status").read())[1])

    before = peak()
    end, names, _ = all_users(site, site.many)
    assert end == "end" and len(names) == 150000 and names[-1] == "user150000@many.test"
    assert peak() - before < 4096  # KiB: rows are not gathered
    end, names, why = all_users(site, site.broken_list)
    assert end == "retry" and names == [] and b"nosuch" in why["why"]


def test_a_server_on_the_network(site):
    assert postmap(site, "alice@sql.test", site.network).stdout == "sql.test/alice/\n"
    mark = site.i.log_mark()
    out = site.i.run("ss", "-xtpn", ok=False).stdout
    assert re.search(rf"127\.0\.0\.1:{PORT}\b.*proxymap", out) or not out, out
    assert postmap(site, "alice@sql.test", site.nowhere).returncode == 1  # DNS knows no such host, or is not there
    site.i.wait_log(r"nowhere\.cf.*no-such-host\.invalid|no-such-host\.invalid.*nowhere\.cf", mark)
    assert postmap(site, "bob@sql.test", site.network).stdout == "sql.test/bob/\n"


def test_a_changed_file(site):
    other = table(site, "changes", "SELECT 'one'")
    site.i.postconf(f"smtpd_sender_login_maps = {other}")
    site.i.reload()
    f = proxymap(site)
    assert lookup(f, other, "x") == ("found", [("value", b"one")])
    mark = site.i.log_mark()
    table(site, "changes", "SELECT 'two'")
    site.i.wait_log(r"table mysql:\S*changes.cf has changed -- restarting", mark)
    f.close()

    def answer():
        f = proxymap(site)
        try:
            return lookup(f, other, "x")
        except (EOFError, OSError):
            return None
        finally:
            f.close()

    wait_until(lambda: answer() == ("found", [("value", b"two")]), what="the new query")


def test_a_file_that_comes_later(site):
    late = f"mysql:{site.dir}/late.cf"
    site.i.postconf(f"smtpd_sender_login_maps = {late}")
    site.i.reload()
    f = proxymap(site)
    assert lookup(f, late, "x") == ("retry", [])
    (before,) = site.i.pids("proxymap")
    mark = site.i.log_mark()
    table(site, "late", "SELECT 'here'", mode=0o600)
    site.i.wait_log(r"table mysql:\S*late.cf has changed -- restarting", mark)
    f.close()
    wait_until(lambda: postmap(site, "x", late).stdout == "here\n" and before not in site.i.pids("proxymap"), what="the new file")


def test_tools(site):
    types = site.i.tool("postconf", "-m").stdout.split()
    assert "mysql" in types and "sql" not in types
    out = site.i.tool("postmap", "-q", "-", site.boxes, input="alice@sql.test\nnobody@sql.test\nbob@sql.test\n")
    assert out.stdout == "alice@sql.test\tsql.test/alice/\nbob@sql.test\tsql.test/bob/\n"
    out = site.i.tool("postmap", "-s", site.boxes, ok=False)
    assert out.returncode == 1 and "cannot be listed" in out.stderr
    assert postmap(site, "x", site.unnamed).stdout == "1\n"  # the service does not serve it
    out = postmap(site, "x", site.wrong)
    assert out.returncode == 1 and "wrong.cf, line 6: expansion_limit: bad numerical configuration" in out.stderr


def test_postfix_check_names_what_is_wrong(site):
    out = site.i.postfix("check").stderr
    assert f"{site.dir}/wrong.cf, line 6: expansion_limit: bad numerical configuration" in out
    assert f"{site.sql_ext} line 7: Unknown setting: unknown_key" in out
    assert "unnamed.cf" not in out and SECRET not in out


def test_postmap_goes_through_the_service(site):
    name = "SELECT CONNECTION_ID()"
    spec = table(site, "connection", name)
    site.i.postconf(f"smtpd_sender_login_maps = {spec}")
    site.i.reload()
    f = proxymap(site)
    ours = {lookup(f, spec, str(n))[1][0][1] for n in range(3)}
    f.close()
    assert postmap(site, "other", spec).stdout.strip().encode() in ours
    assert postmap(site, "other", table(site, "unnamed2", name)).stdout.strip().encode() not in ours


def holders(site, secret):
    """Names of the daemons whose memory holds the secret."""
    found = set()
    for pid, name in {**site.i.daemons(), site.i.master(): "master"}.items():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
            for line in maps:
                m = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
                if not m:
                    continue
                start, end = int(m[1], 16), int(m[2], 16)
                with contextlib.suppress(OSError, ValueError, OverflowError):
                    mem.seek(start)
                    if secret in mem.read(end - start):
                        found.add(name)
    return found


def test_only_proxymap_holds_the_password(site):
    assert rcpt(site, "alice@sql.test")[0] == 250
    assert holders(site, SECRET.encode()) == {"proxymap"}
    assert SECRET not in site.i.log()
    for pid in site.i.daemons():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline") as f:
            assert SECRET not in f.read()


def test_least_privilege(site):
    (pid,) = site.i.pids("proxymap")
    status = dict(l.split(":\t", 1) for l in open(f"/proc/{pid}/status") if ":\t" in l)
    assert status["Uid"].split()[0] == str(pwd.getpwnam("postfix").pw_uid) and status["Seccomp"].strip() == "2" and status["NoNewPrivs"].strip() == "1"
    assert status["CapEff"].strip() == "0" * 16


def test_without_the_service(site):
    site.i.postfix("stop")
    wait_until(lambda: site.i.postfix("status", ok=False).returncode != 0, what="stop")
    try:
        assert postmap(site, "alice@sql.test", site.boxes).stdout == "sql.test/alice/\n"
        assert postmap(site, "nobody@sql.test", site.boxes).returncode == 1
        site.db.stop()
        out = postmap(site, "alice@sql.test", site.boxes)
        assert out.returncode == 1 and "mysqld.sock" in out.stderr and SECRET not in out.stderr
    finally:
        site.db.start()
        site.i.postfix("start")
