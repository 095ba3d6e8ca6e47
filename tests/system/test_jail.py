"""What the kernel says of each running daemon: its uid, root directory, capabilities, filter."""
import os
import pathlib
import pwd

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
        s.sendmail(instance.user1, [instance.user2], b"Subject: jail\r\n\r\nx\r\n")
        instance.wait_message("Subject: jail")
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
