"""PAM, shadow and passwd: the same service files and accounts to Debian's auth service and to our authd and auth-worker: the same answers."""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
SBIN = pathlib.Path(os.environ.get("POSTHORN_SBIN", HERE.parents[1] / "build" / "sbin"))
os.environ.setdefault("POSTHORN_BUILD", str(SBIN.parent))
sys.path.insert(0, str(HERE.parent / "system"))
from auth_protocol import DebianAuth, OurAuthd  # noqa: E402
from scratch_etc import scratch_etc  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="PAM and another /etc need root")
CODES = """success open_err symbol_err service_err system_err buf_err perm_denied auth_err cred_insufficient authinfo_unavail user_unknown maxtries new_authtok_reqd
acct_expired session_err cred_unavail cred_expired cred_err no_module_data conv_err authtok_err abort ignore""".split()
# Debian's tells its user that the password is wrong where the fault is a library's or a directory's. Ours says "later".
FAULTS = {"open_err", "symbol_err", "service_err", "buf_err", "authinfo_unavail", "abort"}
STEPS = {
    "auth": ("auth required pam_debug.so auth={}", "account required pam_permit.so", "session required pam_permit.so"),
    "cred": ("auth required pam_debug.so auth=success cred={}", "account required pam_permit.so", "session required pam_permit.so"),
    "acct": ("auth required pam_permit.so", "account required pam_debug.so acct={}", "session required pam_permit.so"),
    "open": ("auth required pam_permit.so", "account required pam_permit.so", "session required pam_debug.so open_session={}"),
    "close": ("auth required pam_permit.so", "account required pam_permit.so", "session required pam_debug.so open_session=success close_session={}"),
}
ARGS = {"plain": "*", "cred": "setcred=yes *", "session": "session=yes *", "old": "-session *", "both": "setcred=yes session=yes max_requests=3 *", "named": "unix", "var": "u%Ls"}
# (passdb by its mark behind the name's "+", service, user, password)
CASES = [(way, f"{step}-{code}", "joe", "x") for step, way in (("auth", "plain"), ("acct", "plain"), ("cred", "cred"), ("open", "session"), ("close", "session")) for code in CODES]
CASES += [("plain", f"{step}-cred_err", "joe", "x") for step in ("cred", "open", "close")]
CASES += [("old", "open-session_err", "joe", "x"), ("both", "cred-cred_err", "joe", "x"), ("both", "close-session_err", "joe", "x"), ("both", "auth-success", "joe", "x")]
CASES += [("named", "no-such-service", user, password) for user, password in (("palice", "alice-pw"), ("palice", "wrong"), ("pnobody", "x"), ("plocked", "x"), ("pstar", "*"), ("pfalse", "false-pw"))]
CASES += [("var", "NIX", "palice", "alice-pw"), ("plain", "no-such-service", "palice", "alice-pw"), ("plain", "map", "visitor", "alice-pw"), ("plain", "map", "visitor", "wrong")]
CASES += [(kind, "imap", user, password) for kind in ("shadow", "passwd")
          for user, password in (("palice", "alice-pw"), ("palice", "wrong"), ("palice", ""), ("palice", "x"), ("plocked", "x"), ("pstar", "*"), ("pempty", ""), ("pempty", "x"), ("pnobody", "x"), ("PAlice", "alice-pw"))]
COMMON = "service auth-worker {\n  user = root\n}\nfirst_valid_uid = 1000\nlast_valid_uid = 60000\n"
USERS = ["palice", "PALICE", "plow", "pfalse", "root", "pnobody"]


def services(etc):
    for step, lines in STEPS.items():
        for code in CODES:
            etc.service(f"{step}-{code}", *(line.format(code) for line in lines))
    etc.service("unix", "auth required pam_unix.so nodelay", "account required pam_unix.so")
    etc.service("map", "auth required pam_user_map.so", "auth required pam_unix.so nodelay", "account required pam_unix.so")
    etc.service("other", "auth required pam_deny.so", "account required pam_deny.so")
    (etc.etc / "security").mkdir(exist_ok=True)
    (etc.etc / "security/user_map.conf").write_text("visitor: palice\n")


