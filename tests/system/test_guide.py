"""The deployment guide for Postfix, Dovecot, MariaDB and PostfixAdmin, carried out with Posthorn in the place of the two mail programs.

main.cf and master.cf are Debian's with the guide's lines, the SQL files the guide's; only host name, certificate, directories, ports and
the database's socket differ. What it writes into dovecot.conf stands in main.cf. PostfixAdmin makes the tables and every row.
"""
import contextlib
import imaplib
import os
import pathlib
import poplib
import re
import shutil
import smtplib
import socket
import subprocess

import pytest
from conftest import ROOT, own_instance, queue_ids, wait_until
from mariadb import own_database, own_directory
from postfixadmin import DB_PASSWORD, PostfixAdmin
from test_jail import is_spawner, status

PORT_BASE, SMTP_PORT, SUBMISSION_PORT, WEB_PORT = 27400, 27410, 27411, 27412
HOST, DOMAIN = "mail.guide.example", "guide.example"

# What Debian's postfix package sets when it is installed as an "Internet Site".
DEBIAN_MAIN_CF = """
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination
myhostname = {host}
alias_maps = hash:/etc/aliases
alias_database = hash:/etc/aliases
mydestination = $myhostname, {domain}, localhost.{domain}, , localhost
relayhost =
mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128
mailbox_size_limit = 0
recipient_delimiter = +
inet_interfaces = all
inet_protocols = all
"""

GUIDE_MAIN_CF = """
#Enable TLS Encryption when Postfix receives incoming emails
smtpd_tls_cert_file={live}/fullchain.pem
smtpd_tls_key_file={live}/privkey.pem
smtpd_tls_security_level=may
smtpd_tls_loglevel = 1
smtpd_tls_session_cache_database = btree:${{data_directory}}/smtpd_scache

#Enable TLS Encryption when Postfix sends outgoing emails
smtp_tls_security_level = may
smtp_tls_loglevel = 1
smtp_tls_session_cache_database = btree:${{data_directory}}/smtp_scache

#Enforce TLSv1.3 or TLSv1.2
smtpd_tls_mandatory_protocols = !SSLv2, !SSLv3, !TLSv1, !TLSv1.1
smtpd_tls_protocols = !SSLv2, !SSLv3, !TLSv1, !TLSv1.1
smtp_tls_mandatory_protocols = !SSLv2, !SSLv3, !TLSv1, !TLSv1.1
smtp_tls_protocols = !SSLv2, !SSLv3, !TLSv1, !TLSv1.1

mailbox_transport = lmtp:unix:private/dovecot-lmtp
smtputf8_enable = no

virtual_mailbox_domains = proxy:mysql:{sql}/mysql_virtual_domains_maps.cf
virtual_mailbox_maps =
   proxy:mysql:{sql}/mysql_virtual_mailbox_maps.cf,
   proxy:mysql:{sql}/mysql_virtual_alias_domain_mailbox_maps.cf
virtual_alias_maps =
   proxy:mysql:{sql}/mysql_virtual_alias_maps.cf,
   proxy:mysql:{sql}/mysql_virtual_alias_domain_maps.cf,
   proxy:mysql:{sql}/mysql_virtual_alias_domain_catchall_maps.cf
virtual_transport = lmtp:unix:private/dovecot-lmtp

mydestination = $myhostname, localhost.$mydomain, localhost

virtual_mailbox_base = {vmail}
virtual_minimum_uid = 2000
virtual_uid_maps = static:2000
virtual_gid_maps = static:2000
"""

GUIDE_MASTER_CF = """\
submission     inet     n    -    y    -    -    smtpd
  -o syslog_name=postfix/submission
  -o smtpd_tls_security_level=encrypt
  -o smtpd_tls_wrappermode=no
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
  -o smtpd_recipient_restrictions=permit_mynetworks,permit_sasl_authenticated,reject
  -o smtpd_sasl_type=dovecot
  -o smtpd_sasl_path=private/auth
"""

GUIDE_SQL = {
    "domains": "SELECT domain FROM domain WHERE domain='%s' AND active = '1'",
    "mailbox": "SELECT maildir FROM mailbox WHERE username='%s' AND active = '1'",
    "alias_domain_mailbox": "SELECT maildir FROM mailbox,alias_domain WHERE alias_domain.alias_domain = '%d' and mailbox.username = CONCAT('%u', '@', alias_domain.target_domain) AND mailbox.active = 1 AND alias_domain.active='1'",
    "alias": "SELECT goto FROM alias WHERE address='%s' AND active = '1'",
    "alias_domain": "SELECT goto FROM alias,alias_domain WHERE alias_domain.alias_domain = '%d' and alias.address = CONCAT('%u', '@', alias_domain.target_domain) AND alias.active = 1 AND alias_domain.active='1'",
    "alias_domain_catchall": "SELECT goto FROM alias,alias_domain WHERE alias_domain.alias_domain = '%d' and alias.address = CONCAT('@', alias_domain.target_domain) AND alias.active = 1 AND alias_domain.active='1'",
}

