"""One mail site on disk that either Debian's Postfix or ours runs, and a server that takes what they send.

Both sides get the same main.cf, master.cf, tables and queue directory; only the places of their programs differ, as on a
machine whose administrator swaps them.
"""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import threading
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("POSTHORN_BUILD", HERE.parents[1] / "build"))
OURS, DEBIAN = "ours", "debian"
HOST = "spool.example.test"


def debian_root(what):
    out = subprocess.run([HERE / "debian", "--root", what], capture_output=True, text=True)
    if out.returncode != 0:
        pytest.skip(f"Debian's {what} cannot be had: {out.stderr.strip()}")
    return pathlib.Path(out.stdout.strip())


def wait_until(condition, seconds=20, what="condition"):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what} did not come true within {seconds} s"
        time.sleep(0.05)


def free_port(start=27000, end=28900):
    """A port below the ephemeral range that nobody listens on."""
    for port in range(start + os.getpid() % 500, end):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                s.bind(("127.0.0.1", port))
                return port
    raise RuntimeError("no free port")


class Letter:
    """What the sink was sent in one transaction."""

    def __init__(self, mail, rcpts, data):
        self.mail, self.rcpts, self.data = mail, rcpts, data


def address(argument):
    """user@dom of b"<user@dom> PARAM=..."."""
    return argument[argument.index(b"<") + 1 : argument.index(b">")].decode()


class Sink(socketserver.ThreadingTCPServer):
    """An SMTP server. Recipients in `answers` get that reply ("450 ...", "550 ...", or "stall": none at all); others are taken."""

    daemon_threads = allow_reuse_address = True
    request_queue_size = 100

    def __init__(self, port):
        super().__init__(("127.0.0.1", port), SinkSession)
        self.offers = ["PIPELINING", "SIZE 100000000", "8BITMIME", "SMTPUTF8", "DSN"]
        self.port, self.letters, self.answers, self.lock = port, [], {}, threading.Lock()
        self.stalled = threading.Event()
        self.leave_stall = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # a client that is killed resets its connection

    def answer(self, rcpt):
        user = rcpt.split("@")[0].split("+")[0]
        return self.answers.get(rcpt, self.answers.get(user, self.answers.get("*", "250 2.1.5 ok")))

    def got(self, rcpt):
        """The letters that this recipient was sent."""
        with self.lock:
            return [l for l in self.letters if rcpt in [address(r) for r in l.rcpts]]