def ask(server, service, user, password):
    """The words of the answer, in no order."""
    link = server.link("auth")
    try:
        answer = link.auth(user, password, params=f"service={service}\trip=192.0.2.9\tlip=192.0.2.1\tno-penalty")
        return [answer[0], *sorted(word for word in answer[2:] if word)]
    finally:
        link.sock.close()


def ask_all(server, way):
    """{case: answer} of one passdb, and what the userdb says."""
    cases = [case for case in CASES if case[0] == way]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = dict(zip(cases, pool.map(lambda case: ask(server, *case[1:]), cases)))
    userdb = server.link("auth-userdb")
    answers |= {("USER", user): userdb.ask(f"USER\t1\t{user}\tservice=imap") for user in USERS}
    userdb.send("LIST\t1\tservice=imap")
    listed = []
    while (words := userdb.read())[0] == "LIST":
        listed.append(words[2])
    return answers | {"LIST": listed}


@pytest.fixture(scope="module")
def etc():
    out = subprocess.run([HERE / "debian", "--root", "dovecot"], capture_output=True, text=True)
    if out.returncode != 0:
        pytest.skip(f"Debian's dovecot cannot be had: {out.stderr.strip()}")
    with scratch_etc() as etc:
        services(etc)
        yield etc


WAYS = {**{way: ("pam", args) for way, args in ARGS.items()}, "shadow": ("shadow", ""), "passwd": ("passwd", "")}


def servers(etc):
    class Theirs(DebianAuth):
        def installed(self, *argv):
            return etc.inside(*super().installed(*argv))

    class Ours(OurAuthd):
        def command(self, *argv):
            return etc.inside(*argv)

    return Theirs, Ours


FIELDS = {
    "args": ("mail=maildir:/m/%u home=/x/%n blocking=yes", {}),
    "templates": ("", {"default_fields": "home=/d uid=3 mail=maildir:/x", "override_fields": "gid=mail quota_rule=*:bytes=1"}),
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields_of_userdb_passwd(etc, name):
    args, settings = FIELDS[name]
    theirs, ours = servers(etc)
    block = f"userdb {{\n  driver = passwd\n  args = {args}\n" + "".join(f"  {k} = {v}\n" for k, v in settings.items()) + "}\n"
    with theirs(f"{COMMON}passdb {{\n  driver = pam\n}}\n{block}", {}) as server:
        link = server.link("auth-userdb")
        said = [link.ask(f"USER\t1\t{user}\tservice=imap") for user in USERS]
    with ours({"auth_passdb": "pam", "auth_userdb": "{" + ", ".join([f"passwd:{args}", *(f"{k}={v}" for k, v in settings.items())]) + "}"}, {}) as server:
        link = server.link("auth-userdb")
        assert [link.ask(f"USER\t1\t{user}\tservice=imap") for user in USERS] == said


@pytest.mark.parametrize("way", WAYS)
def test_same_answers(etc, way):
    driver, args = WAYS[way]
    Theirs, Ours = servers(etc)
    with Theirs(f"{COMMON}passdb {{\n  driver = {driver}\n  args = {args}\n}}\nuserdb {{\n  driver = passwd\n}}\n", {}) as server:
        theirs = ask_all(server, way)
    with Ours({"auth_passdb": f"{{{driver}:{args}}}", "auth_userdb": "passwd", "first_valid_uid": "1000", "last_valid_uid": "60000", "auth_verbose": "yes"}, {}) as server:
        ours = ask_all(server, way)
        log = server.log()
    for case in [case for case in theirs if case[0] == way]:
        step, _, code = case[1].partition("-")
        if step in STEPS and code in FAULTS and theirs[case][0] == "FAIL":
            assert theirs[case] == ["FAIL", "user=joe"]
            theirs[case] = ["FAIL", "code=temp_fail", "user=joe"]
    assert ours == theirs
    if way == "named":  # as fail2ban reads it
        assert re.search(r"pam\(palice,192\.0\.2\.9\): pam_authenticate\(\) failed: Authentication failure \(Password mismatch\?\)", log)
