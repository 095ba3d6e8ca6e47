"""postfix stop ends everything, whenever it comes and whatever hangs; clients are told."""
import concurrent.futures
import contextlib
import fcntl
import imaplib
import os
import poplib
import random
import signal
import subprocess
import threading
import time

import pytest
from conftest import own_instance, processes_of, wait_until


@pytest.fixture(scope="module")
def own():
    with own_instance(24200, "daemon_timeout = 2s") as i:
        yield i


@pytest.fixture
def stopped(own):
    """The instance, not running."""
    stop(own)
    yield own
    for pid in processes_of(own.dir):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def stop(i, seconds=8):
    """Stops it if it runs; nothing may be left when the command is over. How long that took."""
    began = time.monotonic()
    out = i.postfix("stop", ok=False)
    took = time.monotonic() - began
    left = processes_of(i.dir)
    assert not left, f"left after {took:.1f} s: {left}\n{out.stderr}"
    assert took < seconds, f"took {took:.1f} s\n{i.log()[-2000:]}"
    return out.returncode


def command(i, verb):
    return subprocess.Popen([i.sbin_dir + "/postfix", "-c", i.config_dir, verb], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def deliver(i):
    with i.smtp() as s:
        s.sendmail("a@elsewhere.example", [i.user2], b"Subject: x\r\n\r\nx\r\n")


def test_right_after_the_start(stopped):
    for _ in range(25):
        stopped.postfix("start")
        assert stop(stopped) == 0


def test_during_the_start(stopped):
    """stop comes as soon as there is something to stop: before master is complete, and afterwards."""
    for _ in range(40):
        start = command(stopped, "start")
        time.sleep(random.uniform(0, 0.06))
        while stopped.postfix("stop", ok=False).returncode != 0:
            assert start.poll() is None or start.returncode == 0, start.stdout.read()
        start.communicate(timeout=30)
        assert not processes_of(stopped.dir)
        assert stopped.postfix("status", ok=False).returncode == 1


def test_during_reloads(stopped):
    for _ in range(10):
        stopped.postfix("start")
        deliver(stopped)
        for _ in range(3):
            stopped.postfix("reload")
            time.sleep(random.uniform(0, 0.05))
        assert stop(stopped) == 0


def test_several_at_once(stopped):
    for _ in range(10):
        stopped.postfix("start")
        stops = [command(stopped, "stop") for _ in range(3)]
        outs = [s.communicate(timeout=40)[0] for s in stops]
        assert not processes_of(stopped.dir), outs
        assert 0 in [s.returncode for s in stops], outs
        assert all(s.returncode == 0 or "is not running" in out for s, out in zip(stops, outs)), outs


def test_start_while_status_is_asked(stopped):
    """Who asks whether the system runs holds the lock for an instant, longer on a busy machine: the start waits for that."""
    with open(stopped.queue_dir + "/pid/master.pid") as f:
        fcntl.flock(f, fcntl.LOCK_SH)
        start = command(stopped, "start")
        time.sleep(0.4)
    assert start.wait(20) == 0, start.stdout.read()
    assert stop(stopped) == 0


def test_while_a_watchdog_ends_a_daemon(stopped):
    """A daemon hangs for longer than daemon_timeout, comes to itself, is killed and replaced; stop comes at any moment of this."""
    for round_ in range(3):
        stopped.postfix("start")
        (hung,) = wait_until(lambda: stopped.pids("qmgr"), what="qmgr")
        time.sleep(0.2)  # its loop turns, and the alarm is set
        os.kill(hung, signal.SIGSTOP)
        time.sleep(2.2)
        os.kill(hung, signal.SIGCONT)
        if round_:
            wait_until(lambda: hung not in stopped.pids("qmgr"), what="the end of the hung daemon")
            time.sleep(random.choice([0, 0.3, 1]))  # before, while and after it is started again
        assert stop(stopped) == 0


def hang(i, *names):
    """Stops all processes of these names with SIGSTOP."""
    for pid, name in i.daemons().items():
        if name in names:
            os.kill(pid, signal.SIGSTOP)


def stop_with_hung_daemons(i):
    deliver(i)
    hang(i, "qmgr", "smtpd", "lmtpd", "dispatcher", "postlogd")
    assert stop(i, seconds=16) == 0


def stop_with_a_hung_user(i):
    """No child of master's, but of a spawner that ends first."""
    with i.imap() as m:
        m.select("INBOX")
        spawner, child = sorted(wait_until(lambda: len(p := i.pids("imapd")) == 2 and p, what="the spawner and its child"))
        os.kill(child, signal.SIGSTOP)
        assert stop(i, seconds=16) == 0


def stop_with_a_hung_master(i):
    deliver(i)
    hang(i, "qmgr")
    os.kill(i.master(), signal.SIGSTOP)
    out = i.postfix("stop", ok=False)
    assert "with force" in out.stderr
    wait_until(lambda: not processes_of(i.dir), seconds=5, what="the end of all")


def test_what_hangs():
    """It takes its time, so all of it at once."""
    ways = [stop_with_hung_daemons, stop_with_a_hung_user, stop_with_a_hung_master]
    with contextlib.ExitStack() as stack:
        instances = [stack.enter_context(own_instance(24400 + 1000 * n)) for n in range(len(ways))]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for done in [pool.submit(way, i) for way, i in zip(ways, instances)]:
                done.result()


def sessions(i):
    """Logged-in clients by every way: (what, socket, last words that are due)."""
    for tls in (False, True):
        m = imaplib.IMAP4_SSL("localhost", i.imaps_port, ssl_context=i.tls) if tls else imaplib.IMAP4("localhost", i.imap_port)
        m.login(i.user2, i.users[i.user2])
        yield f"imap, tls {tls}", m.sock, b"* BYE Server shutting down.\r\n"
        m = imaplib.IMAP4_SSL("localhost", i.imaps_port, ssl_context=i.tls) if tls else imaplib.IMAP4("localhost", i.imap_port)
        m.login(i.user2, i.users[i.user2])
        m.select("INBOX")
        m.send(b"x IDLE\r\n")
        while m.readline() != b"+ idling\r\n":
            pass
        yield f"imap in IDLE, tls {tls}", m.sock, b"* BYE Server shutting down.\r\n"
        p = poplib.POP3_SSL("localhost", i.pop3s_port, context=i.tls) if tls else poplib.POP3("localhost", i.pop3_port)
        p.user(i.user1)
        p.pass_(i.users[i.user1])
        yield f"pop3, tls {tls}", p.sock, b"-ERR Server shutting down.\r\n"


def test_clients_are_told(stopped):
    stopped.postfix("start")
    clients = list(sessions(stopped))
    heard = {}

    def listen(what, sock):
        text = b""
        sock.settimeout(20)
        with contextlib.suppress(OSError):
            while piece := sock.recv(4096):
                text += piece
        heard[what] = text

    threads = [threading.Thread(target=listen, args=(what, sock)) for what, sock, _ in clients]
    for t in threads:
        t.start()
    assert stop(stopped) == 0
    for t in threads:
        t.join()
    assert heard == {what: words for what, _, words in clients}


def test_reload_with_open_sessions(stopped):
    """They go on, and so do new ones: dispatcher's successor does not wait for their end."""
    stopped.postfix("start")
    with stopped.imap() as old, stopped.smtp() as mail:
        old.select("INBOX")
        mail.ehlo()
        for _ in range(3):
            stopped.reload()
            began = time.monotonic()
            with stopped.imap() as new:
                new.select("INBOX")
                assert old.noop()[0] == new.noop()[0] == "OK"
            assert time.monotonic() - began < 5
        assert mail.noop()[0] == 250
    assert stop(stopped) == 0


def test_users_processes_of_a_killed_master(stopped):
    """Nobody is left when master is killed and not started again, nor after the next start and stop."""
    stopped.postfix("start")
    clients = list(sessions(stopped))
    os.kill(stopped.master(), signal.SIGKILL)
    wait_until(lambda: not processes_of(stopped.dir), seconds=20, what="the end of all")
    assert len(clients) == 6
