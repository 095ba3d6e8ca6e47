"""A renewed certificate is served within seconds, without a reload; sessions that are open go on."""
import imaplib
import os
import pathlib
import smtplib
import ssl
import subprocess

import pytest
from conftest import own_instance, wait_until


@pytest.fixture(scope="module")
def i():
    with own_instance(28400) as instance:
        yield instance


def serial(port, starttls):
    """Serial number of the certificate on this port."""
    context = ssl._create_unverified_context()
    if starttls:
        with smtplib.SMTP("localhost", port, local_hostname="c.example", timeout=30) as s:
            s.starttls(context=context)
            der = s.sock.getpeercert(True)
    else:
        with imaplib.IMAP4_SSL("localhost", port, ssl_context=context) as m:
            der = m.socket().getpeercert(True)
    return subprocess.run(["openssl", "x509", "-inform", "DER", "-noout", "-serial"], input=der, capture_output=True, check=True).stdout.strip()


def served(i):
    return {serial(i.smtp_port, True), serial(i.submission_port, True), serial(i.imaps_port, False)}


def make(directory, number):
    directory.mkdir()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-set_serial", str(number), "-days", "30",
                    "-keyout", directory / "key.pem", "-out", directory / "cert.pem"], check=True, capture_output=True)


def renew(tls, directory):
    """As certificate tools do: symbolic links are replaced, one after the other; what they led to stays as it was."""
    for name in ("cert.pem", "key.pem"):
        new = tls / (name + ".new")
        new.symlink_to(os.path.relpath(directory / name, tls))
        new.rename(tls / name)


def test_a_renewed_certificate_is_served(i):
    tls = pathlib.Path(i.ca_file).parent
    first = served(i)
    assert len(first) == 1
    with i.imap() as session:
        for number in (4711, 4712):  # the file becomes a link; then the link leads elsewhere
            make(tls / f"archive{number}", number)
            renew(tls, tls / f"archive{number}")
            wait_until(lambda: served(i) == {b"serial=%X" % number}, 30, "the new certificate")
        assert session.noop()[0] == "OK"
    with open(tls / "archive4712/cert.pem", "r+b") as cert:  # rewritten in place: damaged first, then whole and new
        make(tls / "archive4713", 4713)
        cert.truncate(100)
        (tls / "archive4712/key.pem").write_bytes((tls / "archive4713/key.pem").read_bytes())
        cert.seek(0)
        cert.write((tls / "archive4713/cert.pem").read_bytes())
    wait_until(lambda: served(i) == {b"serial=%X" % 4713}, 30, "the rewritten certificate")
