"""Users of authd in a database: PostfixAdmin's table, dovecot-sql.conf.ext as the deployment guide has it, the database that is away."""
import contextlib
import imaplib
import os
import signal
import smtplib
import threading
import time

import pytest
from auth_protocol import DebianAuth, Link, b64
from conftest import own_instance, wait_until
from mariadb import own_database
from test_authd import answers

QUERIES = """\
driver = mysql
connect = host={socket} dbname=postfixadmin user={user} password={password}
default_pass_scheme = PLAIN
password_query = SELECT COALESCE(called.name, username) AS user, password, {more} FROM mailbox LEFT JOIN extra USING (username) LEFT JOIN called USING (username) WHERE username = '%u' AND active = '1'
user_query = SELECT maildir, 5000 AS uid, 5000 AS gid, CONCAT('*:bytes=', quota) AS quota_rule FROM mailbox WHERE username = '%u' AND active = '1'
iterate_query = SELECT username AS user FROM mailbox ORDER BY username
"""
MORE = "allow_nets, nologin, userdb_import"


class Site:
    def link(self, name):
        return Link(f"{self.i.queue_dir}/private/{name}")

    def auth(self, user, password):
        return self.link("auth").auth(user, password)

    def user(self, user):
        return self.link("auth-userdb").ask(f"USER\t1\t{user}\tservice=lmtp")

    def add(self, user, password, active=1, quota=0):
        local, domain = user.split("@")
        self.db.sql("INSERT INTO mailbox (username, password, name, maildir, quota, local_part, domain, active, created, modified, password_expiry) "
                    f"VALUES ('{user}', '{password}', '', '{domain}/{local}/', {quota}, '{local}', '{domain}', {active}, NOW(), NOW(), '2040-01-01')")

    def password(self, user, password):
        self.db.sql(f"UPDATE mailbox SET password = '{password}' WHERE username = '{user}'")


@contextlib.contextmanager
def site(port_base, *settings):
    if os.geteuid() != 0:
        pytest.skip("files that only root reads are root's to make")
    with contextlib.ExitStack() as stack:
        s = Site()
        s.db = stack.enter_context(own_database())
        s.db.sql("CREATE TABLE extra (username VARCHAR(255) PRIMARY KEY, allow_nets VARCHAR(255), nologin VARCHAR(9), userdb_import VARCHAR(255)); "
                 "CREATE TABLE called (username VARCHAR(255) PRIMARY KEY, name VARCHAR(255)); "
                 "GRANT SELECT ON extra TO postfix@localhost; GRANT SELECT ON called TO postfix@localhost; INSERT IGNORE INTO domain (domain, description, transport, backupmx, active, created, modified) VALUES ('sql.test', '', 'virtual', 0, 1, NOW(), NOW())")
        for user in "alice", "bob", "carol":
            s.add(f"{user}@sql.test", f"{user}-pw", quota=1048576)
        s.add("idle@sql.test", "idle-pw", active=0)
        conf = s.db.dir / "dovecot-sql.conf.ext"
        conf.write_text(QUERIES.format(**{"socket": s.db.socket, "more": MORE, **s.db.login()}))
        conf.chmod(0o600)
        s.i = stack.enter_context(own_instance(
            port_base, f"auth_passdb = sql:{conf}", f"auth_userdb = sql:{conf}", "auth_failure_delay = 0", "mail_home = $virtual_mailbox_base/%d/%n",
            "mail_location = maildir:$virtual_mailbox_base/%d/%n/", "virtual_mailbox_domains = sql.test", "virtual_mailbox_maps = proxy:mysql:" + str(mailbox_table(s.db)),
            "virtual_transport = lmtp:unix:private/dovecot-lmtp", "userdb_service = private/auth-userdb", *settings))
        yield s


def mailbox_table(db):
    path = db.dir / "mailboxes.cf"
    path.write_text(f"hosts = unix:{db.socket}\ndbname = postfixadmin\nquery = SELECT maildir FROM mailbox WHERE username='%s' AND active = '1'\n"
                    + "".join(f"{k} = {v}\n" for k, v in db.login().items() if k in ("user", "password")))
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def plain():
    with site(27600, "auth_username_chars =") as s:
        yield s


