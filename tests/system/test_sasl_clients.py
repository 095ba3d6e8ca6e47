"""SASL by clients that nobody here wrote (gsasl, curl, swaks, msmtp, fetchmail, mbsync); channel binding, client certificates; what is shown when."""
import base64
import hashlib
import imaplib
import pathlib
import poplib
import re
import smtplib
import socket
import ssl
import subprocess

import pytest
from conftest import own_instance
from sasl_client import Digest, Scram, cram_md5

USER, PASSWORD, CERT_USER, SHA_USER = "alice@example.test", "secret word", "bob@example.test", "carol@example.test"
MECHS = "PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS".split()
PLAINTEXT, PLUS = {"PLAIN", "LOGIN"}, {"SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"}
ALL = {*MECHS, "EXTERNAL"}


def openssl(where, *argv):
    subprocess.run(["openssl", *argv], cwd=where, check=True, capture_output=True)


def make_certificates(where):
    """clients.pem vouches for cert.pem of CERT_USER; nobody vouches for stranger.pem of USER."""
    openssl(where, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "clients.key", "-out", "clients.pem", "-subj", "/CN=Clients", "-days", "30")
    openssl(where, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "cert.key", "-out", "cert.csr", "-subj", f"/O=Somewhere/CN={CERT_USER}")
    openssl(where, "x509", "-req", "-in", "cert.csr", "-CA", "clients.pem", "-CAkey", "clients.key", "-CAcreateserial", "-out", "cert.pem", "-days", "30")
    openssl(where, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "stranger.key", "-out", "stranger.pem", "-subj", f"/CN={USER}", "-days", "30")


@pytest.fixture(scope="module")
def site():
    with own_instance(21400) as i:
        etc = pathlib.Path(i.config_dir)
        make_certificates(etc)
        (etc / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}::::::\n"
                                   f"{SHA_USER}:{{SHA256}}{base64.b64encode(hashlib.sha256(PASSWORD.encode()).digest()).decode()}::::::\n")
        i.postconf(f"auth_mechanisms = {' '.join(MECHS).lower()} external apop", "auth_failure_delay = 0", "auth_verbose = yes", "auth_ssl_username_from_cert = yes",
                   f"auth_passdb = {{passwd-file:{etc}/users}} {{static:nopassword=y, mechanisms=external}}", "smtpd_sasl_mechanism_filter = static:all",
                   "smtpd_tls_ask_ccert = yes", f"smtpd_tls_CAfile = {etc}/clients.pem", "login_tls_ask_ccert = yes")
        i.restart()
        i.certificates = etc
        yield i


def failed(text):
    return "AUTHENTICATIONFAILED" in text or "535 5.7.8" in text


# --- what is shown ---

def shown_smtp(site, port, tls):
    with site.smtp(port) as s:
        s.ehlo()
        if tls:
            s.starttls(context=site.tls)
            s.ehlo()
        return set(s.esmtp_features.get("auth", "").split())


def test_submission_shows_nothing_before_tls(site):
    assert shown_smtp(site, site.submission_port, False) == set()
    assert shown_smtp(site, site.submission_port, True) == ALL


def test_imap_shows_what_fits(site):
    """This host is trusted with passwords in the clear, not with mechanisms that need a TLS channel."""
    m = imaplib.IMAP4("localhost", site.imap_port)
    shown = {c.removeprefix("AUTH=") for c in m.capabilities if c.startswith("AUTH=")}
    assert shown == ALL - PLUS and "SASL-IR" in m.capabilities
    m.starttls(site.tls)
    assert {c.removeprefix("AUTH=") for c in m.capabilities if c.startswith("AUTH=")} == ALL
    m.shutdown()


def test_pop3_shows_what_fits(site):
    p = poplib.POP3("localhost", site.pop3_port)
    assert set(p.capa()["SASL"]) == ALL - PLUS
    assert re.search(rb"<[0-9a-f]+\.[0-9a-f]+\.[^<> ]+@[\w.-]+>$", p.getwelcome())
    p.stls(site.tls)
    assert set(p.capa()["SASL"]) == ALL
    p.close()


def test_apop_is_no_mechanism_of_auth(site):
    p = poplib.POP3("localhost", site.pop3_port)
    with pytest.raises(poplib.error_proto, match="Unsupported authentication mechanism"):
        p._shortcmd("AUTH APOP")
    p.close()


