"""IMAP sessions in IDLE that sleep at dispatcher: no process, woken by mail, by their client, by time; nothing is missed."""
import contextlib
import imaplib
import os
import pathlib
import re
import selectors
import signal
import smtplib
import socket
import ssl
import subprocess
import threading
import time

import pytest

from conftest import own_instance, wait_until


@pytest.fixture(scope="module")
def i():
    with own_instance(27600, "imap_hibernate_timeout = 2", "mail_process_idle_time = 1", "mail_max_userip_connections = 0",
                      "imap_idle_notify_interval = 4s", "keeper_sessions_per_process = 8") as instance:
        yield instance


class Idler:
    """A client that keeps what it is told as an IMAP client must: message numbers, UIDs, flags."""

    def __init__(self, i, user, password, tls=False):
        if tls:
            self.imap = imaplib.IMAP4_SSL("localhost", i.imaps_port, ssl_context=ssl.create_default_context(cafile=i.ca_file), timeout=20)
        else:
            self.imap = imaplib.IMAP4("127.0.0.1", i.imap_port, timeout=20)
        self.imap.login(user, password)
        self.imap.select("INBOX")
        self.mails = self.view()

    def view(self):
        data = self.imap.uid("FETCH", "1:*", "(FLAGS)")[1]
        return [parse(x) for x in data if x]

    def idle(self):
        self.imap.send(b"i1 IDLE\r\n")
        assert self.imap.readline().startswith(b"+ ")

    def hear(self, until=b"i1 OK", seconds=15):
        """Applies what the server says until a line begins with `until`."""
        self.imap.sock.settimeout(seconds)
        while True:
            line = self.imap.readline()
            assert line, "disconnected"
            if m := re.match(rb"\* (\d+) EXPUNGE", line):
                del self.mails[int(m[1]) - 1]
            elif m := re.match(rb"\* (\d+) EXISTS", line):
                assert int(m[1]) >= len(self.mails)
                self.mails += [None] * (int(m[1]) - len(self.mails))
            elif m := re.match(rb"\* (\d+) FETCH", line):
                self.mails[int(m[1]) - 1] = flags_of(line, self.mails[int(m[1]) - 1])
            if line.startswith(until) or until in line:
                return line

    def done(self):
        self.imap.send(b"DONE\r\n")
        self.hear()

    def check(self):
        """What it was told is what is there."""
        now = self.view()
        assert len(now) == len(self.mails)
        for told, real in zip(self.mails, now):
            assert told is None or told == real, (told, real)
        self.mails = now


def says(c):
    c.imap.sock.settimeout(10)
    while (line := c.imap.readline()).startswith(b"* OK Still here"):
        pass
    return line


def parse(line):
    line = line if isinstance(line, bytes) else line[0]
    uid = int(re.search(rb"UID (\d+)", line)[1])
    return uid, frozenset(re.search(rb"FLAGS \(([^)]*)\)", line)[1].split()) - {b"\\Recent"}


def flags_of(line, before):
    uid = before[0] if before else int(re.search(rb"UID (\d+)", line)[1])
    return uid, frozenset(re.search(rb"FLAGS \(([^)]*)\)", line)[1].split()) - {b"\\Recent"}


def children(parents, name):
    out = subprocess.run(["ps", "-eo", "pid,ppid,comm"], capture_output=True, text=True).stdout
    rows = [l.split() for l in out.splitlines()[1:]]
    return {int(r[0]) for r in rows if r[2] == name and int(r[1]) in parents}


def spawners(i, name="imapd"):
    """With them what their predecessors started: master is its parent now."""
    return children({i.master()}, name)


def processes(i, name="imapd"):
    return sorted(children(spawners(i, name), name))


def asleep(i):
    wait_until(lambda: not processes(i), 20)


def append(i, user, password, n=1):
    with imaplib.IMAP4("127.0.0.1", i.imap_port, timeout=20) as m:
        m.login(user, password)
        for _ in range(n):
            m.append("INBOX", None, None, b"Subject: x\r\n\r\nbody\r\n")


