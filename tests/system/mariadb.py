"""A private MariaDB server for a test, by conf/mariadb."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from conftest import ROOT, wait_until


class Database:
    name = "postfixadmin"

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.socket = self.dir / "run/mysqld.sock"

    def command(self, verb, *options, ok=True):
        out = subprocess.run([ROOT / "conf/mariadb", self.dir, verb, *options], capture_output=True, text=True, timeout=120)
        assert not ok or out.returncode == 0, out.stdout + out.stderr
        return out

    def start(self, *options):
        self.command("start", *options)

    def stop(self):
        self.command("stop")

    def signal(self, number=signal.SIGKILL):
        """SIGKILL, or SIGSTOP and SIGCONT for a server that hangs."""
        pid = int((self.dir / "run/mysqld.pid").read_text())
        os.kill(pid, number)
        if number == signal.SIGSTOP:  # on a busy machine one of its threads may answer for a while yet
            wait_until(lambda: all(stopped(thread) for thread in pathlib.Path(f"/proc/{pid}/task").iterdir()), what="mariadbd is stopped")

    def login(self, user="postfix"):
        """What DIR/USER.cnf says: {"user": ..., "password": ...}."""
        lines = (self.dir / f"{user}.cnf").read_text().splitlines()
        return {k.strip(): v.strip() for k, _, v in (line.partition("=") for line in lines[1:])}

    def sql(self, text, user="root", database=name, ok=True):
        """The rows, as lists of strings; NULL is "NULL"."""
        out = subprocess.run(["mariadb", f"--defaults-file={self.dir}/{user}.cnf", "--batch", "--skip-column-names", database],
                             input=text, capture_output=True, text=True, timeout=60)
        if not ok:
            return out
        assert out.returncode == 0, out.stderr
        return [line.split("\t") for line in out.stdout.splitlines()]


def stopped(thread):
    with contextlib.suppress(OSError):
        return (thread / "stat").read_text().rsplit(")", 1)[1].split()[0] == "T"
    return True  # it has ended


@contextlib.contextmanager
def own_directory():
    """One that the daemons' accounts get through to."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="posthorn-mariadb."))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        if os.environ.get("POSTHORN_KEEP") is None:
            shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def own_database(*options):
    with own_directory() as directory:
        db = Database(directory)
        try:
            db.start(*options)
            yield db
        finally:
            db.stop()