GUIDE_DOVECOT_SQL = """\
driver = mysql
connect = host={socket} dbname=postfixadmin user=postfixadmin password={password}
default_pass_scheme = ARGON2I
password_query = SELECT username AS user,password FROM mailbox WHERE username = '%u' AND active='1'
user_query = SELECT maildir, 2000 AS uid, 2000 AS gid FROM mailbox WHERE username = '%u' AND active='1'
iterate_query = SELECT username AS user FROM mailbox
"""

# The guide's lines of dovecot.conf, by the names they have in main.cf.
GUIDE_DOVECOT = """
mail_home = {vmail}/%d/%n/
mail_location = maildir:{vmail}/%d/%n/
auth_mechanisms = plain
auth_username_format = %u
auth_default_realm = {domain}
auth_passdb = sql:{dovecot}/dovecot-sql.conf.ext
auth_userdb = sql:{dovecot}/dovecot-sql.conf.ext
"""

ALICE, BOB, CAROL, DAVE = (f"{name}@{DOMAIN}" for name in ("alice", "bob", "carol", "dave"))
PASSWORDS = {ALICE: "Alice-4711", BOB: "Bob's \"4711\" $x", CAROL: "Carol-4711", DAVE: "Dave-4711", "all@catch.example": "Catch-4711"}


def debian_package():
    found = subprocess.run([ROOT / "tests/peer/debian", "--root", "postfix"], capture_output=True, text=True, timeout=300)
    if found.returncode:
        pytest.skip("Debian's postfix package, for its main.cf and master.cf, cannot be had")
    return pathlib.Path(found.stdout.strip())


def write_guide(i, db):
    """The guide's files in the place of the instance's own; its directories, certificate and IMAP and POP3 ports stay."""
    package, etc, top = debian_package(), pathlib.Path(i.config_dir), pathlib.Path(i.dir)
    places = {"host": HOST, "domain": DOMAIN, "live": f"{top}/letsencrypt/live/{HOST}", "sql": f"{etc}/sql", "vmail": f"{top}/vmail",
              "dovecot": f"{top}/dovecot", "socket": db.socket, "password": DB_PASSWORD}
    for name in ("live", "sql", "vmail", "dovecot"):
        os.makedirs(places[name], exist_ok=True)
    os.chown(places["vmail"], 2000, 2000)
    shutil.copy(top / "tls/cert.pem", places["live"] + "/fullchain.pem")
    shutil.copy(top / "tls/key.pem", places["live"] + "/privkey.pem")
    own = i.tool("postconf", "queue_directory", "data_directory", "command_directory", "daemon_directory", "maillog_file", "maillog_file_prefixes", "login_user").stdout
    debian = (package / "usr/share/postfix/main.cf.debian").read_text() + (package / "usr/share/postfix/main.cf.tls").read_text() + DEBIAN_MAIN_CF.format(**places)
    # The administrator edits a line that is there, and adds one that is not.
    guide = (GUIDE_MAIN_CF + GUIDE_DOVECOT).format(**places)
    given = set(re.findall(r"^(\w+) *=", guide, re.M))
    kept = "".join(line for line in debian.splitlines(True) if line.split("=")[0].strip() not in given)
    (etc / "main.cf").write_text(kept + guide + own)
    stock = (package / "usr/share/postfix/master.cf.dist").read_text()
    login = "".join(line + "\n" for line in (etc / "master.cf").read_text().splitlines() if " login " in line or line.endswith(" none"))
    ports = re.sub(r"^submission ", f"127.0.0.1:{SUBMISSION_PORT} ", re.sub(r"^smtp( +inet)", rf"127.0.0.1:{SMTP_PORT}\1", stock, flags=re.M) + GUIDE_MASTER_CF, flags=re.M)
    (etc / "master.cf").write_text(ports + login)
    for name, query in GUIDE_SQL.items():
        path = etc / f"sql/mysql_virtual_{name}_maps.cf"
        path.write_text(f"user = postfixadmin\npassword = {DB_PASSWORD}\nhosts = unix:{db.socket}\ndbname = postfixadmin\nquery = {query}\n")
        path.chmod(0o640)
        shutil.chown(path, "root", "postfix")
    secret = pathlib.Path(places["dovecot"], "dovecot-sql.conf.ext")
    secret.write_text(GUIDE_DOVECOT_SQL.format(**places))
    secret.chmod(0o600)  # Dovecot reads it as root