def drop(i, mailbox, name):
    """A file as another delivery agent would leave it: no session of ours has a part in it."""
    new = pathlib.Path(i.mail_dir) / mailbox / "new"
    tmp = new.parent / "tmp" / name
    tmp.write_bytes(b"Subject: dropped\n\nbody\n")
    st = new.stat()
    subprocess.run(["chown", f"{st.st_uid}:{st.st_gid}", tmp], check=True)
    tmp.rename(new / name)


@pytest.mark.parametrize("tls", [False, True])
def test_sleeps_and_wakes(i, tls):
    append(i, i.user1, i.pass1, 5)
    c = Idler(i, i.user1, i.pass1, tls)
    c.idle()
    asleep(i)
    domain, local = i.user1.split("@")[1], i.user1.split("@")[0]
    began = time.monotonic()
    drop(i, f"{domain}/{local}", f"{time.time_ns()}.M1P1.h")
    c.hear(b"EXISTS")
    assert time.monotonic() - began < 1.0
    asleep(i)  # again, and its client speaks
    c.done()
    c.check()
    assert c.imap.noop()[0] == "OK"
    c.imap.logout()


def test_told_all_that_happened(i):
    append(i, i.user1, i.pass1, 12)
    c = Idler(i, i.user1, i.pass1)
    for _ in range(3):
        c.idle()
        asleep(i)
        with imaplib.IMAP4("127.0.0.1", i.imap_port, timeout=20) as other:
            other.login(i.user1, i.pass1)
            other.select("INBOX")
            other.store("2,4", "+FLAGS", "(\\Deleted)")
            other.expunge()
            other.store("1,3:5", "+FLAGS", "(\\Flagged $Forwarded)")
            other.store("6", "-FLAGS", "(\\Seen)")
            other.append("INBOX", "(\\Seen)", None, b"Subject: y\r\n\r\nbody\r\n")
        c.hear(b"EXISTS")
        c.done()
        c.check()
    c.imap.logout()


def test_still_here_and_pipelined_done(i):
    c = Idler(i, i.user2, i.pass2)
    c.idle()
    asleep(i)
    c.imap.sock.settimeout(10)
    assert b"Still here" in c.imap.readline()
    c.imap.send(b"DONE\r\ni2 NOOP\r\n")
    c.hear(b"i2 OK")
    c.imap.logout()


def test_wakes_towards_a_process_that_ends(i):
    """The one that it is sent to is killed before it has looked: the sleeper goes on in another, and hears all once."""
    c = Idler(i, i.user1, i.pass1)
    c.idle()
    asleep(i)
    other = imaplib.IMAP4("127.0.0.1", i.imap_port, timeout=20)
    other.login(i.user1, i.pass1)
    [pid] = processes(i)
    os.kill(pid, signal.SIGSTOP)
    c.imap.send(b"DONE\r\n")
    time.sleep(0.5)
    os.kill(pid, signal.SIGKILL)
    c.hear()
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        other.noop()
    other.shutdown()
    c.check()
    assert c.imap.noop()[0] == "OK"
    c.imap.logout()


def test_client_that_goes_and_many(i):
    """Sleeping sessions of one user; some clients vanish, the others are told."""
    clients = [Idler(i, i.user2, i.pass2) for _ in range(30)]
    for c in clients:
        c.idle()
    asleep(i)
    assert len(i.pids("keeper")) >= 4
    for c in clients[:10]:
        c.imap.sock.shutdown(socket.SHUT_RDWR)
        c.imap.sock.close()
    domain, local = i.user2.split("@")[1], i.user2.split("@")[0]
    drop(i, f"{domain}/{local}", f"{time.time_ns()}.M2P1.h")
    for c in clients[10:]:
        c.hear(b"EXISTS")
    for c in clients[10:]:
        c.done()
        c.check()
        c.imap.logout()
    wait_until(lambda: not processes(i), 20)