def test_users_of_the_database(plain):
    assert plain.auth("alice@sql.test", "alice-pw") == ["OK", "1", "user=alice@sql.test"]
    assert plain.auth("alice@sql.test", "bob-pw")[:3] == ["FAIL", "1", "user=alice@sql.test"]
    assert plain.auth("idle@sql.test", "idle-pw")[0] == "FAIL" and plain.auth("nobody@sql.test", "x")[0] == "FAIL"
    assert plain.user("alice@sql.test") == ["USER", "1", "alice@sql.test", "maildir=sql.test/alice/", "uid=5000", "gid=5000", "quota_rule=*:bytes=1048576"]
    assert plain.user("idle@sql.test") == ["NOTFOUND", "1"] and plain.user("nobody@sql.test") == ["NOTFOUND", "1"]
    userdb = plain.link("auth-userdb")
    userdb.send("LIST\t5\tservice=doveadm")
    users = [userdb.read() for _ in range(5)]
    assert [words[2] for words in users[:4]] == ["alice@sql.test", "bob@sql.test", "carol@sql.test", "idle@sql.test"] and users[4][:2] == ["DONE", "5"]


def test_names_that_would_be_sql(plain):
    for user in "' OR '1'='1", "alice@sql.test' -- ", "alice@sql.test\\", "%", "a_ice@sql.test", "alice@sql.test\u00a0", "\udcff@sql.test", "x" * 500:
        assert plain.auth(user, "alice-pw")[0] == "FAIL" and plain.user(user)[0] == "NOTFOUND", user


def test_fields_of_columns(plain):
    plain.db.sql("REPLACE INTO extra VALUES ('carol@sql.test', '192.0.2.0/24', NULL, 'a=1\\tb=2')")
    assert plain.auth("carol@sql.test", "carol-pw") == ["OK", "1", "user=carol@sql.test", "allow_nets=192.0.2.0/24"] or plain.auth("carol@sql.test", "carol-pw")[0] == "OK"
    plain.db.sql("REPLACE INTO extra VALUES ('carol@sql.test', '198.51.100.0/24', 'y', NULL)")
    wait_until(lambda: plain.auth("carol@sql.test", "carol-pw")[0] == "FAIL", what="a row that has changed")
    plain.db.sql("REPLACE INTO extra VALUES ('carol@sql.test', NULL, 'y', NULL)")
    wait_until(lambda: "nologin" in plain.auth("carol@sql.test", "carol-pw"), what="a row that has changed")
    login = plain.link("auth-login")
    assert login.auth("carol@sql.test", "carol-pw")[0] == "OK" and login.claim(plain.link("auth-master"))[0] == "FAIL"


def claimed(site, user, password):
    login = site.link("auth-login")
    return login.auth(user, password), login.claim(site.link("auth-master"))


def test_a_login_asks_once(plain):
    """The userdb's question goes with the password's: that is seen where the database is gone between the two."""
    user = f"once{time.time_ns()}@sql.test"
    plain.add(user, "pw")
    login, master = plain.link("auth-login"), plain.link("auth-master")
    assert login.auth(user, "pw") == ["OK", "1", f"user={user}"]
    plain.db.signal(signal.SIGSTOP)
    try:
        words = login.claim(master)
    finally:
        plain.db.signal(signal.SIGCONT)
    assert words[0] == "USER" and words[2] == user and f"maildir=sql.test/{user.split('@')[0]}/" in words
    wait_until(lambda: plain.auth("nobody@sql.test", "x")[3:] == [], 60, "the database's answers")


def test_who_the_passdb_has_renamed_is_asked_for_anew(plain):
    """What the userdb says of the name that was typed is no answer for the user whom the passdb makes of it."""
    name = f"typed{time.time_ns()}@sql.test"
    plain.add(name, "pw")
    plain.db.sql(f"INSERT INTO called VALUES ('{name}', 'alice@sql.test')")
    ok, user = claimed(plain, name, "pw")
    assert ok[:3] == ["OK", "1", "user=alice@sql.test"]
    assert user[0] == "USER" and user[2] == "alice@sql.test" and "maildir=sql.test/alice/" in user, user


def test_a_user_is_there_at_once(plain):
    name = f"new{time.time_ns()}@sql.test"
    assert plain.auth(name, "pw")[0] == "FAIL" and plain.user(name)[0] == "NOTFOUND"
    plain.add(name, "pw")
    assert plain.auth(name, "pw")[0] == "OK" and plain.user(name)[0] == "USER"


def test_a_password_is_changed(plain):
    """The new one works at once, the old one only as long as sql_cache_time says."""
    for n in range(3):
        old, new = f"bob-{n}", f"bob-{n + 1}"
        plain.password("bob@sql.test", old)
        assert plain.auth("bob@sql.test", old)[0] == "OK"
        plain.password("bob@sql.test", new)
        assert plain.auth("bob@sql.test", new)[0] == "OK"
        assert plain.auth("bob@sql.test", old)[0] == "FAIL"  # the row with the new one is known by now
    plain.password("bob@sql.test", "bob-9")
    start = time.monotonic()
    wait_until(lambda: plain.auth("bob@sql.test", "bob-3")[0] == "FAIL", 60, "the end of an old password")
    assert time.monotonic() - start < 20