class ImapFrom(imaplib.IMAP4_SSL):
    """IMAP over TLS from this address of the client."""

    def __init__(self, client, port, context):
        self.client = client
        super().__init__("localhost", port, ssl_context=context)

    def _create_socket(self, timeout):
        return self.ssl_context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), 60, (self.client, 0)), server_hostname=self.host)


class Guide:
    """The running machine: `mail` (an Instance), `db` and `admin` (PostfixAdmin)."""

    def __init__(self, mail, db, admin):
        self.mail, self.db, self.admin, self.clients = mail, db, admin, 0
        mail.smtp_port, mail.submission_port, mail.users = SMTP_PORT, SUBMISSION_PORT, dict(PASSWORDS)

    def rcpt(self, address, sender="someone@elsewhere.example"):
        """The reply to RCPT on port 25: (code, text)."""
        with self.mail.smtp() as s:
            s.ehlo()
            assert s.mail(sender)[0] == 250
            code, text = s.rcpt(address)
            return code, text.decode()

    def login(self, user, password, client=None, ending=False):
        """Whether the user may log in; any other failure than a refusal fails the test. Each time from another address, if none is
        named: who guesses wrong waits longer and longer. ending: the row may go between the password's check and the mailbox's."""
        self.clients += 1
        m = ImapFrom(client or f"127.0.1.{self.clients}", self.mail.imaps_port, self.mail.tls)
        try:
            m.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode())
            return True
        except imaplib.IMAP4.error as e:
            assert "[AUTHENTICATIONFAILED]" in str(e) or ending and "Internal login failure" in str(e), e
            return False
        finally:
            m.shutdown()

    def pop3(self, user):
        """All messages over POP3, as bytes."""
        p = poplib.POP3_SSL("localhost", self.mail.pop3s_port, context=self.mail.tls, timeout=60)
        try:
            p.user(user)
            p.pass_(self.mail.users[user])
            return [b"\r\n".join(p.retr(n + 1)[1]) for n in range(p.stat()[0])]
        finally:
            p.quit()


@pytest.fixture(scope="module")
def guide():
    if os.geteuid() != 0:
        pytest.skip("the guide's daemons run under accounts of their own: needs root")
    with own_database("--empty") as db, own_directory() as scratch, own_instance(PORT_BASE) as mail:
        admin = PostfixAdmin(scratch / "postfixadmin", db, pathlib.Path(mail.bin_dir, "doveadm"), SMTP_PORT, WEB_PORT)
        write_guide(mail, db)
        with admin.web():
            admin.setup()
            mail.restart()
            populate(admin)
            made = Guide(mail, db, admin)
            wait_until(lambda: made.rcpt(DAVE) == unknown(DAVE), what="550 for an inactive user")  # sql_cache_time
            yield made


def populate(admin):
    """What the guide's last step does, in the browser and on the command line."""
    web = admin.administrator()
    web.add("domain", domain=DOMAIN, description="the guide's", aliases="0", mailboxes="0", active="1", default_aliases="0", transport="virtual", password_expiry="365")
    for domain in ("other.example", "catch.example", "catchalias.example"):
        admin.cli("domain", "add", domain, "--description", "x", "--aliases", "0", "--mailboxes", "0", "--default-aliases", "0")
    for address in (ALICE, BOB):
        local, domain = address.split("@")
        web.add("mailbox", local_part=local, domain=domain, password=PASSWORDS[address], password2=PASSWORDS[address], name=local, active="1", quota="10")
    for address in (CAROL, DAVE, "all@catch.example"):
        admin.add_mailbox(address, PASSWORDS[address], name="x")
    admin.cli("alias", "add", f"team@{DOMAIN}", "--goto", f"{ALICE},{BOB},{CAROL}")
    admin.cli("alias", "add", "sales@other.example", "--goto", f"team@{DOMAIN}")
    admin.cli("alias", "add", "@catch.example", "--goto", "all@catch.example")
    admin.cli("aliasdomain", "add", "other.example", "--target-domain", DOMAIN)
    admin.cli("aliasdomain", "add", "catchalias.example", "--target-domain", "catch.example")
    web.set_active("mailbox", DAVE, 0)


# The guide's own lines that belong to a later issue, or to something we do otherwise (TLS sessions resume by tickets).
LATER = {"mailbox_transport", "smtpd_tls_session_cache_database", "smtp_tls_session_cache_database"}


