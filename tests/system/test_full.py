"""No room left for the queue, or for mail: nobody is told 250 for what is lost, and with room again all arrives."""
import contextlib
import imaplib
import os
import pathlib
import secrets
import smtplib
import subprocess

import pytest
from conftest import own_instance, queue_ids, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system of a few MB: needs root")
SPOOL_MB, MAIL_MB, MESSAGE_LIMIT = 24, 8, 2_000_000


@contextlib.contextmanager
def small_disk(where, megabytes):
    owner = os.stat(where)
    options = f"size={megabytes}m,mode={owner.st_mode & 0o7777:o},uid={owner.st_uid},gid={owner.st_gid}"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", where], capture_output=True).returncode != 0:
        pytest.skip("cannot mount here")
    try:
        yield pathlib.Path(where)
    finally:
        subprocess.run(["umount", "-l", where], check=True)


@pytest.fixture(scope="module")
def own():
    with own_instance(25400, "minimal_backoff_time = 1s", "maximal_backoff_time = 2s", "queue_run_delay = 1s", "transport_retry_time = 1s",
                      "service_throttle_time = 1s", f"message_size_limit = {MESSAGE_LIMIT}", "mailbox_size_limit = 0") as i:
        i.postfix("stop")
        with small_disk(i.queue_dir, SPOOL_MB), small_disk(i.mail_dir, MAIL_MB):
            i.postfix("start")
            try:
                yield i
            finally:
                i.postfix("stop", ok=False)


@contextlib.contextmanager
def filled(directory, leave=0):
    """Nothing but `leave` bytes are free, until the block ends."""
    path = pathlib.Path(directory) / "filler"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        with contextlib.suppress(OSError):
            while True:
                os.write(fd, bytes(1 << 12))
        if leave:
            os.ftruncate(fd, max(0, os.fstat(fd).st_size - leave))
        yield
    finally:
        os.close(fd)
        path.unlink()


def text(marker, size=200):
    return f"Subject: {marker}\r\n\r\n".encode() + (b"x" * 70 + b"\r\n") * (size // 72 + 1)


def send(own, marker, size=200):
    with own.smtp() as s:
        s.sendmail("a@elsewhere.example", [own.user2], text(marker, size))


def leftovers(own, *queues):
    return [p for q in queues for p in (pathlib.Path(own.queue_dir) / q).iterdir()]


def partial_mail(own):
    """Files in any Maildir's tmp."""
    return [p for p in pathlib.Path(own.mail_dir).glob("**/tmp/*")]


def empty_queue(own):
    def done():
        own.tool("postqueue", "-f")
        return not queue_ids(own)

    wait_until(done, 60, "an empty queue")


def test_mail_refused_when_room_is_short(own):
    with filled(own.queue_dir, leave=MESSAGE_LIMIT):
        with own.smtp() as s:
            s.ehlo()
            assert s.mail("a@elsewhere.example") == (452, b"4.3.1 Insufficient system storage")


def test_queue_minfree(own):
    own.postconf(f"queue_minfree = {SPOOL_MB * 2**20 - 4_000_000}")
    own.reload()
    try:
        with own.smtp() as s:
            s.ehlo()
            assert s.mail("a@elsewhere.example")[0] == 250
            s.rset()
            with filled(own.queue_dir, leave=SPOOL_MB * 2**20 - 6_000_000):
                assert s.mail("a@elsewhere.example") == (452, b"4.3.1 Insufficient system storage")
    finally:
        own.postconf("queue_minfree = 0")
        own.reload()


@pytest.mark.parametrize("size", [200, 1_000_000])
def test_queue_full_in_the_data(own, size):
    """There was room at MAIL; there is none when the message comes."""
    marker = secrets.token_hex(8)
    with own.smtp() as s:
        s.ehlo()
        assert s.mail("a@elsewhere.example")[0] == 250
        assert s.rcpt(own.user2)[0] == 250
        with filled(own.queue_dir):
            code, words = s.data(text(marker, size))
        assert code in (451, 452), words
    assert leftovers(own, "incoming", "active") == []
    send(own, marker, 1000)
    assert marker.encode() in own.wait_message(marker)
    assert sum(marker.encode() in m for m in own.messages()) == 1


def test_sendmail_full(own):
    marker = secrets.token_hex(8)
    with filled(own.queue_dir):
        out = own.tool("sendmail", "-i", "-f", own.user1, own.user2, input=f"Subject: {marker}\n\n" + "x\n" * 5000, ok=False)
        assert out.returncode != 0
        assert leftovers(own, "maildrop") == []
    own.tool("sendmail", "-i", "-f", own.user1, own.user2, input=f"Subject: {marker}\n\nx\n")
    own.wait_message(marker)


def test_both_full(own):
    """What was accepted waits, whatever else cannot be written meanwhile, and is delivered when there is room."""
    own.empty()
    markers = [secrets.token_hex(8) for _ in range(6)]
    with filled(own.mail_dir):
        mark = own.log_mark()
        for m in markers[:3]:
            send(own, m, 100_000)
        own.wait_log("status=deferred", mark)
        for m in markers[3:]:
            send(own, m, 100_000)
        with filled(own.queue_dir):
            for _ in range(3):
                own.tool("postqueue", "-f")
            own.postfix("reload")
            own.wait_log("status=deferred", own.log_mark(), 30)
        assert partial_mail(own) == []
    empty_queue(own)
    have = own.messages()
    for m in markers:
        assert sum(m.encode() in text for text in have) == 1, m


def test_lmtp_full(own):
    """A line for each recipient, none of them 250, and nothing half written."""
    own.empty()
    with filled(own.mail_dir):
        with smtplib.LMTP("localhost", own.lmtp_port, local_hostname="c.example", timeout=30) as s:
            s.ehlo()
            assert s.mail("a@elsewhere.example")[0] == 250
            for user in (own.user1, own.user2):
                assert s.rcpt(user)[0] == 250
            s.putcmd("data")
            assert s.getreply()[0] == 354
            s.send(text("full", 300_000) + b".\r\n")
            for _ in range(2):
                code, words = s.getreply()
                assert code in (451, 452), words
    assert partial_mail(own) == []
    assert not any(b"Subject: full" in m for user in (own.user1, own.user2) for m in own.messages(user))


def test_append_full(own):
    own.empty()
    with own.imap() as m:
        with filled(own.mail_dir):
            with contextlib.suppress(imaplib.IMAP4.abort):
                assert m.append("INBOX", None, None, text("append", 300_000))[0] == "NO"
    assert partial_mail(own) == []
    with own.imap() as m:
        assert m.append("INBOX", None, None, text("append", 1000))[0] == "OK"
        m.select()
        assert m.search(None, "SUBJECT", "append")[1] == [m.search(None, "ALL")[1][0]]


def test_mail_directory_read_only(own):
    marker = secrets.token_hex(8)
    # Refused while a file is open for writing: a session of the test before may not have ended.
    wait_until(lambda: subprocess.run(["mount", "-o", "remount,ro", own.mail_dir]).returncode == 0, what="a directory that is read-only")
    try:
        mark = own.log_mark()
        send(own, marker)
        own.wait_log("status=deferred", mark)
    finally:
        subprocess.run(["mount", "-o", "remount,rw", own.mail_dir], check=True)
    empty_queue(own)
    own.wait_message(marker)
