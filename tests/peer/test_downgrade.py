"""8-bit mail to a host that does not offer 8BITMIME: Debian's Postfix and ours send the same bytes."""
import contextlib
import os
import pathlib
import re
import tempfile

import pytest
from mta import DEBIAN, OURS, Site, smtp_talk

LONG = ("grün und blau, " * 40).encode()
MESSAGES = {
    "text": b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
            b"Gr\xc3\xbc\xc3\x9fe = gut\r\n.dot\r\nblank at the end \r\ntab\t\r\n\r\n" + LONG + b"\r\n" + b"x" * 200 + b"\r\n" + b"=" * 80 + b"\r\nFrom here\r\n",
    "seven": b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\n\r\ndeclared 7bit, yet \xe4\r\n",
    "undeclared": b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\nnothing declared: \xe4 = \r\n",
    "no-mime": b"Subject: x\r\n\r\nno MIME at all: \xe4\r\n",
    "no-version": b"Subject: x\r\nContent-Transfer-Encoding: 8bit\r\n\r\nno version: \xe4 = \r\n",
    "header-order": b"Content-Transfer-Encoding:\r\n 8BIT (comment)\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<p a=b>\xe4</p>\r\n",
    "twice": b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: 8bit\r\n\r\ntwice \xe4 = \r\n",
    "base64": b"MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAA=\r\n",
    "binary": b"MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n\x01\x02\xff = a\rb\r\n",
    "unknown": b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: x-odd\r\n\r\nodd \xe4 = \r\n",
    "multipart": b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b b\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\npreamble \xe4 = \r\n"
                 b"--b b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\nX-After: 1\r\n\r\nerste \xc3\xa4 = \r\nlast line without end\r\n"
                 b"--b b\r\nContent-Type: text/plain\r\n\r\nsecond = \xe4\r\n"
                 b"--b b\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: binary\r\n\r\n\xff\xfe\r\n\r\n"
                 b"--b b--\r\nepilogue \xe4 = \r\n",
    "nested": b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/alternative; boundary=aa\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
              b"--aa\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xe4 = 1\r\n--aa--\r\nbetween = \xe4\r\n--a\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xe4 = 2\r\n--a--\r\n",
    "digest": b"MIME-Version: 1.0\r\nContent-Type: multipart/digest; boundary=a\r\n\r\n--a\r\n\r\nMIME-Version: 1.0\r\nSubject: inner\r\nContent-Transfer-Encoding: 8bit\r\n\r\ninner \xe4 = \r\n--a--\r\n",
    "message": b"MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: inner\r\nMIME-Version: 1.0\r\n"
               b"Content-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\ninner \xe4 = \r\n",
    "global": b"MIME-Version: 1.0\r\nContent-Type: message/global\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: \xc3\xa4\r\n\r\n\xc3\xa4 = \r\n",
    "open-boundary": b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xe4 = without end\r\n",
    "empty": b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
    "header-only": b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\nSubject: \xe4\r\n",
    "encoded-multipart": b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a\r\nContent-Transfer-Encoding: base64\r\n\r\n--a\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xe4 = 1\r\n--a--\r\n",
    "edges": b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + b"".join(b"y" * n + b" \r\n" + b"y" * n + b"\xe4z\r\n" + b"y" * n + b"\r\n" for n in range(66, 80)) + b" \r\n\t\r\n=\r\n\x7f\x1b\x0c\r\n",
}
ODD = {
    "partial": b"MIME-Version: 1.0\r\nContent-Type: message/partial; id=1; number=1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: inner\r\n\r\n\xe4 = \r\n",
    "delivery-status": b"MIME-Version: 1.0\r\nContent-Type: message/delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n\r\nAction: \xc3\xa4 = \r\n",
}


def send(site, name, data, body=b" BODY=8BITMIME"):
    smtp_talk(site.smtp_port, b"EHLO client\r\n", b"MAIL FROM:<s@elsewhere.test>" + body + b"\r\n", f"RCPT TO:<{name}@far.test>\r\n".encode(), b"DATA\r\n",
              re.sub(rb"(?m)^\.", b"..", data) + b".\r\n")


def letters(side, settings, messages, body=b" BODY=8BITMIME"):
    with tempfile.TemporaryDirectory(prefix="posthorn-peer-downgrade.") as top:
        os.chmod(top, 0o755)
        site = Site(pathlib.Path(top), *settings)
        site.sink.offers = ["PIPELINING", "SIZE 100000000"]
        with contextlib.closing(site):
            site.start(side)
            for name, data in messages.items():
                send(site, name, data, body)
            site.wait(lambda: len(site.sink.letters) == len(messages), "all mail")
            out = {}
            for name in messages:
                letter = site.sink.got(f"{name}@far.test")[0]
                trace, _, rest = letter.data.partition(b"Received: ")
                assert not trace
                out[name] = letter.mail, re.sub(rb"(?s)^(.*?\r\n)(?![ \t])", b"", re.sub(rb"(?m)^(Date|Message-Id):.*\r\n", b"", rest, flags=re.M), count=1)
            return out


@pytest.mark.parametrize("settings", [[], ["disable_mime_output_conversion = yes"]], ids=["converted", "disabled"])
def test_same_bytes(settings):
    """But for composite types that Postfix does not look into: it labels their encoded text 7bit, we quoted-printable."""
    theirs, ours = letters(DEBIAN, settings, MESSAGES), letters(OURS, settings, MESSAGES)
    assert {n: ours[n] for n in ours if ours[n] != theirs[n]} == {n: theirs[n] for n in ours if ours[n] != theirs[n]}
    assert all(b"Transfer-Encoding: quoted-printable" in letter[1] for letter in letters(OURS, settings, ODD).values()) == (settings == [])
    changed = b"quoted-printable" in theirs["text"][1]
    assert changed == (settings == [])