def test_every_line_is_obeyed_or_named(guide):
    """postfix check names each parameter that no program has and each service that has no program, by its line, and nothing else."""
    mail, programs = guide.mail, pathlib.Path(guide.mail.daemon_dir)
    out = mail.postfix("check")
    text = out.stdout + out.stderr
    main_cf, master_cf = (pathlib.Path(mail.config_dir, name).read_text().splitlines() for name in ("main.cf", "master.cf"))
    known = set()
    for program in (p for p in programs.iterdir() if os.access(p, os.X_OK)):
        known |= {row.split("\t")[0] for row in mail.run(program, "--params").stdout.splitlines()}
    unused = {(n + 1, name) for n, line in enumerate(main_cf) for name in re.findall(r"^(\w+) *=", line) if name not in known}
    named = {(int(n), name) for n, name in re.findall(r"main\.cf, line (\d+): unused parameter: (\w+)=", text)}
    assert named == unused, text
    absent = {(n + 1, line.split()[0]) for n, line in enumerate(master_cf)
              if re.match(r"[^#\s]", line) and line.split()[7] != "none" and not (programs / line.split()[7]).exists()}
    named_services = {(int(n), name) for n, name in re.findall(r"master\.cf, line (\d+): service (\S+) is not started", text)}
    assert named_services == absent, text
    assert len(re.findall(r"\.cf, line \d+:", text)) == len(unused) + len(absent), text
    ours = set(re.findall(r"^(\w+) *=", GUIDE_MAIN_CF + GUIDE_DOVECOT, re.M)) | set(re.findall(r"-o (\w+)=", GUIDE_MASTER_CF))
    assert ours - known <= LATER, ours - known
    assert not {"smtpd", "submission", "proxymap", "lmtp", "cleanup"} & {name for _, name in absent}


def unknown(address):
    return 550, f"5.1.1 <{address}>: Recipient address rejected: User unknown in virtual mailbox table"


# What Debian's Postfix answered at RCPT with the same files and rows.
RCPT = {
    ALICE: 250, "ALICE@Guide.EXAMPLE": 250, f"alice+ext@{DOMAIN}": 250, f"team@{DOMAIN}": 250, "sales@other.example": 250,
    "bob@other.example": 250, "any@catch.example": 250, "any@catchalias.example": 250, "all@catchalias.example": 250,
    "Postmaster": 250, f"nobody@{DOMAIN}": 550, "nobody@other.example": 550, DAVE: 550, "dave@other.example": 550, "x@ALL": 550,
    f"o'neil@{DOMAIN}": 550, f"%@{DOMAIN}": 550, f"a_b@{DOMAIN}": 550, f"\\' OR 1=1 -- @{DOMAIN}": 550,
}


def test_rcpt(guide):
    with guide.mail.smtp() as s:
        s.ehlo()
        s.mail("someone@elsewhere.example")
        for address, code in RCPT.items():
            local, _, domain = address.rpartition("@")
            path = address if " " not in local else '"{}"@{}'.format(local.replace("\\", "\\\\"), domain)
            got, text = s.docmd("RCPT", f"TO:<{path}>")
            assert (got, text.decode()) == ((250, "2.1.5 Ok") if code == 250 else unknown(address)), address


def test_submission_port(guide):
    mail = guide.mail
    mark = mail.log_mark()
    with mail.smtp(SUBMISSION_PORT) as s:
        s.ehlo()
        assert not s.has_extn("auth")
        assert s.docmd("MAIL", f"FROM:<{ALICE}>") == (530, b"5.7.0 Must issue a STARTTLS command first")
        s.starttls(context=mail.tls)
        s.ehlo()
        assert s.esmtp_features["auth"].split() == ["PLAIN"]
        assert s.mail(ALICE)[0] == 250
        assert s.rcpt(BOB) == (554, f"5.7.1 <{BOB}>: Recipient address rejected: Access denied".encode())
        s.rset()
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            s.login(DAVE, PASSWORDS[DAVE])
        assert refused.value.smtp_code == 535
        s.login(ALICE, PASSWORDS[ALICE])
        assert s.mail(ALICE)[0] == 250
        assert s.rcpt(BOB)[0] == 250
        assert s.rcpt(DAVE) == (550, unknown(DAVE)[1].encode())
        assert s.rcpt("far@elsewhere.example")[0] == 250
    mail.wait_log(rf"postfix/submission/smtpd\[\d+\]: \w+: client=\S+, sasl_method=PLAIN, sasl_username={ALICE}", mark)
    mail.wait_log(r"postfix/submission/smtpd\[\d+\]: Anonymous TLS connection established from \S+: TLSv1\.3 with cipher \S+ \(\d+/\d+ bits\) "
                  r"key-exchange \S+ server-signature \S+ \(2048 bits\) server-digest \S+\n", mark)
    assert "setting up TLS connection" not in mail.log(mark)  # smtpd_tls_loglevel = 1
    mail.wait_log(r"postfix/submission/smtpd\[\d+\]: warning: .*: SASL PLAIN authentication failed: ", mark)


