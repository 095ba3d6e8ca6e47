"""passdb and userdb: lists, fields, master users; the same files before Debian's Dovecot and before ours, the answers compared."""
import os
import subprocess
import time

import pytest
from auth_protocol import DebianAuth, OurAuthd

USERS = """\
plain:{PLAIN}secret:1001:1002::/home/plain::
fields:{PLAIN}secret:1001:1002::/home/f::userdb_mail=maildir:/m/%u userdb_quota_rule=*:storage=10M userdb_flag foo=bar bare userdb_empty= x=%{rip}
nologin:{PLAIN}secret:1001:1002::/home/f::nologin reason=Go_away
nodelay:{PLAIN}secret:1001:1002::/home/f::nodelay
nets:{PLAIN}secret:1001:1002::/home/f::allow_nets=10.0.0.0/8,192.0.2.1
netsok:{PLAIN}secret:1001:1002::/home/f::allow_nets=10.0.0.0/8,192.0.2.0/24
local:{PLAIN}secret:1001:1002::/home/f::allow_nets=local
realnets:{PLAIN}secret:1001:1002::/home/f::allow_real_nets=10.0.0.0/8
fail:{PLAIN}secret:1001:1002::/home/f::fail=yes reason=nope
nopass::1001:1002::/home/f::nopassword=y
nopass2:{PLAIN}x:1001:1002::/home/f::nopassword=y
nopass3:{PLAIN}:1001:1002::/home/f::nopassword
empty::1001:1002::/home/f::
ren:{PLAIN}secret:1001:1002::/home/f::user=other@dom
renl@d:{PLAIN}secret:1001:1002::/home/f::username=other
rend@d:{PLAIN}secret:1001:1002::/home/f::domain=new.dom
other@dom:{PLAIN}o:1001:1002::/home/other::
other@d:{PLAIN}o:1001:1002::/home/otherd::
names:{PLAIN}secret:nobody:nogroup::/home/f::
noids:{PLAIN}secret::::/home/f::
nohome:{PLAIN}secret:1:2::::
noauth:{PLAIN}secret:1:2::/h::noauthenticate
prot:{PLAIN}secret:1:2::/h::foo=1 foo:protected=2 foo2:protected=3 x=y x:remove=z userdb_home:protected=/other userdb_uid:remove userdb_a:protected=1
temp:{PLAIN}secret:1:2::/h::userdb_tempfail=yes userdb_reason=Come_back
userren:{PLAIN}secret:1:2::/h::userdb_user=other@d
login:{PLAIN}secret:1:2::/h::login_user=plain
md5:5ebe2294ecd0e0f08eab7690d2a6ee69[34]:1:2::/h::
b64:{PLAIN.b64}c2VjcmV0:1:2::/h::
sys:{PLAIN}secret:1:2::/h::userdb_system_groups_user=nobody userdb_chroot=/c userdb_mail_max_userip_connections=3
dup:{PLAIN}one:1:2::/h::
dup:{PLAIN}two:1:2::/h2::
"""
NAMES = list(dict.fromkeys(line.split(":")[0] for line in USERS.splitlines()))


def shown(reply):
    """A reply without its number and the empty words that Dovecot leaves where it hides a field."""
    if reply and reply[0] == "FAIL":  # of the databases' own fields Dovecot shows here what it has not managed to take back
        reply = [word for word in reply if word.partition("=")[0] in ("FAIL", "user", "code", "reason", "original_user", "auth_user")]
        return reply
    return reply and [word for n, word in enumerate(reply) if word and n != 1]


def in_any_order(reply):
    """Which field a database said first decides nothing, but where two databases name the same."""
    return reply and reply[:2] + sorted(reply[2:])


