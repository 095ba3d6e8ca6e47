"""The two sides of a comparison: Debian's Postfix + Dovecot and Posthorn, each with the same main.cf, tables, certificate and hashes,
on one MariaDB and one file system. What differs is the programs and the lines that name them; `differences` prints those."""
import contextlib
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/system"), str(ROOT / "tests/peer")]
from mariadb import Database  # noqa: E402

BUILD = pathlib.Path(os.environ.get("POSTHORN_BUILD", ROOT / "build"))
DOMAIN, USERS, IDLERS, PASSWORD = "bench.test", 100, 10000, "bench-password"
SQL = {
    "domains": "SELECT domain FROM domain WHERE domain='%s' AND active = '1'",
    "mailbox": "SELECT maildir FROM mailbox WHERE username='%s' AND active = '1'",
    "alias_domain_mailbox": "SELECT maildir FROM mailbox,alias_domain WHERE alias_domain.alias_domain = '%d' and "
    "mailbox.username = CONCAT('%u', '@', alias_domain.target_domain) AND mailbox.active = 1 AND alias_domain.active='1'",
    "alias": "SELECT goto FROM alias WHERE address='%s' AND active = '1'",
    "alias_domain": "SELECT goto FROM alias,alias_domain WHERE alias_domain.alias_domain = '%d' and "
    "alias.address = CONCAT('%u', '@', alias_domain.target_domain) AND alias.active = 1 AND alias_domain.active='1'",
    "catchall": "SELECT goto FROM alias,alias_domain WHERE alias_domain.alias_domain = '%d' and "
    "alias.address = CONCAT('@', alias_domain.target_domain) AND alias.active = 1 AND alias_domain.active='1'",
}


def run(*argv, **kw):
    kw.setdefault("timeout", 300)
    out = subprocess.run([str(a) for a in argv], capture_output=True, text=True, **kw)
    if out.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, argv))}: exit {out.returncode}\n{out.stdout[-3000:]}\n{out.stderr[-3000:]}")
    return out.stdout


def wait_until(condition, seconds=30, what="condition", step=0.02):
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise RuntimeError(f"{what} did not come true within {seconds} s")
        time.sleep(step)
    return value


def children():
    table = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            text = pathlib.Path(f"/proc/{pid}/stat").read_text()
            table.setdefault(int(text[text.rindex(")") + 2 :].split()[1]), []).append(int(pid))
    return table


def tree(*roots):
    below, out = children(), list(roots)
    for pid in out:
        out += below.get(pid, [])
    return out