# (address, who reads it): an address of each kind.
KINDS = {
    "mailbox": (ALICE, {ALICE}),
    "extension": (f"bob+list@{DOMAIN}", {BOB}),
    "alias to several": (f"team@{DOMAIN}", {ALICE, BOB, CAROL}),
    "alias domain, mailbox": ("carol@other.example", {CAROL}),
    "alias domain, alias": ("sales@other.example", {ALICE, BOB, CAROL}),
    "catch-all": ("whoever@catch.example", {"all@catch.example"}),
    "catch-all of an alias domain": ("whoever@catchalias.example", {"all@catch.example"}),
}


def test_mail_of_every_kind_is_read(guide):
    mail = guide.mail
    mark = mail.log_mark()
    for kind, (address, _) in KINDS.items():
        with mail.smtp() as s:
            s.sendmail("someone@elsewhere.example", [address], f"Subject: from outside, {kind}\r\n\r\nx\r\n")
        with mail.submission(ALICE) as s:
            s.sendmail(ALICE, [address], f"Subject: submitted, {kind}\r\n\r\nx\r\n")
    wait_until(lambda: not queue_ids(mail), what="an empty queue")
    readers = sorted({user for _, users in KINDS.values() for user in users})
    over_imap = {user: b"".join(mail.messages(user)) for user in readers}
    over_pop3 = {user: b"".join(guide.pop3(user)) for user in readers}
    for kind, (address, users) in KINDS.items():
        for how in ("from outside", "submitted"):
            subject = f"Subject: {how}, {kind}\r\n".encode()
            assert {u for u in readers if subject in over_imap[u]} == users, kind
            assert {u for u in readers if over_imap[u].count(subject) == 1 and over_pop3[u].count(subject) == 1} == users, kind
    for domain, user in ((DOMAIN, "alice"), ("catch.example", "all")):
        box = pathlib.Path(mail.dir, "vmail", domain, user)
        assert {(p.stat().st_uid, p.stat().st_gid) for p in (box, *box.glob("*/*"))} == {(2000, 2000)}
    log = mail.log(mark)
    relay = rf"relay={re.escape(HOST)}\[private/dovecot-lmtp\], (conn_use=\d+, )?delay=[\d.]+, delays=[\d./]+, dsn=2\.0\.0, status=sent \(250 2\.0\.0 "
    assert re.search(rf"postfix/lmtp\[\d+\]: \w+: to=<{ALICE}>, {relay}<{ALICE}> \S+ Saved\)", log)
    assert re.search(rf"postfix/lmtp\[\d+\]: \w+: to=<{CAROL}>, orig_to=<carol@other.example>, {relay}", log)
    assert "status=bounced" not in log and "status=deferred" not in log


def test_names_to_log_in_with(guide):
    assert guide.login("alice", PASSWORDS[ALICE])  # auth_default_realm
    assert guide.login("ALICE@GUIDE.example", PASSWORDS[ALICE])  # the database compares so
    m = imaplib.IMAP4_SSL("localhost", guide.mail.imaps_port, ssl_context=guide.mail.tls)
    m.login("ALICE@Guide.Example", PASSWORDS[ALICE])
    m.select()
    m.append("INBOX", None, None, b"Subject: in the one mailbox\r\n\r\nx\r\n")
    m.logout()
    assert any(b"in the one mailbox" in text for text in guide.mail.messages(ALICE))
    assert not guide.login(DAVE, PASSWORDS[DAVE])
    assert not guide.login("alice@other.example", PASSWORDS[ALICE])  # an alias domain has no logins
    assert not guide.login("' OR '1'='1", "x")
    guide.mail.users["unknown@guide.example"] = "x"
    with pytest.raises(poplib.error_proto, match=r"-ERR \[AUTH\]"):
        guide.pop3("unknown@guide.example")