def test_keeper_that_dies(i):
    """Its clients are disconnected, at once; those of the others sleep on, and who comes next finds a keeper."""
    clients = [Idler(i, i.user1, i.pass1) for _ in range(12)]
    for c in clients:
        c.idle()
    asleep(i)
    held = {pid: sockets(pid) for pid in i.pids("keeper")}
    victim = max(held, key=held.get)
    assert len(held) >= 2 and sum(held.values()) >= 12
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in i.pids("keeper"))
    gone, stay = [], []
    for c in clients:
        c.imap.sock.settimeout(1)
        try:
            while line := c.imap.readline():
                assert b"Still here" in line
        except TimeoutError:
            line = None
        (gone if line == b"" else stay).append(c)
    assert 1 <= len(gone) <= 8 and len(stay) == 12 - len(gone)
    with contextlib.suppress(OSError):
        for c in gone:
            c.imap.sock.close()
    last = Idler(i, i.user1, i.pass1)
    last.idle()
    stay.append(last)
    asleep(i)
    domain, local = i.user1.split("@")[1], i.user1.split("@")[0]
    drop(i, f"{domain}/{local}", f"{time.time_ns()}.M3P1.h")
    for c in stay:
        again(c)
        c.hear(b"EXISTS")
        c.done()
        c.check()
        c.imap.logout()


def sockets(pid):
    """TCP connections and TLS relays that a process holds: all its sockets but the channel, the listener, dispatcher."""
    links = (os.readlink(f) for f in pathlib.Path(f"/proc/{pid}/fd").iterdir())
    return sum(l.startswith("socket:") for l in links) - 3


def again(c):
    """imaplib's file refuses to be read after a timeout."""
    c.imap._file = c.imap.sock.makefile("rb")
    c.imap.file = c.imap._file


@pytest.mark.parametrize("tls", [False, True])
def test_reload_wakes_nobody(i, tls):
    c = Idler(i, i.user1, i.pass1, tls)
    c.idle()
    asleep(i)
    (before,) = i.pids("dispatcher")
    i.reload()
    append(i, i.user1, i.pass1)  # served by the dispatcher that follows
    c.hear(b"EXISTS")
    assert before in i.pids("dispatcher")
    c.done()
    c.check()
    c.imap.logout()
    wait_until(lambda: before not in i.pids("dispatcher"), what="the end of the dispatcher of before")


def test_what_is_started_while_dispatcher_ends(i):
    """A sleeper of before the reload wakes, and its process is still being started while dispatcher looks for idle ones:
    that process, too, goes with its session, and dispatcher after it."""
    c = Idler(i, i.user1, i.pass1)
    c.idle()
    asleep(i)
    (before,) = i.pids("dispatcher")
    i.reload()
    append(i, i.user2, i.pass2)  # a spawner after the reload
    (spawner,) = wait_until(lambda: len(found := spawners(i)) == 1 and found)
    os.kill(spawner, signal.SIGSTOP)
    try:
        c.imap.send(b"DONE\r\n")
        time.sleep(1.5)
    finally:
        os.kill(spawner, signal.SIGCONT)
    c.hear()
    c.check()
    c.imap.logout()
    wait_until(lambda: before not in i.pids("dispatcher"), what="the end of the dispatcher of before")
    asleep(i)


def test_mailbox_deleted_and_stop(i):
    with imaplib.IMAP4("127.0.0.1", i.imap_port, timeout=20) as m:
        m.login(i.user1, i.pass1)
        m.create("Gone")
    c = Idler(i, i.user1, i.pass1)
    c.imap.select("Gone")
    c.mails = []
    c.idle()
    asleep(i)
    with imaplib.IMAP4("127.0.0.1", i.imap_port, timeout=20) as m:
        m.login(i.user1, i.pass1)
        m.delete("Gone")
    assert says(c).startswith(b"* BYE")
    with contextlib.suppress(OSError):
        c.imap.sock.close()
    d = Idler(i, i.user1, i.pass1)
    d.idle()
    asleep(i)
    subprocess.run([f"{i.sbin_dir}/postfix", "-c", i.config_dir, "stop"], check=True, capture_output=True)
    assert says(d).startswith(b"* BYE Server shutting down")


SLEEPERS = 300


