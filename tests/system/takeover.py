"""One user's mail, served by ours or by Debian's Dovecot or by both, and what a client remembers of it."""
import os
import pathlib
import poplib
import shutil
import smtplib
import subprocess
import sys

import mailstate
from conftest import ROOT, wait_until

sys.path.insert(0, str(ROOT / "tests/peer"))
import dovecot  # noqa: E402


class Account:
    """bob's mail, at one server or the other."""

    def __init__(self, instance, location=None):
        self.instance, self.user = instance, instance.user2
        self.box_dir = pathlib.Path(instance.mail_dir) / instance.domain / self.user.split("@")[0]
        owner = os.stat(instance.mail_dir)
        self.owner = (owner.st_uid, owner.st_gid)
        self.peer = dovecot.Dovecot(instance.mail_dir, int(instance.port_base) + 1000, location=location, settings="mail_fsync = never")
        self.seen = {}  # (UIDVALIDITY, uid) -> what never changes
        self.next = {}  # UIDVALIDITY -> UIDNEXT
        self.sides = {"ours"}

    def go(self, *sides):
        """These servers run, the other does not."""
        for side in self.sides - set(sides):
            if side == "dovecot":
                self.peer.stop()
            else:
                self.instance.postfix("stop")
                wait_until(lambda: self.instance.postfix("status", ok=False).returncode != 0, what="stop")
        for side in set(sides) - self.sides:
            if side == "dovecot":
                self.peer.start()
            else:
                self.instance.postfix("start")
                self.instance.read_env()
        self.sides = set(sides)

    def wipe(self):
        """A user who never had mail; Dovecot runs."""
        self.go("dovecot")  # our imapd would hold the directory that goes
        shutil.rmtree(self.box_dir, ignore_errors=True)
        self.seen, self.next = {}, {}

    def port(self, protocol, side=None):
        side = side or min(self.sides)
        if side == "dovecot":
            return getattr(self.peer, protocol + "_port")
        return getattr(self.instance, {"imap": "imaps_port", "pop3": "pop3s_port", "lmtp": "lmtp_port"}[protocol])

    def password(self, side=None):
        return dovecot.PASSWORD if (side or min(self.sides)) == "dovecot" else self.instance.users[self.user]

    def imap(self, side=None):
        return mailstate.connect(self.port("imap", side), self.user, self.password(side), None if (side or min(self.sides)) == "dovecot" else self.instance.tls)

    def lmtp(self, side=None):
        return smtplib.LMTP("127.0.0.1", self.port("lmtp", side), local_hostname="client.example")

    def record(self, side=None):
        with self.imap(side) as imap:
            found = mailstate.record(imap)
        for name, (validity, following, messages) in found["boxes"].items():
            assert following >= self.next.get(validity, 0), f"{name!r}: UIDNEXT fell"
            for uid, (_, when, size, ident) in messages.items():
                assert self.seen.setdefault((validity, uid), (when, size, ident)) == (when, size, ident), f"{name!r}: uid {uid} stands for another message"
                assert uid < following
            self.next[validity] = following
        return found

    def uidls(self):
        if self.sides == {"dovecot"}:
            p = poplib.POP3("127.0.0.1", self.port("pop3"), timeout=60)
        else:
            p = poplib.POP3_SSL("localhost", self.port("pop3"), context=self.instance.tls, timeout=60)
        p.user(self.user)
        p.pass_(self.password())
        found = p.uidl()[1], p.list()[1]
        p.quit()
        return found

    def mbsync(self, directory):
        """The files of its copy: their names hold UID and flags. Folders that come and go, and names its Maildir cannot hold, are left out."""
        rc = directory / "mbsyncrc"
        tls = f"SSLType IMAPS\nCertificateFile {self.instance.ca_file}" if self.sides == {"ours"} else "SSLType None\nAuthMechs LOGIN"
        rc.write_text(f"""FSync no

IMAPAccount a
Host localhost
Port {self.port('imap')}
User {self.user}
Pass {self.password()}
{tls}

IMAPStore far
Account a

MaildirStore near
Path {directory}/near/
Inbox {directory}/near/INBOX
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns * !work* !xxxx* !very*
Create Near
Expunge None
SyncState *
""")
        (directory / "near").mkdir(exist_ok=True)
        out = subprocess.run(["mbsync", "-c", str(rc), "-a"], capture_output=True, text=True, timeout=110)
        assert out.returncode == 0, out.stdout[-2000:] + out.stderr[-2000:]
        return {str(p.relative_to(directory)) for p in (directory / "near").rglob("*") if p.parent.name in ("cur", "new")}
