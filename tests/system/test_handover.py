"""A user's process that ends while a client is on its way to it: another serves the client, and it hears its answer once."""
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest
from conftest import wait_until

LOGINS = 200
WAYS = ["imap", "imaps", "pop3s"]


def processes(i, way):
    """The users' processes of a protocol: children of its spawner."""
    found = []
    named = i.pids("pop3d" if way.startswith("pop3") else "imapd")
    for pid in named:
        with contextlib.suppress(OSError):
            stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
            if int(stat[stat.rindex(")") + 2:].split()[1]) in named:
                found.append(pid)
    return found


def signal_all(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


class Client:
    """Says LOGIN, the next command and the farewell; keeps every byte that it hears."""

    def __init__(self, i, way):
        self.pop3 = way.startswith("pop3")
        port = i.imap_port if way == "imap" else i.imaps_port if way == "imaps" else i.pop3s_port
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        if way != "imap":
            self.sock = i.tls.wrap_socket(self.sock, server_hostname="localhost")
        self.lines, self.file = [], self.sock.makefile("rb")
        self.file.readline()  # the greeting
        password = i.users[i.user2]
        if self.pop3:
            self.sock.sendall(f"USER {i.user2}\r\n".encode())
            assert self.file.readline().startswith(b"+OK")
        self.login = (f"PASS {password}\r\n" if self.pop3 else f"a LOGIN {i.user2} {password}\r\n").encode()

    def send_login(self):
        self.sock.sendall(self.login)

    def answer(self):
        line = self.file.readline()
        while line.startswith(b"* "):
            line = self.file.readline()
        return line

    def good(self):
        """One answer to LOGIN, and the session works. What is wrong, or None."""
        try:
            line = self.answer()
            if not line.startswith(b"+OK" if self.pop3 else b"a OK"):
                return f"at login: {line}"
            self.sock.sendall(b"QUIT\r\n" if self.pop3 else b"b LOGOUT\r\n")
            rest = self.file.read()
            tagged = [x for x in rest.splitlines() if not x.startswith(b"* ")]
            return None if len(tagged) == 1 and tagged[0].startswith(b"+OK" if self.pop3 else b"b OK") else f"after login: {rest}"
        except OSError as e:
            return repr(e)
        finally:
            self.sock.close()


@contextlib.contextmanager
def busy(count):
    """Programs that want the processor, so that who is killed has to wait for his end."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def start_one(i, way):
    client = Client(i, way)
    client.send_login()
    assert client.good() is None
    return wait_until(lambda: processes(i, way), what="a process that waits for more")


@pytest.mark.parametrize("way", WAYS)
def test_ends_with_the_client_in_its_queue(instance, way):
    """It was stopped before the session came, and dies without having looked at it."""
    pids = start_one(instance, way)
    client = Client(instance, way)
    signal_all(pids, signal.SIGSTOP)
    client.send_login()
    client.sock.settimeout(1)
    with pytest.raises(TimeoutError):
        client.sock.recv(1)
    client.sock.settimeout(60)
    client.file = client.sock.makefile("rb")  # one that has timed out is of no more use
    signal_all(pids, signal.SIGKILL)
    assert client.good() is None


@pytest.mark.parametrize("way", ["imap"])
def test_stands_still(instance, way):
    """Another gets the client after a while; the first says nothing when it goes on."""
    pids = start_one(instance, way)
    client = Client(instance, way)
    signal_all(pids, signal.SIGSTOP)
    try:
        client.send_login()
        line = client.answer()
    finally:
        signal_all(pids, signal.SIGCONT)
    assert line.startswith(b"+OK" if client.pop3 else b"a OK"), line
    time.sleep(0.5)
    client.sock.sendall(b"QUIT\r\n" if client.pop3 else b"b LOGOUT\r\n")
    rest = [x for x in client.file.read().splitlines() if not x.startswith(b"* ")]
    assert len(rest) == 1 and rest[0].startswith(b"+OK" if client.pop3 else b"b OK"), rest
    wait_until(lambda: not set(pids) & set(processes(instance, way)), what="the end of the one that stood still")


@pytest.mark.parametrize("way", ["imap", "imaps"])
def test_killed_under_load(instance, way):
    wrong = []
    with busy(2):
        for _ in range(LOGINS // 2):
            client = Client(instance, way)
            pids = processes(instance, way)
            signal_all(pids, signal.SIGKILL)
            client.send_login()
            wrong += [w for w in [client.good()] if w]
    assert not wrong, (len(wrong), wrong[:5])

