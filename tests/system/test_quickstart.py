"""conf/quickstart --mariadb, as root and without."""
import os
import pathlib
import pwd
import re
import shutil
import stat
import subprocess

import pytest
from conftest import ROOT, Instance, wait_until
from mariadb import Database, own_directory

PORT_BASE = 27500
BUILD = os.environ.get("POSTHORN_BUILD", str(ROOT / "build"))


@pytest.fixture(params=["root", "nobody"])
def quickstart(request):
    """quickstart(option, ...) for an instance of the test's own, by this account; its directory is in .directory."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    who, account = pwd.getpwnam(request.param), []
    if who.pw_uid:
        account = ["setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups"]
        if subprocess.run([*account, "test", "-x", ROOT / "conf/quickstart", "-a", "-x", BUILD + "/daemons/master"]).returncode:
            pytest.skip("an ordinary user does not get through to conf/quickstart or the build")

    def run(*options, ok=True):
        out = subprocess.run([*account, ROOT / "conf/quickstart", "--dir", run.directory, *options], capture_output=True, text=True, timeout=300, cwd="/",
                             env={"PATH": f"{top}/seen:{os.environ['PATH']}", "HOME": "/nonexistent", "POSTHORN_BUILD": BUILD})
        assert not ok or out.returncode == 0, out.stdout + out.stderr
        return out

    with own_directory() as top:
        run.arguments = record_arguments(top / "seen")
        os.chown(top, who.pw_uid, who.pw_gid)
        run.directory, run.uid = top / "instance", who.pw_uid
        try:
            yield run
        finally:
            if run.directory.exists():
                run("--stop", ok=False)


def record_arguments(directory):
    """Programs that write down how they were called, then do it; the file they write to."""
    directory.mkdir()
    log = directory / "arguments"
    log.touch()
    log.chmod(0o666)
    for name in ("curl", "mariadb", "mariadbd", "mariadb-install-db", "openssl", "setpriv", "su", "chpasswd"):
        real = shutil.which(name)
        if real:
            (directory / name).write_text(f"#!/bin/sh\nprintf '%s\\n' \"{name} $*\" >>{log}\nexec {real} \"$@\"\n")
            (directory / name).chmod(0o755)
    return log


def test_mariadb(quickstart):
    out = quickstart("--mariadb", "--port-base", str(PORT_BASE))
    assert "making a database" in out.stdout and "The post has arrived." in out.stdout, out.stdout
    i, db = Instance(quickstart.directory), Database(quickstart.directory / "db")
    assert i.mysql_socket == str(db.socket) and i.mysql_database == db.name

    # Users, aliases and passwords stand in the database alone, and the passwords hashed.
    rows = dict(db.sql("SELECT username, password FROM mailbox WHERE active = '1'", user="postfix"))
    assert set(rows) == set(i.users) and all(h.startswith("{ARGON2I}$argon2i$") for h in rows.values())
    assert dict(db.sql("SELECT address, goto FROM alias WHERE address LIKE 'all@%'"))[f"all@{i.domain}"] == f"{i.user1},{i.user2}"
    assert not any(pathlib.Path(i.config_dir, name).exists() for name in ("users", "vmailbox", "virtual"))
    maps = sorted(p.name for p in pathlib.Path(i.config_dir, "sql").iterdir())
    assert len(maps) == 6
    main_cf = pathlib.Path(i.config_dir, "main.cf").read_text()
    assert sorted(re.findall(r"proxy:mysql:\S*/sql/([\w.]+)", main_cf)) == maps
    secret = db.login()["password"]
    readable = {pathlib.Path(i.config_dir, "sql", name) for name in maps} | {pathlib.Path(i.config_dir, "dovecot-sql.conf.ext"), db.dir / "postfix.cnf"}
    for path in quickstart.directory.rglob("*"):
        if path.is_file() and db.dir / "data" not in path.parents:
            assert (secret.encode() in path.read_bytes()) == (path in readable), path
            shown = any(password.encode() in path.read_bytes() for password in i.users.values())
            assert shown == (path.name in ("instance.env", "passwords")), path
            if shown:
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for path in readable:
        assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_uid) == (0o600 if quickstart.uid else 0o640, quickstart.uid), path
        assert quickstart.uid or path.stat().st_gid == pwd.getpwnam("postfix").pw_gid, path
    text = pathlib.Path(i.dir, "instance.env").read_text()
    assert secret not in text and db.login("root")["password"] not in text
    arguments = quickstart.arguments.read_text()
    assert {"curl", "mariadb", "mariadbd", "mariadb-install-db"} <= {line.split()[0] for line in arguments.splitlines()}
    assert not any(word in arguments for word in (secret, db.login("root")["password"], *i.users.values())), arguments

    # What the tables say of a user and of an alias, through the services.
    db.sql(f"UPDATE mailbox SET quota = 12345678 WHERE username = '{i.user1}'")
    fields = dict(line.split("\t") for line in i.tool("doveadm", "user", i.user1).stdout.splitlines())
    assert fields["home"].rstrip("/") == f"{i.mail_dir}/{i.domain}/{i.user1.split('@')[0]}" and fields["quota_rule"] == "*:bytes=12345678", fields
    assert sorted(i.tool("doveadm", "user", "*").stdout.split()) == sorted(i.users)
    looked_up = i.tool("postmap", "-q", f"all@{i.domain}", f"proxy:mysql:{i.config_dir}/sql/mysql_virtual_alias_maps.cf").stdout
    assert looked_up == f"{i.user1},{i.user2}\n"
    with i.smtp() as s:
        s.sendmail("a@elsewhere.example", [f"all@{i.domain}"], b"Subject: to all\r\n\r\nx\r\n")
    for user in i.users:
        i.wait_message("Subject: to all", user)

    if quickstart.uid == 0:
        life(quickstart, db)
    quickstart("--wipe")
    assert not quickstart.directory.exists()
    assert not any(str(db.dir) in argv for argv in running())


def life(quickstart, db):
    """Status, a server that died, stop, start."""
    assert "The database" in (status := quickstart("--status").stdout) and "MYSQL_DATABASE=postfixadmin" in status
    server = int((db.dir / "run/mysqld.pid").read_text())
    db.signal()
    wait_until(lambda: not pathlib.Path(f"/proc/{server}").exists(), what="the end of the server")
    assert "is not running" in (dead := quickstart("--status", ok=False)).stdout and dead.returncode == 1
    passwords = pathlib.Path(quickstart.directory, "passwords").read_text()
    assert "The post has arrived." in quickstart().stdout
    assert pathlib.Path(quickstart.directory, "passwords").read_text() == passwords
    quickstart("--stop")
    assert db.command("status", ok=False).returncode == 1
    assert "The post has arrived." in quickstart("--mariadb").stdout


def running():
    out = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            out.append(path.read_bytes().decode("utf-8", "replace"))
        except OSError:
            pass
    return out
