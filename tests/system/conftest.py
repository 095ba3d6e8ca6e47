"""The instance that the tests talk to, and the few things every test does with it.

tests/run starts one instance (conf/quickstart) and names its directory in POSTHORN_INSTANCE. A test that needs other
settings makes an instance of its own with the `fresh` fixture.
"""
import contextlib
import imaplib
import os
import pathlib
import re
import shutil
import signal
import smtplib
import ssl
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
imaplib._MAXLINE = 100_000_000


def wait_until(condition, seconds=20, what="condition"):
    """The condition's first true value; polls."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what} did not come true within {seconds} s"
        time.sleep(0.05)


class Instance:
    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.read_env()

    def read_env(self):
        self.env = dict(line.split("=", 1) for line in (self.dir / "instance.env").read_text().splitlines())
        for key, value in self.env.items():
            setattr(self, key.lower(), int(value) if re.fullmatch(r"\d+", value) else value)
        self.users = {self.user1: self.env["PASS1"], self.user2: self.env["PASS2"]}

    # Commands.
    def run(self, *argv, ok=True, **kw):
        kw.setdefault("capture_output", True)
        kw.setdefault("text", True)
        kw.setdefault("timeout", 60)
        env = dict(os.environ, MAIL_CONFIG=self.config_dir)
        out = subprocess.run([str(a) for a in argv], env=env, **kw)
        assert not ok or out.returncode == 0, f"{argv}: exit {out.returncode}\n{out.stdout}\n{out.stderr}"
        return out

    def tool(self, name, *argv, **kw):
        for folder in (self.bin_dir, self.sbin_dir):
            if os.path.exists(os.path.join(folder, name)):
                return self.run(os.path.join(folder, name), *argv, **kw)
        raise FileNotFoundError(name)

    def postconf(self, *assignments):
        self.tool("postconf", "-e", *assignments)

    def postfix(self, verb, **kw):
        return self.tool("postfix", "-c", self.config_dir, verb, **kw)

    def reload(self):
        mark = self.log_mark()
        self.postfix("reload")
        self.wait_log(r"reload", mark)
        time.sleep(0.5)  # the processes of before have been told; until then one may still take a connection

    def restart(self):
        self.postfix("stop")
        wait_until(lambda: self.postfix("status", ok=False).returncode != 0, what="stop")
        self.postfix("start")

    # The log.
    def log_mark(self):
        return os.path.getsize(self.log_file) if os.path.exists(self.log_file) else 0

    def log(self, mark=0):
        if not os.path.exists(self.log_file):  # postlogd makes it with its first line
            return ""
        with open(self.log_file, "rb") as f:
            f.seek(mark)
            return f.read().decode("utf-8", "replace")

    def wait_log(self, pattern, mark=0, seconds=20):
        return wait_until(lambda: re.search(pattern, self.log(mark)), seconds, f"log line {pattern!r}")

    # Clients.
    @property
    def tls(self):
        return ssl.create_default_context(cafile=self.ca_file)

    @contextlib.contextmanager
    def smtp(self, port=None, **kw):
        s = smtplib.SMTP("localhost", port or self.smtp_port, local_hostname="client.example", timeout=60, **kw)
        try:
            yield s
        finally:
            s.close()

    @contextlib.contextmanager
    def submission(self, user=None, implicit=False):
        user = user or self.user1
        if implicit:
            s = smtplib.SMTP_SSL("localhost", self.submissions_port, local_hostname="client.example", context=self.tls, timeout=60)
        else:
            s = smtplib.SMTP("localhost", self.submission_port, local_hostname="client.example", timeout=60)
            s.starttls(context=self.tls)
        try:
            s.login(user, self.users[user])
            yield s
        finally:
            s.close()

    @contextlib.contextmanager
    def imap(self, user=None):
        user = user or self.user2
        m = imaplib.IMAP4_SSL("localhost", self.imaps_port, ssl_context=self.tls)
        m.login(user, self.users[user])
        try:
            yield m
        finally:
            m.shutdown()

    def messages(self, user=None, mailbox="INBOX"):
        """All messages as bytes."""
        with self.imap(user) as m:
            typ, count = m.select(mailbox, readonly=True)
            assert typ == "OK", count
            if count[0] == b"0":
                return []
            return [part[1] for part in m.fetch("1:*", "(BODY.PEEK[])")[1] if isinstance(part, tuple)]

    def empty(self, user=None, mailbox="INBOX"):
        with self.imap(user) as m:
            if m.select(mailbox)[1][0] != b"0":
                m.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")
                m.expunge()

    def wait_message(self, marker, user=None, seconds=20, mailbox="INBOX"):
        """The message that holds the marker (bytes or str), as bytes."""
        marker = marker.encode() if isinstance(marker, str) else marker
        return wait_until(lambda: next((m for m in self.messages(user, mailbox) if marker in m), None), seconds, f"message with {marker!r}")

    # Processes.
    def daemons(self):
        """{pid: name} of all processes below master but itself."""
        children = {}
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                text = stat.read_text()
                pid, name, rest = int(text.split()[0]), text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
                children.setdefault(int(rest[1]), []).append((pid, name))
        found, todo = {}, [self.master()]
        while todo:
            for pid, name in children.get(todo.pop(), []):
                found[pid] = name
                todo.append(pid)
        return found

    def master(self):
        return int((pathlib.Path(self.queue_dir) / "pid/master.pid").read_text())

    def pids(self, name):
        return [pid for pid, n in self.daemons().items() if n == name]


def processes_of(directory):
    """{pid: command line} of everything that belongs to the instance in that directory, whoever its parent is now."""
    mine, found = f"MAIL_CONFIG={directory}/etc".encode(), {}
    for proc in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone, or somebody else's
            argv = (proc / "cmdline").read_bytes().split(b"\0")
            if mine in (proc / "environ").read_bytes().split(b"\0") or f"{directory}/etc".encode() in argv:
                found[int(proc.name)] = b" ".join(argv).decode()
    return found


def queue_ids(instance):
    return [line.split('"queue_id": "')[1].split('"')[0] for line in instance.tool("postqueue", "-j").stdout.splitlines()]


@pytest.fixture(scope="session")
def instance():
    where = os.environ.get("POSTHORN_INSTANCE") or str(ROOT / "instance")
    if not os.path.exists(where + "/instance.env"):
        pytest.exit("no instance: start one with conf/quickstart, or run tests/run system")
    return Instance(where)


def quickstart(directory, *options):
    out = subprocess.run([str(ROOT / "conf/quickstart"), "--dir", str(directory), *options], capture_output=True, text=True, timeout=600)
    assert out.returncode == 0, out.stdout + out.stderr


@contextlib.contextmanager
def own_instance(port_base, *settings, services=""):
    """A running instance with these lines in main.cf and master.cf; its directory is one that daemons get through to."""
    directory = tempfile.mkdtemp(prefix="posthorn-instance.")
    os.chmod(directory, 0o755)
    try:
        quickstart(directory, "--port-base", str(port_base), "--no-demo")
        i = Instance(directory)
        if settings or services:
            if settings:
                i.postconf(*settings)
            with open(i.config_dir + "/master.cf", "a") as f:
                f.write(services)
            i.restart()
            i.read_env()
        yield i
    finally:
        quickstart(directory, "--stop")
        left = processes_of(directory)
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if os.environ.get("POSTHORN_KEEP") is None:
            shutil.rmtree(directory, ignore_errors=True)
        assert not left, f"postfix stop has left {left}"


@pytest.fixture
def fresh():
    """fresh(port_base, "name = value", ..., services=lines of master.cf): a running instance of the test's own."""
    with contextlib.ExitStack() as stack:
        yield lambda *a, **kw: stack.enter_context(own_instance(*a, **kw))
