"""Tokens instead of passwords: IMAP, POP3 and submission with OAUTHBEARER and XOAUTH2, an identity server that is right, wrong, slow, dead or too loud."""
import base64
import concurrent.futures
import imaplib
import json
import os
import pathlib
import poplib
import re
import smtplib
import ssl
import subprocess
import threading
import time

import pytest
from auth_protocol import OurAuthd
from conftest import own_instance, wait_until
from identity import Answer, Identity, bearer, claims, jwt, url64, xoauth2
from nameserver import A, NameServer

TOKEN = "opaque-Token.1~x"
WRONG = "another-Token"
SLOW_SECONDS = 8
REFUSED = {"status": "invalid_token", "openid-configuration": "https://id.example/.well-known/openid-configuration"}


class Site:
    def __init__(self, instance, identity, directory):
        self.i, self.id, self.dir, self.user = instance, identity, directory, instance.user1

    def write(self, name, text):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def imap(self, mech, response, initial=False):
        """The server's last line, and its challenges."""
        with imaplib.IMAP4_SSL("localhost", self.i.imaps_port, ssl_context=self.i.tls) as m:
            return converse(m.sock.makefile("rwb"), f"a AUTHENTICATE {mech}", response, initial, b"+ ", b"a ")

    def pop3(self, mech, response, initial=False):
        p = poplib.POP3_SSL("localhost", self.i.pop3s_port, context=self.i.tls, timeout=60)
        try:
            return converse(p.sock.makefile("rwb"), f"AUTH {mech}", response, initial, b"+ ", None)
        finally:
            p.close()

    def smtp(self, mech, response, initial=False):
        s = smtplib.SMTP_SSL("localhost", self.i.submissions_port, local_hostname="client.example", context=self.i.tls, timeout=60)
        try:
            s.ehlo()
            return converse(s.sock.makefile("rwb"), f"AUTH {mech}", response, initial, b"334 ", None)
        finally:
            s.close()

    def doveadm(self, user, password):
        return self.i.tool("doveadm", "auth", "test", user, password, ok=False)


def converse(f, command, response, initial, asks, tag):
    """response: base64. Answers a challenge in JSON with the one byte of RFC 7628, or with nothing, as XOAUTH2 has it. The last line and the challenges, decoded."""
    f.write(f"{command} {response}\r\n".encode() if initial else f"{command}\r\n".encode())
    f.flush()
    challenges, left = [], [] if initial else [response]
    while True:
        line = f.readline()
        assert line, "the server has closed"
        if line.startswith(asks):
            challenges.append(base64.b64decode(line[len(asks):].strip()).decode())
            f.write((left.pop() if left else "" if "XOAUTH2" in command else "AQ==").encode() + b"\r\n")
            f.flush()
        elif tag is None or line.startswith(tag):
            return line.decode().strip(), [c for c in challenges if c]


