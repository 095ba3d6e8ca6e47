"""Debian's Dovecot, unpacked beside the tests and run in a scratch directory on loopback: the peer that wrote the mail we take over."""
import contextlib
import grp
import imaplib
import os
import pathlib
import poplib
import pwd
import shutil
import smtplib
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PASSWORD = "taken-over"
SPECIAL = ["Drafts", "Sent", "Junk", "Trash", "Archive"]
imaplib._MAXLINE = 100_000_000


def programs():
    """Where Debian's packages were unpacked; None when they cannot be fetched."""
    found = subprocess.run([str(ROOT / "tests/peer/debian"), "dovecot"], capture_output=True, text=True)
    return pathlib.Path(found.stdout.strip()).parent / "root" if found.returncode == 0 else None


class Dovecot:
    """with Dovecot(mail_dir, port_base) as d: ... Every user's password is PASSWORD; user@domain has mail_dir/domain/user."""

    def __init__(self, mail_dir, port_base, separator="/", location=None, settings=""):
        self.mail_dir = pathlib.Path(mail_dir)
        self.imap_port, self.pop3_port, self.lmtp_port = port_base + 143, port_base + 110, port_base + 24
        self.separator, self.location, self.settings = separator, location or f"maildir:{mail_dir}/%d/%n", settings
        self.scratch = self.master = None

    def __enter__(self):
        self.root = programs()
        assert self.root, "Debian's dovecot packages cannot be fetched"
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="posthorn-dovecot."))
        self.scratch.chmod(0o755)
        self.conf = self.scratch / "dovecot.conf"
        self.log_file = self.scratch / "log"
        self.conf.write_text(self.configuration())
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        if os.environ.get("POSTHORN_KEEP") is None:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def configuration(self):
        owner = os.stat(self.mail_dir)
        user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        group = grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
        login = "dovenull" if os.geteuid() == 0 else user
        services = "anvil stats imap-login pop3-login lmtp imap pop3 auth config log doveadm".split()
        chroot = "" if os.geteuid() == 0 else "".join(f"service {s} {{\n  chroot =\n}}\n" for s in services)
        special = "".join(f"  mailbox {name} {{\n    special_use = \\{name}\n  }}\n" for name in SPECIAL)
        return f"""\
base_dir = {self.scratch}/run
state_dir = {self.scratch}/state
log_path = {self.log_file}
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {login}
protocols = imap pop3 lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
first_valid_gid = 1
mail_uid = {owner.st_uid}
mail_gid = {owner.st_gid}
mail_location = {self.location}
mail_max_userip_connections = 100
namespace inbox {{
  inbox = yes
  separator = {self.separator}
{special}}}
passdb {{
  driver = static
  args = password={PASSWORD}
}}
userdb {{
  driver = static
  args = uid={owner.st_uid} gid={owner.st_gid} home={self.mail_dir}/%d/%n
}}
service imap-login {{
  inet_listener imap {{
    port = {self.imap_port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {self.pop3_port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {self.lmtp_port}
  }}
}}
{chroot}{self.settings}
"""

    def installed(self, *argv):
        """Runs it where the packages look installed: a /usr of its own mount namespace. Their paths are compiled in."""
        script = 'mount -t overlay overlay -o lowerdir="$1/usr":/usr /usr && shift && exec "$@"'
        user = [] if os.geteuid() == 0 else ["--map-root-user"]
        return ["unshare", "--mount", *user, "sh", "-c", script, "sh", str(self.root), *map(str, argv)]

    def start(self):
        self.master = subprocess.Popen(self.installed("/usr/sbin/dovecot", "-F", "-c", self.conf))
        end = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.imap_port), 1) as s:
                s.settimeout(5)
                if s.recv(4).startswith(b"* OK"):
                    return
            assert self.master.poll() is None and time.monotonic() < end, f"dovecot does not start: {self.log()}"
            time.sleep(0.05)

    def stop(self):
        if self.master:
            self.master.terminate()
            self.master.wait(20)
        self.master = None

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def complaints(self):
        """What Dovecot found wrong in the mail."""
        return [line for line in self.log().splitlines() if any(word in line for word in ("Warning: ", "Error: ", "Fatal: ", "Panic: "))]

    @contextlib.contextmanager
    def imap(self, user):
        m = imaplib.IMAP4("127.0.0.1", self.imap_port)
        m.login(user, PASSWORD)
        try:
            yield m
        finally:
            with contextlib.suppress(imaplib.IMAP4.error, OSError):
                m.logout()

    @contextlib.contextmanager
    def pop3(self, user):
        p = poplib.POP3("127.0.0.1", self.pop3_port, timeout=60)
        p.user(user)
        p.pass_(PASSWORD)
        try:
            yield p
        finally:
            with contextlib.suppress(poplib.error_proto, OSError):
                p.quit()

    @contextlib.contextmanager
    def lmtp(self):
        s = smtplib.LMTP("127.0.0.1", self.lmtp_port, local_hostname="client.example")
        try:
            yield s
        finally:
            s.close()

    def doveadm(self, *argv):
        out = subprocess.run(self.installed("/usr/bin/doveadm", "-c", self.conf, *argv), capture_output=True, text=True, timeout=60)
        assert out.returncode == 0, out.stderr
        return out.stdout
