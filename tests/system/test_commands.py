"""Command-line tools: each has --help and a manual page, and does what its name says."""
import json
import os
import secrets
import subprocess

import pytest
from conftest import ROOT, queue_ids, wait_until

COMMANDS = ["postfix", "postconf", "postmap", "postqueue", "postsuper", "postcat", "mailq", "sendmail", "doveadm"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_and_manual(instance, name):
    out = instance.tool(name, "--help")
    assert "usage" in out.stdout.lower() and len(out.stdout.splitlines()) > 3
    pages = [p for p in (ROOT / "tools").glob(f"{name}.[18]")]
    assert pages, f"no manual page for {name}"
    lint = subprocess.run(["mandoc", "-T", "lint", "-W", "error", str(pages[0])], capture_output=True, text=True, timeout=20)
    assert lint.returncode == 0, lint.stdout + lint.stderr


def test_postconf(instance):
    assert instance.tool("postconf", "-h", "mydomain").stdout.strip() == instance.domain
    assert "virtual_mailbox_domains = " in instance.tool("postconf", "-n").stdout
    assert instance.tool("postconf", "-d", "smtpd_timeout").stdout == "smtpd_timeout = ${stress?{10}:{300}}s\n"
    rows = instance.tool("postconf", "-M").stdout
    assert "resolver" in rows and "dispatcher" in rows and "cleanup" in rows
    instance.postconf("always_bcc =")
    assert "always_bcc =" in instance.tool("postconf", "-n").stdout
    bad = instance.tool("postconf", "no_such_parameter")
    assert "unknown parameter" in bad.stderr


def test_check_names_file_and_line(instance):
    path = os.path.join(instance.config_dir, "main.cf")
    with open(path) as f:
        keep = f.read()
    try:
        with open(path, "a") as f:
            f.write("no_such_thing = 1\n")
        out = instance.postfix("check", ok=False)
        text = out.stdout + out.stderr + instance.log()[-3000:]
        line = keep.count("\n") + 1
        assert "no_such_thing" in text and f"line {line}" in text and "main.cf" in text
    finally:
        with open(path, "w") as f:
            f.write(keep)


def test_postmap(instance, tmp_path):
    source = tmp_path / "table"
    source.write_text("key value one\n# comment\nother\tvalue\n two\n")
    instance.tool("postmap", f"cdb:{source}")
    assert instance.tool("postmap", "-q", "KEY", f"cdb:{source}").stdout == "value one\n"
    assert instance.tool("postmap", "-q", "none", f"cdb:{source}", ok=False).returncode == 1
    assert instance.tool("postmap", "-s", f"cdb:{source}").stdout == "key\tvalue one\nother\tvalue two\n"


def defer_one(instance):
    """A message that waits in deferred: its domain's transport always says later."""
    marker = secrets.token_hex(8)
    instance.postconf("transport_maps = inline:{ {wait.example = retry:4.3.0 not today} }")
    instance.reload()
    mark = instance.log_mark()
    with instance.submission() as s:
        s.sendmail(instance.user1, ["x@wait.example"], f"Subject: {marker}\r\n\r\nbody of it\r\n".encode())
    instance.wait_log(r"to=<x@wait\.example>.*status=deferred \(not today\)", mark)
    [qid] = wait_until(lambda: queue_ids(instance), what="a queued message")
    return marker, qid


def test_queue_tools(instance):
    marker, qid = defer_one(instance)
    try:
        row = json.loads(instance.tool("postqueue", "-j").stdout)
        assert row["queue_name"] == "deferred" and row["sender"] == instance.user1 and row["recipients"][0]["address"] == "x@wait.example"
        assert "not today" in row["recipients"][0]["delay_reason"]
        listing = instance.tool("mailq").stdout
        assert qid in listing and "(not today)" in listing and "-- " in listing and " in 1 Request." in listing
        cat = instance.tool("postcat", "-q", qid).stdout
        assert f"Subject: {marker}" in cat and "*** ENVELOPE RECORDS" in cat and "recipient: x@wait.example" in cat
        assert "placed on hold" in instance.tool("postsuper", "-h", qid).stderr
        assert json.loads(instance.tool("postqueue", "-j").stdout)["queue_name"] == "hold"
        assert "released from hold" in instance.tool("postsuper", "-H", qid).stderr
        assert "requeued" in instance.tool("postsuper", "-r", qid).stderr
        instance.tool("postqueue", "-f")
        # One on its way from a queue to the next may be seen in both.
        [again] = wait_until(lambda: {q for q in queue_ids(instance) if q != qid}, what="the requeued message")
        assert marker in instance.tool("postcat", "-q", again).stdout
    finally:
        instance.tool("postsuper", "-d", "ALL")
        instance.postconf("transport_maps =")
        instance.reload()
    assert queue_ids(instance) == []
    assert instance.tool("postqueue", "-p").stdout == "Mail queue is empty\n"


def test_doveadm_pw(instance):
    for scheme in ("PLAIN", "SHA256", "SSHA256", "SHA512-CRYPT", "BLF-CRYPT", "ARGON2I", "ARGON2ID"):
        stored = instance.tool("doveadm", "pw", "-s", scheme, "-p", "secret word").stdout.strip()
        assert stored.startswith("{" + scheme + "}")
        assert "(verified)" in instance.tool("doveadm", "pw", "-t", stored, "-p", "secret word").stdout
        assert instance.tool("doveadm", "pw", "-t", stored, "-p", "other", ok=False).returncode != 0


def test_probe_delivers_nothing(instance):
    probe = f"probe-{secrets.token_hex(4)}"
    instance.tool("sendmail", "-bv", "-f", instance.user1, f"{instance.user2.split('@')[0]}+{probe}@{instance.domain}",
                  f"{probe}@{instance.domain}")
    wait_until(lambda: len([l for l in instance.log().splitlines() if probe in l and "status=" in l]) >= 2, 20, "both answers")
    lines = [l for l in instance.log().splitlines() if probe in l and "status=" in l]
    assert any("status=deliverable" in l for l in lines) and any("status=undeliverable" in l for l in lines), lines
    assert not any("status=sent" in l or "status=bounced" in l for l in lines), lines


def records(*pairs):
    """Queue file records as postdrop reads them; all shorter than 128 bytes."""
    return b"".join(kind + bytes([len(data)]) + data for kind, data in pairs)


@pytest.mark.parametrize("envelope", [(b"S", b"a@b.example\r\nDATA"), (b"A", b"envelope_id=x\nQUIT")])
def test_postdrop_refuses_line_ends_in_the_envelope(instance, envelope):
    rcpt = instance.user1.encode()
    data = records(envelope, (b"S", b"a@b.example"), (b"R", rcpt), (b"M", b""), (b"N", b""), (b"N", b"x"), (b"X", b""), (b"E", b""))
    postdrop = os.path.join(instance.tool("postconf", "-h", "command_directory").stdout.strip(), "postdrop")
    done = subprocess.run([postdrop, "-r", "-c", instance.config_dir], input=data, capture_output=True, timeout=20)
    assert done.returncode == 65 and b"CR or LF" in done.stderr, done
