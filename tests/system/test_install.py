"""The commands of README's "Swapping in": a Debian machine with its own main.cf and master.cf becomes ours and Debian's again.

The machine is an overlay over this one, with Debian's postfix unpacked; systemctl, which it lacks, stands for "postfix start" and "stop".
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import pytest
from conftest import ROOT, wait_until
from machine import ENVIRONMENT, Machine

sys.path.insert(0, str(ROOT / "tests/peer"))
from mta import BUILD, debian_root  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="an overlay is mounted")
README = (ROOT / "README.md").read_text()
USER, PASSWORD = "ann@example.test", "quite secret"
GUIDE = """
myhostname = mail.example.test
mydestination =
mynetworks = 127.0.0.0/8
inet_protocols = ipv4
maillog_file = /var/log/mail.log
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = example.test
virtual_mailbox_maps = hash:/etc/postfix/vmailbox
virtual_alias_maps = hash:/etc/postfix/virtual
virtual_mailbox_base = /var/vmail
virtual_uid_maps = static:5000
virtual_gid_maps = static:5000
virtual_transport = lmtp:unix:private/dovecot-lmtp
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtp_tls_security_level = may
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
"""
SUBMISSION = """
submission inet n       -       y       -       -       smtpd
  -o syslog_name=postfix/submission
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
"""
SEND = """
import smtplib, sys
with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), local_hostname="client.test", timeout=60) as s:
    if len(sys.argv) > 4:
        s.login(*sys.argv[4:6])
    s.sendmail("sender@example.test", [sys.argv[2]], f"Subject: {sys.argv[3]}\\r\\n\\r\\nx\\r\\n")
"""
READ = """
import imaplib, re, sys
m = imaplib.IMAP4("127.0.0.1")
m.login(*sys.argv[1:3])
count = int(m.select("INBOX", readonly=True)[1][0])
for part in m.fetch("1:*", "(BODY.PEEK[HEADER])")[1] if count else []:
    if isinstance(part, tuple):
        print(re.search(rb"Subject: (\\S+)", part[1])[1].decode())
"""


def readme(command):
    """The command, which README must hold as it is."""
    assert command in README, f"README.md does not say: {command}"
    return command


class Site(Machine):
    def __init__(self, top):
        super().__init__(top, ROOT, BUILD, debian_root("postfix").parent)
        self.sh("for d in postfix posthorn; do rm -rf /etc/$d; done; rm -rf /var/spool/postfix /var/lib/postfix")
        if self.run("sh", "-c", "command -v systemd-sysusers", ok=False).returncode == 0:
            self.run("systemd-sysusers", f"{ROOT}/conf/posthorn.sysusers")
        self.sh("for a in postfix dovenull; do getent passwd $a >/dev/null || useradd --system --user-group $a; done; groupadd --force --system postdrop")
        self.sh("getent passwd 5000 >/dev/null || useradd --system --uid 5000 vmail; mkdir -p /var/vmail && chown 5000 /var/vmail && chmod 700 /var/vmail")

    def users(self):
        self.path("/etc/postfix/vmailbox").write_text(f"{USER} example.test/ann/\n")
        self.path("/etc/postfix/virtual").write_text(f"all@example.test {USER}\n")
        hashed = self.run("doveadm", "pw", "-s", "SHA512-CRYPT", input=f"{PASSWORD}\n{PASSWORD}\n").stdout.strip()
        self.path("/etc/postfix/users").write_text(f"{USER}:{hashed}::::::\n")

    def swap_in(self):
        self.run("sh", "-ec", readme("cmake --install build --prefix /usr").replace("build", str(BUILD)))
        self.sh(readme("postfix set-permissions"))

    def start(self):
        self.sh("postfix start", timeout=60)

    def stop(self):
        self.sh("postfix stop", timeout=60)

    def send(self, rcpt, subject, port=25, login=()):
        self.python(SEND, port, rcpt, subject, *login)

    def subjects(self):
        return sorted(self.python(READ, USER, PASSWORD).split())

    def log(self):
        path = self.path("/var/log/mail.log")
        return path.read_text() if path.exists() else ""


@pytest.fixture
def machine():
    with tempfile.TemporaryDirectory(prefix="posthorn-machine.") as top:
        os.chmod(top, 0o755)
        try:
            m = Site(top)
        except OSError as e:
            pytest.skip(f"no overlay can be mounted: {e}")
        try:
            yield m
        finally:
            print(m.log()[-6000:])  # shown where a test fails
            m.close()


def unpack_debian(m):
    """What installing the package leaves behind."""
    m.sh(f"for d in {debian_root('postfix').parent}/deb/postfix[_-]*.deb {debian_root('dovecot').parent}/deb/dovecot-core*.deb; do dpkg-deb --fsys-tarfile $d | tar -x -C / --keep-directory-symlink; done")
    m.sh("cp /usr/share/postfix/main.cf.debian /etc/postfix/main.cf; cp /usr/share/postfix/master.cf.dist /etc/postfix/master.cf;"
         "cp /usr/share/postfix/dynamicmaps.cf /etc/postfix/; echo mail.example.test >/etc/mailname; mkdir -p /var/spool/postfix/etc;"
         "cp /etc/resolv.conf /etc/services /etc/hosts /var/spool/postfix/etc/ || true; mkdir -p /var/lib/postfix; chown postfix /var/lib/postfix")
    with open(m.path("/etc/postfix/main.cf"), "a") as f:
        f.write(GUIDE)
    with open(m.path("/etc/postfix/master.cf"), "a") as f:
        f.write(SUBMISSION)
    m.path("/etc/postfix/vmailbox").write_text(f"{USER} example.test/ann/\n")
    m.path("/etc/postfix/virtual").write_text(f"all@example.test {USER}\n")
    m.sh("postmap /etc/postfix/vmailbox /etc/postfix/virtual; chgrp postdrop /usr/sbin/postdrop /usr/sbin/postqueue; chmod 2755 /usr/sbin/postdrop /usr/sbin/postqueue")


def programs(m):
    """Of Debian's package, what we put aside or might have touched: name to owner, mode and contents."""
    out = m.sh("for f in /usr/lib/postfix/sbin/* /usr/sbin/post* /usr/sbin/sendmail /usr/bin/mailq /usr/bin/newaliases /usr/bin/doveadm /usr/sbin/dovecot; do"
               " [ ! -e $f ] || { stat -c '%n %U %G %a' $f; sha256sum $f; }; done")
    return [line for line in out.splitlines() if line]