PROTOCOLS = ["imap", "pop3", "smtp"]
GOOD = {"imap": r"a OK", "pop3": r"\+OK", "smtp": r"235 "}
BAD = {"imap": r"a NO \[AUTHENTICATIONFAILED\]", "pop3": r"-ERR \[AUTH\]", "smtp": r"535 "}
LATER = {"imap": r"a NO \[UNAVAILABLE\]", "pop3": r"-ERR \[SYS/TEMP\]", "smtp": r"454 "}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    directory = tmp_path_factory.mktemp("oauth")
    with Identity() as identity:
        (directory / "oauth2.ext").write_text(
            f"introspection_url = http://localhost:{identity.port}/introspect\nintrospection_mode = post\nclient_id = mail\nclient_secret = very-Secret-1\n"
            f"openid_configuration_url = {REFUSED['openid-configuration']}\ntimeout_msecs = {SLOW_SECONDS * 1000 // 2}\nactive_attribute = active\nactive_value = true\n")
        (directory / "oauth2.ext").chmod(0o600)
        (directory / "local.ext").write_text(f"introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix={directory}/keys/\nissuers = https://id.example\n")
        (directory / "grant.ext").write_text(f"grant_url = http://127.0.0.1:{identity.port}/grant\nclient_id = mail\nclient_secret = very-Secret-1\nuse_grant_password = yes\n")
        (directory / "keys").mkdir()
        with own_instance(
            28000, "auth_mechanisms = plain login oauthbearer xoauth2", "auth_username_chars =", "auth_verbose = yes", "auth_debug = yes", "auth_penalty = no", "auth_failure_delay = 0",
            f"auth_passdb = {{ oauth2:{directory}/oauth2.ext, mechanisms=oauthbearer, username_filter=!*@local.test }} {{ oauth2:{directory}/local.ext, mechanisms=xoauth2 }}"
            f" {{ oauth2:{directory}/grant.ext, mechanisms=plain login, username_filter=*@grant.test }} {{ passwd-file:$auth_passwd_file, mechanisms=plain login }}",
        ) as instance:
            for path in (directory, *directory.parents):  # the keys are read by the account of oauth2
                if path.stat().st_uid == os.geteuid() and path != pathlib.Path("/"):
                    path.chmod(path.stat().st_mode | 0o011)
            s = Site(instance, identity, directory)
            yield s
            coded = [text(s.user, token) for text in (bearer, xoauth2) for token in (TOKEN, WRONG)]
            for secret in (TOKEN, WRONG, "very-Secret-1", "grant-Password-1", "eyJ0eXAi", *coded):
                assert secret not in instance.log(), f"{secret} is in the log"


