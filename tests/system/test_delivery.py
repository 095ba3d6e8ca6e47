"""A message arrives byte for byte, whichever way it comes in; what must be refused is refused with the right words."""
import os
import pathlib
import secrets
import shutil
import socket
import subprocess

import pytest
from conftest import queue_ids, wait_until


def body_of(message):
    return message.split(b"\r\n\r\n", 1)[1]


def make(instance, body=b"body\r\n", to=None, extra=""):
    marker = secrets.token_hex(8)
    head = f"From: <sender@elsewhere.example>\r\nTo: <{to or instance.user2}>\r\nSubject: {marker}\r\n{extra}\r\n"
    return marker, head.encode() + body


def test_port_25(instance):
    marker, text = make(instance)
    with instance.smtp() as s:
        s.sendmail("sender@elsewhere.example", [instance.user2], text)
    got = instance.wait_message(marker)
    assert body_of(got) == b"body\r\n"
    assert got.startswith(b"Return-Path: <sender@elsewhere.example>\r\n")
    assert b"Delivered-To: " + instance.user2.encode() in got
    assert got.count(b"\r\nReceived: ") + got.startswith(b"Received: ") == 2
    assert b"\r\nMessage-Id: <" in got or b"\r\nMessage-ID: <" in got


def test_addresses_of_the_machine(instance):
    """What only the time before the jail can know is asked then: no daemon complains that it cannot list interfaces."""
    marker, text = make(instance)
    with instance.smtp() as s:
        s.sendmail("sender@elsewhere.example", [instance.user2], text)
    instance.wait_message(marker)
    assert "network interfaces" not in instance.log()


@pytest.mark.parametrize("implicit", [False, True], ids=["587", "465"])
def test_submission(instance, implicit):
    marker, text = make(instance)
    with instance.submission(implicit=implicit) as s:
        s.sendmail(instance.user1, [instance.user2], text)
    got = instance.wait_message(marker)
    assert b"with ESMTPSA id " in got


def test_sendmail(instance):
    marker = secrets.token_hex(8)
    text = f"To: {instance.user2}\nBcc: {instance.user1}\nSubject: {marker}\n\n.\nline\n"
    instance.tool("sendmail", "-i", "-t", "-f", instance.user1, input=text)
    got = instance.wait_message(marker)
    assert body_of(got) == b".\r\nline\r\n"
    assert b"Bcc:" not in got
    instance.wait_message(marker, user=instance.user1)


def test_sendmail_bs(instance):
    marker, text = make(instance)
    talk = b"".join([b"EHLO localhost\r\n", b"MAIL FROM:<%s>\r\n" % instance.user1.encode(), b"RCPT TO:<%s>\r\n" % instance.user2.encode(),
                     b"DATA\r\n", text, b".\r\nQUIT\r\n"])
    out = instance.tool("sendmail", "-bs", input=talk, text=False).stdout.decode()
    assert "250 2.0.0 Ok: queued as" in out
    instance.wait_message(marker)


def test_several_recipients_and_alias(instance):
    marker, text = make(instance)
    with instance.smtp() as s:
        s.sendmail("a@elsewhere.example", [f"all@{instance.domain}", f"postmaster@{instance.domain}"], text)
    # postmaster is user1 too. With enable_original_recipient = yes, the default, only equal pairs of original and
    # final recipient are duplicates, so that each copy can say for whom it came: user1 gets two, as with Postfix.
    want = {instance.user1: 2, instance.user2: 1}
    for user, copies in want.items():
        wait_until(lambda: sum(marker.encode() in m for m in instance.messages(user)) == copies, what=f"{copies} for {user}")


def test_address_extension(instance):
    marker, text = make(instance)
    local, domain = instance.user2.split("@")
    with instance.smtp() as s:
        s.sendmail("a@elsewhere.example", [f"{local}+tag@{domain}"], text)
    instance.wait_message(marker)


