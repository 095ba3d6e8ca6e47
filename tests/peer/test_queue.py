"""The same queue directory shown by Debian's postcat and postqueue and by ours: the output must be the same.

POSTHORN_SBIN names the directory of our commands. Skipped when Debian's package cannot be had.
"""
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

HERE = pathlib.Path(__file__).resolve().parent
SBIN = pathlib.Path(os.environ.get("POSTHORN_SBIN", HERE.parents[1] / "build" / "sbin"))
QUEUES = "active bounce corrupt defer deferred flush hold incoming maildrop private public saved trace pid".split()


def debian(program):
    out = subprocess.run([HERE / "debian", program], capture_output=True, text=True)
    if out.returncode != 0:
        pytest.skip(f"Debian's {program} cannot be had: {out.stderr.strip()}")
    return out.stdout.strip()


def record(kind, data=b""):
    length, head = len(data), b""
    while True:
        byte, length = length & 127, length >> 7
        head += bytes([byte | 128 if length else byte])
        if not length:
            return kind.encode() + head + data


def queue_file(sender, recipients, body, done=(), extra=b""):
    """A queue file as cleanup writes it; data records of `body` are (type, bytes)."""
    head = record("T", b"1795313613 886855") + record("A", b"create_time=1795313631") + record("A", b"rewrite_context=local")
    head += record("F", b"J. D\xc3\xb6e") + record("S", sender) + record("A", b"log_client_name=localhost") + extra
    for address in recipients:
        head += record("A", b"dsn_orig_rcpt=rfc822;" + address) + record("O", address)
        head += record("D" if address in done else "R", address)
    head += record("p", b"%15d" % 0) + record("M")
    content = b"".join(record(kind, data) for kind, data in body)
    size = b"%15d %15d %15d %15d %15d %15d" % (len(content), 97 + len(head), len(recipients), 0, len(content), 0)
    return record("C", size) + head + content + record("X") + record("A", b"encoding=8bit") + record("E")


@pytest.fixture(scope="module")
def spool():
    # Not pytest's own directory: that is closed to mail_owner, as whom Debian's showq reads the queue.
    with tempfile.TemporaryDirectory(prefix="posthorn-peer-queue.") as top:
        os.chmod(top, 0o755)
        yield make_spool(pathlib.Path(top))


def make_spool(top):
    etc, queue = top / "etc", top / "queue"
    etc.mkdir()
    for name in QUEUES:
        (queue / name).mkdir(parents=True)
    (etc / "main.cf").write_text(f"compatibility_level = 3.6\nqueue_directory = {queue}\nmyhostname = peer.example.test\n"
                                 f"command_directory = {SBIN}\nmail_owner = mail\nsetgid_group = games\n"
                                 f"default_privs = nobody\ninet_protocols = ipv4\n")
    peer = pathlib.Path(debian("postqueue")).parent / "root" / "usr" / "lib" / "postfix" / "sbin"
    with open(etc / "main.cf", "a") as f:
        f.write(f"daemon_directory = {peer}\n")  # Debian's postqueue runs its own showq when no mail system runs
        f.write(f"import_environment = MAIL_CONFIG TZ LANG=C LD_LIBRARY_PATH={peer.parent}\n")
    (etc / "master.cf").write_text("")
    (etc / "dynamicmaps.cf").write_text("")
    letter = [("N", b"Subject: hej"), ("N", b"To: x@y.test,"), ("N", b"\tz@y.test"), ("N", b""), ("N", b"b\xe4dy"),
              ("L", b"z" * 2048), ("N", b"end"), ("N", b"")]
    files = {
        "plain": ("deferred", 0o700, queue_file(b"me@peer.example.test", [b"a@b.test", b"c@d.test"], letter)),
        "done": ("hold", 0o700, queue_file(b"", [b"a@b.test", b"c@d.test"], letter, done=[b"a@b.test"])),
        "expired": ("deferred", 0o710, queue_file(b"e@x.test", [b"q@w.test"], letter)),
        "active": ("active", 0o700, queue_file(b"act@x.test", [b"act@w.test"], [("N", b"no header"), ("N", b"x" * 70000)],
                                               extra=record("W", b"%15d" % 1795313999))),
    }
    made = {}
    for name, (where, mode, data) in files.items():
        path = queue / where / "new"
        path.write_bytes(data)
        ident = "%05X%X" % (12345, path.stat().st_ino)
        final = queue / where / (ident[0] if where == "deferred" else "") / ident
        final.parent.mkdir(exist_ok=True)
        path.rename(final)
        final.chmod(mode)
        made[name] = final
    log = queue / "defer" / made["plain"].name[0]
    log.mkdir()
    (log / made["plain"].name).write_text(
        "\n<a@b.test>: connect to b.test[192.0.2.1]:25: Connection refused\nrecipient=a@b.test\noffset=300\n"
        "status=4.4.1\naction=delayed\nreason=connect to b.test[192.0.2.1]:25: Connection refused\n\n")
    if os.geteuid() == 0:
        for folder, _, names in os.walk(queue):
            for name in [folder, *(os.path.join(folder, n) for n in names)]:
                shutil.chown(name, "mail")
    return etc, queue, made


def run(program, spool, *args):
    etc, queue, _ = spool
    out = subprocess.run([str(program), *map(str, args)], env={**os.environ, "MAIL_CONFIG": str(etc)}, cwd=queue,
                         capture_output=True, timeout=30)
    return out.returncode, out.stdout


@pytest.mark.parametrize("options", [[], ["-o"], ["-d"], ["-v"], ["-r"], ["-e"], ["-h"], ["-b"], ["-h", "-b"], ["-e", "-h"],
                                     ["-e", "-b"], ["-o", "-v"]], ids="".join)
@pytest.mark.parametrize("name", ["plain", "done", "expired", "active"])
def test_postcat(spool, name, options):
    path = spool[2][name].relative_to(spool[1])
    assert run(SBIN / "postcat", spool, *options, path) == run(debian("postcat"), spool, *options, path)


def test_postcat_by_id(spool):
    ident = spool[2]["plain"].name
    ours, theirs = run(SBIN / "postcat", spool, "-q", ident), run(debian("postcat"), spool, "-q", ident)
    assert ours == theirs and b"recipient: a@b.test" in ours[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="Debian's postqueue reads the queue itself for root only")
@pytest.mark.parametrize("option", ["-p", "-j"])
def test_postqueue(spool, option):
    ours, theirs = run(SBIN / "postqueue", spool, option), run(debian("postqueue"), spool, option)
    # The order inside a queue is the directory's: compare messages, not their order.
    split = b"\n\n" if option == "-p" else b"\n"
    if option == "-p":
        ours, theirs = (( rc, out.replace(b"Recipient-------\n", b"Recipient-------\n\n")) for rc, out in (ours, theirs))
    assert sorted(ours[1].split(split)) == sorted(theirs[1].split(split))
    assert ours[0] == theirs[0] and b"act@w.test" in ours[1]