def test_swap_and_back(machine):
    m = machine
    unpack_debian(m)
    before = programs(m)
    m.start()
    m.send("all@example.test", "by-debian")  # nobody serves private/dovecot-lmtp: it waits
    m.run("sendmail", "-f", "sender@example.test", USER, input="Subject: dropped\n\nx\n", user="nobody")
    wait_until(lambda: len(re.findall("status=deferred", m.log())) >= 2, what="deferrals")
    assert m.sh("postqueue -p").count("sender@example.test") == 2
    refused = m.run("cmake", "--install", BUILD, "--prefix", "/usr", ok=False)
    assert refused.returncode != 0 and "the mail system is running" in refused.stderr and programs(m) == before
    m.stop()

    m.swap_in()
    aside = re.findall("local diversion of (\\S+) to", m.sh("dpkg-divert --list '*.before-posthorn'"))
    assert {"/usr/sbin/postfix", "/usr/bin/doveadm", "/usr/lib/postfix/sbin/local", "/usr/lib/postfix/sbin/pipe"} <= set(aside)
    m.users()
    m.sh(readme("postconf -e auth_passwd_file=/etc/postfix/users"))
    check = m.run("sh", "-c", readme("postfix check")).stderr
    again = m.run("postfix", "upgrade-configuration").stderr
    assert "nothing to upgrade" in again and "service local is not started" in again
    assert "service local is not started" in check and "fatal" not in check and "set-gid" not in check, check
    m.start()
    wait_until(lambda: len(m.subjects()) == 2, what="the mail of before")
    m.send("all@example.test", "by-ours")
    m.send(USER, "submitted", 587, (USER, PASSWORD))
    m.run("sendmail", "-f", "sender@example.test", USER, input="Subject: dropped-too\n\nx\n", user="nobody")
    everything = ["by-debian", "by-ours", "dropped", "dropped-too", "submitted"]
    wait_until(lambda: m.subjects() == everything, what="all mail")
    assert "empty" in m.sh("mailq")
    m.send("x@elsewhere.test", "waits")  # there is no DNS
    wait_until(lambda: re.search("to=<x@elsewhere.test>.*status=deferred", m.log()), what="a deferral")
    m.swap_in()  # once more, over ourselves: nothing of ours is taken for Debian's
    assert "the mail system is running" in m.run("/usr/share/posthorn/swap", "back", ok=False).stderr
    m.stop()

    m.sh(readme("/usr/share/posthorn/swap back"))
    assert m.sh("dpkg-divert --list '*.before-posthorn'") == ""
    assert programs(m) == before
    assert m.sh("find /usr /etc /lib -xdev -name '*posthorn*' -not -path '*/src/*' | grep -v ^/usr/share/doc || true") == ""
    m.start()
    assert "x@elsewhere.test" in m.sh("postqueue -p")
    assert m.sh(f"postmap -q {USER} hash:/etc/postfix/vmailbox") == "example.test/ann/\n"
    m.send("all@example.test", "by-debian-again")
    wait_until(lambda: m.sh("postqueue -p").count("all@example.test") + m.sh("postqueue -p").count(USER) >= 1, what="Debian's queue")
    m.stop()
    assert not re.search("panic|fatal", m.log())