def test_unknown_user(instance):
    with instance.smtp() as s:
        s.ehlo()
        s.mail("a@elsewhere.example")
        code, words = s.rcpt(f"nobody@{instance.domain}")
        assert (code, words) == (
            550, b"5.1.1 <nobody@%s>: Recipient address rejected: User unknown in virtual mailbox table" % instance.domain.encode())


def test_relay_refused(instance):
    with instance.smtp() as s:
        s.ehlo()
        s.mail("a@elsewhere.example")
        assert s.rcpt("someone@far.example") == (554, b"5.7.1 <someone@far.example>: Relay access denied")


def test_size_limit(instance):
    with instance.smtp() as s:
        s.ehlo()
        limit = int(s.esmtp_features["size"])
        code, words = s.docmd(f"MAIL FROM:<a@elsewhere.example> SIZE={limit + 1}")
        assert code == 552 and words.startswith(b"5.3.4 Message size exceeds fixed limit")


BODIES = {
    "eight-bit": b"caf\xc3\xa9 \xe9\xff\x80\r\n",
    "dots": b".\r\n..\r\n...dots\r\n.x\r\n",
    "no-final-newline-after-dot": b"a\r\n.b\r\n",
    "empty-lines": b"\r\n\r\n\r\n",
    "long-line": b"x" * 990 + b"\r\n",
    "from-line": b"From here\r\n>From there\r\n",
    "controls": bytes(c for c in range(1, 32) if c not in (10, 13)) + b"\x7f\r\n",
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("way", ["DATA", "BDAT"])
def test_bytes(instance, name, way):
    marker, text = make(instance, BODIES[name])
    if way == "DATA":
        with instance.smtp() as s:
            s.sendmail("a@elsewhere.example", [instance.user2], text, mail_options=["BODY=8BITMIME"])
    else:
        with instance.smtp() as s:
            s.ehlo()
            assert s.mail("a@elsewhere.example", ["BODY=8BITMIME"])[0] == 250
            assert s.rcpt(instance.user2)[0] == 250
            half = len(text) // 2
            s.sock.sendall(b"BDAT %d\r\n" % half + text[:half])
            assert s.getreply()[0] == 250
            s.sock.sendall(b"BDAT %d LAST\r\n" % (len(text) - half) + text[half:])
            assert s.getreply()[0] == 250
    assert body_of(instance.wait_message(marker)) == BODIES[name]


def raw_data(instance, payload):
    """Sends payload as it is after DATA; the server's replies as a list."""
    with socket.create_connection(("localhost", instance.smtp_port), timeout=30) as c:
        f = c.makefile("rwb")

        def reply():
            while True:
                line = f.readline()
                assert line, "connection closed"
                if line[3:4] != b"-":
                    return line.decode().rstrip()

        reply()
        for command in ("EHLO c.example", "MAIL FROM:<a@elsewhere.example>", f"RCPT TO:<{instance.user2}>", "DATA"):
            f.write(command.encode() + b"\r\n")
            f.flush()
            answer = reply()
        assert answer.startswith("354")
        f.write(payload)
        f.flush()
        return reply()


def test_bare_lf_does_not_end_the_data(instance):
    marker, text = make(instance, b"one\n.\r\ntwo\r\n.\nthree\n.\nfour\r\n")
    assert raw_data(instance, text + b".\r\n").startswith("250 ")
    got = body_of(instance.wait_message(marker))
    assert b"four" in got and b"two" in got
    assert sum(marker.encode() in m for m in instance.messages()) == 1


def test_bare_cr(instance):
    marker, text = make(instance, b"one\rtwo\r\n")
    assert raw_data(instance, text + b".\r\n").startswith("250 ")
    assert b"one" in body_of(instance.wait_message(marker))


def test_smtputf8(instance):
    marker, text = make(instance, extra="X-Name: Jos\u00e9\r\n")
    head, body = text.split(b"\r\n\r\n", 1)
    with instance.smtp() as s:
        s.ehlo()
        s.command_encoding = "utf-8"
        assert s.mail("jos\u00e9@elsewhere.example", ["SMTPUTF8", "BODY=8BITMIME"])[0] == 250
        assert s.rcpt(instance.user2)[0] == 250
        assert s.data(text)[0] == 250
    got = instance.wait_message(marker)
    assert "X-Name: Jos\u00e9".encode() in got and "<jos\u00e9@elsewhere.example>".encode() in got


def test_fifty_mebibytes(instance):
    line = (b"0123456789abcdef" * 4)[:62] + b"\r\n"
    marker, text = make(instance, line * (50 * 1024 * 1024 // len(line)))
    with instance.submission() as s:
        s.sendmail(instance.user1, [instance.user2], text)
    got = instance.wait_message(marker, seconds=60)
    assert body_of(got) == body_of(text)
    instance.empty()


def test_broken_mailbox_is_deferred_then_delivered(instance):
    user = instance.user1
    local, domain = user.split("@")
    maildir = os.path.join(instance.mail_dir, domain, local)
    marker, text = make(instance, to=user)
    instance.messages(user)  # makes the Maildir
    os.rename(maildir, maildir + ".away")
    with open(maildir, "w") as f:
        f.write("in the way\n")
    mark = instance.log_mark()
    try:
        with instance.smtp() as s:
            s.sendmail("a@elsewhere.example", [user], text)
        instance.wait_log(r"to=<" + user + r">.*status=deferred \(", mark)
        assert len(queue_ids(instance)) == 1
        assert "delay_reason" in instance.tool("postqueue", "-j").stdout
    finally:
        os.unlink(maildir)
        os.rename(maildir + ".away", maildir)
    instance.tool("postqueue", "-f")
    instance.wait_message(marker, user=user)
    wait_until(lambda: not queue_ids(instance), what="an empty queue")


def test_bounce_reaches_the_sender(fresh):
    """A domain whose transport says no: the report of RFC 3464 comes back to the sender."""
    i = fresh(21000, "transport_maps = inline:{ {gone.example = error:5.1.2 no mail is taken there} }")
    marker, text = make(i)
    i.tool("sendmail", "-f", i.user1, "someone@gone.example", input=text.decode())  # smtpd would refuse it at RCPT
    got = i.wait_message("Undelivered Mail Returned to Sender", user=i.user1)
    assert b"Content-Type: multipart/report; report-type=delivery-status" in got
    assert b"Action: failed" in got and b"Status: 5.1.2" in got and b"Final-Recipient: rfc822; someone@gone.example" in got
    assert marker.encode() in got and b"no mail is taken there" in got
    assert not queue_ids(i)


def test_a_file_of_zeros(instance):
    """What a power cut may leave of a message that nobody was answered for: the right size, and no line in it. Who fetches all gets
    the others, on the same connection."""
    user, markers = instance.user1, []
    cur = pathlib.Path(instance.mail_dir) / instance.domain / user.split("@")[0] / "cur"
    for torn in (None, cur / "1795316415.M1P1.vm,S=20000,W=20500:2,"):
        if torn:
            torn.write_bytes(bytes(20000))
            shutil.chown(torn, cur.stat().st_uid, cur.stat().st_gid)
        marker, text = make(instance, to=user)
        markers.append(marker.encode())
        with instance.smtp() as s:
            s.sendmail("a@elsewhere.example", [user], text)
        if torn is None:
            instance.wait_message(marker, user=user)
    mark = instance.log_mark()
    wait_until(lambda: not queue_ids(instance), what="an empty queue")
    with instance.imap(user) as m:
        m.select("INBOX")
        got = [part[1] for part in m.fetch("1:*", "(BODY.PEEK[])")[1] if isinstance(part, tuple)]
        assert m.noop()[0] == "OK"
    torn.unlink()
    assert all(sum(marker in text for text in got) == 1 for marker in markers)
    assert [len(text) for text in got if text.startswith(bytes(100))] == [20500]
    instance.wait_log(r"INBOX: UID \d+ has 500 bytes less than its name says", mark)