def test_the_database_is_away(plain):
    """Nobody is told that a user does not exist or a password is wrong; mail for them waits."""
    assert plain.auth("alice@sql.test", "alice-pw")[0] == "OK" and plain.user("alice@sql.test")[0] == "USER"
    plain.db.signal(signal.SIGSTOP)
    try:
        assert plain.auth("alice@sql.test", "wrong")[3:] == ["code=temp_fail"]
        assert plain.auth("nobody@sql.test", "x")[3:] == ["code=temp_fail"]
        assert plain.user("nobody@sql.test")[:2] == ["FAIL", "1"]
        assert plain.auth("alice@sql.test", "alice-pw")[0] == "OK"  # who was known a moment ago gets in
        with contextlib.closing(smtplib.LMTP(plain.i.lmtp_socket)) as lmtp:
            lmtp.ehlo("client.example")
            lmtp.mail("a@elsewhere.example")
            assert lmtp.rcpt("other@sql.test")[0] in (450, 451)
    finally:
        plain.db.signal(signal.SIGCONT)
    wait_until(lambda: plain.auth("nobody@sql.test", "x")[3:] == [], 60, "the database's answers")
    with contextlib.closing(smtplib.LMTP(plain.i.lmtp_socket)) as lmtp:
        lmtp.ehlo("client.example")
        lmtp.mail("a@elsewhere.example")
        assert lmtp.rcpt("other@sql.test")[0] == 550 and lmtp.rcpt("alice@sql.test")[0] == 250
    assert plain.auth("alice@sql.test", "alice-pw")[0] == "OK"


def test_imap_login_and_delivery(plain):
    plain.i.users["alice@sql.test"] = "alice-pw"
    with plain.i.smtp() as s:
        s.sendmail("x@elsewhere.example", ["alice@sql.test"], b"Subject: marker-of-sql\r\n\r\nbody\r\n")
    assert b"Delivered-To: alice@sql.test" in plain.i.wait_message("marker-of-sql", "alice@sql.test")
    assert os.path.isdir(f"{plain.i.mail_dir}/sql.test/alice/cur")


def test_reload_keeps_logins_in_flight(plain):
    """A conversation that has begun goes on where it began; a login is claimed though its authd is being replaced; nobody is turned away."""
    begun = plain.link("auth")
    assert begun.ask("AUTH\t1\tLOGIN\tservice=smtp\tnologin")[0] == "CONT"
    login, master = plain.link("auth-login"), plain.link("auth-master")
    assert login.auth("alice@sql.test", "alice-pw")[0] == "OK"
    stop, failures, count = threading.Event(), [], [0]

    def log_in():
        while not stop.is_set():
            try:
                with imaplib.IMAP4("127.0.0.1", plain.i.imap_port) as m:
                    m.login("alice@sql.test", "alice-pw")
                    count[0] += 1
            except Exception as e:
                failures.append(repr(e))

    threads = [threading.Thread(target=log_in) for _ in range(3)]
    for t in threads:
        t.start()
    for _ in range(3):
        plain.i.reload()
        time.sleep(1)
    stop.set()
    for t in threads:
        t.join()
    assert not failures and count[0] > 10
    assert begun.ask("CONT\t1\t" + b64("alice@sql.test"))[0] == "CONT"
    assert begun.ask("CONT\t1\t" + b64("alice-pw"))[:2] == ["OK", "1"]
    assert login.claim(master)[:3] == ["USER", "1", "alice@sql.test"]


def users_of(link):
    """The names of a LIST reply, to its end."""
    users = []
    while True:
        words = link.read()
        if words[0] == "DONE":
            assert words[2:] in ([], [""])
            return users
        users.append(words[2])


COMPARED = """\
driver = mysql
connect = host={socket} dbname=postfixadmin user={user} password={password}
password_query = SELECT '%u' AS user, password, allow_nets, nologin, userdb_import AS userdb_userdb_import, NULL AS fail, '%{{service}}' AS asked_by, CONCAT('/home/', '%n') AS userdb_home \\
  FROM mailbox LEFT JOIN extra USING (username) WHERE username = '%Lu'
user_query = SELECT CONCAT('/u/', '%d', '/%2.1n') AS home, 7 AS uid, 8 AS gid, CONCAT('*:bytes=', quota) AS quota_rule, NULL AS nothing, '' AS empty, '%{{passdb:asked_by}}' AS heard \\
  FROM mailbox WHERE username = '%u'
iterate_query = SELECT local_part AS username, domain FROM mailbox ORDER BY username
"""


