"""maxproc of master.cf, reload, and what a peer may not exhaust."""
import socket
import time

import pytest
from conftest import wait_until


def greeting(port, seconds):
    c = socket.create_connection(("localhost", port), timeout=seconds)
    try:
        return c, c.recv(200)
    except TimeoutError:
        return c, b""


def test_maxproc_two_never_has_a_third_session(fresh):
    i = fresh(24000, services="127.0.0.1:24026 inet n - y - 2 smtpd\n")
    first = [greeting(24026, 10) for _ in range(2)]
    assert all(text.startswith(b"220 ") for _, text in first)
    third, text = greeting(24026, 2)
    assert text == b""
    first[0][0].close()
    third.settimeout(20)
    assert third.recv(200).startswith(b"220 ")
    for c, _ in first:
        c.close()
    third.close()


def test_idle_services_end_and_stay_away(fresh):
    """What was started for a client ends max_idle later, the spawner of users' processes too; nothing follows it by itself."""
    i = fresh(24200, "max_idle = 2s", "mail_process_idle_time = 1s")
    demand = ("smtpd", "login", "imapd")
    with i.smtp() as s, i.imap() as m:
        s.noop()
        m.select("INBOX")
        assert all(i.pids(name) for name in demand)
    wait_until(lambda: not any(i.pids(name) for name in demand), 15, "the end of what is idle")
    for _ in range(20):
        time.sleep(0.2)
        assert not any(i.pids(name) for name in demand)
    with i.smtp() as s, i.imap() as m:
        s.noop()
        m.select("INBOX")


def test_reload_keeps_connections(instance):
    with instance.smtp() as s, instance.imap() as m:
        s.ehlo()
        m.select("INBOX")
        instance.reload()
        time.sleep(0.5)
        assert s.noop()[0] == 250
        assert m.noop()[0] == "OK"
        assert s.mail("a@elsewhere.example")[0] == 250
        assert s.rcpt(instance.user2)[0] == 250
    with instance.smtp() as s:
        assert s.ehlo()[0] == 250


def test_listener_never_refuses_during_reload(instance):
    for _ in range(3):
        instance.postfix("reload")
        for _ in range(10):
            c, text = greeting(instance.smtp_port, 10)
            assert text.startswith(b"220 ")
            c.close()


def test_too_many_bad_commands(instance):
    with instance.smtp() as s:
        s.ehlo()
        s.sock.settimeout(120)
        replies = []
        for _ in range(40):
            try:
                replies.append(s.docmd("XYZZY")[0])
            except Exception:
                break
            if replies[-1] == 421:
                break
        assert replies and replies[0] == 500 and (replies[-1] == 421 or len(replies) < 40)


@pytest.mark.parametrize("bytes_", [3000, 200000])
def test_long_command_line(instance, bytes_):
    with instance.smtp() as s:
        s.ehlo()
        code, _ = s.docmd("NOOP " + "x" * bytes_)
        assert code >= 250
        assert wait_until(lambda: s.noop()[0], what="the session goes on") == 250


def test_virtual_mailbox_limit(fresh):
    """A file of a Maildir holds at most that many bytes, added header lines included; more comes back to the sender at once."""
    i = fresh(24400, "virtual_transport = virtual", "message_size_limit = 30000", "virtual_mailbox_limit = 30000", "bounce_size_limit = 1000")
    lines = ("x" * 986 + "\r\n") * 30
    sender = i.user1.replace("@", f"+{'e' * 300}@")  # in Return-Path: what virtual adds makes the file too large
    with i.smtp() as s:
        s.sendmail(i.user1, i.user2, f"Subject: fits\r\n\r\n{lines[:20000]}\r\n")
        s.sendmail(sender, i.user2, f"Subject: does not\r\n\r\n{lines[:29150]}\r\n")
    i.wait_log(rf"to=<{i.user2}>, relay=virtual.* dsn=2\.0\.0, status=sent \(delivered to maildir\)")
    i.wait_log(rf"to=<{i.user2}>, relay=virtual.* dsn=5\.2\.\d, status=bounced \(.*File too large\)")
    assert b"does not" in i.wait_message("File too large", i.user1)
    assert [b"Subject: fits" in m for m in i.messages(i.user2)] == [True]
    mark = i.log_mark()
    i.postconf("message_size_limit = 40000")
    i.reload()
    with i.smtp() as s:
        s.sendmail(i.user1, i.user2, "Subject: waits\r\n\r\n")
    i.wait_log("virtual_mailbox_limit is smaller than message_size_limit", mark)
    assert len(i.messages(i.user2)) == 1
