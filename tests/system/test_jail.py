"""What the kernel says of each running daemon: its uid, root directory, capabilities, filter."""
import os
import pathlib
import pwd
import secrets
import subprocess

import pytest

FREE = {"master"}  # the spawners are recognised by their arguments


def status(pid):
    rows = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {k: v.strip() for k, v in (row.split(":", 1) for row in rows)}


def is_spawner(pid):
    argv = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return b"spawner" in argv and status(pid)["Uid"].split()[0] == "0"


def test_every_daemon_is_confined(instance):
    with instance.imap(), instance.submission() as s, instance.smtp():
        marker = secrets.token_hex(8)
        s.sendmail(instance.user1, [instance.user2], f"Subject: {marker}\r\n\r\nx\r\n".encode())
        instance.wait_message(marker)
        daemons = {pid: name for pid, name in instance.daemons().items() if name not in FREE and not is_spawner(pid)}
        seen = set()
        for pid, name in daemons.items():
            try:
                st, root = status(pid), os.readlink(f"/proc/{pid}/root")
            except (FileNotFoundError, PermissionError):
                continue
            seen.add(name)
            where = f"{name}[{pid}]"
            assert st["Seccomp"] == "2", f"{where}: no filter"
            assert st["NoNewPrivs"] == "1", f"{where}: may gain privileges"
            for caps in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
                assert int(st[caps], 16) == 0, f"{where}: {caps} {st[caps]}"
            if os.geteuid() == 0:
                assert "0" not in st["Uid"].split(), f"{where}: runs as root"
                if name in ("smtpd", "login", "cleanup", "qmgr", "resolver", "dispatcher", "bounce", "smtp", "tlsmgr", "anvil", "pickup"):
                    assert root == instance.queue_dir, f"{where}: root is {root}"
                if name in ("imapd", "pop3d"):
                    assert root.startswith(instance.mail_dir + "/"), f"{where}: root is {root}"
                    assert pwd.getpwuid(int(st["Uid"].split()[0])).pw_name == "vmail"
        assert {"smtpd", "login", "imapd", "cleanup", "qmgr", "authd", "dispatcher", "lmtpd"} <= seen, seen


def test_login_and_imapd_are_other_users(instance):
    if os.geteuid() != 0:
        pytest.skip("needs root: without it nobody changes uid")
    with instance.imap():
        uids = {name: status(pid)["Uid"].split()[0] for pid, name in instance.daemons().items() if not is_spawner(pid)}
    assert len({uids["login"], uids["imapd"], uids["smtpd"]}) == 3


def own_and_other_mail(instance):
    """A directory of one user, and a message file of another; both belong to one uid."""
    homes = sorted(p.parent for p in pathlib.Path(instance.mail_dir).rglob("cur") if "/." not in str(p.relative_to(instance.mail_dir)))
    assert len(homes) >= 2, homes
    message = homes[1] / "cur" / "jailprobe"
    message.write_text("Subject: secret\n\n")
    os.chown(message, os.stat(homes[1]).st_uid, os.stat(homes[1]).st_gid)
    return homes[0], message


@pytest.mark.parametrize("abi", [0, 2], ids=["all of Landlock", "Landlock ABI 2"])
@pytest.mark.parametrize("daemon,account", [("smtpd", "mail_owner"), ("login", "login_user"), ("imapd", None), ("mailboxd", None)])
def test_nothing_is_reachable_from_inside(instance, daemon, account, abi):
    with instance.submission() as s:
        for user in instance.users:
            s.sendmail(instance.user1, [user], f"Subject: for the jail {user}\r\n\r\nx\r\n")
            instance.wait_message(f"Subject: for the jail {user}", user=user)
    own, other = own_and_other_mail(instance)
    queue_file = pathlib.Path(instance.queue_dir, "saved", "jailprobe")
    queue_file.write_text("x")
    uid = os.geteuid()
    if uid == 0:
        owner = os.stat(queue_file.parent)
        os.chown(queue_file, owner.st_uid, owner.st_gid)
        uid = pwd.getpwnam(instance.tool("postconf", "-h", account).stdout.strip()).pw_uid if account else os.stat(own).st_uid
    victim = subprocess.Popen(["sleep", "300"], **({"user": uid} if os.geteuid() == 0 else {}))
    jail = [] if account else ["-d", own, "-u", os.stat(own).st_uid, "-g", os.stat(own).st_gid]
    try:
        out = instance.run(pathlib.Path(instance.daemon_dir).parent / "tests" / f"jailprobe-{daemon}", "-l", abi, "-k", victim.pid,
                           *jail, "/etc/passwd", other, queue_file, f"{instance.queue_dir}/private/rewrite", ok=False)
        assert out.returncode == 0 and "ALLOWED" not in out.stdout, out.stdout + out.stderr
        assert out.stdout.count("refused") > 60
        assert other.exists() and queue_file.exists()
    finally:
        victim.kill()
        victim.wait()
        other.unlink(missing_ok=True)
        queue_file.unlink(missing_ok=True)
