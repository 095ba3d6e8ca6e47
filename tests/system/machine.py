"""A machine to install on: this one's file system under an overlay that is thrown away, with a network and processes of its own."""
import contextlib
import os
import pathlib
import signal
import subprocess
import sys

from conftest import wait_until

SETUP = """
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs -o mode=755 tmpfs "$1/root/run"
top=$1; shift
for d; do # what lies on file systems of its own
    if [ ! -e "$top/root$d/." ] || [ "$(stat -c %d "$d")" != "$(stat -c %d /)" ]; then mkdir -p "$top/root$d"; mount --bind "$d" "$top/root$d"; fi
done
ip link set lo up
echo ready
exec chroot "$top/root" sleep infinity
"""

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


class Machine:
    def __init__(self, top, *visible):
        """visible: directories of this machine that must be there."""
        self.top = pathlib.Path(top)
        self.process = subprocess.Popen(["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", SETUP, "machine", top, *map(str, visible)],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise OSError(self.process.communicate()[1])
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        self.first = int(wait_until(lambda: children.read_text().split(), what="the machine")[0])
        wait_until(lambda: os.readlink(f"/proc/{self.first}/root") != "/", what="its root")
        self.root = pathlib.Path(f"/proc/{self.first}/root")

    def close(self):
        with contextlib.suppress(OSError):
            os.kill(self.first, signal.SIGKILL)  # and with it all processes of its own
        self.process.wait()

    def path(self, absolute):
        return self.root / str(absolute).lstrip("/")

    def inside(self, *argv):
        return ["nsenter", "-t", str(self.first), "-m", "-n", "-p", "-r", "-w", *map(str, argv)]

    def run(self, *argv, ok=True, user=None, **kw):
        kw.setdefault("timeout", 120)
        drop = ["setpriv", f"--reuid={user}", "--regid=65534", "--clear-groups"] if user else []
        out = subprocess.run(self.inside(*drop, *argv), capture_output=True, text=True, env=ENVIRONMENT, **kw)
        assert not ok or out.returncode == 0, f"{argv}: exit {out.returncode}\n{out.stdout[-3000:]}\n{out.stderr[-3000:]}"
        return out

    def sh(self, command, **kw):
        return self.run("sh", "-ec", command, **kw).stdout

    def python(self, text, *argv):
        """What the program prints; it fails where the program does."""
        return self.run(sys.executable, "-c", text, *argv).stdout
