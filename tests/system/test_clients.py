"""Clients that nobody here wrote: curl, mbsync, fetchmail, mutt."""
import os
import secrets
import socket
import subprocess
import time

import pytest
from conftest import wait_until


def message(instance, marker, lines=3):
    return f"From: <{instance.user1}>\r\nTo: <{instance.user2}>\r\nSubject: {marker}\r\n\r\n" + "line\r\n" * lines


def deliver(instance, count=1):
    markers = []
    for _ in range(count):
        markers.append(secrets.token_hex(8))
        with instance.submission() as s:
            s.sendmail(instance.user1, [instance.user2], message(instance, markers[-1]))
    for m in markers:
        instance.wait_message(m)
    return markers


def curl(instance, *argv, **kw):
    return instance.run("curl", "-sS", "--cacert", instance.ca_file, *argv, **kw).stdout


def test_curl(instance, tmp_path):
    marker = secrets.token_hex(8)
    letter = tmp_path / "letter"
    letter.write_bytes(message(instance, marker).encode())
    who1, who2 = f"{instance.user1}:{instance.env['PASS1']}", f"{instance.user2}:{instance.env['PASS2']}"
    curl(instance, "--ssl-reqd", "--url", f"smtp://localhost:{instance.submission_port}", "--user", who1, "--mail-from", instance.user1,
         "--mail-rcpt", instance.user2, "--upload-file", str(letter))
    instance.wait_message(marker)
    box = f"imaps://localhost:{instance.imaps_port}"
    uid = curl(instance, "--user", who2, f"{box}/INBOX", "--request", f"UID SEARCH SUBJECT {marker}").split()[-1]
    assert marker in curl(instance, "--user", who2, f"{box}/INBOX;UID={uid}")
    assert "INBOX" in curl(instance, "--user", who2, f"{box}/")
    pop = f"pop3s://localhost:{instance.pop3s_port}"
    listing = curl(instance, "--user", who2, f"{pop}/").split("\n")
    last = [row.split()[0] for row in listing if row.strip()][-1]
    assert marker in curl(instance, "--user", who2, f"{pop}/{last}")
    bad = instance.run("curl", "-sS", "--cacert", instance.ca_file, "--user", f"{instance.user2}:wrong", f"{box}/", ok=False)
    assert bad.returncode == 67  # login denied


def test_mbsync(instance, tmp_path):
    instance.empty()
    markers = deliver(instance, 3)
    local = tmp_path / "mail"
    local.mkdir()
    rc = tmp_path / "mbsyncrc"
    rc.write_text(f"""IMAPAccount a
Host localhost
Port {instance.imaps_port}
User {instance.user2}
Pass {instance.env['PASS2']}
SSLType IMAPS
CertificateFile {instance.ca_file}

IMAPStore far
Account a

MaildirStore near
Path {local}/
Inbox {local}/INBOX

Channel c
Far :far:
Near :near:
Create Near
Expunge Both
SyncState *
""")

    def sync():
        instance.run("mbsync", "-c", str(rc), "-V", "c")
        return sorted(f for d in ("cur", "new") for f in os.listdir(local / "INBOX" / d))

    assert len(sync()) == len(markers)
    with instance.imap() as m:
        m.select("INBOX")
        m.store("1", "+FLAGS", r"(\Seen \Flagged)")
        m.store("2", "+FLAGS", r"(\Deleted)")
        m.expunge()
    files = sync()
    assert len(files) == 2 and any("FS" in f.rsplit(",", 1)[-1] for f in files)
    with open(local / "INBOX" / "new" / "1700000000.M1P1.local", "w") as f:
        f.write(f"From: <{instance.user2}>\nSubject: from-mbsync\n\nup\n")
    sync()
    assert any(b"Subject: from-mbsync" in m for m in instance.messages())


def test_fetchmail(instance, tmp_path):
    instance.empty()
    markers = deliver(instance, 2)
    for protocol, port in (("imap", instance.imaps_port), ("pop3", instance.pop3s_port)):
        out, rc = tmp_path / f"{protocol}.out", tmp_path / f"{protocol}.rc"
        rc.write_text(f"""set no bouncemail
poll localhost protocol {protocol} port {port}
  user "{instance.user2}" password "{instance.env['PASS2']}" ssl sslcertck sslcertfile "{instance.ca_file}" keep fetchall
  mda "cat >>{out}"
""")
        rc.chmod(0o600)
        env = dict(os.environ, FETCHMAILHOME=str(tmp_path))
        done = subprocess.run(["fetchmail", "-f", str(rc), "--pidfile", str(tmp_path / "pid"), "-i", str(tmp_path / protocol)], env=env,
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        text = out.read_text()
        assert all(m in text for m in markers)


@pytest.mark.parametrize("program", ["mutt"])
def test_mutt(instance, tmp_path, program):
    instance.empty()
    [marker] = deliver(instance)
    out = tmp_path / "out"
    rc = tmp_path / "muttrc"
    user, password = instance.user2.replace("@", "%40"), instance.env["PASS2"]
    rc.write_text(f"""set folder="imaps://{user}@localhost:{instance.imaps_port}/" imap_pass="{password}" ssl_force_tls=yes
set certificate_file="{tmp_path}/certs" ssl_ca_certificates_file="{instance.ca_file}" spoolfile="+INBOX" header_cache="" sort=mailbox-order
set pipe_decode=no wait_key=no quit=yes delete=no pipe_split=no
push "<pipe-message>cat >{out}<enter><quit>"
""")
    env = dict(os.environ, TERM="xterm", HOME=str(tmp_path))
    with open("/dev/null") as null:
        done = subprocess.run(["script", "-qec", f"{program} -n -F {rc} -f imaps://{user}@localhost:{instance.imaps_port}/INBOX", "/dev/null"],
                              env=env, stdin=null, capture_output=True, text=True, timeout=60)
    wait_until(out.exists, what=f"mutt's output ({done.stdout[-400:]!r})")
    assert marker in out.read_text()


def test_idle_tells_of_two_deliveries_in_one_tick(instance):
    """The second leaves the directory the time it had when it was read after the first."""
    box = f"{instance.mail_dir}/{instance.domain}/{instance.user2.split('@')[0]}"
    sock = socket.create_connection(("127.0.0.1", instance.imap_port), timeout=15)
    f = sock.makefile("rwb", buffering=0)
    f.write(f"a LOGIN {instance.user2} {instance.users[instance.user2]}\r\nb SELECT INBOX\r\nc IDLE\r\n".encode())
    while not f.readline().startswith(b"+ idl"):
        pass
    before = os.stat(f"{box}/new")

    def drop(name):
        path = f"{box}/tmp/{name}"
        with open(path, "w") as out:
            out.write("Subject: x\n\nx\n")
        os.chown(path, before.st_uid, before.st_gid)
        os.rename(path, f"{box}/new/{name}")

    drop(f"1.{secrets.token_hex(8)}")
    while b"EXISTS" not in f.readline():
        pass
    time.sleep(0.2)
    seen = os.stat(f"{box}/new")
    drop(f"2.{secrets.token_hex(8)}")
    os.utime(f"{box}/new", ns=(seen.st_atime_ns, seen.st_mtime_ns))
    while b"EXISTS" not in f.readline():
        pass
    sock.close()
