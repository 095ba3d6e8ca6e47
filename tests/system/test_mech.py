"""SASL mechanisms: conversations with our authd and with Debian's Dovecot, compared; what no database can serve stops the start."""
import base64
import concurrent.futures
import hashlib
import hmac
import os
import pathlib
import re
import socket
import subprocess
import time

import pytest
from auth_protocol import DebianAuth, OurAuthd
from sasl_client import Digest, Scram, cram_md5, md5

ROOT = pathlib.Path(__file__).resolve().parents[2]
PASSWORD = "Sesame \u00f6ffne dich"
DOMAIN = "example.test"
MECHS = "plain login cram-md5 digest-md5 scram-sha-1 scram-sha-256 external anonymous apop"


def stored(scheme, user="x"):
    build = os.environ.get("POSTHORN_BUILD", str(ROOT / "build"))
    out = subprocess.run([f"{build}/bin/doveadm", "pw", "-s", scheme, "-p", PASSWORD, "-u", f"{user}@{DOMAIN}"], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    return out.stdout.strip()


def users():
    """One user for each stored form, named like it."""
    lines = [f"{scheme.lower()}@{DOMAIN}:{stored(scheme, scheme.lower())}::::::" for scheme in
             ("PLAIN", "SHA256", "CRAM-MD5", "HMAC-MD5", "CRAM-MD5.B64", "DIGEST-MD5", "DIGEST-MD5.B64", "SCRAM-SHA-1", "SCRAM-SHA-256")]
    lines += [f"cert@{DOMAIN}:::::::nopassword", f"nologin@{DOMAIN}:{{PLAIN}}{PASSWORD}::::::nologin",
              f"broken@{DOMAIN}:{{SCRAM-SHA-1}}4096,x::::::", f"unknown@{DOMAIN}:{{NOPE}}x::::::", f"a,b=c@{DOMAIN}:{{PLAIN}}{PASSWORD}::::::"]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def ours():
    settings = {"auth_mechanisms": MECHS + " scram-sha-1-plus scram-sha-256-plus", "auth_passdb": "{passwd-file:scheme=PLAIN DIR/users}", "auth_verbose": "yes",
                "auth_ssl_username_from_cert": "yes", "auth_username_chars": ""}
    with OurAuthd(settings, {"users": users()}) as server:
        yield server
        assert "Sanitizer" not in server.log()


@pytest.fixture(scope="module")
def debian():
    text = f"auth_mechanisms = {MECHS}\nauth_ssl_username_from_cert = yes\nauth_username_chars =\npassdb {{\n  driver = passwd-file\n  args = scheme=PLAIN DIR/users\n}}\n"
    with DebianAuth(text, {"users": users()}) as server:
        yield server


class Exchange:
    """One AUTH: what the server says, step by step; `said` is its last word."""

    def __init__(self, link, mech, initial=None, params=""):
        link.last += 1
        self.link = link
        resp = "" if initial is None else "\tresp=" + base64.b64encode(initial).decode()
        self.take(link.ask(f"AUTH\t{link.last}\t{mech}\tservice=imap\trip=192.0.2.9\tlip=192.0.2.1\tno-penalty{params}{resp}"))

    def take(self, words):
        self.said = words and [words[0], *words[2:]]
        self.data = base64.b64decode(words[2]) if words and words[0] == "CONT" and words[2] != "#" else None

    def more(self, data, params=""):
        text = data if isinstance(data, str) else base64.b64encode(data).decode()
        self.take(self.link.ask(f"CONT\t{self.link.last}\t{text}{params}"))
        return self


def result(x):
    """Dovecot knows no original name where a certificate gave the name, and says so by an empty word."""
    return [word for word in x.said if not word.startswith("resp=") and word != "original_user="]


def scram(link, mech, user, password=PASSWORD, initial=True, params="", **kw):
    client = Scram(user, password, "sha256" if "256" in mech else "sha1", **kw)
    x = Exchange(link, mech, client.first() if initial else None, params)
    if not initial and x.said[0] == "CONT":
        assert x.data == b""
        x.more(client.first())
    if x.said[0] != "CONT":
        return result(x)
    x.more(client.final(x.data))
    if x.said[0] == "CONT":
        assert client.proven(x.data)
        x.more(b"")
    elif x.said[0] == "OK":
        assert client.proven(base64.b64decode(x.said[-1].removeprefix("resp=")))
    return result(x)


def cram(link, user, password=PASSWORD):
    x = Exchange(link, "CRAM-MD5")
    assert re.fullmatch(rb"<\d+\.\d+@[\w.-]+>", x.data)
    return result(x.more(cram_md5(user, password, x.data)))


def digest(link, user, realm, password=PASSWORD, **kw):
    client = Digest(user, realm, password, **kw)
    x = Exchange(link, "DIGEST-MD5")
    assert re.fullmatch(rb'realm="",nonce="[^"]{20,}",qop="auth",charset="?utf-8"?,algorithm="?md5-sess"?', x.data)
    x.more(client.answer(x.data))
    if x.said[0] == "CONT":
        assert client.proven(x.data)
        x.more(b"")
    return result(x)


NAMES = [line.split(":")[0] for line in ("plain", "sha256", "cram-md5", "hmac-md5", "cram-md5.b64", "digest-md5", "digest-md5.b64", "scram-sha-1", "scram-sha-256", "nobody")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("password", [PASSWORD, "wrong"])
def test_each_stored_form(ours, debian, name, password):
    """Each mechanism with each stored form: who gets in, and what the answer says."""
    user = f"{name}@{DOMAIN}"
    attempts = [lambda link: cram(link, user, password), *(lambda link, n=n, realm=realm: digest(link, n, realm, password) for n, realm in
                                                          ((name, DOMAIN), (user, ""), (user, "other"))),
                *(lambda link, mech=mech: scram(link, mech, user, password) for mech in ("SCRAM-SHA-1", "SCRAM-SHA-256"))]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:  # a failure takes its time
        got = {server: [pool.submit(attempt, server.link("auth")) for attempt in attempts] for server in (ours, debian)}
        got = {server: [f.result() for f in answers] for server, answers in got.items()}
    assert got[ours] == got[debian]
    fits = {"plain": 6, "cram-md5": 1, "hmac-md5": 1, "cram-md5.b64": 1, "digest-md5": 1, "digest-md5.b64": 1, "scram-sha-1": 1, "scram-sha-256": 1}
    assert sum(a[0] == "OK" for a in got[ours]) == (fits.get(name, 0) if password == PASSWORD else 0)


CASES = {
    "scram n": lambda link: scram(link, "SCRAM-SHA-1", f"plain@{DOMAIN}", header=b"n,,"),
    "scram y": lambda link: scram(link, "SCRAM-SHA-1", f"plain@{DOMAIN}", header=b"y,,"),
    "scram p without PLUS": lambda link: scram(link, "SCRAM-SHA-1", f"plain@{DOMAIN}", header=b"p=tls-unique,,", binding=b"x"),
    "scram own authzid": lambda link: scram(link, "SCRAM-SHA-1", f"plain@{DOMAIN}", header=f"n,a=plain@{DOMAIN},".encode()),
    "scram other authzid": lambda link: scram(link, "SCRAM-SHA-1", f"plain@{DOMAIN}", header=f"n,a=sha256@{DOMAIN},".encode()),
    "scram no initial": lambda link: scram(link, "SCRAM-SHA-1", f"plain@{DOMAIN}", initial=False),
    "scram final with OK": lambda link: scram(link, "SCRAM-SHA-256", f"plain@{DOMAIN}", params="\tfinal-resp-ok"),
    "scram escapes": lambda link: scram(link, "SCRAM-SHA-256", f"a,b=c@{DOMAIN}"),
    "scram nologin": lambda link: scram(link, "SCRAM-SHA-256", f"nologin@{DOMAIN}"),
    "digest other authzid": lambda link: digest(link, "plain", DOMAIN, authzid=f"sha256@{DOMAIN}".encode()),
    "digest own authzid": lambda link: digest(link, "plain", DOMAIN, authzid=f"plain@{DOMAIN}".encode()),
    "digest uri": lambda link: digest(link, "plain", DOMAIN, uri=b"foo/bar"),
    "digest nc": lambda link: digest(link, "plain", DOMAIN, nc=b"00000002"),
    "digest nonce": lambda link: digest(link, "plain", DOMAIN, nonce=b'"abcdef"'),
    "digest qop": lambda link: digest(link, "plain", DOMAIN, qop=b"auth-int"),
    "digest no response": lambda link: digest(link, "plain", DOMAIN, response=None)[0],
    "digest no cnonce": lambda link: digest(link, "plain", DOMAIN, cnonce=None),
    "digest no username": lambda link: digest(link, "plain", DOMAIN, username=None),
    "digest charset": lambda link: digest(link, "plain", DOMAIN, charset=b"latin-1"),
    "digest garbage": lambda link: result(Exchange(link, "DIGEST-MD5").more(b"garbage")),
    "digest empty": lambda link: result(Exchange(link, "DIGEST-MD5").more(b"")),
    "external without": lambda link: result(Exchange(link, "EXTERNAL", b"")),
    "external name only": lambda link: result(Exchange(link, "EXTERNAL", f"cert@{DOMAIN}".encode())),
    "external": lambda link: result(Exchange(link, "EXTERNAL", b"", f"\tvalid-client-cert\tcert_username=cert@{DOMAIN}")),
    "external authzid": lambda link: result(Exchange(link, "EXTERNAL", f"cert@{DOMAIN}".encode(), f"\tvalid-client-cert\tcert_username=cert@{DOMAIN}")),
    "external other": lambda link: result(Exchange(link, "EXTERNAL", f"plain@{DOMAIN}".encode(), f"\tvalid-client-cert\tcert_username=cert@{DOMAIN}")),
    "external with a password": lambda link: result(Exchange(link, "EXTERNAL", b"", f"\tvalid-client-cert\tcert_username=plain@{DOMAIN}")),
    "external nobody": lambda link: result(Exchange(link, "EXTERNAL", b"", f"\tvalid-client-cert\tcert_username=nobody@{DOMAIN}")),
    "anonymous": lambda link: result(Exchange(link, "ANONYMOUS", b"me@home")),
    "anonymous asked": lambda link: result(Exchange(link, "ANONYMOUS").more(b"me@home")),
    "anonymous empty": lambda link: result(Exchange(link, "ANONYMOUS", b"")),
    "plain": lambda link: result(Exchange(link, "PLAIN", f"\0plain@{DOMAIN}\0{PASSWORD}".encode())),
    "plain asked": lambda link: result(Exchange(link, "PLAIN").more(f"\0plain@{DOMAIN}\0{PASSWORD}".encode())),
    "plain authzid": lambda link: result(Exchange(link, "PLAIN", f"sha256@{DOMAIN}\0plain@{DOMAIN}\0{PASSWORD}".encode())),
    "plain digest-md5": lambda link: result(Exchange(link, "PLAIN", f"\0digest-md5@{DOMAIN}\0{PASSWORD}".encode())),
    "plain scram": lambda link: result(Exchange(link, "PLAIN", f"\0scram-sha-256@{DOMAIN}\0{PASSWORD}".encode())),
    "plain cram": lambda link: result(Exchange(link, "PLAIN", f"\0cram-md5@{DOMAIN}\0{PASSWORD}".encode())),
    "plain garbage": lambda link: result(Exchange(link, "PLAIN", b"garbage")),
    "login": lambda link: result(Exchange(link, "LOGIN").more(f"plain@{DOMAIN}".encode()).more(PASSWORD.encode())),
    "login initial": lambda link: result(Exchange(link, "LOGIN", f"plain@{DOMAIN}".encode()).more(PASSWORD.encode())),
    "cram garbage": lambda link: result(Exchange(link, "CRAM-MD5").more(b"garbage")),
    "cram no digest": lambda link: result(Exchange(link, "CRAM-MD5").more(f"plain@{DOMAIN} ".encode())),
    "scram garbage": lambda link: result(Exchange(link, "SCRAM-SHA-1", b"garbage")),
    "scram mandatory extension": lambda link: result(Exchange(link, "SCRAM-SHA-1", b"n,,m=x,n=a,r=bcdefgh")),
    "scram bad escape": lambda link: result(Exchange(link, "SCRAM-SHA-1", b"n,,n=a=b,r=cdefgh")),
    "scram no nonce": lambda link: result(Exchange(link, "SCRAM-SHA-1", f"n,,n=plain@{DOMAIN}".encode())),
    "not base64": lambda link: result(Exchange(link, "PLAIN").more("*!*")),
}


@pytest.mark.parametrize("name", CASES)
def test_conversation(ours, debian, name):
    assert CASES[name](ours.link("auth")) == CASES[name](debian.link("auth"))


@pytest.mark.parametrize("user", ["broken", "unknown"])
def test_a_stored_text_that_cannot_be_used(ours, user):
    """Not the user's fault: later, and the cause in the log, without the text itself."""
    said = scram(ours.link("auth"), "SCRAM-SHA-1", f"{user}@{DOMAIN}")
    if user == "broken":
        assert "code=temp_fail" in said
        assert f"passwd-file({user}@{DOMAIN},192.0.2.9): Invalid SCRAM-SHA-1 passdb entry format" in ours.log()
    else:
        assert said[0] == "FAIL"


def test_apop(ours, debian):
    for server in (ours, debian):
        link = server.link("auth")
        pid, number = (next(int(words[1]) for words in link.greeting if words[0] == name) for name in ("SPID", "CUID"))

        def apop(user, password, challenge):
            return result(Exchange(link, "APOP", b"\0".join([challenge, user.encode(), md5(challenge + password.encode())])))
        challenge = f"<{pid:x}.{number:x}.{int(time.time()):x}.abc@host>".encode()
        user = f"plain@{DOMAIN}"
        assert apop(user, PASSWORD, challenge) == ["OK", f"user={user}"]
        assert apop(user, "wrong", challenge) == ["FAIL", f"user={user}"]
        assert apop(f"cram-md5@{DOMAIN}", PASSWORD, challenge)[0] == "FAIL"
        assert apop(user, PASSWORD, b"<1.1.1.abc@host>")[0] == "FAIL", "a challenge of the client's own"


def test_the_same_flags(ours, debian):
    def mechs(server):
        return {words[1]: words[2:] for words in server.link("auth").greeting if words[0] == "MECH"}
    assert mechs(ours) == mechs(debian)


# --- who exists ---

def first_challenge(server, user):
    return Exchange(server.link("auth"), "SCRAM-SHA-256", Scram(user, "x", "sha256").first())


@pytest.mark.parametrize("user", [f"nobody@{DOMAIN}", f"sha256@{DOMAIN}", f"plain@{DOMAIN}", f"scram-sha-256@{DOMAIN}"])
def test_scram_does_not_tell_who_exists(ours, user):
    """Everybody gets a challenge of one form, with a salt that stays the same."""
    a, b = (dict(part.split(b"=", 1) for part in first_challenge(ours, user).data.split(b",")) for _ in range(2))
    assert a[b"s"] == b[b"s"] and len(base64.b64decode(a[b"s"])) == 16 and a[b"i"] == b"4096" and a[b"r"] != b[b"r"]


# --- channel binding ---

def bound(server, mech, kind="tls-exporter", told=b"binding-data", used=b"binding-data", shown="\tchannel_binding", header=None, user=f"plain@{DOMAIN}", **kw):
    """A front end that knows `told` of its channel, a client that saw `used`."""
    client = Scram(user, PASSWORD, "sha256" if "256" in mech else "sha1", header=header or f"p={kind},,".encode(), binding=used, **kw)
    x = Exchange(server.link("auth", minor=3), mech, client.first(), "\tsecured=tls" + shown)
    if x.said[0] == "CONT" and x.said[1] == "#":
        assert x.said[2] == f"channel_binding={kind}"
        x.more("#", "\tchannel_binding=" + base64.b64encode(told).decode())
    if x.said[0] != "CONT":
        return result(x)
    x.more(client.final(x.data))
    if x.said[0] == "CONT":
        assert client.proven(x.data)
        x.more(b"")
    return result(x)


@pytest.mark.parametrize("mech", ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"])
@pytest.mark.parametrize("kind", ["tls-unique", "tls-exporter", "tls-server-end-point"])
@pytest.mark.parametrize("user", ["plain", "scram-sha"])
def test_channel_binding(ours, mech, kind, user):
    user += "-1" if user != "plain" and "SHA-1" in mech else "-256" if user != "plain" else ""
    assert bound(ours, mech, kind, user=f"{user}@{DOMAIN}") == ["OK", f"user={user}@{DOMAIN}"]


@pytest.mark.parametrize("case", [dict(used=b"another-data"), dict(told=b""), dict(told=b"", used=b""), dict(used=b""), dict(header=b"n,,", used=b""),
                                  dict(header=b"y,,", used=b""), dict(used=b"binding-data-and-more"), dict(told=b"x" * 1100, used=b"x" * 1100)],
                         ids=["relayed", "not told", "nothing", "none used", "n", "y", "longer", "too long"])
def test_a_channel_that_is_not_the_same(ours, case):
    assert bound(ours, "SCRAM-SHA-256-PLUS", **case)[0] == "FAIL"


def test_mechanisms_that_were_taken_away(ours):
    """"y" says: I could, but you could not. Where the list was shown, somebody has cut it."""
    assert bound(ours, "SCRAM-SHA-256", header=b"y,,", used=b"")[0] == "FAIL"
    assert "was not shown the mechanisms with channel binding" in ours.log()
    assert bound(ours, "SCRAM-SHA-256", header=b"y,,", used=b"", shown="")[0] == "OK"
    assert bound(ours, "SCRAM-SHA-256", header=b"n,,", used=b"")[0] == "OK"


def test_plus_is_for_clients_that_can(ours):
    """Postfix and Dovecot 2.3 say minor 0 to 2 and would show their clients what they cannot do."""
    def mechs(minor):
        return {words[1] for words in ours.link("auth", minor=minor).greeting if words[0] == "MECH"}
    assert {m for m in mechs(3) if m not in mechs(2)} == {"SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"}
    link = ours.link("auth", minor=2)
    assert link.ask("AUTH\t1\tSCRAM-SHA-256-PLUS\tservice=imap") is None, "the connection ends"


def test_the_greeting_comes_to_who_listens_first(ours):
    """Exim reads before it writes."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(str(ours.socket("auth")))
        text = b""
        while not text.endswith(b"DONE\n"):
            text += s.recv(4096)
    assert b"MECH\tPLAIN\tplaintext\n" in text and b"PLUS" not in text


# --- the start ---

@pytest.mark.parametrize("settings,words", [
    ({"auth_mechanisms": "plain foo"}, "auth_mechanisms: unknown mechanism foo"),
    ({"auth_mechanisms": ","}, "auth_mechanisms: no mechanism"),
    ({"auth_mechanisms": "plain cram-md5", "auth_passdb": "{passwd-file:DIR/users, mechanisms=plain}"}, "CRAM-MD5 mechanism can't be supported with given passdbs"),
    ({"auth_mechanisms": "scram-sha-256", "auth_passdb": ""}, "SCRAM-SHA-256 mechanism can't be supported with given passdbs"),
    ({"auth_mechanisms": "external", "auth_passdb": ""}, "EXTERNAL mechanism can't be supported with given passdbs"),
])
def test_what_no_database_serves(settings, words):
    with pytest.raises(AssertionError) as failure, OurAuthd({"auth_passdb": "{passwd-file:DIR/users}", **settings}, {"users": ""}):
        pass
    assert words in str(failure.value) and "main.cf, line" in str(failure.value)


def test_only_wanted_plugins_are_loaded(ours):
    """Of the plug-ins of libsasl2 that this machine has, those that nobody needs stay closed."""
    maps = pathlib.Path(f"/proc/{ours.process.pid}/maps").read_text()
    loaded = set(re.findall(r"/sasl2/lib(\w+)\.so", maps))
    assert loaded == {"plain", "login", "crammd5", "scram"}


def test_no_password_is_in_the_log(ours):
    assert "Sesame" not in ours.log() and base64.b64encode(PASSWORD.encode()).decode()[:20] not in ours.log()


def scram_stored(iterations, salt):
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt, iterations)
    client, server = (hmac.digest(salted, word, "sha256") for word in (b"Client Key", b"Server Key"))
    return "{SCRAM-SHA-256}" + ",".join([str(iterations), *(base64.b64encode(b).decode() for b in (salt, hashlib.sha256(client).digest(), server))])


def test_nobody_looks_like_somebody():
    """SCRAM's first answer about a name that is nobody's has the iterations and the salt's length of a user's, and is the same each time."""
    stored = {"many": scram_stored(23456, b"0123456789abcdef01234567"), "few": scram_stored(5000, b"0123456789abcdef")}

    def challenge(server, user):
        link = server.link("auth")
        said = link.ask(f"AUTH\t1\tSCRAM-SHA-256\tservice=imap\tno-penalty\tresp={base64.b64encode(f'n,,n={user},r=abcdefghijklmnop'.encode()).decode()}")
        link.sock.close()
        fields = dict(word.split("=", 1) for word in base64.b64decode(said[2]).decode().split(","))
        return fields["i"], fields["s"]

    users = "".join(f"{user}:{text}:1:2::/h::\n" for user, text in stored.items())
    with OurAuthd({"auth_mechanisms": "plain scram-sha-256", "auth_passdb": "passwd-file:DIR/users"}, {"users": users}) as server:
        assert challenge(server, "many")[0] == "23456"
        first = challenge(server, "nobody")
        assert first[0] == "23456" and first == challenge(server, "nobody")
        assert len(base64.b64decode(first[1])) == len(base64.b64decode(challenge(server, "many")[1]))
        assert challenge(server, "few")[0] == "5000"
        seen = {challenge(server, f"nobody{n}")[0] for n in range(40)}
        assert seen == {"23456", "5000"}
