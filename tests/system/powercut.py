"""A file system whose power is cut, and an instance of ours that lives on it.

The cut is the ioctl that xfstests' godown uses: from then on nothing reaches the disk, and what the page cache alone held is
lost. The processes are ended, the file system is mounted anew (which replays its journal), and the instance is started where
/proc/sys/kernel/random/boot_id is another, as after a boot.

Mounts are made in a mount namespace of this process (own_mounts): no other program can hold a copy of one, and all go with it.
"""
import contextlib
import ctypes
import fcntl
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import uuid

from conftest import Instance, processes_of, quickstart, wait_until

GOING_DOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN: _IOR('X', 125, __u32)
LOSE_LOG = 2             # EXT4_GOING_FLAGS_NOLOGFLUSH, XFS_FSOP_GOING_FLAGS_NOLOGFLUSH
CLONE_NEWNS = 0x20000
BOOT_ID = "/proc/sys/kernel/random/boot_id"
MAKE = {"ext4": ["mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"], "xfs": ["mkfs.xfs", "-q", "-f"]}
IMAGE_MIB = 1024         # mkfs.xfs wants 300
WITHIN_SECONDS = 20      # processes end, file systems are unmounted


class Unable(Exception):
    """This machine does not let us do that; says what."""


def cut(directory):
    """Ends all writing to the file system mounted there, at once. That of / is refused."""
    if not os.path.ismount(directory) or os.path.realpath(directory) == "/":
        raise ValueError(f"{directory} is not where a file system of its own is mounted")
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(fd, GOING_DOWN, struct.pack("=I", LOSE_LOG))
    finally:
        os.close(fd)


def own_mounts():
    """What this process mounts from now on is seen by it and its children alone. To be called before threads are made."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise Unable(f"no mount namespace: {os.strerror(ctypes.get_errno())}")
    tried("mount", "--make-rslave", "/")


def tried(*argv):
    out = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=60)
    if out.returncode != 0:
        raise Unable(f"{' '.join(map(str, argv))}: {out.stderr.strip() or out.returncode}")
    return out.stdout.strip()


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), WITHIN_SECONDS):
        return True
    return False


class Disk:
    """An image with a file system on it, mounted at a directory or not."""

    def __init__(self, kind, image, directory):
        self.image, self.directory, self.mounted = pathlib.Path(image), pathlib.Path(directory), False
        if not shutil.which(MAKE[kind][0]):
            raise Unable(f"there is no {MAKE[kind][0]}")
        with open(self.image, "wb") as f:
            f.truncate(IMAGE_MIB << 20)
        tried(*MAKE[kind], self.image)

    def devices(self):
        return tried("losetup", "--associated", self.image)

    def plug(self):
        device = tried("losetup", "--find", "--show", "--direct-io=on", self.image)
        try:
            tried("mount", device, self.directory)
            self.mounted = True
        finally:
            tried("losetup", "--detach", device)  # goes when it is unmounted

    def cut(self):
        cut(self.directory)

    def unplug(self):
        """Returns when nothing has the image open any more: it must not be mounted twice."""
        if self.mounted:
            wait_until(lambda: subprocess.run(["umount", self.directory], capture_output=True).returncode == 0, WITHIN_SECONDS, "umount")
            self.mounted = False
        wait_until(lambda: not self.devices(), WITHIN_SECONDS, "the end of the loop device")

    def close(self):
        try:
            self.unplug()
        finally:
            self.image.unlink()


class Machine:
    """An instance whose directory is a file system of its own; the log alone lies outside. `i` is the instance."""

    def __init__(self, kind, port_base, users, *settings):
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="posthorn-powercut."))
        self.top.chmod(0o755)
        self.dir, self.kind, self.boot_id = self.top / "disk", kind, None
        self.boots = True  # else the file system fails and is mounted again, and it is the same boot
        for d in ("disk", "log"):
            (self.top / d).mkdir()
        try:
            self.disk = Disk(kind, self.top / "image", self.dir)
            self.disk.plug()
            self.dir.chmod(0o755)
            (self.dir / "log").symlink_to(self.top / "log")
            quickstart(self.dir, "--port-base", str(port_base), "--no-demo", "--users", ",".join(users))
            self.i = Instance(self.dir)
            self.i.users = dict(line.split() for line in (self.dir / "passwords").read_text().splitlines())
            self.i.postconf(*settings)
            self.i.restart()
            self.sync()
        except BaseException:
            self.close()
            raise

    def sync(self):
        tried("sync", "-f", self.dir)

    def set(self, *settings):
        self.i.postconf(*settings)
        self.i.reload()
        self.sync()

    def end_processes(self):
        """As a machine without power does: all at once, nobody is asked."""
        def none_left():
            left = processes_of(self.dir)
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            return not left
        wait_until(none_left, WITHIN_SECONDS, "the end of all processes")

    def cut(self):
        self.disk.cut()

    def boot(self):
        """After a cut: what is on the disk is all there is."""
        self.end_processes()
        self.disk.unplug()
        self.disk.plug()
        self.boot_id = str(uuid.uuid4()) if self.boots else self.boot_id or pathlib.Path(BOOT_ID).read_text().strip()
        (self.top / "boot_id").write_text(self.boot_id + "\n")
        script = f'mount --bind "$0" {BOOT_ID} && exec "$@"'
        self.i.run("unshare", "--mount", "sh", "-c", script, self.top / "boot_id", self.i.sbin_dir + "/postfix", "-c", self.i.config_dir, "start")
        self.i.read_env()
        self.i.users = dict(line.split() for line in (self.dir / "passwords").read_text().splitlines())
        for port in (self.i.smtp_port, self.i.lmtp_port, self.i.imaps_port):
            wait_until(lambda: listens(port), WITHIN_SECONDS, f"listening on port {port}")

    def boot_id_seen(self):
        """What the daemons' own mount namespace says."""
        return pathlib.Path(f"/proc/{self.i.master()}/root{BOOT_ID}").read_text().strip()

    def close(self):
        self.end_processes()
        if hasattr(self, "disk"):
            self.disk.close()
        if os.environ.get("POSTHORN_KEEP") is None:
            shutil.rmtree(self.top, ignore_errors=True)


@contextlib.contextmanager
def machine(kind, port_base, users, *settings):
    """own_mounts() comes before."""
    m = Machine(kind, port_base, users, *settings)
    try:
        yield m
    finally:
        m.close()