@pytest.mark.parametrize("options,tls,wanted", [
    ("noplaintext, noanonymous", True, ALL - PLAINTEXT), ("noplaintext, nodictionary, noactive", True, ALL - PLAINTEXT - {"CRAM-MD5", "DIGEST-MD5"}),
    ("mutual_auth", True, {m for m in ALL if m.startswith("SCRAM")} | {"DIGEST-MD5"}), ("noplaintext", False, ALL - PLAINTEXT - PLUS), ("noanonymous", False, ALL - PLUS)])
def test_security_options(site, options, tls, wanted):
    mark = site.log_mark()
    site.postconf(f"smtpd_sasl_{'tls_' if tls else ''}security_options = {options}", "smtpd_sasl_auth_enable = yes")
    site.reload()
    try:
        assert shown_smtp(site, site.smtp_port, tls) == wanted, site.log(mark)
    finally:
        site.tool("postconf", "-X", f"smtpd_sasl_{'tls_' if tls else ''}security_options", "smtpd_sasl_auth_enable")
        site.reload()


# --- clients ---

def gsasl(site, mech, *options, protocol="imap", password=PASSWORD):
    port = site.imap_port if protocol == "imap" else site.submission_port
    out = subprocess.run(["gsasl", f"--{protocol}", "--connect", f"localhost:{port}", "--hostname", "localhost", "-m", mech, "-a", USER, "-z", USER, "-p", password, "-r", "example.test",
                          "--quality-of-protection=qop-auth", f"--x509-ca-file={site.ca_file}", *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    return out.returncode == 0, out.stdout + out.stderr


@pytest.mark.parametrize("protocol", ["imap", "smtp"])
@pytest.mark.parametrize("mech", MECHS)
def test_gsasl(site, mech, protocol):
    options = [] if mech in PLUS else ["--no-cb"]
    good, words = gsasl(site, mech, *options, protocol=protocol)
    assert good, words
    if mech in PLUS:  # TLS 1.2: tls-unique or tls-exporter, after TLS 1.3's tls-exporter
        good, words = gsasl(site, mech, "--priority=NORMAL:-VERS-TLS1.3", protocol=protocol)
        assert good, words
    good, words = gsasl(site, mech, *options, protocol=protocol, password="wrong")
    assert not good and failed(words), words


def curl(site, url, mech, *options, user=USER, password=PASSWORD):
    out = subprocess.run(["curl", "-sv", "--ssl-reqd", "--cacert", site.ca_file, "--login-options", f"AUTH={mech}", "-u", f"{user}:{password}", *options, url],
                         capture_output=True, text=True, timeout=60)
    return out.returncode, out.stderr


@pytest.mark.parametrize("mech", ["PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5"])
def test_curl(site, mech):
    text = pathlib.Path(site.config_dir) / "message"
    text.write_text("Subject: by curl\r\n\r\nx\r\n")
    send = ["--mail-from", USER, "--mail-rcpt", USER, "-T", str(text)]
    for url, options in ((f"imap://localhost:{site.imap_port}/", []), (f"pop3://localhost:{site.pop3_port}/", []), (f"smtp://localhost:{site.submission_port}/", send)):
        code, words = curl(site, url, mech, *options)
        assert code == 0, words
        code, words = curl(site, url, mech, *options, password="wrong")
        assert code == 67, words


def test_swaks(site):
    for mech in ("PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5"):
        for password, code in ((PASSWORD, 0), ("wrong", 28)):
            out = subprocess.run(["swaks", "--server", "localhost", "--port", str(site.submission_port), "-tls", "--auth", mech, "--auth-user", USER, "--auth-password", password,
                                  "--auth-extra", "realm=example.test", "--from", USER, "--to", USER, "--body", f"swaks {mech}"], capture_output=True, text=True, timeout=60)
            assert out.returncode == code, out.stdout + out.stderr


def test_msmtp(site):
    for mech in ("plain", "cram-md5", "scram-sha-1", "scram-sha-256"):
        for password, code in ((PASSWORD, 0), ("wrong", 77)):
            out = subprocess.run(["msmtp", "--host=localhost", f"--port={site.submission_port}", "--tls=on", f"--tls-trust-file={site.ca_file}", f"--auth={mech}", f"--user={USER}",
                                  f"--passwordeval=echo {password}", f"--from={USER}", USER], input=f"Subject: msmtp {mech}\n\nx\n", capture_output=True, text=True, timeout=60)
            assert out.returncode == code, (mech, out.stderr)


def test_fetchmail_apop(site, tmp_path):
    rc = tmp_path / "rc"
    for password, codes in ((PASSWORD, (0, 1)), ("wrong", (3,))):
        rc.write_text(f'poll localhost protocol apop port {site.pop3_port} username "{USER}" password "{password}" sslproto "" mda "cat >/dev/null"\n')
        rc.chmod(0o600)
        out = subprocess.run(["fetchmail", "-v", "--nosyslog", "-k", "-f", str(rc), "--pidfile", str(tmp_path / "pid")], capture_output=True, text=True, timeout=60)
        assert out.returncode in codes and "APOP" in out.stdout, out.stdout + out.stderr


@pytest.mark.parametrize("mech", ["PLAIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_mbsync(site, tmp_path, mech):
    """libsasl2's own client."""
    rc = tmp_path / "rc"
    for password, good in ((PASSWORD, True), ("wrong", False)):
        rc.write_text(f'IMAPAccount a\nHost localhost\nPort {site.imap_port}\nUser {USER}\nPass "{password}"\nAuthMechs {mech}\nSSLType STARTTLS\nCertificateFile {site.ca_file}\n\n'
                      f"IMAPStore r\nAccount a\n\nMaildirStore l\nPath {tmp_path}/\nInbox {tmp_path}/INBOX\n\nChannel c\nFar :r:\nNear :l:\nPatterns INBOX\n")
        mark = site.log_mark()
        out = subprocess.run(["mbsync", "-c", str(rc), "-l", "c"], capture_output=True, text=True, timeout=60)
        assert (out.returncode == 0) == good, out.stdout + out.stderr
        if good:
            site.wait_log(rf"imap-login: Login: user=<{USER}>, method={mech},", mark)


# --- channel binding ---

def binding_of(kind, sock):
    if kind == "tls-unique":
        return sock.get_channel_binding("tls-unique")
    return hashlib.sha256(sock.getpeercert(True)).digest()


def imap_scram(site, kind, mech="SCRAM-SHA-256-PLUS", version=ssl.TLSVersion.TLSv1_2, spoil=False, header=None):
    context = site.tls
    context.maximum_version = version
    m = imaplib.IMAP4_SSL("localhost", site.imaps_port, ssl_context=context)
    data = (binding_of(kind, m.sock) or b"?") if kind else b""
    client = Scram(USER, PASSWORD, "sha256" if "256" in mech else "sha1", header=header or f"p={kind},,".encode(), binding=data if not spoil else bytes(len(data)))
    steps = iter([lambda _: client.first(), lambda challenge: client.final(challenge), lambda final: b"" if client.proven(final) else None])
    try:
        return m.authenticate(mech, lambda challenge: next(steps)(challenge))[0]
    except imaplib.IMAP4.error as e:
        return str(e)
    finally:
        m.shutdown()


@pytest.mark.parametrize("mech", sorted(PLUS))
def test_python_binds(site, mech):
    assert imap_scram(site, "tls-unique", mech) == "OK"
    assert imap_scram(site, "tls-server-end-point", mech) == "OK"
    assert imap_scram(site, "tls-server-end-point", mech, ssl.TLSVersion.TLSv1_3) == "OK"


@pytest.mark.parametrize("case", [("tls-unique", ssl.TLSVersion.TLSv1_2, True), ("tls-server-end-point", ssl.TLSVersion.TLSv1_3, True), ("tls-unique", ssl.TLSVersion.TLSv1_3, False)],
                         ids=["another connection", "another certificate", "tls-unique in TLS 1.3"])
def test_another_channel(site, case):
    kind, version, spoil = case
    assert "AUTHENTICATIONFAILED" in imap_scram(site, kind, version=version, spoil=spoil)


def test_a_cut_list_is_noticed(site):
    assert "AUTHENTICATIONFAILED" in imap_scram(site, None, "SCRAM-SHA-256", header=b"y,,")
    assert imap_scram(site, None, "SCRAM-SHA-256", header=b"n,,") == "OK"


# --- certificates ---

def with_certificate(site, name):
    context = site.tls
    if name:
        context.load_cert_chain(site.certificates / f"{name}.pem", site.certificates / f"{name}.key")
    return context


@pytest.mark.parametrize("name,authzid,good", [("cert", "", True), ("cert", CERT_USER, True), ("cert", USER, False), ("stranger", "", False), ("stranger", USER, False), (None, USER, False)])
def test_external(site, name, authzid, good):
    """The name in a certificate that we trust, nobody else's; who shows another goes on without."""
    context = with_certificate(site, name)
    m = imaplib.IMAP4_SSL("localhost", site.imaps_port, ssl_context=context)
    if good:
        assert m.authenticate("EXTERNAL", lambda _: authzid.encode())[0] == "OK"
    else:
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            m.authenticate("EXTERNAL", lambda _: authzid.encode())
        m.login(USER, PASSWORD)
    m.shutdown()
    with smtplib.SMTP_SSL("localhost", site.submissions_port, context=context) as s:
        s.ehlo()
        code, words = s.docmd("AUTH", "EXTERNAL " + (base64.b64encode(authzid.encode()).decode() or "="))
        assert code == (235 if good else 535), words
    with socket.create_connection(("localhost", site.pop3s_port)) as raw, context.wrap_socket(raw, server_hostname="localhost") as p:
        f = p.makefile("rb")
        f.readline()
        p.sendall(b"AUTH EXTERNAL " + (base64.b64encode(authzid.encode()) or b"=") + b"\r\n")
        assert f.readline().startswith(b"+OK" if good else b"-ERR [AUTH]")


def test_external_by_curl(site):
    code, words = curl(site, f"imap://localhost:{site.imap_port}/", "EXTERNAL", "--cert", str(site.certificates / "cert.pem"), "--key", str(site.certificates / "cert.key"), user=CERT_USER, password="")
    assert code == 0, words


def test_certificates_are_logged_as_postfix_does(site):
    mark = site.log_mark()
    site.postconf("smtpd_tls_loglevel = 1")
    site.reload()
    for name, word in (("cert", "Trusted"), ("stranger", "Untrusted"), (None, "Anonymous")):
        with smtplib.SMTP_SSL("localhost", site.submissions_port, context=with_certificate(site, name)) as s:
            s.ehlo()
        site.wait_log(rf"smtpd\[\d+\]: {word} TLS connection established from localhost", mark)


# --- the front ends ---

class Raw:
    def __init__(self, site, port, tls=True):
        self.sock = socket.create_connection(("localhost", port), timeout=30)
        if tls:
            self.sock = site.tls.wrap_socket(self.sock, server_hostname="localhost")
        self.file = self.sock.makefile("rb")

    def read(self):
        return self.file.readline().decode()

    def say(self, line):
        self.sock.sendall(line.encode() + b"\r\n")
        return self.read()

    def ehlo(self):
        self.read()
        line = self.say("EHLO client.example")
        while line[3:4] == "-":
            line = self.read()
        return self


def b64(data):
    return base64.b64encode(data).decode()


def test_cancel(site):
    s = Raw(site, site.submissions_port).ehlo()
    assert s.say("AUTH CRAM-MD5").startswith("334 ")
    assert s.say("*") == "501 5.7.0 Authentication aborted\r\n"
    assert s.say("AUTH PLAIN " + b64(f"\0{USER}\0{PASSWORD}".encode())).startswith("235 ")
    i = Raw(site, site.imaps_port)
    i.read()
    assert i.say("a AUTHENTICATE SCRAM-SHA-1").startswith("+ ")
    assert i.say("*") == "a BAD Authentication aborted by client.\r\n"
    p = Raw(site, site.pop3s_port)
    p.read()
    assert p.say("AUTH DIGEST-MD5").startswith("+ ")
    assert p.say("*") == "-ERR Authentication aborted by client.\r\n"


def test_responses_up_to_12_kib(site):
    """RFC 4954 section 4 wants room for 12288 octets of base64; what is longer is refused, and the session goes on."""
    fits, longer = b64(b"\0" * 9216), b64(b"\0" * 9219)
    assert len(fits) == 12288
    s = Raw(site, site.submissions_port).ehlo()
    assert s.say("AUTH PLAIN").startswith("334 ")
    assert s.say(fits).startswith("535 5.7.8 ")
    assert s.say("AUTH PLAIN").startswith("334 ")
    assert s.say(longer) == "500 5.5.6 SASL response limit exceeded\r\n"
    assert s.say("AUTH PLAIN " + b64(f"\0{USER}\0{PASSWORD}".encode())).startswith("235 ")
    i = Raw(site, site.imaps_port)
    i.read()
    assert i.say("a AUTHENTICATE PLAIN").startswith("+ ")
    assert i.say(fits).startswith("a NO [AUTHENTICATIONFAILED]")
    assert i.say("b AUTHENTICATE PLAIN " + fits).startswith("b NO [AUTHENTICATIONFAILED]")


def test_initial_responses(site):
    """SASL-IR: given at once, given as "=", and asked for; to a mechanism in which the server begins there is none."""
    plain = b64(f"\0{USER}\0{PASSWORD}".encode())
    for login, ask, good in ((site.imaps_port, "a AUTHENTICATE ", "a OK "), (site.pop3s_port, "AUTH ", "+OK "), (site.submissions_port, "AUTH ", "235 ")):
        for steps in ([f"{ask}PLAIN {plain}"], [f"{ask}PLAIN", plain]):
            r = Raw(site, login)
            r.ehlo() if login == site.submissions_port else r.read()
            for step in steps[:-1]:
                assert r.say(step)[:4] in ("+ \r\n", "334 ")
            answer = r.say(steps[-1])
            while answer.startswith("* "):
                answer = r.read()
            assert answer.startswith(good)
    s = Raw(site, site.submissions_port).ehlo()
    assert s.say("AUTH CRAM-MD5 " + b64(b"x y")).startswith("535 ")
    assert s.say("AUTH PLAIN =").startswith("535 ")
    assert s.say("AUTH PLAIN !!!").startswith("535 5.7.8 Error: authentication failed: Invalid base64 data in initial response")
    assert s.say("AUTH NTLM").startswith("535 5.7.8 Error: authentication failed: Invalid authentication mechanism")


def test_stored_hash_serves_plain_only(site):
    s = Raw(site, site.submissions_port).ehlo()
    assert s.say("AUTH PLAIN " + b64(f"\0{SHA_USER}\0{PASSWORD}".encode())).startswith("235 ")
    m = imaplib.IMAP4_SSL("localhost", site.imaps_port, ssl_context=site.tls)
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        m.authenticate("CRAM-MD5", lambda challenge: cram_md5(SHA_USER, PASSWORD, challenge))
    m.shutdown()


def test_digest_md5_final_message_is_shown(site):
    client = Digest("alice", "example.test", PASSWORD, uri=b"imap/localhost")
    seen = []

    def step(challenge):
        seen.append(challenge)
        return client.answer(challenge) if len(seen) == 1 else b""
    m = imaplib.IMAP4_SSL("localhost", site.imaps_port, ssl_context=site.tls)
    assert m.authenticate("DIGEST-MD5", step)[0] == "OK" and client.proven(seen[1])
    m.shutdown()


def test_python_libraries(site):
    m = imaplib.IMAP4_SSL("localhost", site.imaps_port, ssl_context=site.tls)
    assert m.login_cram_md5(USER, PASSWORD)[0] == "OK"
    m.shutdown()
    p = poplib.POP3_SSL("localhost", site.pop3s_port, context=site.tls)
    assert p.apop(USER, PASSWORD).startswith(b"+OK")
    p.close()
    p = poplib.POP3_SSL("localhost", site.pop3s_port, context=site.tls)
    with pytest.raises(poplib.error_proto, match="AUTH"):
        p.apop(USER, "wrong")
    p.close()


def test_auth_rate_limit(site):
    """AUTH commands of one client within anvil_rate_time_unit, whatever their mechanism."""
    site.postconf("smtpd_client_auth_rate_limit = 3", "smtpd_client_event_limit_exceptions =")
    site.reload()
    try:
        s = Raw(site, site.submissions_port).ehlo()
        for mech in ("CRAM-MD5", "SCRAM-SHA-1", "PLAIN"):
            assert s.say("AUTH " + mech).startswith("334 ")
            s.say("*")
        assert s.say("AUTH DIGEST-MD5").startswith("450 4.7.1 Error: too many AUTH commands from ")
    finally:
        site.tool("postconf", "-X", "smtpd_client_auth_rate_limit", "smtpd_client_event_limit_exceptions")
        site.reload()


def test_plaintext_only_with_tls_from_elsewhere(site):
    """disable_plaintext_auth trusts a connection whose two ends are one address; from another it wants TLS."""
    with socket.socket() as s:
        s.bind(("127.0.0.2", 0))
        s.settimeout(20)
        s.connect(("127.0.0.1", site.imap_port))
        f = s.makefile("rb")
        greeting = f.readline()
        assert b"LOGINDISABLED" in greeting and b"AUTH=PLAIN" not in greeting and b"AUTH=CRAM-MD5" in greeting
        s.sendall(b"a LOGIN x y\r\n")
        f.readline()
        assert f.readline().startswith(b"a NO [PRIVACYREQUIRED]")


def test_no_password_in_the_log(site):
    log = site.log()
    assert PASSWORD not in log and b64(PASSWORD.encode())[:12] not in log