def answers(server, user, password="secret", authzid=""):
    """AUTH and what a master gets for it, USER, PASS."""
    login, master, userdb = server.link("auth-login"), server.link("auth-master"), server.link("auth-userdb")
    auth = login.auth(user, password, authzid=authzid)
    claim = login.claim(master) if auth[0] == "OK" else None
    return {"AUTH": shown(auth), "REQUEST": in_any_order(shown(claim)), "USER": shown(userdb.ask(f"USER\t1\t{user}\tservice=lmtp")), "PASS": shown(userdb.ask(f"PASS\t2\t{user}\tservice=lmtp"))}


def blocks(passdb, userdb):
    """The same lists in the two configurations: rows of (driver, args, {setting: value})."""
    ours, debian = {}, ""
    for kind, rows in ("passdb", passdb), ("userdb", userdb):
        ours[f"auth_{kind}"] = " ".join("{ " + ", ".join([f"{{{driver}:{args}}}", *(f"{k}={{{v}}}" for k, v in more.items())]) + " }" for driver, args, more in rows)
        for driver, args, more in rows:
            lines = [f"driver = {driver}", *([f"args = {args}"] if args else []), *(f"{k} = {v}" for k, v in more.items())]
            debian += kind + " {\n" + "".join(f"  {line}\n" for line in lines) + "}\n"
    return ours, debian


def both(files, passdb, userdb, ours=None, debian=""):
    settings, text = blocks(passdb, userdb)
    return OurAuthd({**settings, **(ours or {})}, files), DebianAuth(text + debian, files)


@pytest.fixture(scope="module")
def pair():
    rows = [("passwd-file", "DIR/users", {})]
    ours, debian = both({"users": USERS}, rows, rows)
    with ours, debian:
        yield ours, debian


@pytest.mark.parametrize("user", [*NAMES, "nobody", "PLAIN"])
def test_fields_are_answered_as_by_dovecot(pair, user):
    ours, debian = (answers(server, user) for server in pair)
    if user in ("nets", "netsok", "local", "realnets", "fail"):  # Dovecot's passwd-file says NOTFOUND of who may not log in, its sql FAIL, as we do
        debian["PASS"] = ["FAIL"] if debian["PASS"] == ["NOTFOUND"] else debian["PASS"]
    assert ours == debian


def test_what_dovecot_lets_in_or_fails_is_later_here():
    """A proxied user, a time that is none: nobody is let in, and nobody told that the password is wrong."""
    users = "proxy:{PLAIN}secret:1:2::/h::proxy=y host=127.0.0.1\ndelay:{PLAIN}secret:1:2::/h::delay_until=soon\nscheme:{NOSUCH}x:1:2::/h::\nuid:{PLAIN}secret:nosuchuser:2::/h::\n"
    rows = [("passwd-file", "DIR/users", {})]
    with OurAuthd(blocks(rows, rows)[0], {"users": users}) as server:
        for user in "proxy", "delay":
            assert server.link("auth").auth(user, "secret") == ["FAIL", "1", f"user={user}", "code=temp_fail"]
        assert "proxy): the user is to be proxied to another host, which is not supported: refused" in server.log().replace(",192.0.2.9", "")
        assert server.link("auth-userdb").ask("USER\t1\tuid\tservice=x") == ["FAIL", "1"]


UNUSABLE = {"unk": "{NOSUCH}pw", "bad64": "{SHA256}!!!", "short": "{SSHA}YWJj", "blf": "{BLF-CRYPT}zz", "pb": "{PBKDF2}zz", "scr": "{SCRAM-SHA-1}zz", "crypt": "{CRYPT}zz", "arg": "{ARGON2I}zz"}


def test_stored_passwords_that_nobody_can_have():
    """As Debian's answers: they match nothing. The log says what is wrong with them, without the text."""
    users = "".join(f"{user}:{stored}:1:2::/h::\n" for user, stored in UNUSABLE.items())
    rows = [("passwd-file", "DIR/users", {})]
    ours, debian = blocks(rows, rows)
    with OurAuthd(ours, {"users": users}) as server:
        said = {user: server.link("auth").auth(user, "pw") for user in UNUSABLE}
        log = server.log()
        for user in set(UNUSABLE) - {"crypt", "arg"}:
            assert f"warning: passwd-file({user},192.0.2.9): " in log.replace("authd: ", ""), log
        assert "!!!" not in log
    with DebianAuth(debian, {"users": users}) as server:
        assert said == {user: server.link("auth").auth(user, "pw") for user in UNUSABLE}