@pytest.fixture(scope="module")
def crowd():
    """An instance with SLEEPERS users, s0@... to ..."""
    with own_instance(27700, "imap_hibernate_timeout = 2", "mail_process_idle_time = 1", "mail_max_userip_connections = 0") as i:
        domain, etc = i.user1.split("@")[1], pathlib.Path(i.config_dir)
        names = [f"s{n}" for n in range(SLEEPERS)]
        with open(etc / "users", "a") as f:
            f.writelines(f"{name}@{domain}:{{PLAIN}}secret::::::\n" for name in names)
        with open(etc / "vmailbox", "a") as f:
            f.writelines(f"{name}@{domain} {domain}/{name}/\n" for name in names)
        i.tool("postmap", str(etc / "vmailbox"))
        i.reload()
        i.sleepers = [f"{name}@{domain}" for name in names]
        yield i


def ears(clients, heard, stop):
    """Notes when each client is told of a message."""
    with selectors.DefaultSelector() as s:
        for n, c in enumerate(clients):
            s.register(c.imap.sock, selectors.EVENT_READ, n)
        while not stop.is_set():
            for key, _ in s.select(0.1):
                line = key.fileobj.recv(4096)
                assert line, "disconnected"
                if b"EXISTS" in line:
                    heard.setdefault(key.data, time.monotonic())


def test_each_of_many_hears_of_its_own_mail(crowd):
    """From the 250 of a delivery to its client's EXISTS within a second, while mail for all the others arrives."""
    i, heard, delivered, stop = crowd, {}, {}, threading.Event()
    clients = [Idler(i, user, "secret") for user in i.sleepers]
    for c in clients:
        c.idle()
    asleep(i)
    listener = threading.Thread(target=ears, args=(clients, heard, stop))
    listener.start()
    try:
        with smtplib.LMTP("127.0.0.1", i.lmtp_port, local_hostname="client.example") as lmtp:
            for n, user in enumerate(i.sleepers):
                lmtp.sendmail("a@elsewhere.example", [user], "Subject: news\r\n\r\nbody\r\n")
                delivered[n] = time.monotonic()
        wait_until(lambda: len(heard) == SLEEPERS, 30, "news for all")
    finally:
        stop.set()
        listener.join()
    waited = sorted(heard[n] - delivered[n] for n in heard)
    print(f"p50 {waited[SLEEPERS // 2] * 1000:.0f} ms, max {waited[-1] * 1000:.0f} ms")
    assert waited[-1] < 1.0
    for c in clients[:: SLEEPERS // 10]:
        c.imap.send(b"DONE\r\n")
        assert says(c).startswith(b"i1 OK")


def test_no_more_idle_processes_than_the_limit(crowd):
    """Those that have waited longest go first; who comes back is served all the same."""
    i, pids = crowd, []
    i.postconf("mail_process_idle_time = 1h", "mail_idle_process_limit = 2")
    i.reload()
    for user in i.sleepers[:5]:
        mark = i.log_mark()
        with imaplib.IMAP4("127.0.0.1", i.imap_port, timeout=20) as m:
            m.login(user, "secret")
        pids.append(int(i.wait_log(rf"imapd\[(\d+)\]: imap\({re.escape(user)}\).*: Disconnected: Logged out", mark)[1]))
        wait_until(lambda: len(now := processes(i)) == min(len(pids), 2) and pids[-1] in now, what="no more than two")
    assert processes(i) == sorted(pids[-2:])
    append(i, i.sleepers[0], "secret")
    wait_until(lambda: len(now := processes(i)) == 2 and pids[4] in now and pids[3] not in now, what="the third's place")
    i.postconf("mail_idle_process_limit = 0")
    i.reload()
    append(i, i.sleepers[0], "secret")
    asleep(i)


def test_a_process_for_one_who_is_turned_away(crowd):
    """Started, and then the address has as many sessions as it may: it goes when its time is over."""
    i = crowd
    i.postconf("mail_process_idle_time = 1s", "mail_idle_process_limit = 500", "mail_max_userip_connections = 1")
    i.reload()
    c = Idler(i, i.sleepers[0], "secret")
    c.idle()
    asleep(i)
    m = imaplib.IMAP4("127.0.0.1", i.imap_port, timeout=20)
    with pytest.raises(imaplib.IMAP4.error, match="Maximum number of connections"):
        m.login(i.sleepers[0], "secret")
    m.shutdown()
    asleep(i)
    c.done()
    c.check()
    c.imap.logout()
