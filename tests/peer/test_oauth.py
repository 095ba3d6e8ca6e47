"""dovecot-oauth2.conf.ext: the same files and the same identity server for Debian's auth service and for our authd and oauth2: the same answers to tokens.

POSTHORN_SBIN names the directory of our commands, beside that of the daemons. Skipped when Debian's packages cannot be had.
"""
import base64
import os
import pathlib
import sys
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
SBIN = pathlib.Path(os.environ.get("POSTHORN_SBIN", HERE.parents[1] / "build" / "sbin"))
os.environ.setdefault("POSTHORN_BUILD", str(SBIN.parent))
sys.path.insert(0, str(HERE.parent / "system"))
from auth_protocol import DebianAuth, OurAuthd, plain  # noqa: E402
from identity import Answer, Identity, bearer, claims, jwt, xoauth2  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="packages look installed only in a mount namespace of root's")
KEY = base64.b64encode(b"secret").decode()
INFO, ASK, POST, GET = "tokeninfo_url = URL/info?t=\n", "introspection_url = URL/ask\n", "introspection_url = URL/ask\nintrospection_mode = post\n", "introspection_url = URL/ask?t=\nintrospection_mode = get\n"
LOCAL = "introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix=DIR/keys/\n"
GRANT = "grant_url = URL/grant\nclient_id = me\nclient_secret = s\nuse_grant_password = yes\n"
ATTRS = "pass_attrs = a=%{oauth2:s} b=%{oauth2:n} c=%{oauth2:b} d=%{oauth2:o} f=%{oauth2:none} g=%{oauth2:none:dflt} h=%n-%{oauth2:access_token} i k=%L{oauth2:s}\n"
U, NOW = "u@DOMAIN", int(time.time())
OK = {"email": U}
# Where we say something else than Dovecot, on purpose.
REFUSED, ACCEPTED, LATER = "a refusal that the client is told", "accepted", "temporary"


class Case:
    def __init__(self, conf, said=None, token="tok", mech="OAUTHBEARER", message=None, ours=None, **signed):
        self.conf, self.token, self.mech, self.message, self.ours, self.signed = conf, token, mech, message, ours, signed
        self.said = {path: a if isinstance(a, Answer) else Answer(a) for path, a in (said or {}).items()}


def ask(said, conf=ASK, **kw):
    return Case(conf, {"/ask": said}, **kw)


def local(conf="", ours=None, body=None, key=b"secret", alg="HS256", header=None, kid=None, sign=None, **more):
    """A token that is made for the case's user."""
    return Case(LOCAL + conf, ours=ours, token=None, body=body, key=key, alg=alg, header=header, sign=sign, more=more, kid={"kid": kid} if kid is not None else {})


def message(text, mech="OAUTHBEARER", **kw):
    return ask(OK, mech=mech, message=text, **kw)