def test_a_success_that_is_told_late():
    rows = [("passwd-file", "DIR/users", {})]
    with OurAuthd(blocks(rows, rows)[0], {"users": f"late:{{PLAIN}}secret:1:2::/h::delay_until={int(time.time()) + 3}\n"}) as server:
        start = time.time()
        assert server.link("auth").auth("late", "secret")[0] == "OK" and 1 < time.time() - start < 10


CHAIN_A = "onlya:{PLAIN}secret:1:1::/a::a=1 c=a userdb_pa=1\nboth:{PLAIN}secret:1:1::/a::a=1 c=a userdb_pa=1\nwronga:{PLAIN}other:1:1::/a::a=1 c=a userdb_pa=1\nwrongb:{PLAIN}secret:1:1::/a::a=1 c=a\n"
CHAIN_B = "onlyb:{PLAIN}secret:2:2::/b::b=1 c=b\nboth:{PLAIN}secret:2:2::/b::b=1 c=b\nwronga:{PLAIN}secret:2:2::/b::b=1 c=b\nwrongb:{PLAIN}other:2:2::/b::b=1 c=b\n"
CHAINS = [
    ({}, {}), ({"result_success": "return-fail"}, {}), ({"result_success": "return"}, {}), ({"result_success": "continue"}, {}),
    ({"result_success": "continue-ok"}, {}), ({"result_success": "continue-fail"}, {}), ({"pass": "yes"}, {}), ({"deny": "yes"}, {}),
    ({"result_failure": "return"}, {}), ({"result_failure": "return-ok"}, {}), ({"result_failure": "continue-ok"}, {}),
    ({"result_success": "continue-ok"}, {"skip": "authenticated"}), ({"result_success": "continue-ok"}, {"skip": "unauthenticated"}),
    ({}, {"result_success": "continue"}), ({}, {"result_success": "return-fail"}), ({"result_success": "continue-ok"}, {"result_failure": "return-fail"}),
    ({"username_filter": "only* !onlyb"}, {}), ({"mechanisms": "login"}, {}),
    ({"default_fields": "d=%u e=%{mech} c=d", "override_fields": "c=o o=%{passdb:a:none}"}, {}),
]


@pytest.mark.parametrize("a,b", CHAINS, ids=lambda settings: ",".join(f"{k}={v}" for k, v in settings.items()) or "-")
def test_two_databases(a, b):
    def for_userdb(settings):
        skips = {"authenticated": "found", "unauthenticated": "notfound"}
        return {k: skips.get(v, v) for k, v in settings.items() if k.startswith(("result", "skip"))}

    passdb = [("passwd-file", "DIR/A", a), ("passwd-file", "DIR/B", b)]
    userdb = [("passwd-file", "DIR/A", for_userdb(a)), ("passwd-file", "DIR/B", for_userdb(b))]
    ours, debian = both({"A": CHAIN_A, "B": CHAIN_B}, passdb, userdb)
    with ours, debian:
        for user in "onlya", "onlyb", "both", "wronga", "wrongb", "nobody":
            assert answers(ours, user) == answers(debian, user), user


