"""The Dovecot auth protocol as a client and as a master speak it, to our authd or to Debian's; either of them alone, on scratch sockets."""
import base64
import contextlib
import os
import pathlib
import pwd
import random
import shutil
import socket
import subprocess
import tempfile

from conftest import ROOT, wait_until


def b64(text):
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()


def plain(user, password, authzid=""):
    return b64(f"{authzid}\0{user}\0{password}")


class Link:
    """A connection, greeting read; what is asked comes from a process id that nobody else has."""

    def __init__(self, path, minor=2):
        self.client = os.path.basename(str(path)) in ("auth", "auth-login", "auth-client")
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(40)
        self.sock.connect(str(path))
        self.file = self.sock.makefile("rb")
        self.pid = random.randrange(1, 1 << 30)
        self.last = 0
        self.send(f"VERSION\t1\t{minor}")
        self.greeting = [self.read()]
        while self.greeting[-1][0] != ("DONE" if self.client else "SPID"):
            self.greeting.append(self.read())
        if self.client:
            self.send(f"CPID\t{self.pid}")

    def send(self, line):
        self.sock.sendall(line.encode("utf-8", "surrogateescape") + b"\n")

    def read(self):
        line = self.file.readline().decode("utf-8", "surrogateescape")
        return line.rstrip("\n").split("\t") if line else None

    def ask(self, line):
        self.send(line)
        return self.read()

    def auth(self, user, password, mech="PLAIN", authzid="", params="service=imap\trip=192.0.2.9\tlip=192.0.2.1\tno-penalty"):
        self.last += 1
        return self.ask(f"AUTH\t{self.last}\t{mech}\t{params}\tresp={plain(user, password, authzid)}")

    @property
    def cookie(self):
        return next(words[1] for words in self.greeting if words[0] == "COOKIE")

    def claim(self, master):
        """What a master says of the last AUTH."""
        return master.ask(f"REQUEST\t1\t{self.pid}\t{self.last}\t{self.cookie}")


class Server:
    """with OurAuthd(...) as server: server.link("auth-userdb"). Files of the test stand in server.dir."""

    names = ("auth", "auth-login", "auth-master", "auth-userdb")

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="posthorn-auth.", dir="/tmp"))
        self.dir.chmod(0o755)
        self.process = None
        try:
            self.start()
            wait_until(self.up, what="auth service")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        if os.environ.get("POSTHORN_KEEP") is None:
            shutil.rmtree(self.dir, ignore_errors=True)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(20)
        self.process = None

    def up(self):
        assert self.process.poll() is None, self.log()
        with contextlib.suppress(OSError):
            return self.ready() and Link(self.socket("auth"))

    def ready(self):
        return True

    def link(self, name, **kw):
        return Link(self.socket(name), **kw)

    def write(self, files):
        for name, text in files.items():
            (self.dir / name).parent.mkdir(exist_ok=True)
            (self.dir / name).write_text(text)

    def log(self):
        path = self.dir / "log"
        return path.read_text(errors="replace") if path.exists() else ""


class OurAuthd(Server):
    """authd, auth-worker and further services that authd asks, without master and jail. settings: {name: value} of main.cf, "DIR" in them is server.dir."""

    worker = None

    def __init__(self, settings, files, services=()):
        self.settings, self.files, self.services, self.asked = settings, files, services, []

    def socket(self, name):
        return self.dir / name

    def command(self, *argv):
        return list(map(str, argv))

    def daemon(self, name, *sockets, log="log"):
        build = os.environ.get("POSTHORN_BUILD", str(ROOT / "build"))
        listen = [word for socket_name in sockets for word in ("--listen", f"unix:{self.dir}/{socket_name}")]
        with open(self.dir / log, "w") as file:
            return subprocess.Popen(self.command(f"{build}/daemons/{name}", "-c", self.dir, "-n", ",".join(sockets), "-t", "unix", *listen), stderr=file)

    def stop(self):
        super().stop()
        if self.worker:
            self.worker.terminate()
            self.worker.wait(20)
        self.worker = None
        for process in self.asked:
            process.terminate()
            process.wait(20)
        self.asked = []

    def start(self):
        self.write({name: text.replace("DIR", str(self.dir)) for name, text in self.files.items()})
        (self.dir / "private").mkdir(exist_ok=True)
        lines = {"queue_directory": "DIR", "auth_failure_delay": "0", **self.settings}
        (self.dir / "main.cf").write_text("".join(f"{k} = {v}\n" for k, v in lines.items()).replace("DIR", str(self.dir)))
        self.worker = self.daemon("auth-worker", "private/auth-worker", log="worker.log")
        self.asked = [self.daemon(name, f"private/{name}", log=f"{name}.log") for name in self.services]
        self.process = self.daemon("authd", *self.names)

    def ready(self):
        return all((self.dir / "private" / name).exists() for name in self.services)


class DebianAuth(Server):
    """Debian's dovecot with nothing but its auth service. settings: text of dovecot.conf, "DIR" in it is server.dir."""

    def __init__(self, settings, files):
        self.settings, self.files = settings, files
        found = subprocess.run([str(ROOT / "tests/peer/debian"), "--root", "dovecot"], capture_output=True, text=True)
        assert found.returncode == 0, "Debian's dovecot packages cannot be fetched"
        self.root = found.stdout.strip()

    def socket(self, name):
        return self.dir / "run" / ("auth-client" if name == "auth" else name)

    def installed(self, *argv):
        """Runs it where the packages look installed: a /usr of its own mount namespace. Their paths are compiled in."""
        script = 'mount -t overlay overlay -o lowerdir="$1/usr":/usr /usr && shift && exec "$@"'
        user = [] if os.geteuid() == 0 else ["--map-root-user"]
        return ["unshare", "--mount", *user, "sh", "-c", script, "sh", self.root, *map(str, argv)]

    def start(self):
        self.write({name: text.replace("DIR", str(self.dir)) for name, text in self.files.items()})
        account = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        group = "nogroup" if os.geteuid() == 0 else account
        (self.dir / "run").mkdir(exist_ok=True)
        listeners = "".join(f"  unix_listener {self.socket(name).name} {{\n    mode = 0666\n  }}\n" for name in self.names)
        text = f"""\
base_dir = DIR/run
state_dir = DIR/state
log_path = DIR/log
default_internal_user = {account}
default_internal_group = {group}
default_login_user = {account}
protocols =
ssl = no
first_valid_uid = 1
auth_failure_delay = 0
auth_verbose = yes
service auth {{
{listeners}  user = root
}}
{self.settings}"""
        (self.dir / "dovecot.conf").write_text(text.replace("DIR", str(self.dir)))
        self.process = subprocess.Popen(self.installed("/usr/sbin/dovecot", "-F", "-c", self.dir / "dovecot.conf"))

    def doveadm(self, *argv, **kw):
        return subprocess.run(self.installed("/usr/bin/doveadm", "-c", self.dir / "dovecot.conf", *argv), capture_output=True, text=True, timeout=60, **kw)