CASES = [
    ask(OK), ask(OK, POST), ask(OK, GET), ask({**OK, "scope": "a b"}, POST + "client_id = me\nclient_secret = s\nscope = a\n"), ask(OK, mech="XOAUTH2"), ask(OK, mech="PLAIN"),
    # "No username returned" and temporary there, whatever the status says; a client would never fetch a new token.
    *(ask(Answer({"error": "x"}, status), ours=REFUSED) for status in (400, 401, 403)), ask(Answer({}, 401), mech="XOAUTH2", ours=REFUSED), ask(Answer({}, 401), mech="PLAIN", ours=REFUSED),
    *(ask(Answer({"error": "x"}, status)) for status in (404, 429, 500, 503)), *(ask(Answer({"error": "x"}, status), POST) for status in (400, 401, 403, 500)),
    ask(Answer({}, 302, headers=[("Location", "/other")])), ask(Answer(b"<html>")), ask(Answer(b"")), ask(Answer(b"[1]")), ask(Answer(b'{"email":"u@x"} x')),
    ask({"email": "v@DOMAIN"}), ask({"x": "y"}), ask({"email": "U@DOMAIN"}), ask({**OK, "token_type": "mac"}), ask({**OK, "token_type": "BEARER", "expires_in": 5}),
    ask({"active": False}), ask({"active": False, **OK}), ask({"active": True, **OK}, ASK + "active_attribute = active\nactive_value = true\n"),
    ask({"active": False, **OK}, ASK + "active_attribute = active\nactive_value = true\n"),
    # An attribute that must be there whatever it says: Debian's program has it the other way round than its documentation.
    ask(OK, ASK + "active_attribute = enabled\n", ours=REFUSED), ask({"enabled": "x", **OK}, ASK + "active_attribute = enabled\n", ours=ACCEPTED),
    ask({**OK, "scope": "a mail b"}, ASK + "scope = mail\n"), ask({**OK, "scope": "a mail b"}, ASK + "scope = mail cal\n"), ask({**OK, "scope": "a cal mail"}, ASK + "scope = mail cal\n"),
    ask(OK, ASK + "scope = mail\n"), ask({**OK, "scope": "a,mail"}, ASK + "scope = mail\n"), ask({**OK, "scope": ["a", "mail"]}, ASK + "scope = mail\n", ours=ACCEPTED),
    ask({**OK, "aud": "mail"}, ASK + "scope = mail\n", ours=REFUSED),  # "deprecated" there
    ask({**OK, "aud": "me"}, ASK + "audience = me\n"), ask({**OK, "aud": "you"}, ASK + "audience = me\n"), ask({**OK, "aud": ["you", "me"]}, ASK + "audience = me\n", ours=ACCEPTED),
    Case(INFO, {"/info": OK}), Case(INFO), Case(INFO, {"/info": Answer(b"")}), Case(INFO, {"/info": {**OK, "token_type": "mac"}}), Case(INFO + ASK, {"/info": {"x": "1"}, "/ask": OK}),
    Case(INFO + ASK, {"/info": OK, "/ask": {"y": "2"}}), Case(INFO + ASK + "force_introspection = yes\n", {"/info": OK, "/ask": {"y": "2"}}), Case(INFO + ASK, {"/info": OK, "/ask": Answer({}, 500)}),
    Case(INFO + "openid_configuration_url = https://id.example/x\n"), Case(INFO + "openid_configuration_url = https://id.example/x\n", mech="XOAUTH2"),
    ask({**OK, "s": "Str Ing", "n": 12, "b": True, "o": {"x": "y"}, "z": None}, ASK + ATTRS), ask(OK, ASK + "send_auth_headers = yes\n"),
    ask({"email": "u@other.test"}, ASK + "username_format = %Ln\n"), ask({"sub": U}, ASK + "username_attribute = sub\n"),
    local(), local(key=b"x"), local(alg="none", sign=lambda _: b""), local(body={"email": U, "exp": NOW + 900}), local(body={"sub": U, "email": U}), local(exp=NOW - 10), local(exp=str(NOW + 900)),
    local(exp="x"), local(exp=NOW + 900.5, ours=ACCEPTED), local(nbf=NOW + 900), local(iat=NOW + 900), local(iat=NOW - 900), local("issuers = a b\n", iss="b"), local("issuers = a b\n", iss="c"),
    local("issuers = a b\n"), local(azp="party"), local(azp="nobody"), local(kid="k1"), local(kid="nosuch"), local(kid=""), local(kid="../HS256/default"), local(kid="pem"),
    local(header={"alg": "HS256"}), local(header={"alg": "HS256", "typ": "at+jwt"}), local(header={"alg": "RS256", "typ": "JWT"}), local("client_id = me\n", aud="me"),
    local("client_id = me\n", aud=["x", "me"]), local("client_id = me\n", aud="you"), local("client_id = me\n"), local("scope = mail\n", scope="mail x"), local("scope = mail\n", scope="x,mail"),
    local("scope = mail\n", scope="x"), local("scope = mail\n"), local("scope = mail\n", aud="mail"), local(ATTRS, s="St", n=1, b=True, o={"x": "y"}), Case(LOCAL), Case(LOCAL, token="a.b.c"),
    Case(GRANT, {"/grant": {**OK, "access_token": "tok", "token_type": "bearer", "expires_in": 60}}, mech="PLAIN"), Case(GRANT + POST, {"/grant": {"access_token": "tok"}, "/ask": OK}, mech="PLAIN"),
    Case(GRANT, {"/grant": Answer({"error": "invalid_grant"}, 400)}, mech="PLAIN"), Case(GRANT, {"/grant": Answer({"error": "invalid_client"}, 401)}, mech="PLAIN"), Case(GRANT, {"/grant": Answer({}, 400)}, mech="PLAIN"),
    Case(GRANT, {"/grant": OK}, mech="PLAIN"), Case(GRANT, {"/grant": {**OK, "access_token": "tok", "token_type": "mac"}}, mech="PLAIN"), Case(GRANT + INFO, {"/grant": {"access_token": "tok"}, "/info": OK}, mech="PLAIN"),
    Case(GRANT + "scope = mail\n", {"/grant": {**OK, "access_token": "tok", "scope": "mail"}}, mech="PLAIN"),
    *map(message, ["n,,\1auth=Bearer tok\1\1", "p=tls-unique,a=USER,\1auth=Bearer tok\1\1", "y,a=USER,\1auth=Bearer tok\1\1", "n,a=USER,\1auth=bearer tok\1\1", "n,a=USER,\1auth=Bearer tok\1", "n,a=USER,\1auth=Basic tok\1\1",
                   "n,a=u=40DOMAIN,\1auth=Bearer tok\1\1", "hello", "n,a=USER,\1auth=Bearer \1\1", "n,a=USER\1auth=Bearer tok\1\1", "n,,\1user=USER\1auth=Bearer tok\1\1"]),
    message("user=USER\1auth=bearer tok\1\1", "XOAUTH2"), message("auth=Bearer tok\1user=USER\1\1", "XOAUTH2"), message("auth=Bearer tok\1\1", "XOAUTH2"),
]


