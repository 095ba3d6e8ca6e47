"""A dovecot-uidlist that ends in half a line: no message gets another's UID, here or in Debian's Dovecot afterwards."""
import os
import pathlib
import re
import secrets
import shutil
import signal
import subprocess
import tempfile

import pytest
from conftest import ROOT, wait_until

# Where the last line, "12 :1795316415.M766968P31053.vm,S=276,W=286" and a newline, is cut: how much of it stays.
CUTS = {
    "nothing": lambda line: 0,
    "inside the uid": lambda line: 1,
    "behind the uid": lambda line: line.index(b" "),
    "behind the space": lambda line: line.index(b" ") + 1,
    "behind the colon": lambda line: line.index(b":") + 1,
    "inside the name": lambda line: line.index(b"P"),
    "before the size": lambda line: line.index(b",S="),
    "inside the size": lambda line: line.index(b",S=") + 4,
    "without the newline": lambda line: len(line) - 1,
}


def box_dir(instance):
    return pathlib.Path(instance.mail_dir) / instance.domain / instance.user2.split("@")[0]


def deliver(instance, count=1):
    ids = [f"<{secrets.token_hex(8)}@test.example>".encode() for _ in range(count)]
    with instance.smtp() as s:
        for i in ids:
            s.sendmail("a@elsewhere.example", [instance.user2], b"Message-ID: " + i + b"\r\nSubject: uidlist\r\n\r\nx\r\n")
    return ids


def uids(instance):
    """{uid: Message-ID} of INBOX, and its UIDVALIDITY."""
    with instance.imap() as m:
        count = m.select("INBOX")[1][0]
        validity = int(m.response("UIDVALIDITY")[1][0])
        found = {}
        if count != b"0":
            for item in m.fetch("1:*", "(UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")[1]:
                if isinstance(item, tuple):
                    found[int(re.search(rb"UID (\d+)", item[0])[1])] = item[1].split()[1]
        return found, validity


def wait_for(instance, ids):
    def there():
        found, validity = uids(instance)
        return (found, validity) if set(ids) <= set(found.values()) else None

    return wait_until(there, what="the delivered messages")


def end_imapd(instance):
    """No process remembers the mailbox, and no index either: the uidlist alone says what is what."""
    for pid in instance.pids("imapd"):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def same_or_gone(before, after):
    """No UID may stand for another message than before."""
    wrong = {uid: (before[uid], after[uid]) for uid in before.keys() & after.keys() if before[uid] != after[uid]}
    assert not wrong, wrong


