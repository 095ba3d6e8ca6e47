"""The short form of tests/fault/run: daemons are killed at random for some seconds, nothing accepted is lost."""
import contextlib
import imaplib
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, own_instance, wait_until


@pytest.fixture(scope="module")
def own():
    with own_instance(25200, "minimal_backoff_time = 1s", "maximal_backoff_time = 2s", "queue_run_delay = 1s", "transport_retry_time = 1s",
                      "service_throttle_time = 1s") as i:
        yield i


def spool(instance, queue):
    return sorted(p.name for p in (pathlib.Path(instance.queue_dir) / queue).iterdir())


def kill_for(instance, name, seconds):
    end, killed = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for pid in instance.pids(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        time.sleep(0.05)
    return killed


def test_cleanup_killed_under_pickup(own):
    """A message that cleanup did not take whole stays in maildrop: it is not damaged, whatever the answer was."""
    own.postfix("stop")
    markers = [secrets.token_hex(8) for _ in range(4)]
    for m in markers:
        own.tool("sendmail", "-i", "-f", own.user1, own.user2, input=f"Subject: {m}\n\n" + ("x" * 70 + "\n") * 100_000)
    own.postfix("start")
    assert kill_for(own, "cleanup", 3)
    own.reload()
    for m in markers:
        own.wait_message(m, seconds=60)
    assert spool(own, "corrupt") == []


def test_pickup_returns_what_cleanup_refuses(own):
    """A message that became too big while it lay in maildrop goes back to its sender; nothing stays."""
    marker = secrets.token_hex(8)
    own.empty(own.user1)
    own.postfix("stop")
    own.tool("sendmail", "-i", "-f", own.user1, own.user2, input=f"Subject: {marker}\n\n" + ("x" * 70 + "\n") * 30_000)
    own.postconf("message_size_limit = 1000000")
    own.postfix("start")
    try:
        report = own.wait_message(marker, user=own.user1, seconds=40)
        assert b"multipart/report" in report and b"Status: 5.3.4" in report
        wait_until(lambda: spool(own, "maildrop") == [], what="an empty maildrop")
        assert spool(own, "corrupt") == []
        assert not any(marker.encode() in m for m in own.messages())
    finally:
        own.postconf("message_size_limit = 104857600")
        own.reload()


def test_pickup_damaged_file(own):
    """A maildrop file that is cut off goes to corrupt/ and is named in the log; those behind it are delivered."""
    marker, mark = secrets.token_hex(8), own.log_mark()
    own.postfix("stop")
    own.tool("sendmail", "-i", "-f", own.user1, own.user2, input="Subject: damaged\n\nx\n")
    (name,) = spool(own, "maildrop")
    path = pathlib.Path(own.queue_dir) / "maildrop" / name
    os.truncate(path, path.stat().st_size - 8)
    own.tool("sendmail", "-i", "-f", own.user1, own.user2, input=f"Subject: {marker}\n\nx\n")
    own.postfix("start")
    own.wait_message(marker)
    own.wait_log(f"{name}: moved to corrupt", mark)
    assert spool(own, "maildrop") == [] and spool(own, "corrupt") == [name]
    (pathlib.Path(own.queue_dir) / "corrupt" / name).unlink()


def unfinished(instance, age_seconds):
    """An incoming file as a cleanup leaves it that was killed."""
    path = pathlib.Path(instance.queue_dir) / "incoming" / (f"{secrets.randbelow(0x100000):05X}{age_seconds:X}")
    path.write_bytes(b"")
    path.chmod(0o600)
    if os.geteuid() == 0:
        owner = os.stat(path.parent)
        os.chown(path, owner.st_uid, owner.st_gid)
    old = time.time() - age_seconds
    os.utime(path, (old, old))
    return path


def test_unfinished_files(own):
    """qmgr removes what is older than a day, postfix start what is older than a week; younger files may be somebody's."""
    young, old = unfinished(own, 3600), unfinished(own, 2 * 86400)
    own.tool("postqueue", "-f")
    own.reload()
    wait_until(lambda: not old.exists(), what="the end of an old unfinished file")
    assert young.exists()
    own.postfix("stop")
    young.unlink()
    ancient = unfinished(own, 8 * 86400)
    own.postfix("start")
    assert not ancient.exists()


def test_hung_daemon(own):
    """A daemon whose loop does not turn is ended by its watchdog, and replaced."""
    own.postconf("daemon_timeout = 2s")
    own.restart()
    try:
        marker = secrets.token_hex(8)
        wait_until(lambda: own.pids("qmgr"), what="qmgr")
        (hung,) = own.pids("qmgr")
        os.kill(hung, signal.SIGSTOP)
        time.sleep(3)
        os.kill(hung, signal.SIGCONT)
        wait_until(lambda: hung not in own.pids("qmgr"), what="the end of the hung daemon")
        with own.smtp() as s:
            s.sendmail("a@elsewhere.example", [own.user2], f"Subject: {marker}\r\n\r\nx\r\n")
        own.wait_message(marker, seconds=30)
        assert own.pids("qmgr") not in ([], [hung])
    finally:
        own.postconf("daemon_timeout = 18000s")
        own.restart()


def test_mailbox_put_back_under_a_session(own, tmp_path):
    """An administrator removes a mailbox and copies it back: who logs in then does not get the process that stands in the old one."""
    box = pathlib.Path(own.mail_dir) / own.domain / own.user2.split("@")[0]
    own.empty()
    with own.smtp() as s:
        s.sendmail("a@elsewhere.example", [own.user2], "Subject: kept\r\n\r\nx\r\n")
    own.wait_message("Subject: kept")
    with own.imap() as held:
        held.select("INBOX")
        subprocess.run(["cp", "-a", str(box), str(tmp_path / "backup")], check=True)
        shutil.rmtree(box)
        subprocess.run(["cp", "-a", str(tmp_path / "backup"), str(box)], check=True)

        def seen():
            with contextlib.suppress(imaplib.IMAP4.error):
                return own.messages()

        assert len(wait_until(seen, what="the mailbox that was put back")) == 1


def test_random_kills():
    out = subprocess.run([sys.executable, str(ROOT / "tests/fault/run"), "--seconds", "15", "--port-base", "25000"], capture_output=True,
                         text=True, timeout=300)
    assert out.returncode == 0, out.stdout + out.stderr