def test_what_administrators_and_users_do_takes_effect(guide):
    erin, old, new = f"erin@{DOMAIN}", "Erin-4711", "Erin-0815"
    assert guide.rcpt(erin) == unknown(erin)
    assert not guide.login(erin, old)
    web = guide.admin.administrator()
    web.add("mailbox", local_part="erin", domain=DOMAIN, password=old, password2=old, name="Erin", active="1", quota="10")
    assert guide.rcpt(erin)[0] == 250  # "unknown" was not remembered
    assert guide.login(erin, old)
    page = guide.admin.user(erin, old).post("users/password.php", fPassword_current=old, fPassword=new, fPassword2=new, submit="Change password")
    assert f"The password for {erin} has been changed" in page, page
    assert guide.login(erin, new)  # a password that does not match is looked up afresh
    # A row that was found may be used for sql_cache_time.
    wait_until(lambda: not guide.login(erin, old, ending=True), what="the end of the old password")
    web.set_active("mailbox", erin, 0)
    wait_until(lambda: not guide.login(erin, new, ending=True), what="the end of an inactive user's logins")
    wait_until(lambda: guide.rcpt(erin) == unknown(erin), what="550 for an inactive user")
    web.set_active("mailbox", erin, 1)
    assert guide.rcpt(erin)[0] == 250 and guide.login(erin, new)
    web.delete("mailbox", erin)
    assert guide.db.sql(f"SELECT * FROM mailbox WHERE username = '{erin}'") == []
    wait_until(lambda: not guide.login(erin, new, ending=True), what="the end of a deleted user's logins")
    wait_until(lambda: guide.rcpt(erin) == unknown(erin), what="550 for a deleted user")


def test_an_inactive_domain_takes_no_mail(guide):
    web = guide.admin.administrator()
    guide.admin.cli("domain", "add", "closing.example", "--description", "x", "--aliases", "0", "--mailboxes", "0", "--default-aliases", "0")
    guide.admin.add_mailbox("pia@closing.example", "Pia-4711", name="Pia")
    assert guide.rcpt("pia@closing.example")[0] == 250
    web.set_active("domain", "closing.example", 0)
    with guide.mail.smtp(SUBMISSION_PORT) as s:  # not a destination any more: only who has logged in may send there
        s.starttls(context=guide.mail.tls)
        s.ehlo()
        s.mail(ALICE)
        assert s.rcpt("pia@closing.example")[0] == 554
    guide.mail.wait_log("removed")


# How else PostfixAdmin stores passwords: with {SCHEME} before them, which works beside the guide's default_pass_scheme, and without.
NAMED_SCHEMES = ["dovecot:SHA256-CRYPT", "dovecot:BLF-CRYPT", "dovecot:SSHA512", "php_crypt:SHA512::{SHA512-CRYPT}", "sha512.b64"]
PLAIN_SCHEMES = ["md5crypt", "php_crypt:SHA512", "php_crypt:BLOWFISH:10", "system"]


def edit_dovecot_sql(guide, name, value):
    """One setting of dovecot-sql.conf.ext, as an administrator changes it: edit, reload. Gives what stood there."""
    path = pathlib.Path(guide.mail.dir, "dovecot/dovecot-sql.conf.ext")
    text = path.read_text()
    old = re.search(rf"^{name} = (.*)", text, re.M)
    path.write_text(text[: old.start(1)] + value + text[old.end(1) :])
    guide.mail.reload()
    return old.group(1)


def stored_as(guide, schemes):
    """A mailbox for each way to store a password: {address: (scheme, password)}."""
    made = {}
    try:
        for n, scheme in enumerate(schemes):
            guide.admin.encrypt(scheme)
            address, password = f"s{len(scheme)}{n}-{abs(hash(scheme)) % 1000}@{DOMAIN}", f"Pass {n} 4711 \"' é"
            guide.admin.add_mailbox(address, password, name="x")
            made[address] = (scheme, password)
    finally:
        guide.admin.encrypt("dovecot:ARGON2I")
    return made


def test_every_way_to_store_a_password(guide):
    named, plain = stored_as(guide, NAMED_SCHEMES), stored_as(guide, PLAIN_SCHEMES)
    stored = dict(guide.db.sql("SELECT username, password FROM mailbox"))
    assert all(stored[address].startswith("{") for address in named) and not any(stored[address].startswith("{") for address in plain), stored
    assert {scheme: guide.login(address, password) for address, (scheme, password) in named.items()} == dict.fromkeys(NAMED_SCHEMES, True)
    was = edit_dovecot_sql(guide, "default_pass_scheme", "CRYPT")
    assert {scheme: guide.login(address, password) for address, (scheme, password) in plain.items()} == dict.fromkeys(PLAIN_SCHEMES, True)
    assert guide.login(ALICE, PASSWORDS[ALICE])  # its row says {ARGON2I}
    address, (_, password) = next(iter(plain.items()))
    assert not guide.login(address, password + "x")
    edit_dovecot_sql(guide, "default_pass_scheme", was)
    # PostfixAdmin checks what our doveadm made, and the other way round.
    address, (_, password) = next(iter(named.items()))
    guide.admin.user(address, password)