@pytest.fixture
def known(site):
    """The identity server knows the user's token."""
    site.id.say = {"/introspect": {TOKEN: Answer({"active": True, "email": site.user}), WRONG: Answer({"active": False})}}
    site.id.asked = []
    return site


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("initial", [False, True])
def test_login(known, protocol, initial):
    said, challenges = getattr(known, protocol)("OAUTHBEARER", bearer(known.user, TOKEN), initial)
    assert re.match(GOOD[protocol], said), said
    assert challenges == []
    (asked,) = known.id.asked
    assert asked["method"] == "POST" and asked["form"] == {"token": TOKEN, "client_id": "mail", "client_secret": "very-Secret-1"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("initial", [False, True])
def test_wrong_token(known, protocol, initial):
    said, challenges = getattr(known, protocol)("OAUTHBEARER", bearer(known.user, WRONG), initial)
    assert re.match(BAD[protocol], said), said
    assert [json.loads(c) for c in challenges] == [REFUSED]


def test_somebody_elses_token(known):
    said, challenges = known.imap("OAUTHBEARER", bearer(known.i.user2, TOKEN))
    assert re.match(BAD["imap"], said) and len(challenges) == 1, said


def test_mail_is_read_with_a_token(known):
    with imaplib.IMAP4_SSL("localhost", known.i.imaps_port, ssl_context=known.i.tls) as m:
        assert {"AUTH=OAUTHBEARER", "AUTH=XOAUTH2"} <= set(m.capabilities), m.capabilities
        m.authenticate("OAUTHBEARER", lambda _: base64.b64decode(bearer(known.user, TOKEN)))
        assert m.select("INBOX")[0] == "OK"


def test_mail_is_sent_with_a_token(known):
    s = smtplib.SMTP("localhost", known.i.submission_port, local_hostname="client.example", timeout=60)
    s.ehlo()
    assert "auth" not in s.esmtp_features or "OAUTHBEARER" not in s.esmtp_features["auth"]
    s.starttls(context=known.i.tls)
    s.ehlo()
    assert {"OAUTHBEARER", "XOAUTH2"} <= set(s.esmtp_features["auth"].split())
    s.auth("OAUTHBEARER", lambda challenge=None: base64.b64decode(bearer(known.user, TOKEN)).decode())
    s.sendmail(known.user, [known.user], f"From: {known.user}\r\nSubject: by token\r\n\r\ntoken-mail-1\r\n")
    s.quit()
    known.i.wait_message("token-mail-1", known.user)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_curl(known, protocol, tmp_path):
    """A client that was not written for this test."""
    (tmp_path / "mail").write_text("Subject: x\r\n\r\nby curl\r\n")
    port = {"imap": known.i.imaps_port, "pop3": known.i.pop3s_port, "smtp": known.i.submissions_port}[protocol]
    what = {"imap": ["--request", "STATUS INBOX (MESSAGES)"], "pop3": [], "smtp": ["--mail-from", known.user, "--mail-rcpt", known.user, "--upload-file", tmp_path / "mail"]}[protocol]

    def curl(token):
        return subprocess.run(["curl", "--verbose", "--silent", "--max-time", "30", "--cacert", known.i.ca_file, "--user", f"{known.user}:", "--oauth2-bearer", token, "--login-options", "AUTH=OAUTHBEARER",
                               *map(str, what), f"{protocol}s://localhost:{port}/"], capture_output=True, text=True, timeout=60)

    good, bad = curl(TOKEN), curl(WRONG)
    assert good.returncode == 0 and "OAUTHBEARER" in good.stderr, good.stderr
    assert bad.returncode == 67, bad.stderr  # login denied


@pytest.mark.parametrize("answer", [
    Answer({"error": "x"}, 500), Answer({}, 503), Answer({"error": "invalid_client"}, 401), Answer({}, 302, headers=[("Location", "/elsewhere")]), Answer(b"<html>"), Answer(b""),
    Answer({"active": True, "email": "USER"}, headers=[(f"X-{n}", "x" * 900) for n in range(90)]), Answer(b"[" * 5000), Answer({"active": True}), Answer(b'{"active":true,"email":"' + b"x" * (4 << 20) + b'"}'), Answer({"active": True, "email": "USER", "token_type": "DPoP"}),
], ids=["500", "503", "we are refused", "redirect", "html", "empty", "80 KiB of headers", "deep", "no user", "4 MiB", "no bearer"])
def test_a_doubt_is_temporary(known, answer):
    answer.body = answer.body.replace(b"USER", known.user.encode())
    known.id.say["/introspect"][TOKEN] = answer
    for protocol in PROTOCOLS:
        said, challenges = getattr(known, protocol)("OAUTHBEARER", bearer(known.user, TOKEN))
        assert re.match(LATER[protocol], said) and challenges == [], said
    assert {a["path"] for a in known.id.asked} == {"/introspect"}


def test_unicode_user(known):
    name = "m\u00fcller@" + known.user.split("@")[1]
    known.id.say["/introspect"][TOKEN] = Answer({"active": True, "email": name})
    said, challenges = known.smtp("OAUTHBEARER", bearer(name, TOKEN))
    assert re.match(GOOD["smtp"], said), said
    said, challenges = known.smtp("OAUTHBEARER", bearer("mu\u0308ller@" + known.user.split("@")[1], TOKEN))  # the same to the eye
    assert re.match(BAD["smtp"], said), said


@pytest.mark.parametrize("message", [b"", b"n,,\x01auth=Bearer x\x01\x01", b"p=tls-unique,a=u,\x01auth=Bearer x\x01\x01", b"\x00\xff\x01", b"n,a=u@x,\x01auth=Bearer " + b"a\r\nX: y" + b"\x01\x01",
                                     b"n,a=u@x,\x01auth=Bearer a b\x01\x01"])
def test_what_is_no_token_is_not_asked_for(known, message):
    known.id.say["/introspect"] = {}
    said, _ = known.imap("OAUTHBEARER", base64.b64encode(message).decode())
    assert re.match(BAD["imap"], said), said
    assert known.id.asked == []


def test_slow_server_delays_nobody_else(known):
    known.id.say["/introspect"]["slow"] = Answer({"active": True, "email": known.user}, delay=SLOW_SECONDS)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        slow = [pool.submit(known.imap, "OAUTHBEARER", bearer(known.user, "slow")) for _ in range(5)]
        wait_until(lambda: len(known.id.asked) == 5, what="five questions")
        begun = time.monotonic()
        with known.i.imap(known.user):
            pass
        said, _ = known.imap("OAUTHBEARER", bearer(known.user, TOKEN))
        took = time.monotonic() - begun
        assert not any(s.done() for s in slow), "nothing was slow"
        assert re.match(GOOD["imap"], said) and took < 3, (said, took)
        for s in slow:
            assert re.match(LATER["imap"], s.result()[0]), s.result()
    assert "no answer in time" in known.i.log() or "Timeout was reached" in known.i.log()


def test_many_at_once(known):
    """More than max_parallel_connections."""
    for n in range(40):
        known.id.say["/introspect"][f"t{n}"] = Answer({"active": True, "email": known.user}, delay=0.2)
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        results = list(pool.map(lambda n: known.smtp("OAUTHBEARER", bearer(known.user, f"t{n}"))[0], range(40)))
    assert all(re.match(GOOD["smtp"], r) for r in results), results


# --- tokens that nobody is asked about ---


@pytest.fixture(scope="module")
def rsa(site):
    """Signs with a key whose public half the site has; another whose half it has not."""
    for name in ("mine", "other"):
        subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", site.dir / name], check=True, capture_output=True)
    public = subprocess.run(["openssl", "pkey", "-in", site.dir / "mine", "-pubout"], check=True, capture_output=True, text=True).stdout
    site.write("keys/default/RS256/default", public)
    site.write("keys/default/HS256/shared", base64.b64encode(b"shared-secret").decode())
    site.write("keys/default/HS256/public", public)

    def sign(key):
        return lambda text: subprocess.run(["openssl", "dgst", "-sha256", "-sign", site.dir / key], input=text, check=True, capture_output=True).stdout

    return sign, public


def test_signed_token(site, rsa):
    sign, public = rsa
    good = claims(site.user, iss="https://id.example")
    site.id.asked = []
    for token in (jwt(good, alg="RS256", sign=sign("mine")), jwt(good, key=b"shared-secret", kid="shared")):
        for protocol in PROTOCOLS:
            said, challenges = getattr(site, protocol)("XOAUTH2", xoauth2(site.user, token), True)
            assert re.match(GOOD[protocol], said) and challenges == [], said
    assert site.id.asked == []


def test_forged_tokens(site, rsa):
    sign, public = rsa
    good, now = claims(site.user, iss="https://id.example"), int(time.time())
    real = jwt(good, alg="RS256", sign=sign("mine"))
    forged = {
        "signed by another key": jwt(good, alg="RS256", sign=sign("other")),
        "alg none": jwt(good, alg="none", sign=lambda _: b""),
        "the public key as a secret": jwt(good, key=public.encode(), alg="HS256"),
        "the public key as a secret, by its name": jwt(good, key=public.encode(), alg="HS256", kid="public"),
        "expired": jwt({**good, "exp": now - 60}, alg="RS256", sign=sign("mine")),
        "not yet": jwt({**good, "nbf": now + 600}, alg="RS256", sign=sign("mine")),
        "another issuer": jwt({**good, "iss": "https://evil.example"}, alg="RS256", sign=sign("mine")),
        "another user": jwt(claims(site.i.user2, iss="https://id.example"), alg="RS256", sign=sign("mine")),
        "other claims below a true signature": ".".join([real.split(".")[0], url64(json.dumps({**good, "x": 1}).encode()), real.split(".")[2]]),
        "a key elsewhere": jwt(good, key=b"", kid="../../../../../dev/null"),
        "no token at all": "x",
    }
    for what, token in forged.items():
        said, challenges = site.imap("XOAUTH2", xoauth2(site.user, token))
        assert re.match(BAD["imap"], said), (what, said)
        assert [json.loads(c) for c in challenges] == [{"status": "401", "schemes": "bearer", "scope": "mail"}], what


@pytest.mark.skipif(os.geteuid() != 0, reason="the keys of a user are his own")
def test_unreadable_key_is_a_doubt(site, rsa):
    sign, _ = rsa
    path = site.dir / "keys/default/RS256/default"
    path.chmod(0o600)
    try:
        said, _ = site.imap("XOAUTH2", xoauth2(site.user, jwt(claims(site.user, iss="https://id.example"), alg="RS256", sign=sign("mine"))))
        assert re.match(LATER["imap"], said), said
    finally:
        path.chmod(0o644)


# --- a password that becomes a token ---


def test_password_grant(site):
    user = "somebody@grant.test"
    site.id.say["/grant"] = {"grant-Password-1": Answer({"access_token": TOKEN, "token_type": "Bearer", "email": user}), "wrong": Answer({"error": "invalid_grant"}, 400),
                             "ours": Answer({"error": "invalid_client"}, 401)}
    site.id.asked = []
    assert site.doveadm(user, "grant-Password-1").returncode == 0
    (asked,) = site.id.asked
    assert asked["form"] == {"grant_type": "password", "username": user, "password": "grant-Password-1", "client_id": "mail", "client_secret": "very-Secret-1"}
    assert site.doveadm(user, "wrong").returncode == 77
    assert "user=" in site.i.tool("doveadm", "auth", "login", user, "grant-Password-1", ok=False).stdout
    said, _ = site.smtp("PLAIN", base64.b64encode(f"\0{user}\0ours".encode()).decode(), True)
    assert re.match(LATER["smtp"], said), said


# --- the service itself ---


def test_jail(known):
    known.imap("OAUTHBEARER", bearer(known.user, TOKEN))
    (pid,) = known.i.pids("oauth2")
    status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1" and status["Threads"] == "1", status
    if os.geteuid() == 0:
        assert "0" not in status["Uid"].split(), status
    for pid in known.i.daemons():
        for name in ("cmdline", "environ"):
            text = pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
            assert b"very-Secret-1" not in text and TOKEN.encode() not in text


def test_dead_server(known):
    text = (known.dir / "oauth2.ext").read_text()
    assert re.match(GOOD["imap"], known.imap("OAUTHBEARER", bearer(known.user, TOKEN))[0])
    mark = known.i.log_mark()
    known.write("oauth2.ext", text.replace(f":{known.id.port}/", ":1/"))
    try:
        wait_until(lambda: re.match(LATER["imap"], known.imap("OAUTHBEARER", bearer(known.user, TOKEN))[0]), what="the new file")
        assert "Couldn't connect to server" in known.i.log(mark) and "oauth2.ext has changed -- restarting" in known.i.log(mark)
        known.write("oauth2.ext", text + "nosuch = 1\n")
        wait_until(lambda: re.search(r"oauth2.ext line 9: Unknown setting: nosuch", known.i.log(mark)) or not known.imap("OAUTHBEARER", bearer(known.user, TOKEN)), what="a complaint")
        said, _ = known.imap("OAUTHBEARER", bearer(known.user, TOKEN))
        assert re.match(LATER["imap"], said), said
    finally:
        known.write("oauth2.ext", text)
    wait_until(lambda: re.match(GOOD["imap"], known.imap("OAUTHBEARER", bearer(known.user, TOKEN))[0]), what="the old file")


def test_mechanisms_need_the_passdb(site, tmp_path):
    (tmp_path / "main.cf").write_text("auth_mechanisms = plain oauthbearer\nauth_passdb = {static:password=x}\n")
    build = os.environ.get("POSTHORN_BUILD", "build")
    out = subprocess.run([f"{build}/daemons/authd", "-c", tmp_path, "-n", "auth", "-t", "unix", "--listen", f"unix:{tmp_path}/auth"], capture_output=True, text=True, timeout=20)
    assert out.returncode != 0 and "OAUTHBEARER mechanism can't be supported with given passdbs" in out.stderr, out.stderr


def test_who_leaves_after_the_challenge_has_failed(tmp_path):
    """A guesser that never answers the challenge waits for its next guess like any other."""
    with Identity() as identity:
        files = {"o.ext": f"introspection_url = http://127.0.0.1:{identity.port}/introspect\n"}
        with OurAuthd({"auth_passdb": "oauth2:DIR/o.ext", "auth_mechanisms": "oauthbearer"}, files, services=["oauth2"]) as server:

            def guess():
                link = server.link("auth")
                return link, link.ask(f"AUTH\t1\tOAUTHBEARER\tservice=imap\trip=192.0.2.7\tresp={bearer('u@a.test', WRONG)}")

            link, said = guess()
            assert said[0] == "CONT", said
            link.file.close()
            link.sock.close()
            time.sleep(0.3)
            begun = time.monotonic()
            assert guess()[1][0] == "CONT"
            assert time.monotonic() - begun > 2


# --- remembered ---


@pytest.fixture(scope="module")
def caching(tmp_path_factory):
    directory = tmp_path_factory.mktemp("oauth-cache")
    with Identity() as identity:
        (directory / "oauth2.ext").write_text(f"introspection_url = http://127.0.0.1:{identity.port}/introspect\n")
        with own_instance(28200, "auth_mechanisms = plain oauthbearer", "auth_penalty = no", "auth_failure_delay = 0", "auth_verbose = yes", "auth_cache_size = 1048576",
                          f"auth_passdb = {{ oauth2:{directory}/oauth2.ext, mechanisms=oauthbearer }} {{ passwd-file:$auth_passwd_file, mechanisms=plain }}") as instance:
            yield Site(instance, identity, directory)


def ask_often(site, token, times=3):
    return [site.imap("OAUTHBEARER", bearer(site.user, token))[0] for _ in range(times)]


def test_a_good_token_is_remembered(caching):
    caching.id.say = {"/introspect": {TOKEN: Answer({"email": caching.user}), "second": Answer({"email": caching.user})}}
    assert all(re.match(GOOD["imap"], said) for said in ask_often(caching, TOKEN))
    assert len(caching.id.asked) == 1
    assert all(re.match(GOOD["imap"], said) for said in ask_often(caching, "second"))  # another one of the same user
    assert len(caching.id.asked) == 2
    assert all(re.match(BAD["imap"], said) for said in ask_often(caching, WRONG))  # a wrong one is asked about each time
    assert len(caching.id.asked) == 5


def test_a_token_is_forgotten_when_it_expires(caching):
    caching.id.say = {"/introspect": {"short": Answer({"email": caching.user, "exp": int(time.time()) + 3})}}
    caching.id.asked = []
    assert all(re.match(GOOD["imap"], said) for said in ask_often(caching, "short", 2))
    assert len(caching.id.asked) == 1
    caching.id.say = {"/introspect": {"short": Answer({}, 500)}}  # nor does it help that nobody can be asked
    time.sleep(3.1)
    assert re.match(LATER["imap"], ask_often(caching, "short", 1)[0])


def test_remembered_fields_are_of_their_variables():
    with Identity() as identity:
        files = {"o.ext": f"introspection_url = http://127.0.0.1:{identity.port}/introspect\npass_attrs = from=%{{rip}} name=%{{oauth2:name}}\n"}
        identity.say = {"/introspect": {TOKEN: Answer({"email": "u@a.test", "name": "U"})}}
        with OurAuthd({"auth_passdb": "oauth2:DIR/o.ext", "auth_mechanisms": "oauthbearer", "auth_cache_size": "1048576"}, files, services=["oauth2"]) as server:

            def login(rip):
                return server.link("auth").ask(f"AUTH\t1\tOAUTHBEARER\tservice=imap\trip={rip}\tno-penalty\tresp={bearer('u@a.test', TOKEN)}")

            for rip in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
                assert login(rip) == ["OK", "1", "user=u@a.test", f"from={rip}", "name=U"]
            assert len(identity.asked) == 2


# --- the service's end, and TLS ---


def test_server_by_its_name(tmp_path):
    zone = {"id.test": {A: [(0, "127.0.0.1")]}}
    with Identity() as identity, NameServer(zone) as dns:
        thread = threading.Thread(target=dns.serve_forever)
        thread.start()
        try:
            for name in ("id.test", "nosuch.test"):
                (tmp_path / name).write_text(f"introspection_url = http://{name}:{identity.port}/introspect\n")
            with own_instance(28600, dns.stub_zones("test"), "auth_mechanisms = plain oauthbearer", "auth_penalty = no", "auth_failure_delay = 0",
                              f"auth_passdb = {{ oauth2:{tmp_path}/id.test, username_filter=*@a.test }} {{ oauth2:{tmp_path}/nosuch.test, username_filter=*@b.test }}") as instance:
                site = Site(instance, identity, tmp_path)
                identity.say = {"/introspect": {TOKEN: Answer({"email": "u@a.test"})}}
                said, _ = site.smtp("OAUTHBEARER", bearer("u@a.test", TOKEN))
                assert re.match(GOOD["smtp"], said), instance.log()
                assert identity.asked[0]["headers"]["host"] == f"id.test:{identity.port}"
                said, _ = site.smtp("OAUTHBEARER", bearer("u@b.test", TOKEN))
                assert re.match(LATER["smtp"], said) and "nosuch.test: it has no address" in instance.log()
        finally:
            dns.shutdown()
            thread.join()


def test_killed_in_the_middle(known):
    known.id.say["/introspect"]["slow"] = Answer({"active": True, "email": known.user}, delay=2)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(known.imap, "OAUTHBEARER", bearer(known.user, "slow"))
        wait_until(lambda: known.id.asked, what="a question")
        os.kill(known.i.pids("oauth2")[0], 9)
        assert re.match(f"{LATER['imap']}|{GOOD['imap']}", waiting.result()[0])  # asked anew, or given up; never "wrong"
    assert re.match(GOOD["imap"], known.imap("OAUTHBEARER", bearer(known.user, TOKEN))[0])


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """Two authorities and a server certificate of the first, for localhost; a client's, too."""
    d = tmp_path_factory.mktemp("oauth-tls")

    def openssl(*argv):
        subprocess.run(["openssl", *map(str, argv)], check=True, capture_output=True, cwd=d)

    for ca in ("ca", "otherca"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{ca}.key", "-out", f"{ca}.pem", "-subj", f"/CN={ca}", "-days", "30")
    for name, host in (("server", "localhost"), ("client", "posthorn")):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{name}.pem", "-days", "30", "-copy_extensions", "copy")
    return d


def test_certificates(tls):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls / "server.pem", tls / "server.key")
    context.load_verify_locations(tls / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    mine = f"tls_cert_file = {tls}/client.pem\ntls_key_file = {tls}/client.key\n"
    with Identity(tls=context) as identity:
        (tls / "hashed").mkdir(exist_ok=True)
        (tls / "hashed" / "ca.pem").write_text((tls / "ca.pem").read_text())
        subprocess.run(["openssl", "rehash", tls / "hashed"], check=True)
        files = {
            "good": ("localhost", f"tls_ca_cert_file = {tls}/ca.pem\n" + mine), "dir": ("localhost", f"tls_ca_cert_dir = {tls}/hashed\n" + mine),
            "name": ("127.0.0.1", f"tls_ca_cert_file = {tls}/ca.pem\n" + mine), "authority": ("localhost", f"tls_ca_cert_file = {tls}/otherca.pem\n" + mine), "system": ("localhost", mine),
            "client": ("localhost", f"tls_ca_cert_file = {tls}/ca.pem\n"), "anything": ("127.0.0.1", "tls_allow_invalid_cert = yes\n" + mine), "nofile": ("localhost", "tls_ca_cert_file = /nonexistent\n"),
        }
        for name, (host, lines) in files.items():
            (tls / f"{name}.ext").write_text(f"introspection_url = https://{host}:{identity.port}/introspect\n{lines}")
        passdbs = " ".join(f"{{ oauth2:{tls}/{name}.ext, username_filter=*@{name}.test }}" for name in files)
        with own_instance(28400, "auth_mechanisms = plain oauthbearer", "auth_penalty = no", "auth_failure_delay = 0", f"auth_passdb = {passdbs}") as instance:
            site, good = Site(instance, identity, tls), set()
            for name in files:
                user = f"u@{name}.test"
                identity.say = {"/introspect": {TOKEN: Answer({"email": user})}}
                said, _ = site.smtp("OAUTHBEARER", bearer(user, TOKEN))
                assert re.match(f"{GOOD['smtp']}|{LATER['smtp']}", said), (name, said)
                if re.match(GOOD["smtp"], said):
                    good.add(name)
            assert good == {"good", "dir", "anything"}, instance.log()
            (tls / "good.ext").write_text("introspection_url = gopher://x/\n")
            out = instance.postfix("check", ok=False)
            assert "good.ext line 1: introspection_url: a URL that begins with http:// or https:// was expected" in out.stderr + instance.log()