MASTER_FILES = {
    "masters": "boss:{PLAIN}secret::::::bossfield=1 userdb_frommaster=1\nalice:{PLAIN}amaster::::::\n",
    "users": "alice:{PLAIN}secret:1001:1002::/home/alice::foo=1\nbob:{PLAIN}bobpw:1001:1002::/home/bob::\n",
}
MASTER_LOGINS = [
    ("alice", "secret", ""), ("alice*boss", "secret", ""), ("nobody*boss", "secret", ""), ("alice*boss", "wrong", ""), ("boss", "secret", "alice"), ("boss", "secret", "nobody"),
    ("alice", "amaster", "bob"), ("alice", "secret", "alice"), ("alice*alice", "secret", ""), ("alice", "secret", "bob"), ("bob*alice", "amaster", ""), ("ALICE*boss", "secret", ""),
    ("a*b*boss", "secret", ""), ("boss", "secret", ""),
]


@pytest.mark.parametrize("more", [{}, {"pass": "yes"}], ids=["master", "master,pass"])
def test_master_users(more):
    passdb = [("passwd-file", "DIR/masters", {"master": "yes", **more}), ("passwd-file", "DIR/users", {})]
    userdb = [("passwd-file", "DIR/users", {"default_fields": "mail=maildir:/m/%u uid=7", "override_fields": "home=/over/%u x=%{userdb:home}"})]
    ours, debian = both(MASTER_FILES, passdb, userdb, {"auth_master_user_separator": "*"}, "auth_master_user_separator = *\n")
    with ours, debian:
        for login in MASTER_LOGINS:
            mine, theirs = answers(ours, *login), answers(debian, *login)
            if "*" in login[0]:  # mail to user*master reaches the master at Dovecot, nobody here
                assert login[0] == "alice*alice" or mine["USER"] == ["NOTFOUND"]
                del mine["USER"], theirs["USER"]
            assert mine == theirs, login
        assert ours.link("auth").auth("*boss", "secret")[0] == debian.link("auth").auth("*boss", "secret")[0] == "FAIL"


def test_no_master_passdb():
    rows = [("passwd-file", "DIR/users", {})]
    ours, debian = both(MASTER_FILES, rows, rows, {"auth_master_user_separator": "*"}, "auth_master_user_separator = *\n")
    with ours, debian:
        for login in ("alice*bob", "bobpw", ""), ("bob", "bobpw", "alice"), ("bob", "bobpw", "bob"):
            assert answers(ours, *login) == answers(debian, *login), login


NAME_SETTINGS = [
    {"auth_username_format": "%Ln", "auth_default_realm": "r.test"},
    {"auth_default_realm": "d.test"},
    {"auth_username_format": ""},
    {"auth_username_translation": "%@#@", "auth_username_chars": "abcdefghijklmnopqrstuvwxyz@."},
    {"auth_username_format": "%{if;%d;eq;d.test;%n;%u}"},
]


@pytest.mark.parametrize("settings", NAME_SETTINGS, ids=lambda s: ",".join(s))
def test_spellings_of_a_name(settings):
    users = {"users": "a:{PLAIN}secret:1:1::/a::\na@d.test:{PLAIN}secret:2:2::/ad::\nA:{PLAIN}secret:3:3::/A::\n"}
    rows = [("passwd-file", "DIR/users", {})]
    ours, debian = both(users, rows, rows, settings, "".join(f'{k} = "{v}"\n' for k, v in settings.items()))
    with ours, debian:
        for user in "a", "A", "a@d.test", "A@D.TEST", "a%d.test", "a#d.test", "b", "a b", "a@other":
            assert answers(ours, user) == answers(debian, user), user


def test_a_file_for_each_domain():
    files = {"d/one.test": "a:{PLAIN}secret:1:1::/one/a::\n", "d/two.test": "a:{PLAIN}other:2:2::/two/a::\n"}
    rows = [("passwd-file", "username_format=%n DIR/d/%d", {})]
    ours, debian = both(files, rows, rows)
    with ours, debian:
        for user in "a@one.test", "a@two.test", "b@one.test", "a@three.test":
            mine, theirs = answers(ours, user), answers(debian, user)
            if user == "a@three.test":  # no such domain: Dovecot calls a missing file a fault
                assert mine["USER"] == ["NOTFOUND"] and mine["AUTH"] == ["FAIL", f"user={user}"]
            else:
                assert mine == theirs, user
        assert ours.link("auth").auth("a@..", "secret") == ["FAIL", "1", "user=a@.."]