def secrets_of(guide):
    return [DB_PASSWORD.encode()] + [password.encode() for password in PASSWORDS.values()]


def test_passwords_are_seen_nowhere(guide):
    with guide.mail.imap(ALICE), guide.mail.submission(ALICE), guide.mail.smtp() as s:
        s.sendmail("a@elsewhere.example", [BOB], b"Subject: secrets\r\n\r\nx\r\n")
        for pid in (guide.mail.master(), *guide.mail.daemons()):
            for what in ("cmdline", "environ"):
                with contextlib.suppress(FileNotFoundError):
                    text = pathlib.Path(f"/proc/{pid}/{what}").read_bytes()
                    assert not any(secret in text for secret in secrets_of(guide)), text
    place = pathlib.Path(guide.mail.dir)
    may = {*place.glob("etc/sql/*.cf"), place / "dovecot/dovecot-sql.conf.ext"}
    assert len(may) == 7
    for path in place.rglob("*"):
        if path.is_file() and not path.is_symlink() and path not in may:
            text = path.read_bytes()
            assert not any(secret in text for secret in secrets_of(guide)), path
    for path in may:
        assert path.stat().st_mode & 0o007 == 0


def memory_has(pid, secret):
    """Whether the process holds these bytes in memory that it may write."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as mem:
        for line in maps:
            span, rights, *_ = line.split()
            start, end = (int(x, 16) for x in span.split("-"))
            if not rights.startswith("rw"):
                continue
            with contextlib.suppress(OSError):
                mem.seek(start)
                if secret in mem.read(end - start):
                    return True
    return False


def test_only_proxymap_has_the_databases_password(guide):
    """No other daemon read the SQL files, could read them, or talks to the server."""
    mail = guide.mail
    files = [pathlib.Path(mail.config_dir, "sql", "mysql_virtual_domains_maps.cf"), pathlib.Path(mail.dir, "dovecot/dovecot-sql.conf.ext")]
    with mail.imap(ALICE), mail.submission(ALICE) as s:
        s.sendmail(ALICE, [f"team@{DOMAIN}"], "Subject: all at work\r\n\r\nx\r\n")
        mail.wait_message("all at work", ALICE)
        holders, seen = set(), set()
        for pid, name in mail.daemons().items():
            if is_spawner(pid):
                continue
            try:
                st, root = status(pid), os.readlink(f"/proc/{pid}/root")
                ids = {int(st["Gid"].split()[1]), *map(int, st["Groups"].split())}
                if memory_has(pid, DB_PASSWORD.encode()):
                    holders.add(name)
            except FileNotFoundError:
                continue
            seen.add(name)
            for path in files:
                in_sight = root == "/" or str(path).startswith(root + "/")
                allowed = st["Uid"].split()[1] == "0" or os.stat(path).st_gid in ids
                assert name == "proxymap" or not (in_sight and allowed), f"{name}[{pid}], root directory {root}, may read {path}"
    assert holders == {"proxymap"}
    assert {"smtpd", "cleanup", "trivial-rewrite", "lmtp", "lmtpd", "authd", "login", "imapd", "proxymap", "qmgr"} <= seen, seen
    talkers = subprocess.run(["ss", "-xpH", "src", str(guide.db.socket)], capture_output=True, text=True).stdout
    peers = {line.split()[7] for line in talkers.splitlines() if line.split()[7] != "0"}
    assert peers
    for line in subprocess.run(["ss", "-xpH"], capture_output=True, text=True).stdout.splitlines():
        if line.split()[5] in peers:
            assert '(("proxymap",' in line, line


def layout(db):
    tables = "information_schema.{} WHERE TABLE_SCHEMA = 'postfixadmin'"
    return [db.sql("SELECT " + query) for query in (
        "TABLE_NAME, COLUMN_NAME, ORDINAL_POSITION, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, COLLATION_NAME FROM " + tables.format("COLUMNS") + " ORDER BY 1, 3",
        "TABLE_NAME, ENGINE, TABLE_COLLATION FROM " + tables.format("TABLES") + " ORDER BY 1",
        "TABLE_NAME, INDEX_NAME, NON_UNIQUE, SEQ_IN_INDEX, COLUMN_NAME FROM " + tables.format("STATISTICS") + " ORDER BY 1, 2, 4",
        "TABLE_NAME, CONSTRAINT_NAME, DELETE_RULE, REFERENCED_TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS ORDER BY 1, 2",
        "value FROM postfixadmin.config WHERE name = 'version'")]


def test_our_tables_are_postfixadmins(guide):
    with own_database() as ours:
        assert layout(ours) == layout(guide.db)


# What PostfixAdmin 4 adds to the tables, and passwords in the forms it makes without doveadm.
POSTFIXADMIN_4 = """
ALTER TABLE mailbox ADD totp_secret VARCHAR(255), ADD smtp_active TINYINT(1) NOT NULL DEFAULT 1;
ALTER TABLE admin ADD totp_secret VARCHAR(255);
CREATE TABLE mailbox_app_password (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, username VARCHAR(255), description VARCHAR(255),
    password_hash VARCHAR(255)) COLLATE = utf8mb4_general_ci;
