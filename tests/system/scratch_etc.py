"""A copy of /etc with users and PAM services of a test's own, which takes /etc's place for the programs that are run `inside` it: root only."""
import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile

USERS = [  # name, password ("": none; "*": locked), uid, gid, home, shell
    ("palice", "alice-pw", 2101, 2101, "/bin/sh"),
    ("pbob", "bob-pw", 2102, 2102, "/bin/sh"),
    ("plocked", "!", 2103, 2101, "/bin/sh"),
    ("pempty", "", 2104, 2101, "/bin/sh"),
    ("pstar", "*", 2105, 2101, "/bin/sh"),
    ("pfalse", "false-pw", 2106, 2101, "/bin/false"),
    ("pnologin", "nologin-pw", 2107, 2101, "/usr/sbin/nologin"),
    ("plow", "low-pw", 90, 2101, "/bin/sh"),
    ("phigh", "high-pw", 64000, 2101, "/bin/sh"),
]


def hashed(password):
    """As passwd(1) of this system would; openssl knows no yescrypt, which the shadow suite reads all the same."""
    if password in ("", "*", "!"):
        return password
    return subprocess.run(["openssl", "passwd", "-6", password], capture_output=True, text=True, check=True).stdout.strip()


class ScratchEtc:
    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.instead = []  # (file of this machine, what takes its place)
        self.etc, self.home = self.dir / "etc", self.dir / "home"
        subprocess.run(["cp", "-a", "/etc", self.etc], check=True)
        self.home.mkdir(mode=0o755)
        for name, password, uid, gid, shell in USERS:
            self.add(name, password, uid, gid, shell)
        with open(self.etc / "group", "a") as f:
            f.write("pusers:x:2101:\npbob:x:2102:\n")

    def add(self, name, password, uid, gid, shell="/bin/sh"):
        with open(self.etc / "passwd", "a") as f:
            f.write(f"{name}:x:{uid}:{gid}:{name}:{self.home}/{name}:{shell}\n")
        with open(self.etc / "shadow", "a") as f:
            f.write(f"{name}:{hashed(password)}:19000:0:99999:7:::\n")
        (self.home / name).mkdir(mode=0o700)
        shutil.chown(self.home / name, uid, gid)

    def library(self, old, new):
        """nsswitch.conf's hesiod, which comes with the C library, is another library then. False: it is not there to be replaced."""
        if not os.path.exists(old):
            return False
        self.instead.append((old, new))
        path = self.etc / "nsswitch.conf"
        path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("passwd:")) + "passwd: files hesiod\n")
        return True

    def passwords(self):
        return {name: password for name, password, *_ in USERS}

    def service(self, name, *lines):
        (self.etc / "pam.d" / name).write_text("\n".join(lines) + "\n")

    def remove(self, name):
        for file in ("passwd", "shadow"):
            path = self.etc / file
            path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith(name + ":")))

    def inside(self, *argv):
        """The command with this /etc, in a mount namespace that nobody else sees."""
        mounts = "".join(f'mount --bind "{new}" "{old}" && ' for old, new in [("/etc", self.etc), *self.instead])
        return ["unshare", "--mount", "sh", "-c", mounts + 'exec "$@"', "sh", *map(str, argv)]


@contextlib.contextmanager
def scratch_etc():
    directory = tempfile.mkdtemp(prefix="posthorn-etc.", dir="/tmp")
    pathlib.Path(directory).chmod(0o755)
    try:
        yield ScratchEtc(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