def test_static_and_prefetch():
    passdb = [("passwd-file", "DIR/users", {}), ("static", "user=%{user} password=stat userdb_home=/s/%n userdb_uid=5 userdb_gid=6", {"username_filter": "s*"})]
    userdb = [("prefetch", "", {}), ("static", "uid=1 gid=2 home=/static/%u", {})]
    ours, debian = both({"users": "alice:{PLAIN}secret::::::userdb_home=/p/%u userdb_uid=7 userdb_gid=8\n"}, passdb, userdb)
    with ours, debian:
        for user, password in ("alice", "secret"), ("some", "stat"), ("some", "x"), ("bob", "secret"):
            assert answers(ours, user, password) == answers(debian, user, password), user


def test_static_userdb_and_a_restricted_user():
    """Who may log in from one network only gets his mail all the same."""
    rows = [("passwd-file", "DIR/users", {})]
    with OurAuthd(blocks(rows, [("static", "uid=1 gid=2 home=/static/%u", {})])[0], {"users": "alice:{PLAIN}secret::::::allow_nets=10.0.0.0/8\n"}) as ours:
        got = answers(ours, "alice")
        assert got["AUTH"] == ["FAIL", "user=alice"] and got["PASS"] == ["FAIL"] and got["USER"][:2] == ["USER", "alice"]
        assert answers(ours, "bob")["USER"] == ["NOTFOUND"]


def test_static_userdb_of_everybody():
    passdb = [("passwd-file", "DIR/users", {})]
    userdb = [("static", "uid=1 gid=2 home=/static/%d/%n allow_all_users=yes", {})]
    ours, debian = both({"users": "alice:{PLAIN}secret::::::\n"}, passdb, userdb)
    with ours, debian:
        for user in "alice", "nobody@x.test":
            assert answers(ours, user) == answers(debian, user), user


def test_a_table():
    settings = {"auth_passdb": "table:texthash:DIR/table", "auth_userdb": "table:texthash:DIR/table", "auth_username_format": "%Lu"}
    with OurAuthd(settings, {"table": "alice@x.test {PLAIN}secret:1:2::/home/alice::userdb_quota_rule=*:storage=1M nologin\n"}) as server:
        got = answers(server, "ALICE@x.test")
        assert got["AUTH"] == ["OK", "user=alice@x.test", "nologin", "original_user=ALICE@x.test"]
        assert got["USER"] == ["USER", "alice@x.test", "uid=1", "gid=2", "home=/home/alice", "quota_rule=*:storage=1M"]


BROKEN = [
    ("auth_passdb", "passwd-file", "no path and no table is named"),
    ("auth_passdb", "nosuch:/x", "nosuch: no such passdb driver"),
    ("auth_passdb", "{ passwd-file:/x, colour=red }", "colour: no such setting"),
    ("auth_passdb", "{ passwd-file:/x, pass=yes }", "passwd-file: the last passdb cannot have pass=yes"),
    ("auth_passdb", "{ passwd-file:/x, result_success=perhaps }", "result_success=perhaps: not a value that exists"),
    ("auth_passdb", "{ passwd-file:/x, default_fields=a=%{nosuch} }", "Unknown variable '%nosuch'"),
    ("auth_passdb", "passwd-file:/%d", "/%d: the first directory must be named without %variables"),
    ("auth_passdb", "sql:relative", "sql:relative: the path of a dovecot-sql.conf.ext was expected"),
    ("auth_userdb", "{ passwd-file:/x, deny=yes }", "deny: no such setting"),
    ("auth_userdb", "pam", "pam: no such userdb driver"),
    ("auth_username_format", "%{nosuch}", "Unknown variable '%nosuch'"),
]