CREATE TABLE totp_exception_address (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, ip VARCHAR(46) NOT NULL, username VARCHAR(255),
    description VARCHAR(255), UNIQUE KEY ip_user (ip, username)) COLLATE = utf8mb4_general_ci;
"""
# Its second factor is for its own pages: who has one logs in to mail with an application's password, or from an address that is exempt.
PASSWORD_QUERY_4 = ("SELECT username AS user, password FROM mailbox WHERE username = '%u' AND active = '1' AND (totp_secret IS NULL OR EXISTS "
                    "(SELECT * FROM totp_exception_address WHERE ip = '%r' AND (username = '%u' OR username IS NULL)))")
APP_PASSWORD_QUERY = "SELECT username AS user, password_hash AS password FROM mailbox_app_password WHERE username = '%u'"


def php_hash(password, how):
    code = f"$p = stream_get_contents(STDIN); echo {how};"
    return subprocess.run(["php", "-r", code], input=password, capture_output=True, text=True, check=True).stdout


def test_postfixadmin_4(guide):
    db, mail, dovecot = guide.db, guide.mail, pathlib.Path(guide.mail.dir, "dovecot")
    db.sql(POSTFIXADMIN_4)
    assert guide.rcpt(ALICE)[0] == 250 and guide.login(ALICE, PASSWORDS[ALICE])  # the guide's files serve these tables too
    forms = {"{ARGON2ID}": "password_hash($p, PASSWORD_ARGON2ID)", "{BLF-CRYPT}": "password_hash($p, PASSWORD_BCRYPT)",
             "{SHA256-CRYPT.B64}": "base64_encode(crypt($p, '$5$saltsalt'))", "{SSHA}": "base64_encode(sha1($p . 'salt', true) . 'salt')"}
    for prefix, how in forms.items():
        db.sql(f"UPDATE mailbox SET password = '{prefix}{php_hash(PASSWORDS[CAROL], how)}' WHERE username = '{CAROL}'")
        wait_until(lambda: guide.login(CAROL, PASSWORDS[CAROL]), what=prefix)

    text = (dovecot / "dovecot-sql.conf.ext").read_text()
    edit_dovecot_sql(guide, "password_query", PASSWORD_QUERY_4)
    (dovecot / "dovecot-app.conf.ext").write_text(re.sub(r"^password_query = .*", f"password_query = {APP_PASSWORD_QUERY}", text, flags=re.M))
    (dovecot / "dovecot-app.conf.ext").chmod(0o640)
    shutil.chown(dovecot / "dovecot-app.conf.ext", "root", "postfix")
    passdb = mail.tool("postconf", "-h", "auth_passdb").stdout.strip()
    mail.postconf(f"auth_passdb = {passdb}, sql:{dovecot}/dovecot-app.conf.ext")
    mail.reload()
    assert guide.login(CAROL, PASSWORDS[CAROL])
    db.sql(f"UPDATE mailbox SET totp_secret = 'X' WHERE username = '{CAROL}'; "
           f"INSERT INTO mailbox_app_password (username, password_hash) VALUES ('{CAROL}', '{{ARGON2ID}}{php_hash('app-4711', forms['{ARGON2ID}'])}')")
    wait_until(lambda: not guide.login(CAROL, PASSWORDS[CAROL], ending=True), what="the second factor")
    assert guide.login(CAROL, "app-4711") and not guide.login(ALICE, "app-4711")
    db.sql(f"INSERT INTO totp_exception_address (ip, username) VALUES ('127.0.0.5', '{CAROL}')")
    assert guide.login(CAROL, PASSWORDS[CAROL], client="127.0.0.5") and not guide.login(CAROL, PASSWORDS[CAROL], client="127.0.0.6")