class SinkSession(socketserver.StreamRequestHandler):
    def reply(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        mail, rcpts = None, []
        self.reply("220 sink ESMTP")
        while line := self.rfile.readline():
            verb, _, rest = line.rstrip(b"\r\n").partition(b" ")
            verb = verb.upper()
            if verb in (b"EHLO", b"LHLO"):
                for word in ("sink", *self.server.offers):
                    self.reply("250-" + word)
                self.reply("250 ENHANCEDSTATUSCODES")
            elif verb == b"MAIL":
                mail, rcpts = rest[5:], []
                self.reply("250 2.1.0 ok")
            elif verb == b"RCPT":
                answer = self.server.answer(address(rest))
                if answer == "stall":
                    self.server.stalled.set()
                    self.server.leave_stall.wait(60)
                    return
                if answer.startswith("2"):
                    rcpts.append(rest[3:])
                self.reply(answer)
            elif verb == b"DATA":
                if not rcpts:
                    self.reply("554 5.5.1 no recipients")
                    continue
                self.reply("354 go on")
                data = []
                while (line := self.rfile.readline()) != b".\r\n":
                    if not line:
                        return
                    data.append(line[1:] if line.startswith(b".") else line)
                with self.server.lock:
                    self.server.letters.append(Letter(mail, rcpts, b"".join(data)))
                self.reply("250 2.0.0 taken")
            elif verb == b"QUIT":
                self.reply("221 2.0.0 bye")
                return
            else:
                mail, rcpts = None, []
                self.reply("250 2.0.0 ok")


MASTER_CF = """\
{smtp_port} inet n - n - - smtpd
pickup     unix  n - n 60 1 pickup
cleanup    unix  n - n - 0 cleanup
qmgr       unix  n - n 300 1 qmgr
tlsmgr     unix  - - n 1000? 1 tlsmgr
rewrite    unix  - - n - - trivial-rewrite
bounce     unix  - - n - 0 bounce
defer      unix  - - n - 0 bounce
trace      unix  - - n - 0 bounce
proxymap   unix  - - n - - proxymap
smtp       unix  - - n - - smtp
relay      unix  - - n - - smtp
showq      unix  n - n - - showq
flush      unix  n - n 1000? 0 flush
error      unix  - - n - - error
retry      unix  - - n - - error
discard    unix  - - n - - discard
virtual    unix  - n n - - virtual
lmtp       unix  - - n - - lmtp
anvil      unix  - - n - 1 anvil
postlog    unix-dgram n - n - 1 postlogd
143        inet  n - n - - none
993        inet  n - n - - none
110        inet  n - n - - none
995        inet  n - n - - none
"""


class Site:
    """A scratch directory with one queue and a configuration directory for each side. Root's: both sides change accounts."""

    def __init__(self, top, *settings):
        self.top, self.queue, self.log_file = top, top / "queue", top / "mail.log"
        self.smtp_port = free_port()
        self.sink = Sink(free_port(self.smtp_port + 1))
        self.running = None
        root = debian_root("postfix")
        self.where = {
            OURS: {"command_directory": BUILD / "sbin", "daemon_directory": BUILD / "daemons"},
            DEBIAN: {"command_directory": root / "usr/sbin", "daemon_directory": root / "usr/lib/postfix/sbin",
                     "shlib_directory": root / "usr/lib/postfix", "meta_directory": root / "etc/postfix",
                     "sendmail_path": root / "usr/sbin/sendmail", "mailq_path": root / "usr/bin/mailq",
                     "newaliases_path": root / "usr/bin/newaliases", "manpage_directory": root / "usr/share/man",
                     "sample_directory": root / "etc/postfix",
                     "import_environment": f"MAIL_CONFIG MAIL_LOGTAG TZ LANG=C LD_LIBRARY_PATH={root}/usr/lib/postfix",
                     "export_environment": "MAIL_CONFIG MAIL_LOGTAG TZ LANG LD_LIBRARY_PATH"},
        }
        self.library = root / "usr/lib/postfix"
        os.chmod(top, 0o755)
        self.queue.mkdir()
        (top / "data").mkdir()
        shutil.chown(top / "data", "postfix", "postfix")
        os.chmod(top / "data", 0o700)
        self.settings = [
            "compatibility_level = 3.6", f"queue_directory = {self.queue}", f"data_directory = {top}/data",
            "mail_owner = postfix", "setgid_group = postdrop", f"maillog_file = {self.log_file}", f"maillog_file_prefixes = {top}",
            "inet_interfaces = 127.0.0.1", "inet_protocols = ipv4", f"myhostname = {HOST}", "mydestination =", "mynetworks = 127.0.0.0/8",
            "alias_maps =", "alias_database =", "local_recipient_maps =", f"relayhost = [127.0.0.1]:{self.sink.port}",
            "smtp_tls_security_level =", "smtp_connection_cache_on_demand = no", "default_destination_concurrency_failed_cohort_limit = 1000",
            *settings,
        ]
        self.write()

    def write(self, *more, without=()):
        """main.cf and master.cf of both sides, with these settings added and without these services."""
        lines = [l for l in MASTER_CF.format(smtp_port=f"127.0.0.1:{self.smtp_port}").splitlines() if l.split()[0] not in without]
        for side, paths in self.where.items():
            etc = self.etc(side)
            etc.mkdir(exist_ok=True)
            own = [f"{name} = {value}" for name, value in paths.items()]
            last = {line.split("=")[0].strip(): line for line in [*self.settings, *more, *own]}
            (etc / "main.cf").write_text("\n".join(last.values()) + "\n")
            (etc / "master.cf").write_text("\n".join(lines) + "\n")
            (etc / "dynamicmaps.cf").write_text("")
            for file in etc.iterdir():
                os.utime(file, (time.time() - 100,) * 2)  # Debian's waits where a file may still be written

    def etc(self, side):
        return self.top / f"etc-{side}"

    def run(self, side, program, *argv, ok=True, **kw):
        env = {**os.environ, "MAIL_CONFIG": str(self.etc(side))}
        if side == DEBIAN:
            env["LD_LIBRARY_PATH"] = str(self.library)
        kw.setdefault("timeout", 60)
        out = subprocess.run([str(self.where[side]["command_directory"] / program), *map(str, argv)], env=env, capture_output=True,
                             cwd=self.queue, **kw)
        assert not ok or out.returncode == 0, f"{side} {program} {argv}: exit {out.returncode}\n{out.stdout}\n{out.stderr}\n{self.log()[-3000:]}"
        return out

    def start(self, side):
        self.run(side, "postfix", "start")
        self.running = side
        wait_until(self.listening, what="port")

    def listening(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.smtp_port), 5) as s:
            return s.recv(4).startswith(b"220")

    def stop(self):
        side, self.running = self.running, None
        if side:
            self.run(side, "postfix", "stop")
            wait_until(lambda: self.run(side, "postfix", "status", ok=False).returncode, what="stop")

    def kill(self):
        """Power cut for the processes: none of them gets to do anything more."""
        todo, pids = [int((self.queue / "pid/master.pid").read_text())], []
        children = {}
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                text = stat.read_text()
                children.setdefault(int(text[text.rindex(")") + 2 :].split()[1]), []).append(int(text.split()[0]))
        while todo:
            pid = todo.pop()
            pids.append(pid)
            todo += children.get(pid, [])
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(alive, pids)), what="end")
        self.running = None

    def close(self):
        with contextlib.suppress(Exception):
            self.stop()
        self.sink.leave_stall.set()
        self.sink.shutdown()
        self.sink.server_close()

    def wait(self, condition, what, seconds=30):
        """wait_until, with what is in the queue and the log where it fails."""
        try:
            return wait_until(condition, seconds, what)
        except AssertionError as e:
            queue = "\n".join(str(p.relative_to(self.queue)) for p in self.files().values())
            raise AssertionError(f"{e}\n{queue}\n{self.log()[-4000:]}") from None

    def log(self, mark=0):
        return self.log_file.read_bytes()[mark:].decode("utf-8", "replace") if self.log_file.exists() else ""

    def log_mark(self):
        return self.log_file.stat().st_size if self.log_file.exists() else 0

    # The queue, as files.
    def files(self, *queues):
        """{id: path} of the message files in these queues."""
        found = {}
        for queue in queues or ("incoming", "active", "deferred", "hold", "maildrop", "corrupt"):
            for folder, _, names in os.walk(self.queue / queue):
                found.update({n: pathlib.Path(folder) / n for n in names})
        return found

    def finished(self, *queues):
        """files() without those whose writer was killed before it said 250 to anybody. One that is taken on meanwhile counts."""
        return {i: p for i, p in self.files(*queues).items() if mode_of(p) & 0o100}

    def quiet(self):
        """Nothing is on its way: what is left waits in deferred or hold."""
        return not self.finished("incoming", "active", "maildrop")


def mode_of(path):
    """The mode of a queue file, or all bits where a running daemon has just renamed it."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mode
    return 0o777


def alive(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def smtp_talk(port, *lines):
    """A whole SMTP session, step by step; every command but the content must be answered 2xx or 3xx. The last answer."""
    with socket.create_connection(("127.0.0.1", port), 60) as s, s.makefile("rb") as replies:

        def answer():
            text = b""
            while not re.match(rb"\d{3} ", line := replies.readline()):
                assert line, text
                text += line
            return text + line

        last = answer()
        for line in lines:
            s.sendall(line)
            last = answer()
            assert last[:1] in b"23", (line[:200], last)
        return last