def domain(n):
    return f"c{n}.test"


@pytest.fixture(scope="module")
def identity():
    with Identity() as server:
        yield server


def with_keys(server):
    for name, text in {"default/HS256/default": KEY, "party/HS256/default": KEY, "default/HS256/k1": KEY, "default/HS256/pem": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"}.items():
        path = server.dir / "keys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    os.system(f"chmod -R a+rX {server.dir}/keys")


def files(identity):
    return {**{f"{n}.ext": c.conf.replace("URL", f"http://127.0.0.1:{identity.port}") for n, c in enumerate(CASES)}, "keys/x": ""}


@pytest.fixture(scope="module")
def debian(identity):
    passdbs = "".join(f"passdb {{\n  driver = oauth2\n  args = DIR/{n}.ext\n  username_filter = *@{domain(n)}\n}}\n" for n in range(len(CASES)))
    with DebianAuth("auth_mechanisms = plain oauthbearer xoauth2\n" + passdbs, files(identity)) as server:
        with_keys(server)
        yield server


# A list holds at most 32 databases.
@pytest.fixture(scope="module")
def ours(identity):
    servers = []
    for first in range(0, len(CASES), 30):
        passdbs = " ".join(f"{{ oauth2:DIR/{n}.ext, username_filter=*@{domain(n)} }}" for n in range(first, min(first + 30, len(CASES))))
        servers.append(OurAuthd({"auth_passdb": passdbs, "auth_mechanisms": "plain oauthbearer xoauth2", "auth_verbose": "yes"}, files(identity), services=["oauth2"]))
    for server in servers:
        server.__enter__()
        with_keys(server)
    yield servers
    for server in servers:
        said = server.log() + (server.dir / "oauth2.log").read_text()
        server.__exit__()
        assert "Sanitizer" not in said and "runtime error" not in said, said


def for_user(value, n):
    """The case's user in place of his sign."""
    if isinstance(value, dict):
        return {k: for_user(v, n) for k, v in value.items()}
    return value.replace("USER", U).replace("DOMAIN", domain(n)) if isinstance(value, str) else value


def token_of(case, n):
    if case.token is not None:
        return case.token
    s = case.signed
    body = for_user(s["body"] or {**claims(U), **s["more"]}, n)
    return jwt(body, key=s["key"], alg=s["alg"], header=s["header"], sign=s["sign"], **s["kid"])


def converse(server, identity, case, n):
    """What became of it, what a refused client was told, and what the identity server was asked."""
    user, token = for_user(U, n), token_of(case, n)
    texts = {"OAUTHBEARER": bearer, "XOAUTH2": xoauth2, "PLAIN": plain}
    response = base64.b64encode(for_user(case.message, n).encode()).decode() if case.message is not None else texts[case.mech](user, token)
    identity.say = {path: {token: Answer(a.body.replace(b"DOMAIN", domain(n).encode()), a.status, headers=a.headers), "tok": Answer(a.body.replace(b"DOMAIN", domain(n).encode()), a.status, headers=a.headers)} for path, a in case.said.items()}
    identity.asked = []
    link = server.link("auth")
    said, told = link.ask(f"AUTH\t1\t{case.mech}\tservice=imap\trip=192.0.2.9\tlip=192.0.2.1\trport=99\tlport=143\tsecured\tno-penalty\tresp={response}"), None
    if said[0] == "CONT":
        told = base64.b64decode(said[2])
        said = link.ask("CONT\t1\tAQ==")
    asked = [(a["method"], a["path"], a["query"], a["form"], {k: v for k, v in a["headers"].items() if k.startswith("x-dovecot") or k in ("authorization", "content-type")}) for a in identity.asked]
    return [w for w in said if not w.startswith("token=")], told, asked


@pytest.mark.parametrize("n", range(len(CASES)))
def test_same_answers(debian, ours, identity, n):
    case = CASES[n]
    theirs, mine = converse(debian, identity, case, n), converse(ours[n // 30], identity, case, n)
    if case.ours is None:
        assert mine == theirs, case.conf
        return
    said, told, asked = mine
    assert asked == theirs[2] and (said, told) != theirs[:2], "no difference any more"
    if case.ours == ACCEPTED:
        assert said[0] == "OK"
    else:
        assert said[0] == "FAIL" and "code=temp_fail" not in said and (told is not None or case.mech == "PLAIN")