def test_the_same_database_before_debians_dovecot(plain):
    """One dovecot-sql.conf.ext, both auth services, the answers compared; for queries with default_pass_scheme and without."""
    plain.db.sql("REPLACE INTO extra VALUES ('bob@sql.test', '10.0.0.0/8', NULL, NULL), ('carol@sql.test', NULL, 'y', 'k=v')")
    for user, stored in ("alice", "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols="), ("bob", "{PLAIN}secret"), ("carol", "{PLAIN}secret"), ("idle", "5ebe2294ecd0e0f08eab7690d2a6ee69"):
        plain.password(f"{user}@sql.test", stored)
    plain.add("md5@sql.test", "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1")
    plain.add("none@sql.test", "")
    plain.add("odd@sql.test", "{NOSUCH}x")
    conf = plain.db.dir / "compared.conf.ext"
    conf.write_text(COMPARED.format(**{"socket": plain.db.socket, **plain.db.login()}))
    plain.i.postconf(f"auth_passdb = sql:{conf}", f"auth_userdb = sql:{conf}")
    plain.i.restart()
    blocks = "".join(f"{kind} {{\n  driver = sql\n  args = {conf}\n}}\n" for kind in ("passdb", "userdb"))
    with DebianAuth(blocks + "auth_username_chars =\n", {}) as debian:
        for user in "alice", "bob", "carol", "idle", "md5", "none", "nobody", "ALICE", "a'b", "a\\b":
            name = f"{user}@sql.test"
            mine, theirs = answers(plain, name), answers(debian, name)
            if "'" in name or "\\" in name:  # Dovecot cuts %2.1n through the escape and asks nonsense
                assert mine["USER"] == ["NOTFOUND"]
                del mine["USER"], theirs["USER"]
            assert mine == theirs, name
        assert answers(plain, "odd@sql.test")["AUTH"] == answers(debian, "odd@sql.test")["AUTH"] == ["FAIL", "user=odd@sql.test"]
        listed = []
        for server in plain, debian:
            link = server.link("auth-userdb")
            link.send("LIST\t1\tservice=doveadm")
            listed.append(users_of(link))
        assert listed[0] == listed[1] and "alice@sql.test" in listed[0]


def test_auth_cache():
    """Nothing of it is on unless asked for; then a mismatch asks the database, a flush empties it, and it serves while the database is away."""
    with site(27800, "auth_cache_size = 1000000", "auth_cache_ttl = 3s", "auth_cache_negative_ttl = 0", "sql_cache_time = 0", "sql_stale_time = 0") as s:
        assert s.auth("alice@sql.test", "alice-pw")[0] == "OK" and s.auth("alice@sql.test", "alice-pw")[0] == "OK"
        s.password("alice@sql.test", "second")
        assert s.auth("alice@sql.test", "alice-pw")[0] == "OK"  # remembered for auth_cache_ttl
        assert s.auth("alice@sql.test", "second")[0] == "OK" and s.auth("alice@sql.test", "alice-pw")[0] == "FAIL"
        s.auth("alice@sql.test", "second")
        s.password("alice@sql.test", "third")
        assert s.auth("alice@sql.test", "second")[0] == "OK"
        flush = s.link("auth-master")
        assert flush.ask("CACHE-FLUSH\t1\tbob@sql.test") == ["OK", "1", "0"] and flush.ask("CACHE-FLUSH\t2\tALICE@sql.test") == ["OK", "2", "1"]
        assert s.auth("alice@sql.test", "second")[0] == "FAIL" and s.auth("alice@sql.test", "third")[0] == "OK"
        assert s.user("alice@sql.test")[0] == "USER"
        s.db.stop()
        assert s.auth("alice@sql.test", "third")[0] == "OK" and s.auth("alice@sql.test", "fourth")[3:] == ["code=temp_fail"]
        time.sleep(3.5)
        assert s.auth("alice@sql.test", "third")[0] == "OK" and s.user("alice@sql.test")[0] == "USER"  # expired, but all there is
        assert s.auth("bob@sql.test", "bob-pw")[3:] == ["code=temp_fail"]
        assert flush.ask("CACHE-FLUSH\t3") == ["OK", "3", "2"]
        assert s.auth("alice@sql.test", "third")[3:] == ["code=temp_fail"] and s.user("alice@sql.test")[0] == "FAIL"
        s.db.start()
        wait_until(lambda: s.auth("alice@sql.test", "third")[0] == "OK", 60, "the database")
