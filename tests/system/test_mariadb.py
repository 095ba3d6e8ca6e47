"""conf/mariadb: a server of its own, whose passwords nobody sees, and which is whole again after a crash."""
import os
import pathlib
import pwd
import signal
import stat
import subprocess

import pytest
from conftest import ROOT, wait_until
from mariadb import Database, own_database, own_directory


@pytest.fixture(scope="module")
def db():
    with own_database() as d:
        yield d


def server(db):
    return int((db.dir / "run/mysqld.pid").read_text())


def test_it_is_a_server_of_its_own(db):
    argv = pathlib.Path(f"/proc/{server(db)}/cmdline").read_bytes().split(b"\0")
    assert argv[:-1] == [b"mariadbd", f"--defaults-file={db.dir}/my.cnf".encode()]
    if os.geteuid() == 0:
        assert os.stat(f"/proc/{server(db)}").st_uid == pwd.getpwnam("mysql").pw_uid
    ours = dict(db.sql("SHOW VARIABLES WHERE Variable_name IN ('datadir', 'socket', 'skip_networking')"))
    assert ours == {"datadir": f"{db.dir}/data/", "socket": str(db.socket), "skip_networking": "ON"}
    used = [os.readlink(f) for f in pathlib.Path(f"/proc/{server(db)}/fd").iterdir()]
    assert any(f.startswith(str(db.dir)) for f in used) and not any(f.startswith("/var/lib/mysql") for f in used)


def test_who_may_do_what(db):
    assert stat.S_IMODE(os.stat(db.dir / "root.cnf").st_mode) == 0o600
    if os.geteuid() == 0:
        st = os.stat(db.dir / "postfix.cnf")
        assert stat.S_IMODE(st.st_mode) == 0o640 and st.st_gid == pwd.getpwnam("postfix").pw_gid and st.st_uid == 0
    assert db.sql("SELECT COUNT(*) FROM mailbox", user="postfix") == [["0"]]
    assert "denied" in db.sql("DELETE FROM mailbox", user="postfix", ok=False).stderr
    assert "denied" in db.sql("SELECT * FROM global_priv", user="postfix", database="mysql", ok=False).stderr
    for user in ("root", "postfix", "''"):  # without a password
        out = subprocess.run(["mariadb", "--no-defaults", f"--socket={db.socket}", f"--user={user}", "-e", "SELECT 1"], capture_output=True, text=True, timeout=30)
        assert out.returncode and "Access denied" in out.stderr
    for user in ("root", "postfix"):
        secret = db.login(user)["password"].encode()
        for path in db.dir.iterdir():
            if path.is_file() and path.name != f"{user}.cnf":
                assert secret not in path.read_bytes(), path


def test_a_second_start_and_a_crash(db):
    first = server(db)
    db.start()
    assert server(db) == first
    db.sql("INSERT INTO domain (domain, description, transport) VALUES ('kept.example', '', 'virtual')")
    db.signal(signal.SIGKILL)
    wait_until(lambda: not pathlib.Path(f"/proc/{first}").exists(), what="the end of the server")
    assert db.command("status", ok=False).returncode == 1
    db.start()
    assert server(db) != first
    assert db.sql("SELECT domain FROM domain") == [["kept.example"]]
    assert f"process {server(db)}" in db.command("status").stdout
    db.stop()
    assert db.command("status", ok=False).returncode == 1
    db.start("--port", "26401")
    assert db.sql("SELECT @@port, @@bind_address") == [["26401", "127.0.0.1"]]


def test_without_root():
    if os.geteuid() != 0:
        pytest.skip("needs root to become an ordinary user")
    who = pwd.getpwnam("nobody")
    if subprocess.run(["setpriv", f"--reuid={who.pw_uid}", "--clear-groups", "test", "-x", ROOT / "conf/mariadb"]).returncode:
        pytest.skip("an ordinary user does not get through to conf/mariadb")
    with own_directory() as directory:
        os.chown(directory, who.pw_uid, who.pw_gid)
        as_nobody = ["setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups", ROOT / "conf/mariadb", directory / "db"]
        try:
            out = subprocess.run([*as_nobody, "start"], capture_output=True, text=True, timeout=60, cwd="/")
            assert out.returncode == 0, out.stdout + out.stderr
            d = Database(directory / "db")
            assert os.stat(f"/proc/{server(d)}").st_uid == who.pw_uid
            assert len(d.sql("SHOW TABLES", user="postfix")) == 13
        finally:
            subprocess.run([*as_nobody, "stop"], timeout=60, cwd="/", check=True)


def test_a_path_too_long_for_a_socket_is_said():
    with own_directory() as directory:
        out = Database(directory / ("x" * 100)).command("start", ok=False)
        assert out.returncode == 1 and "107 bytes" in out.stderr