def test_a_machine_without_postfix(machine):
    """The shipped main.cf and master.cf, with the few lines they ask for."""
    m = machine
    m.swap_in()
    assert m.path("/etc/postfix/master.cf").read_text() == (ROOT / "conf/master.cf").read_text()
    if m.run("sh", "-c", "command -v systemd-analyze", ok=False).returncode == 0:
        verdict = m.run("systemd-analyze", "verify", "--man=no", "/usr/lib/systemd/system/posthorn.service", ok=False)
        assert "posthorn.service" not in verdict.stderr, verdict.stderr
    m.users()
    m.sh("postconf -e myhostname=mail.example.test virtual_mailbox_domains=example.test virtual_mailbox_maps=cdb:/etc/postfix/vmailbox"
         " virtual_alias_maps=cdb:/etc/postfix/virtual virtual_uid_maps=static:5000 virtual_gid_maps=static:5000"
         " auth_passwd_file=/etc/postfix/users maillog_file=/var/log/mail.log inet_protocols=ipv4")
    m.sh("postmap /etc/postfix/vmailbox /etc/postfix/virtual")
    check = m.run("postfix", "check").stderr
    assert not re.search("unused|not started|fatal|error", check), check
    unit = (ROOT / "conf/posthorn.service").read_text()
    start, stop = (re.search(rf"^{verb}=(.*)", unit, re.M)[1].split() for verb in ("ExecStart", "ExecStop"))
    bound = "-all" + "".join(",+" + cap[4:].lower() for cap in re.findall(r"\bCAP_\w+", unit))
    service = subprocess.Popen(m.inside("setpriv", "--bounding-set", bound, *start), env=ENVIRONMENT)
    wait_until(lambda: m.run("postfix", "status", ok=False).returncode == 0, what="the start")
    m.send("all@example.test", "hello")
    wait_until(lambda: m.subjects() == ["hello"], what="the mail")
    m.run("sendmail", "-f", "sender@example.test", USER, input="Subject: dropped\n\nx\n", user="nobody")
    wait_until(lambda: m.subjects() == ["dropped", "hello"], what="the mail")
    m.run(*stop)
    assert service.wait(30) == 0
    assert not re.search("panic|fatal|error:|Operation not permitted", m.log())


def test_destdir(tmp_path):
    """For a package: one tree, no diversion, nothing of /etc/postfix written over."""
    etc = tmp_path / "etc/postfix"
    etc.mkdir(parents=True)
    (etc / "main.cf").write_text("# mine\n")
    out = subprocess.run(["cmake", "--install", BUILD, "--prefix", "/usr"], env={**os.environ, "DESTDIR": str(tmp_path)}, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert "Put aside" not in out.stdout
    assert (etc / "main.cf").read_text() == "# mine\n" and (etc / "master.cf").exists()
    manifest = (tmp_path / "usr/share/posthorn/manifest").read_text().split()
    made = {"/" + str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if not p.is_dir()}
    assert made == set(manifest) | {"/etc/postfix/main.cf", "/etc/postfix/master.cf"}
    for name in pathlib.Path(BUILD, "daemons").iterdir():
        assert f"/usr/lib/postfix/sbin/{name.name}" in made
    for name in ("sbin/postfix", "sbin/sendmail", "lib/sendmail", "bin/doveadm", "bin/mailq", "bin/newaliases", "share/man/man1/postfix.1",
                 "share/man/man8/smtpd.8", "lib/systemd/system/posthorn.service", "share/posthorn/example/main.cf"):
        assert f"/usr/{name}" in made and (tmp_path / "usr" / name).resolve().exists() or (tmp_path / "usr" / name).is_symlink()
