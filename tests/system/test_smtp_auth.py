"""The SMTP client logs in: our smtp and Debian's send the same letters to a server that wants a login; methods and log lines are compared.

Each case is a transport with options of its own and a domain of that name.
"""
import os
import pathlib
import re
import sys
import tempfile

import pytest
from conftest import ROOT, wait_until
from test_cyrus import PASSWORD, REALM, USER, cyrus_site, pytestmark  # noqa: F401

sys.path.insert(0, str(ROOT / "tests/peer"))
from mta import DEBIAN, OURS, Site, smtp_talk  # noqa: E402

LOGIN = f"{USER}@{REALM}"
ANY = "smtp_sasl_security_options=noanonymous"
CASES = {
    "best": [],
    **{name: [ANY, f"smtp_sasl_mechanism_filter={name}"] for name in ("plain", "login", "cram-md5", "digest-md5", "scram-sha-1", "scram-sha-256")},
    "noplaintext": ["smtp_sasl_mechanism_filter=plain,login"],
    "mutual": ["smtp_sasl_security_options=mutual_auth"],
    "negated": [ANY, "smtp_sasl_mechanism_filter=!scram-sha-1,!scram-sha-256,static:rest"],
    "authzid": [ANY, "smtp_sasl_mechanism_filter=plain", "send_cyrus_sasl_authzid=yes"],
    "wrong": [ANY, "smtp_sasl_password_maps=static:ann@example.test:wrong"],
    "wrong-cram": [ANY, "smtp_sasl_mechanism_filter=cram-md5", "smtp_sasl_password_maps=static:ann@example.test:wrong"],
    "for-good": [ANY, "smtp_sasl_password_maps=static:ann@example.test:wrong", "smtp_sasl_auth_soft_bounce=no"],
    "no-entry": ["smtp_sasl_password_maps=inline:{{elsewhere.test=x:y}}"],
    "host-first": [ANY, "smtp_sasl_password_maps=texthash:TOP/both"],
    "sender": [ANY, "smtp_sender_dependent_authentication=yes", "smtp_sasl_password_maps=texthash:TOP/senders"],
    "delimiter": [ANY, "smtp_sasl_mechanism_filter=plain", "smtp_sasl_password_result_delimiter=|", "smtp_sasl_password_maps=texthash:TOP/piped"],
    "broken-table": ["smtp_sasl_password_maps=fail:table"],
}
NEWER = {"delimiter"}  # than Debian's Postfix


def entries(top, port):
    text = f"{LOGIN}:{PASSWORD}"
    (top / "passwords").write_text(f"[127.0.0.1]:{port} {text}\n")
    (top / "both").write_text(f"[127.0.0.1]:{port} nobody@{REALM}:x\n127.0.0.1 {text}\n")
    (top / "piped").write_text(f"127.0.0.1 {LOGIN}|{PASSWORD}\n")
    (top / "senders").write_text(f"me@client.test {text}\n127.0.0.1 nobody@{REALM}:x\n")


def attempt(client, server, side, case):
    """(outcome, words) of the client's log, and the server's sasl_method."""
    mark, server_mark = client.log_mark(), server.site.log_mark()
    smtp_talk(client.smtp_port, b"EHLO client\r\n", b"MAIL FROM:<me@client.test>\r\n", f"RCPT TO:<x@{case}.test>\r\n".encode(), b"DATA\r\n", b"Subject: x\r\n\r\nx\r\n.\r\n")
    line = wait_until(lambda: re.search(rf"to=<x@{case}\.test>.* dsn=(\S+), status=(\w+) \((.*)\)", client.log(mark)), what=f"{side} {case}")
    said = re.sub(r"queued as \w+|\d{5}", "...", line[3])
    method = re.search(r"sasl_method=(\S+), sasl_username=(\S+)", server.site.log(server_mark))
    return line[1], line[2], said, method and method.groups()


@pytest.fixture(scope="module")
def compared():
    with cyrus_site() as server, tempfile.TemporaryDirectory(prefix="posthorn-smtp.") as top:
        top = pathlib.Path(top)
        os.chmod(top, 0o755)
        server.site.start(OURS)
        port = server.site.smtp_port
        client = Site(top, "smtp_sasl_auth_enable = yes", f"smtp_sasl_password_maps = texthash:{top}/passwords", "smtp_tls_security_level = none",
                      f"transport_maps = texthash:{top}/transport", "myhostname = client.example.test")
        entries(top, port)
        (top / "transport").write_text("".join(f"{case}.test {case}:[127.0.0.1]:{port}\n" for case in CASES))
        for side in (OURS, DEBIAN):
            with open(client.etc(side) / "master.cf", "a") as f:
                for case, options in CASES.items():
                    f.write(f"{case} unix - - n - - smtp {' '.join('-o ' + o.replace('TOP', str(top)) for o in options)}\n")
        out = {}
        try:
            for side in (DEBIAN, OURS):
                client.start(side)
                out[side] = {case: attempt(client, server, side, case) for case in CASES if side == OURS or case not in NEWER}
                client.stop()
            out["log"] = client.log() + server.site.log()
        finally:
            client.close()
        yield out


@pytest.mark.parametrize("case", sorted(set(CASES) - NEWER))
def test_as_debian(compared, case):
    assert compared[OURS][case] == compared[DEBIAN][case]


def test_what_came_of_it(compared):
    sent = {case for case, (_, status, _, _) in compared[OURS].items() if status == "sent"}
    assert sent == set(CASES) - {"noplaintext", "wrong", "wrong-cram", "for-good", "no-entry", "broken-table"}
    assert compared[OURS]["for-good"][1] == compared[OURS]["no-entry"][1] == "bounced"
    for name in ("plain", "login", "cram-md5", "digest-md5", "scram-sha-1", "scram-sha-256"):
        assert compared[OURS][name][3] == (name.upper(), LOGIN)
    assert "Sesame" not in compared["log"]