def dovecot_uids(box, lock=None, seconds=60):
    """What Debian's doveadm makes of a copy of the Maildir; None when it waits for the lock that is in its way."""
    found = subprocess.run([str(ROOT / "tests/peer/debian"), "doveadm"], capture_output=True, text=True)
    if found.returncode != 0:
        pytest.skip("Debian's dovecot packages cannot be fetched")
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="posthorn-dovecot."))
    try:
        scratch.chmod(0o755)
        shutil.copytree(box, scratch / "box", ignore=shutil.ignore_patterns("posthorn*", "dovecot.index*"))
        ids = (65534, 65534) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
        if lock is not None:
            path = scratch / "box/dovecot-uidlist.lock"
            path.write_text(lock)
            path.chmod(0o700)
            (scratch / "box/new/1.M1P1.h").write_text("Message-ID: <new>\n\nx\n")
        if os.geteuid() == 0:
            for top, _, files in os.walk(scratch):
                for path in [top, *(os.path.join(top, f) for f in files)]:
                    os.chown(path, *ids)
        settings = {"mail_location": f"maildir:{scratch}/box", "mail_uid": ids[0], "mail_gid": ids[1], "first_valid_uid": 0,
                    "first_valid_gid": 0, "log_path": "/dev/stderr", "mail_plugins": "", "base_dir": scratch, "mail_plugin_dir": scratch}
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        try:
            out = subprocess.run([found.stdout.strip(), "-O", *options, "fetch", "uid hdr.message-id", "mailbox", "INBOX", "all"],
                                 env=dict(os.environ, USER="u", HOME=str(scratch)), capture_output=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            assert lock
            return None
        assert out.returncode == 0, out.stderr
        return {int(uid): name for uid, name in re.findall(rb"uid: (\d+)\s+hdr\.message-id: (\S+)", out.stdout)}
    finally:
        shutil.rmtree(scratch)


@pytest.fixture
def box(instance):
    """INBOX with a few messages and UIDs of two digits, its directory."""
    instance.empty()
    found, _ = wait_for(instance, deliver(instance, 3))
    while max(found) < 10:
        found, _ = wait_for(instance, deliver(instance, 4))
    return box_dir(instance)


def cut(box, name):
    """Shortens the uidlist in place; the last line as it was."""
    path = box / "dovecot-uidlist"
    text = path.read_bytes()
    start = text.rindex(b"\n", 0, -1) + 1
    with open(path, "r+b") as f:
        f.truncate(start + CUTS[name](text[start:]))
    return text[start:]


@pytest.mark.parametrize("index", [True, False], ids=["with index", "uidlist alone"])
@pytest.mark.parametrize("name", CUTS)
def test_half_line(instance, box, name, index):
    before, validity = uids(instance)
    assert len(before) >= 3
    end_imapd(instance)
    if not index:
        (box / "posthorn.index").unlink(missing_ok=True)
    cut(box, name)
    served, now = uids(instance)
    assert now == validity
    assert set(served.values()) == set(before.values())
    same_or_gone(before, served)
    new = deliver(instance, 2)
    later, now = wait_for(instance, new)
    assert now == validity and set(later.values()) == set(before.values()) | set(new)
    same_or_gone(before, later)
    same_or_gone(served, later)
    end_imapd(instance)
    again, now = uids(instance)
    assert (again, now) == (later, validity)
    assert dovecot_uids(box) == later


@pytest.mark.parametrize("name", ["inside the uid", "inside the name", "without the newline"])
def test_half_line_of_a_message_that_is_gone(instance, box, name):
    """A client saw the message under its UID; its file is gone with half its line. The next message gets another UID."""
    before, validity = uids(instance)
    last = max(before)
    end_imapd(instance)
    line = cut(box, name)
    base = line.split(b":", 1)[1].strip().decode()
    for path in [*box.glob(f"cur/{base}*"), *box.glob(f"new/{base}*")]:
        path.unlink()
    new = deliver(instance)
    later, now = wait_for(instance, new)
    assert last not in later or now != validity
    same_or_gone(before, later)
    assert dovecot_uids(box) == later


def test_running_session(instance, box):
    """An imapd that holds the mailbox open when the line is cut goes on without mixing messages up."""
    before, _ = uids(instance)
    with instance.imap() as m:
        m.select("INBOX")
        cut(box, "inside the name")
        new = deliver(instance)
        later, _ = wait_for(instance, new)
        assert m.noop()[0] == "OK"
    same_or_gone(before, later)
    end_imapd(instance)
    again, now = uids(instance)[0], dovecot_uids(box)
    assert again == later, (box / "dovecot-uidlist").read_text()
    assert now == later, (box / "dovecot-uidlist").read_text()


def test_locks_between_us(instance, box):
    """A lock of ours keeps Debian's Dovecot out while its maker lives and no longer, and a lock of Dovecot's keeps us out."""
    child = subprocess.Popen(["sleep", "60"])
    here = os.uname().nodename
    assert dovecot_uids(box, lock=f"{child.pid}:{here}", seconds=5) is None
    child.kill()
    child.wait()
    assert b"<new>" in dovecot_uids(box, lock=f"{child.pid}:{here}").values()
    lock = box / "dovecot-uidlist.lock"
    deliver(instance)
    wait_until(lambda: any((box / "new").iterdir()), what="a message that has no UID yet")
    lock.write_text(f"{child.pid}:{here}")  # as Dovecot makes it: 0666 less its umask
    lock.chmod(0o600)
    with instance.imap() as m:
        m.sock.settimeout(2)
        with pytest.raises(TimeoutError):
            m.select("INBOX")
    lock.unlink()
    end_imapd(instance)


def test_half_a_header(instance, box):
    """Not even UIDVALIDITY is known: all UIDs are new under a new one, as with a lost file."""
    before, validity = uids(instance)
    end_imapd(instance)
    with open(box / "dovecot-uidlist", "r+b") as f:
        f.truncate(8)
    after, now = uids(instance)
    assert set(after.values()) == set(before.values())
    if now == validity:
        same_or_gone(before, after)
    assert dovecot_uids(box) == after