class Site:
    """What both sides share: a scratch directory, the database, a certificate, accounts."""

    def __init__(self, top):
        self.top = pathlib.Path(top)
        self.top.chmod(0o755)
        self.db = Database(self.top / "mariadb")
        self.db.start()
        self.vmail = pwd.getpwnam("vmail")
        self.tls = self.top / "tls"
        self.tls.mkdir()
        for kind, key in (("rsa", ("rsa:2048",)), ("ecdsa", ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"))):
            run("openssl", "req", "-x509", "-newkey", *key, "-nodes", "-days", "30", "-subj", "/CN=localhost", "-keyout", self.tls / f"{kind}-key.pem",
                "-out", self.tls / f"{kind}-cert.pem")
        self.rows()

    def rows(self):
        doveadm = BUILD / "bin/doveadm"
        sha = run(doveadm, "pw", "-s", "SHA256", "-p", PASSWORD).strip()
        argon = run(doveadm, "pw", "-s", "ARGON2I", "-p", PASSWORD).strip()
        boxes = [(f"u{n}", sha) for n in range(USERS)] + [(f"i{n}", sha) for n in range(IDLERS)] + [(f"a{n}", argon) for n in range(10)] + [("big", sha)]
        rows = [f"INSERT INTO domain (domain, description, transport, active) VALUES ('{DOMAIN}', '', 'virtual', 1);"]
        for user, stored in boxes:
            address = f"{user}@{DOMAIN}"
            rows.append(f"INSERT INTO mailbox (username, password, name, maildir, local_part, domain, active) VALUES "
                        f"('{address}', '{stored}', '', '{DOMAIN}/{user}/', '{user}', '{DOMAIN}', 1);")
            rows.append(f"INSERT INTO alias (address, goto, domain, active) VALUES ('{address}', '{address}', '{DOMAIN}', 1);")
        self.db.sql("START TRANSACTION;\n" + "\n".join(rows) + "\nCOMMIT;")

    def database_pid(self):
        return int((self.db.dir / "run/mysqld.pid").read_text())

    def queries(self):
        return int(self.db.sql("SHOW GLOBAL STATUS LIKE 'Questions'")[0][1])

    def close(self):
        self.db.stop()


class Side:
    name = None

    def __init__(self, site, base, directory=None, tuned=False, certificate="rsa", settings=None):
        """certificate: rsa (2048 bits) or ecdsa (P-256), as certbot makes them. settings: more lines of main.cf."""
        self.site, self.base, self.tuned = site, base, tuned
        self.cert, self.key = site.tls / f"{certificate}-cert.pem", site.tls / f"{certificate}-key.pem"
        self.settings = settings or {}
        self.dir = site.top / (directory or self.name)
        self.etc, self.queue, self.mail, self.data = (self.dir / d for d in ("etc", "queue", "mail", "data"))
        for d in (self.dir, self.etc, self.queue, self.mail, self.data):
            d.mkdir()
        shutil.chown(self.mail, "vmail", "vmail")
        self.mail.chmod(0o700)
        shutil.chown(self.data, "postfix", "postfix")
        self.log_file = self.dir / "mail.log"
        self.masters = []
        self.cgroup = None

    def port(self, standard):
        return self.base + standard

    def main_cf(self):
        maps = {n: f"proxy:mysql:{self.etc}/sql/{n}.cf" for n in SQL}
        return {
            "compatibility_level": "3.6", "queue_directory": self.queue, "data_directory": self.data, "mail_owner": "postfix",
            "setgid_group": "postdrop", "maillog_file": self.log_file, "maillog_file_prefixes": self.dir, "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4", "myhostname": "mail.bench.test", "mydestination": "", "mynetworks": "127.0.0.0/8",
            "alias_maps": "", "alias_database": "", "local_recipient_maps": "", "smtputf8_enable": "no",
            "smtpd_tls_cert_file": self.cert, "smtpd_tls_key_file": self.key, "smtpd_tls_security_level": "may",
            "smtp_tls_security_level": "none", "smtpd_client_connection_count_limit": "0", "smtpd_peername_lookup": "no",
            "virtual_mailbox_domains": maps["domains"], "virtual_mailbox_maps": f"{maps['mailbox']}, {maps['alias_domain_mailbox']}",
            "virtual_alias_maps": f"{maps['alias']}, {maps['alias_domain']}, {maps['catchall']}",
            "virtual_transport": "lmtp:unix:private/dovecot-lmtp", "smtpd_relay_restrictions": "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination",
            "relay_domains": "disc.test, sink.test, later.test",
            "transport_maps": f"inline:{{disc.test=discard:, sink.test=smtp:[127.0.0.1]:{self.base + 2}, later.test=smtp:[127.0.0.1]:{self.base + 3}}}",
            "message_size_limit": "102400000", "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": "private/auth",
        }

    MASTER_CF = """\
{smtp} inet n - y - - smtpd
{submission} inet n - y - - smtpd
  -o syslog_name=postfix/submission -o smtpd_tls_security_level=encrypt -o smtpd_sasl_auth_enable=yes
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
pickup unix n - y 60 1 pickup
cleanup unix n - y - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - y 1000? 1 tlsmgr
rewrite unix - - y - - trivial-rewrite
bounce unix - - y - 0 bounce
defer unix - - y - 0 bounce
trace unix - - y - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - y - - smtp
relay unix - - y - - smtp
error unix - - y - - error
retry unix - - y - - error
discard unix - - y - - discard
lmtp unix - - y - - lmtp
anvil unix - - y - 1 anvil
scache unix - - y - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

    def write(self, more):
        (self.etc / "sql").mkdir()
        login = self.site.db.login()
        for name, query in SQL.items():
            f = self.etc / "sql" / f"{name}.cf"
            f.write_text(f"user = {login['user']}\npassword = {login['password']}\nhosts = unix:{self.site.db.socket}\ndbname = postfixadmin\nquery = {query}\n")
            shutil.chown(f, "root", "postfix")
            f.chmod(0o640)
        self.sql_conf = self.etc / "dovecot-sql.conf.ext"
        self.sql_conf.write_text(
            f"driver = mysql\nconnect = host={self.site.db.socket} dbname=postfixadmin user={login['user']} password={login['password']}\n"
            "default_pass_scheme = ARGON2I\n"
            "password_query = SELECT username AS user, password FROM mailbox WHERE username = '%u' AND active='1'\n"
            f"user_query = SELECT '{self.site.vmail.pw_uid}' AS uid, '{self.site.vmail.pw_gid}' AS gid FROM mailbox WHERE username = '%u' AND active='1'\n")
        self.sql_conf.chmod(0o600)
        settings = {**self.main_cf(), **more, **self.settings}
        (self.etc / "main.cf").write_text("".join(f"{k} = {v}\n" for k, v in settings.items()))
        (self.etc / "master.cf").write_text(self.MASTER_CF.format(smtp=f"127.0.0.1:{self.port(25)}", submission=f"127.0.0.1:{self.port(587)}") + self.more_services())
        (self.etc / "dynamicmaps.cf").write_text("")

    def more_services(self):
        return ""

    def pids(self):
        return tree(*self.masters)

    def join_cgroup(self):
        """Accounts the CPU of all that this side starts, also of processes that have ended."""
        for root, file in (("/sys/fs/cgroup/cpuacct", "cpuacct.usage"), ("/sys/fs/cgroup", "cpu.stat")):
            group = pathlib.Path(root) / f"posthorn-bench-{os.getpid()}-{self.dir.name}"
            with contextlib.suppress(OSError):
                group.mkdir(exist_ok=True)
                if (group / file).exists():
                    for pid in self.pids():
                        with contextlib.suppress(OSError):
                            (group / "cgroup.procs").write_text(str(pid))
                    self.cgroup = group
                    return

    def cpu_seconds(self):
        if self.cgroup and (self.cgroup / "cpuacct.usage").exists():
            return int((self.cgroup / "cpuacct.usage").read_text()) / 1e9
        if self.cgroup:
            return int(re.search(r"usage_usec (\d+)", (self.cgroup / "cpu.stat").read_text())[1]) / 1e6
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                total += sum(int(f) for f in fields[11:15])
        return total / os.sysconf("SC_CLK_TCK")

    def user_processes(self):
        """How many processes stand for one user each and go by themselves when nothing is asked of them any more."""
        return 0

    def pss_kib(self):
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError, AttributeError):
                total += int(re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1])
        return total

    def box(self, user):
        return self.mail / DOMAIN / user

    def count(self, user=None):
        top = self.box(user) if user else self.mail
        return sum(len(files) for where, _, files in os.walk(top) if where.endswith(("/new", "/cur")))

    def empty(self):
        shutil.rmtree(self.mail / DOMAIN, ignore_errors=True)

    def queue_empty(self):
        return self.queue_at_rest() and not self.deferred()

    def queue_at_rest(self):
        return not any(files for q in ("maildrop", "incoming", "active") for _, _, files in os.walk(self.queue / q))

    def deferred(self):
        return sum(len(files) for _, _, files in os.walk(self.queue / "deferred"))

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""


class Ours(Side):
    name = "posthorn"

    def start(self):
        self.write({
            "command_directory": BUILD / "sbin", "daemon_directory": BUILD / "daemons", "sendmail_path": BUILD / "sbin/sendmail",
            "auth_passdb": f"sql:{self.sql_path()}", "auth_userdb": f"sql:{self.sql_path()}", "auth_username_format": "%u", "auth_cache_size": "0",
            "mail_home": f"{self.mail}/%d/%n", "mail_location": f"maildir:{self.mail}/%d/%n", "login_user": "dovenull",
            "virtual_mailbox_base": self.mail, "virtual_uid_maps": f"static:{self.site.vmail.pw_uid}", "virtual_gid_maps": f"static:{self.site.vmail.pw_gid}",
            "mail_max_userip_connections": "0", "disable_plaintext_auth": "no", "default_process_limit": "100",
        })
        self.up()

    def up(self):
        run(BUILD / "sbin/postfix", "-c", self.etc, "start")
        self.masters = [int((self.queue / "pid/master.pid").read_text())]
        self.join_cgroup()

    def user_processes(self):
        mail, below = {"imapd", "pop3d"}, children()
        name = lambda pid: pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
        count = 0
        for service in below.get(self.masters[0], []):
            with contextlib.suppress(OSError):
                count += len(below.get(service, [])) if name(service) in mail else 0
        return count

    def sql_path(self):
        return self.etc / "dovecot-sql.conf.ext"

    def more_services(self):
        inet = lambda port, program, *o: f"127.0.0.1:{self.port(port)} inet n - n - - {program}\n" + "".join(f"  -o {x}\n" for x in o)
        off = "".join(f"{p} inet n - n - - none\n" for p in (143, 993, 110, 995))
        return (off + inet(143, "login", "login_protocol=imap") + inet(993, "login", "login_protocol=imap", "login_tls_wrappermode=yes")
                + inet(110, "login", "login_protocol=pop3") + inet(995, "login", "login_protocol=pop3", "login_tls_wrappermode=yes") + inet(24, "lmtpd"))

    def tool(self, name, *argv):
        return run(BUILD / "sbin" / name, "-c", self.etc, *argv)

    def reload(self):
        run(BUILD / "sbin/postfix", "-c", self.etc, "reload")

    def stop(self):
        if self.masters:
            run(BUILD / "sbin/postfix", "-c", self.etc, "stop")
            wait_until(lambda: not pathlib.Path(f"/proc/{self.masters[0]}").exists(), what="stop")
        self.masters = []


class Debian(Side):
    name = "debian"

    def start(self):
        self.root = pathlib.Path(run(ROOT / "tests/peer/debian", "--root", "postfix").strip())
        run(ROOT / "tests/peer/debian", "--root", "dovecot")
        lib = self.root / "usr/lib/postfix"
        self.env = {**os.environ, "MAIL_CONFIG": str(self.etc), "LD_LIBRARY_PATH": str(lib)}
        self.write({
            "command_directory": self.root / "usr/sbin", "daemon_directory": lib / "sbin", "shlib_directory": lib,
            "meta_directory": self.etc, "sendmail_path": self.root / "usr/sbin/sendmail", "mailq_path": self.root / "usr/bin/mailq",
            "newaliases_path": self.root / "usr/bin/newaliases", "manpage_directory": "/usr/share/man", "sample_directory": self.etc,
            "import_environment": f"MAIL_CONFIG MAIL_LOGTAG TZ LANG=C LD_LIBRARY_PATH={lib}",
            "export_environment": "MAIL_CONFIG MAIL_LOGTAG TZ LANG LD_LIBRARY_PATH",
        })
        (self.etc / "dynamicmaps.cf").write_text(f"mysql {lib}/postfix-mysql.so dict_mysql_open\n")
        shutil.copy(self.root / "etc/postfix/postfix-files", self.etc)
        self.write_dovecot_conf()
        self.up()

    def up(self):
        run(self.root / "usr/sbin/postfix", "-c", self.etc, "start", env=self.env)
        self.masters = [int((self.queue / "pid/master.pid").read_text())]
        self.start_dovecot()
        self.join_cgroup()

    def tool(self, name, *argv):
        return run(self.root / "usr/sbin" / name, "-c", self.etc, *argv, env=self.env)

    def write_dovecot_conf(self):
        listener = lambda name, port, extra="": f"  inet_listener {name} {{\n    port = {port}\n{extra}  }}\n"
        fast = "  service_count = 0\n  process_min_avail = 2\n  client_limit = 1000\n" if self.tuned else ""
        (self.etc / "dovecot.conf").write_text(f"""\
base_dir = {self.dir}/dovecot
state_dir = {self.dir}/dovecot-state
log_path = {self.dir}/dovecot.log
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = dovenull
protocols = imap pop3 lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <{self.cert}
ssl_key = <{self.key}
disable_plaintext_auth = no
first_valid_uid = 1
mail_max_userip_connections = 0
mail_home = {self.mail}/%d/%n
mail_location = maildir:{self.mail}/%d/%n
auth_mechanisms = plain login
auth_username_format = %u
namespace inbox {{
  inbox = yes
  separator = /
}}
passdb {{
  driver = sql
  args = {self.sql_conf}
}}
userdb {{
  driver = sql
  args = {self.sql_conf}
}}
service imap-login {{
{listener("imap", self.port(143))}{listener("imaps", self.port(993), "    ssl = yes" + chr(10))}{fast}}}
service imap {{
{"  service_count = 256" + chr(10) + "  process_min_avail = 4" + chr(10) if self.tuned else ""}  process_limit = 20000
}}
service pop3-login {{
{listener("pop3", self.port(110))}{listener("pop3s", self.port(995), "    ssl = yes" + chr(10))}{fast}}}
service lmtp {{
{listener("lmtp", self.port(24))}  unix_listener {self.queue}/private/dovecot-lmtp {{
    mode = 0600
    user = postfix
    group = postfix
  }}
}}
service auth {{
  unix_listener {self.queue}/private/auth {{
    mode = 0660
    user = postfix
    group = postfix
  }}
}}
""")

    def start_dovecot(self):
        script = 'mount -t overlay overlay -o lowerdir="$1/usr":/usr /usr && shift && exec "$@"'
        self.dovecot = subprocess.Popen(["unshare", "--mount", "sh", "-c", script, "sh", str(self.root), "/usr/sbin/dovecot", "-F", "-c", str(self.etc / "dovecot.conf")],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.masters.append(self.dovecot.pid)

    def reload(self):
        run(self.root / "usr/sbin/postfix", "-c", self.etc, "reload", env=self.env)
        self.dovecot.send_signal(signal.SIGHUP)

    def stop(self):
        if self.masters:
            run(self.root / "usr/sbin/postfix", "-c", self.etc, "stop", env=self.env)
            self.dovecot.terminate()
            self.dovecot.wait(30)
        self.masters = []