@pytest.mark.parametrize("name,value,words", BROKEN, ids=[f"{n}={v}" for n, v, _ in BROKEN])
def test_wrong_words_are_refused_at_start(tmp_path, name, value, words):
    (tmp_path / "main.cf").write_text(f"queue_directory = {tmp_path}\n{name} = {value}\n")
    out = subprocess.run([os.environ["POSTHORN_BUILD"] + "/daemons/authd", "-c", tmp_path, "--listen", f"unix:{tmp_path}/auth"], capture_output=True, text=True, timeout=20)
    assert out.returncode != 0 and f"{tmp_path}/main.cf, line 2: {name}: {words}" in out.stderr


def seconds(server, user, password, rip, mech="PLAIN"):
    """How long the answer took, and which it was."""
    start = time.monotonic()
    answer = server.link("auth").auth(user, password, mech, params=f"service=smtp\trip={rip}")[0]
    return answer, round(time.monotonic() - start)


def test_who_guesses_waits_and_nobody_else():
    rows = [("passwd-file", "DIR/users", {})]
    with OurAuthd(blocks(rows, rows)[0], {"users": "a:{PLAIN}secret:1:1::/a::\nb:{PLAIN}other:1:1::/b::\n"}) as server:
        assert seconds(server, "b", "other", "192.0.2.7") == ("OK", 0)
        assert seconds(server, "a", "guess1", "192.0.2.7")[1] <= 1
        assert seconds(server, "a", "guess2", "192.0.2.7") == ("FAIL", 4)
        assert seconds(server, "b", "other", "192.0.2.7") == ("OK", 0)  # as before: and forgives
        assert seconds(server, "a", "guess3", "192.0.2.8")[1] <= 1
        assert seconds(server, "a", "guess3", "192.0.2.8") == ("FAIL", 4)  # the same guess: no more than before
        assert seconds(server, "a", "guess4", "192.0.2.9")[1] <= 1
        assert seconds(server, "a", "secret", "192.0.2.8") == ("OK", 4)
        assert seconds(server, "a", "guess5", "192.0.2.8")[1] <= 1
        link = server.link("auth")
        link.send("AUTH\t1\tPLAIN\tservice=smtp\trip=192.0.2.8\tresp=AGEAeA==")
        del link  # gone while it waits
        assert seconds(server, "b", "other", "198.51.100.1") == ("OK", 0)


def test_a_socket_for_everybody_tells_each_of_himself():
    """As Dovecot's auth-userdb of mode 0666: who does not own it learns what is his own, and no more."""
    if os.geteuid() != 0:
        pytest.skip("needs another account to ask from")
    rows = [("passwd-file", "DIR/users", {})]
    script = ("import socket, sys\ns = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f = s.makefile('rw')\n"
              "f.write('VERSION\\t1\\t1\\n'); f.flush(); f.readline(); f.readline()\n"
              "for line in sys.argv[2:]:\n    f.write(line.replace(' ', '\\t') + '\\n'); f.flush(); print(f.readline().split('\\t')[0].strip())\n")
    questions = ["USER 1 mine service=x", "USER 2 other service=x", "USER 3 nobody service=x", "PASS 4 mine service=x", "LIST 5 service=x"]
    with OurAuthd(blocks(rows, rows)[0], {"users": "mine:x:65534:65534::/m::\nother:x:1:1::/o::\n"}) as ours:
        for mode, expected in (0o666, ["USER", "FAIL", "NOTFOUND", "FAIL", "DONE"]), (0o777, ["USER", "USER", "NOTFOUND", "PASS", "LIST"]):
            os.chmod(ours.socket("auth-userdb"), mode)
            out = subprocess.run(["/usr/bin/python3", "-c", script, ours.socket("auth-userdb"), *questions], capture_output=True, text=True, timeout=60, user=65534, group=65534, extra_groups=[])
            assert out.stdout.split() == expected, out.stderr
