"""strace shows the order: queue file complete, one fsync, then 250; mailbox file renamed, fsync, then the answer. The log keeps it."""
import os
import pathlib
import re
import secrets
import signal
import socket
import subprocess
import threading
import time

import pytest
from conftest import wait_until


@pytest.fixture
def trace(instance, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root: ptrace of daemons that are not dumpable")

    def run(names, action):
        out = tmp_path / "trace"
        pids = [p for n in names for p in instance.pids(n)]
        assert pids, names
        argv = ["strace", "-f", "-ttt", "-y", "-s", "120", "-o", str(out)]
        tracer = subprocess.Popen(argv + [a for p in pids for a in ("-p", str(p))], stderr=subprocess.PIPE)
        time.sleep(1)
        action()
        time.sleep(0.5)
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)
        return out.read_text(errors="replace").splitlines()

    return run


def send(instance):
    marker = secrets.token_hex(8)
    with instance.smtp() as s:
        s.sendmail("a@elsewhere.example", [instance.user2], f"Subject: {marker}\r\n\r\nx\r\n".encode())
    instance.wait_message(marker)


def first(lines, pattern, start=0):
    for n in range(start, len(lines)):
        if re.search(pattern, lines[n]):
            return n
    pytest.fail(f"no {pattern!r} in the trace from line {start}")


def test_queue_file_then_fsync_then_250(instance, trace):
    send(instance)  # every daemon is up
    lines = trace(["smtpd", "cleanup"], lambda: send(instance))
    complete = first(lines, r"fchmod\(.*/incoming/.*, 0700")
    sync = first(lines, r"(fsync|fdatasync)\(.*/incoming/", complete)
    first(lines, r"250 2\.0\.0 Ok: queued as", sync)
    assert sum(bool(re.search(r"(fsync|fdatasync)\(\d", row)) for row in lines) == 1
    assert not any("250 2.0.0 Ok: queued" in row for row in lines[:sync])


def test_mailbox_file_then_fsync_then_answer(instance, trace):
    send(instance)
    wait_until(lambda: not list(pathlib.Path(instance.mail_dir).rglob("posthorn.journal")), what="the end of a burst of before")
    lines = trace(["lmtpd"], lambda: send(instance))
    renamed = first(lines, r"(rename|link)[a-z0-9]*\(.*/tmp[/>].*/new[/>]")
    sync = first(lines, r"(fsync|fdatasync)\(", renamed)
    first(lines, r"250 2\.0\.0 .*Saved", sync)
    assert sum(bool(re.search(r"(fsync|fdatasync)\(\d", row)) for row in lines) == 1


def test_log_lines_in_the_order_of_what_happened(instance):
    """Daemons keep lines for a moment and send several together: the story of each message still reads from its beginning to its end."""
    mark, marker, count = instance.log_mark(), secrets.token_hex(8), 60

    def some():
        for _ in range(count // 6):
            with instance.smtp() as s:
                s.sendmail("a@elsewhere.example", [instance.user2], f"Subject: {marker}\r\n\r\nx\r\n".encode())

    senders = [threading.Thread(target=some) for _ in range(6)]
    for t in senders:
        t.start()
    for t in senders:
        t.join()
    lines = wait_until(lambda: (rows := instance.log(mark).splitlines()) and sum(r.endswith(": removed") for r in rows) >= count and rows, what="the end of all messages")
    ids = re.findall(r"smtpd\[\d+\]: (\w+): client=", "\n".join(lines))
    assert len(ids) == count
    for queue_id in ids:
        story = [re.sub(r".* postfix/(\S+)\[\d+\]: \w+: (\S+?)[=< ].*", r"\1 \2", r + " ") for r in lines if f": {queue_id}: " in r]
        assert story == ["smtpd client", "cleanup message-id", "qmgr from", "lmtp to", "qmgr removed"], (queue_id, story)
    for row in lines:
        assert re.match(r"\w{3} [ \d]\d \d\d:\d\d:\d\d \S+ \S+\[\d+\]: \S", row), row


def test_log_lines_of_a_burst(instance):
    """Many more datagrams than wait in postlogd's queue, with pauses that find it idle and others that find it napping: all are there, in order."""
    mark, marker, count = instance.log_mark(), secrets.token_hex(8), 2000
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect(str(instance.dir / "spool/public/postlog"))
        for n in range(count):
            s.send(f"{marker} {n}\n{marker} {n}b".encode())
            if n % 100 == 0:
                time.sleep(n % 7 / 5000)
    rows = wait_until(lambda: (r := re.findall(rf"^{marker} (\w+)$", instance.log(mark), re.M)) and len(r) >= 2 * count and r, what="all lines")
    assert rows == [text for n in range(count) for text in (str(n), f"{n}b")]


def synced_and_queued(lines):
    """("synced" | "queued", queue id) in the order of the trace; a call that was cut in two counts where it ended."""
    open_calls = {}
    for line in lines:
        tid = line.split()[0]
        if m := re.search(r"(?:fsync|fdatasync)\(\d+<[^>]*/incoming/(\w+)>(.*)", line):
            if "unfinished" in m[2]:
                open_calls[tid] = m[1]
            elif m[2].endswith("= 0"):
                yield "synced", m[1]
        elif re.search(r"<\.\.\. (fsync|fdatasync) resumed>.*= 0$", line) and tid in open_calls:
            yield "synced", open_calls.pop(tid)
        elif m := re.search(r"250 2\.0\.0 Ok: queued as (\w+)", line):
            yield "queued", m[1]


def test_each_of_many_is_synced_before_its_250(instance, trace):
    """Files of several sessions are synced together: each 250 still waits for the fsync of its own file."""
    send(instance)
    sessions, each = 8, 6

    def one():
        with instance.smtp() as s:
            for _ in range(each):
                s.sendmail("a@elsewhere.example", [instance.user2], b"Subject: many\r\n\r\nx\r\n")

    def many():
        threads = [threading.Thread(target=one) for _ in range(sessions)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    many()  # as many daemons as it takes are up: those that start later would not be traced
    events = list(synced_and_queued(trace(["smtpd", "cleanup"], many)))
    queued = [queue_id for what, queue_id in events if what == "queued"]
    assert len(queued) == sessions * each
    for queue_id in queued:
        assert ("synced", queue_id) in events[: events.index(("queued", queue_id))], queue_id
