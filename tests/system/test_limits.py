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
