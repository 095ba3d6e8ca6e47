"""conf/quickstart by an ordinary user: no root, no sudo, no set-gid program; the daemons run as the caller, still confined."""
import os
import pathlib
import pwd
import shutil
import smtplib
import subprocess
import tempfile

import pytest

from conftest import ROOT, Instance, queue_ids, wait_until
from test_jail import status

BUILD = os.environ.get("POSTHORN_BUILD", str(ROOT / "build"))
PORT_BASE = 27000


def as_nobody(*argv, **kw):
    """Run without root; PATH offers no sudo and no apt-get that could help out."""
    who = pwd.getpwnam("nobody")
    prefix = ["setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups"]
    env = {"PATH": kw.pop("path", os.environ["PATH"]), "HOME": "/nonexistent", "POSTHORN_BUILD": BUILD}
    env.update(kw.pop("env", {}))
    return subprocess.run(prefix + [str(a) for a in argv], env=env, capture_output=True, text=True, timeout=60, cwd="/", **kw)


@pytest.fixture(scope="module")
def plain():
    if os.geteuid() != 0:
        pytest.skip("needs root to become an ordinary user")
    for needed in (ROOT / "conf/quickstart", pathlib.Path(BUILD, "daemons/master")):
        if as_nobody("test", "-x", needed).returncode:
            pytest.skip(f"an ordinary user does not get through to {needed}")
    who = pwd.getpwnam("nobody")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="posthorn-plain."))
    refused = directory / "refused"
    refused.mkdir()
    for name in ("sudo", "apt-get"):
        (refused / name).write_text(f"#!/bin/sh\necho {name} was called >&2\nexit 1\n")
        (refused / name).chmod(0o755)
    os.chown(directory, who.pw_uid, who.pw_gid)
    directory.chmod(0o755)
    quickstart = [ROOT / "conf/quickstart", "--dir", directory / "q"]
    try:
        out = as_nobody(*quickstart, "--port-base", PORT_BASE, path=f"{refused}:{os.environ['PATH']}")
        assert out.returncode == 0, out.stdout + out.stderr
        assert "created directory" not in out.stdout + out.stderr
        assert "The post has arrived." in out.stdout
        yield Instance(directory / "q")
    finally:
        as_nobody(*quickstart, "--stop")
        shutil.rmtree(directory)


def test_daemons_are_the_callers_and_confined(plain):
    uid = str(pwd.getpwnam("nobody").pw_uid)
    assert status(plain.master())["Uid"].split() == [uid] * 4
    seen = set()
    with plain.imap(), plain.smtp():
        for pid, name in plain.daemons().items():
            st = status(pid)
            argv = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            seen.add(name)
            assert st["Uid"].split() == [uid] * 4, f"{name}[{pid}]"
            if b"spawner" not in argv:
                assert (st["Seccomp"], st["NoNewPrivs"]) == ("2", "1"), f"{name}[{pid}]"
    assert {"smtpd", "login", "imapd", "cleanup", "qmgr", "authd", "dispatcher", "lmtpd"} <= seen, seen


def test_sendmail_and_postqueue_need_no_set_gid_program(plain):
    env = {"MAIL_CONFIG": plain.config_dir}
    sbin = pathlib.Path(plain.sbin_dir)
    out = as_nobody(sbin / "sendmail", "-f", plain.user1, plain.user2, env=env, input="Subject: by the caller's own sendmail\n\nx\n")
    assert out.returncode == 0, out.stderr
    plain.wait_message("Subject: by the caller's own sendmail")
    wait_until(lambda: not queue_ids(plain), what="an empty queue")
    out = as_nobody(sbin / "postqueue", "-p", env=env)
    assert (out.returncode, out.stdout) == (0, "Mail queue is empty\n"), out.stderr


def test_mail_for_another_account_waits(plain):
    """Nobody can become another: what belongs to one is not written as the caller's."""
    own, mark = plain.tool("postconf", "-h", "virtual_uid_maps").stdout.strip(), plain.log_mark()
    postconf = [pathlib.Path(plain.sbin_dir) / "postconf", "-c", plain.config_dir, "-e"]
    assert as_nobody(*postconf, "virtual_uid_maps = inline:{ {@example.test = 4242} }").returncode == 0
    try:
        plain.reload()
        with smtplib.LMTP("127.0.0.1", plain.lmtp_port) as s, pytest.raises(smtplib.SMTPDataError) as refused:
            s.sendmail("sender@example.test", [plain.user1], "Subject: not mine\r\n\r\nx\r\n")
        assert refused.value.smtp_code == 451
        plain.wait_log(r"cannot deliver as uid 4242: this is uid \d+", mark)
        assert not any(b"not mine" in m for m in plain.messages(plain.user1))
    finally:
        as_nobody(*postconf, f"virtual_uid_maps = {own}")
        plain.reload()


def test_a_port_in_use_is_said_on_the_terminal(plain):
    other = plain.dir.parent / "other"
    out = as_nobody(ROOT / "conf/quickstart", "--dir", other, "--port-base", PORT_BASE, "--no-demo")
    assert out.returncode == 1
    assert f"fatal: bind 127.0.0.1 port {PORT_BASE + 25}: Address already in use" in out.stderr
    assert "created directory" not in out.stderr


def test_a_directory_in_the_way_is_named(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root's instance has daemons of other accounts")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    closed.chmod(0o700)
    out = subprocess.run([ROOT / "conf/quickstart", "--dir", closed / "q", "--no-demo"], capture_output=True, text=True, timeout=60)
    assert out.returncode == 1
    assert f"cannot pass {closed} (mode 700)" in out.stderr
