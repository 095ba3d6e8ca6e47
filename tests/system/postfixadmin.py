"""Debian's PostfixAdmin, unpacked and configured as the deployment guide says, on a database and a doveadm of ours.

Its command line makes rows; its web pages, under PHP's own server, make the tables and do what administrators and users do there.
"""
import contextlib
import http.cookiejar
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import urllib.parse
import urllib.request

import pytest
from conftest import ROOT, wait_until

SETUP_PASSWORD, ADMIN, ADMIN_PASSWORD = "Setup-4711", "root@guide.example", "Admin-4711"
DB_PASSWORD = "Qaz@123"


def unpacked():
    found = subprocess.run([ROOT / "tests/peer/debian", "--root", "postfixadmin"], capture_output=True, text=True, timeout=300)
    if found.returncode:
        pytest.skip("Debian's postfixadmin package cannot be had")
    return pathlib.Path(found.stdout.strip())


class PostfixAdmin:
    def __init__(self, directory, db, doveadm, smtp_port, web_port):
        self.dir, self.db, self.doveadm, self.smtp_port, self.web_port = pathlib.Path(directory), db, doveadm, smtp_port, web_port
        package = unpacked()
        shutil.copytree(package / "usr/share/postfixadmin", self.dir, symlinks=True)
        for link in ("config.inc.php", "config.local.php", "templates_c"):
            (self.dir / link).unlink()
        shutil.copy(package / "etc/postfixadmin/config.inc.php", self.dir)
        # What the package's set-up script writes.
        (self.dir / "dbconfig.inc.php").write_text("<?php $dbuser = $dbpass = $dbname = $dbserver = ''; $dbtype = 'mysqli';\n")
        for scratch in ("templates_c", "sessions"):
            (self.dir / scratch).mkdir()
        db.sql(f"CREATE USER postfixadmin@localhost IDENTIFIED BY '{DB_PASSWORD}'; GRANT ALL PRIVILEGES ON {db.name}.* TO postfixadmin@localhost")
        self.setup_hash = subprocess.run(["php", "-r", "echo password_hash(stream_get_contents(STDIN), PASSWORD_DEFAULT);"],
                                         input=SETUP_PASSWORD, capture_output=True, text=True, check=True).stdout
        self.encrypt("dovecot:ARGON2I")
        self.account = []
        if os.geteuid() == 0:
            who = pwd.getpwnam("www-data")
            self.account = ["setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups"]
            for scratch in ("templates_c", "sessions"):
                os.chown(self.dir / scratch, who.pw_uid, who.pw_gid)

    def encrypt(self, scheme):
        """config.local.php: the guide's settings, and this way to store passwords."""
        (self.dir / "config.local.php").write_text(f"""<?php
$CONF['configured'] = true;
$CONF['setup_password'] = '{self.setup_hash}';
$CONF['database_type'] = 'mysqli';
$CONF['database_host'] = 'localhost';
$CONF['database_socket'] = '{self.db.socket}';
$CONF['database_user'] = 'postfixadmin';
$CONF['database_password'] = '{DB_PASSWORD}';
$CONF['database_name'] = '{self.db.name}';
$CONF['encrypt'] = '{scheme}';
$CONF['dovecotpw'] = "{self.doveadm} pw -r 5";
$CONF['smtp_port'] = '{self.smtp_port}';
$CONF['admin_email'] = 'postmaster@guide.example';
$CONF['emailcheck_resolve_domain'] = 'NO'; // no name server knows the test's domains
""")

    def cli(self, *argv):
        out = subprocess.run([*self.account, self.dir / "scripts/postfixadmin-cli", *argv], capture_output=True, text=True, timeout=60)
        assert out.returncode == 0 and "Error" not in out.stdout + out.stderr, f"{argv}: {out.stdout}{out.stderr}"

    def add_mailbox(self, address, password, **options):
        extra = [word for name, value in options.items() for word in (f"--{name}", value)]
        self.cli("mailbox", "add", address, "--password", password, "--password2", password, *extra)

    # The web pages.
    @contextlib.contextmanager
    def web(self):
        with open(self.dir / "sessions/php.log", "wb") as log:
            server = subprocess.Popen([*self.account, "php", "-d", f"session.save_path={self.dir}/sessions", "-S", f"127.0.0.1:{self.web_port}",
                                       "-t", self.dir / "public"], stdout=log, stderr=log)
        try:
            wait_until(lambda: "started" in (self.dir / "sessions/php.log").read_text(), what="PHP's web server")
            yield self
        finally:
            server.terminate()
            server.wait()

    def setup(self):
        """setup.php, as the guide has it: it makes the tables, then the administrator."""
        page = Visitor(self, "setup.php").post("setup.php", setup_password=SETUP_PASSWORD, submit="")
        assert "Everything is fine" in page or "Database" in page, page
        page = Visitor(self, "setup.php").post("setup.php", submit="createadmin", setup_password=SETUP_PASSWORD, username=ADMIN,
                                               password=ADMIN_PASSWORD, password2=ADMIN_PASSWORD)
        assert self.db.sql("SELECT superadmin FROM admin WHERE username = 'root@guide.example'") == [["1"]], page

    def administrator(self):
        return Visitor(self, "login.php", ADMIN, ADMIN_PASSWORD)

    def user(self, address, password):
        return Visitor(self, "users/login.php", address, password)


class Visitor:
    """A browser with its cookies, logged in at this page."""

    def __init__(self, admin, page, user=None, password=None):
        self.base = f"http://127.0.0.1:{admin.web_port}/"
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        if user:
            text = self.post(page, fUsername=user, fPassword=password, lang="en", submit="Login")
            assert "Logged in as" in text, text

    def get(self, path, **values):
        with self.opener.open(self.base + path + ("?" + urllib.parse.urlencode(values) if values else ""), timeout=60) as r:
            return r.read().decode()

    def token(self, path):
        found = re.search(r'name="token" value="([^"]*)"', self.get(path))
        return found.group(1) if found else ""

    def post(self, path, **values):
        values["token"] = self.token(path)
        with self.opener.open(self.base + path, urllib.parse.urlencode(values).encode(), timeout=60) as r:
            return r.read().decode()

    def add(self, table, **fields):
        page = self.post(f"edit.php?table={table}", table=table, **{f"value[{name}]": value for name, value in fields.items()})
        assert "error" not in re.sub(r"<[^>]*>", "", page).lower(), page
        return page

    def set_active(self, table, key, active):
        token = re.search(r"[?&;]token=([0-9a-f]{32})", self.get("list.php?table=domain")) or re.search(r'name="token" value="([^"]*)"', self.get("edit.php?table=alias"))
        self.get("editactive.php", table=table, id=key, active=active, token=token.group(1))

    def delete(self, table, key):
        values = {"table": table, "delete": key, "token": self.token(f"edit.php?table={table}")}
        with self.opener.open(self.base + "delete.php", urllib.parse.urlencode(values).encode(), timeout=60) as r:
            return r.read().decode()
