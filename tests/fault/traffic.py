"""Traffic through every way in and out of an instance, and the account of it: what was accepted is found, once or more.

Used by tests/fault/run (any process killed at random, for as long as one likes) and tests/system/test_crash.py (each daemon in turn).
The other host is ours too: it takes mail, takes it at the second try, or refuses it, as the recipient's name says.
"""
import collections
import contextlib
import hashlib
import imaplib
import os
import pathlib
import poplib
import pwd
import random
import re
import secrets
import smtplib
import socketserver
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))
from conftest import own_instance, queue_ids  # noqa: E402
from nameserver import A, MX, NameServer  # noqa: E402

CUT_OFF = (OSError, EOFError, smtplib.SMTPException, imaplib.IMAP4.error, poplib.error_proto, subprocess.SubprocessError, AssertionError, ValueError)
SETTINGS = ["minimal_backoff_time = 1s", "maximal_backoff_time = 2s", "queue_run_delay = 1s", "transport_retry_time = 1s",
            "service_throttle_time = 1s", "mail_process_idle_time = 0s", "mailboxd_process_limit = 1", "smtpd_tls_session_cache_timeout = 4s",
            "smtpd_client_connection_rate_limit = 0", "virtual_mailbox_limit = 0", "virtual_mailbox_domains = $mydomain, virtual.test",
            "virtual_mailbox_maps = proxy:$default_database_type:$config_directory/vmailbox",
            "virtual_alias_maps = proxy:$default_database_type:$config_directory/virtual",
            # Each login asks auth-worker first, which does not know the user.
            "auth_passdb = {shadow} {passwd-file:$config_directory/users}",
            "imap_hibernate_timeout = 1s"]
VIRTUAL = "carol@virtual.test"
# Mailboxes of other groups than virtual's and lmtpd's own: delivered by mailboxd, of which each has one process at a time.
FOREIGN = {"dave@virtual.test": 61998, "dora@virtual.test": 61999, "emma@example.test": 61998, "erin@example.test": 61999}
SLEEPER = "sleeper@example.test"  # clients in IDLE, most of the time held by a keeper
BOXES = [VIRTUAL, SLEEPER, *FOREIGN]
QUIET_SECONDS = 0.1  # between two messages of one sender, at most
QUIET_OF = {"asleep": 4}
UNTOLD_SECONDS = 20  # after which a client that is still connected must have been told of what is in its mailbox


class Refused(Exception):
    """Not accepted, for now: nothing is owed."""


class Fault(Exception):
    """An answer that no crash excuses: a message refused for good, a right password called wrong."""


def make(sender, to):
    """(token, message): a message that shows whether it is whole."""
    token = secrets.token_hex(12)
    lines = [secrets.token_hex(30) for _ in range(random.choice([1, 3, 40, 2000]))]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    return token, "\r\n".join([f"From: <{sender}>", f"To: <{to}>", f"Subject: fault {token}", f"X-Digest: {digest}", "", *lines, ""])


def read(message):
    """The token of a message, None when it is damaged."""
    head, _, body = message.replace(b"\r\n", b"\n").decode("ascii", "replace").partition("\n\n")
    token, digest = re.search(r"^Subject: fault (\w+)$", head, re.M), re.search(r"^X-Digest: (\w+)$", head, re.M)
    whole = token and digest and hashlib.sha256(body.replace("\n", "").encode()).hexdigest() == digest[1]
    return token[1] if whole else None


def read_report(message):
    """(token, actions) of a report about one of our messages; None for anything else."""
    head, _, body = message.replace(b"\r\n", b"\n").decode("ascii", "replace").partition("\n\n")
    token = re.search(r"^Subject: fault (\w+)$", body, re.M)
    if "multipart/report" not in head or not token:
        return None
    return token[1], re.findall(r"^Action: (\w+)$", body, re.M)


class OtherHost(socketserver.StreamRequestHandler):
    """Speaks SMTP: no...@ is unknown, later...@ is taken at the second try, all others at once."""

    def handle(self):
        with contextlib.suppress(OSError):
            self.converse()

    def converse(self):
        self.say("220 mx.relay.test ESMTP")
        rcpts = []
        while line := self.rfile.readline():
            verb = line.strip().upper()
            if verb.startswith(b"EHLO"):
                self.say("250-mx.relay.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 DSN")
            elif verb.startswith(b"RCPT"):
                rcpt = line.split(b"<")[1].split(b">")[0].decode()
                answer = self.judge(rcpt)
                rcpts += [rcpt] if answer.startswith("250") else []
                self.say(answer)
            elif verb == b"DATA" and not rcpts:
                self.say("554 5.5.1 no valid recipients")
            elif verb == b"DATA":
                self.say("354 go ahead")
                text = b""
                while (row := self.rfile.readline()) != b".\r\n":
                    if not row:
                        return
                    text += row[1:] if row.startswith(b".") else row
                self.server.taken.append((rcpts, text))
                rcpts = []
                self.say("250 2.0.0 taken")
            elif verb == b"QUIT":
                self.say("221 2.0.0 Bye")
                return
            else:
                self.say("250 2.0.0 Ok")

    def judge(self, rcpt):
        if rcpt.startswith("no"):
            return "550 5.1.1 no such user"
        if rcpt.startswith("later") and rcpt not in self.server.seen:
            self.server.seen.add(rcpt)
            return "450 4.2.0 come back later"
        return "250 2.1.5 Ok"

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")


class OtherServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 100

    def __init__(self):
        super().__init__(("127.0.0.1", 0), OtherHost)
        self.taken, self.seen = [], set()


def groups():
    if os.geteuid() != 0:
        return []  # nobody can become another
    own = pwd.getpwnam("vmail").pw_gid
    rows = [f"{{{b} = {gid}}}" for b, gid in FOREIGN.items()] + [f"{{@{d} = {own}}}" for d in ("virtual.test", "example.test")]
    return ["virtual_gid_maps = inline:{ " + " ".join(rows) + " }"]


@contextlib.contextmanager
def instance_with_traffic(port_base):
    """An instance of its own, the other host and its name server: a Traffic that has not begun."""
    names = NameServer({"relay.test": {MX: [(10, "dead.relay.test"), (20, "mx.relay.test")]}, "mx.relay.test": {A: [(0, "127.0.0.1")]},
                        "dead.relay.test": {A: [(0, "127.0.0.78")]}}, ttl=1)
    other = OtherServer()
    port = other.server_address[1]
    transports = ("transport_maps = inline:{ {relay.test = smtp:relay.test:%d} {virtual.test = virtual:} {discard.test = discard:} "
                  "{error.test = error:5.1.1 nobody lives here} }" % port)
    for s in (names, other):
        threading.Thread(target=s.serve_forever, daemon=True).start()
    try:
        with own_instance(port_base, *SETTINGS, *groups(), names.stub_zones("relay.test"), transports) as i:
            box = pathlib.Path(i.config_dir) / "vmailbox"
            box.write_text(box.read_text() + "".join(f"{b} {b.split('@')[1]}/{b.split('@')[0]}/\n" for b in BOXES))
            i.sleeper_password = secrets.token_hex(12)
            with open(f"{i.config_dir}/users", "a") as f:
                f.write(f"{SLEEPER}:{{PLAIN}}{i.sleeper_password}::::::\n")
            i.tool("postmap", str(box))
            i.reload()
            yield Traffic(i, other)
    finally:
        for s in (names, other):
            s.shutdown()
            s.server_close()


def check_smtp(error):
    """An SMTP client's trouble: a refusal for good is a fault."""
    codes = [error.smtp_code] if isinstance(error, smtplib.SMTPResponseException) else []
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
    if any(code >= 500 for code in codes):
        raise Fault(f"refused for good: {error}")
    raise Refused(str(error))


class Traffic:
    # What becomes of a message of each kind: it is in its recipient's mailbox, at the other host, reported as a failure, or nowhere.
    BOX, OTHER, BOUNCE, NOWHERE = "mailbox", "other host", "bounce", "nowhere"
    KINDS = {"smtp": BOX, "submission": BOX, "sendmail": BOX, "append": BOX, "virtual": BOX, "foreign": BOX, "asleep": BOX, "relay": OTHER, "later": OTHER, "unknown": BOUNCE,
             "error": BOUNCE, "discard": NOWHERE}

    def __init__(self, instance, other):
        self.i, self.other = instance, other
        self.stop, self.lock = threading.Event(), threading.Lock()
        self.accepted = {}  # token -> (kind, recipient, what was being done to the instance then)
        self.tried, self.count_of, self.looks = collections.Counter(), collections.Counter(), collections.Counter()
        self.uids = {}  # (user, uidvalidity, uid) -> subject and Message-ID
        self.faults, self.notes = [], []
        self.doing, self.threads = "", []

    def fault(self, text):
        with self.lock:
            self.faults.append(f"[{self.doing}] {text}" if self.doing else text)
        print("FAULT", text, flush=True)

    # The ways in. Each returns when the message was accepted, and raises otherwise.
    def by_smtp(self, sender, to, text):
        try:
            with self.i.smtp() as s:
                s.sendmail(sender, [to], text)
        except smtplib.SMTPException as e:
            check_smtp(e)

    def by_submission(self, sender, to, text):
        wish = ["NOTIFY=SUCCESS,FAILURE"] if random.random() < 0.5 else []
        try:
            with self.i.submission(user=sender) as s:
                s.sendmail(sender, [to], text, rcpt_options=wish)
        except smtplib.SMTPException as e:
            check_smtp(e)

    def by_sendmail(self, sender, to, text):
        done = self.i.tool("sendmail", "-i", "-f", sender, to, input=text.replace("\r\n", "\n"), ok=False)
        if done.returncode not in (0, 75):
            raise Fault(f"sendmail: exit {done.returncode}: {done.stderr}")
        if done.returncode:
            raise Refused(done.stderr)

    def by_append(self, sender, to, text):
        try:
            with self.i.imap(to) as m:
                typ, words = m.append("INBOX", None, None, text.encode())
        except imaplib.IMAP4.error as e:
            self.check_login(e)
        if typ != "OK":
            raise Refused(str(words))

    @staticmethod
    def check_login(error):
        if "AUTHENTICATIONFAILED" in str(error) or "[AUTH]" in str(error):
            raise Fault(f"a right password was called wrong: {error}")
        raise Refused(str(error))

    def plan(self, kind):
        """(function, sender, recipient) of the next message of that kind."""
        user = random.choice([self.i.user1, self.i.user2])
        unique = secrets.token_hex(6)
        way = random.choice([self.by_submission, self.by_sendmail])
        return {"smtp": (self.by_smtp, "a@elsewhere.example", user), "submission": (self.by_submission, self.i.user1, user),
                "sendmail": (self.by_sendmail, self.i.user1, user), "append": (self.by_append, self.i.user1, user),
                "virtual": (self.by_smtp, "a@elsewhere.example", VIRTUAL), "asleep": (self.by_smtp, "a@elsewhere.example", SLEEPER),
                "foreign": (self.by_smtp, "a@elsewhere.example", random.choice(list(FOREIGN))), "relay": (way, self.i.user1, f"u{unique}@relay.test"),
                "later": (way, self.i.user1, f"later{unique}@relay.test"), "unknown": (way, self.i.user1, f"no{unique}@relay.test"),
                "error": (self.by_sendmail, self.i.user1, f"x{unique}@error.test"),
                "discard": (way, self.i.user1, f"x{unique}@discard.test")}[kind]

    def sender(self, kind):
        while not self.stop.is_set():
            way, sender, to = self.plan(kind)
            token, text = make(sender, to)
            self.tried[kind] += 1
            try:
                way(sender, to, text)
            except Fault as e:
                self.fault(f"{kind}: {e}")
            except (Refused, *CUT_OFF):
                self.stop.wait(0.05)
            else:
                with self.lock:
                    self.accepted[token] = (kind, to, self.doing)
                    self.count_of[kind] += 1
            self.stop.wait(random.uniform(0, QUIET_OF.get(kind, QUIET_SECONDS)))

    # The readers: a UID that was seen may go, never change.
    def reader(self, look, *args):
        while not self.stop.is_set():
            try:
                look(*args)
                self.looks[look.__name__] += 1
            except Fault as e:
                self.fault(str(e))
            except (Refused, *CUT_OFF):
                pass
            self.stop.wait(random.uniform(0, 3 * QUIET_SECONDS))

    def same(self, key, what):
        was = self.uids.setdefault(key, what)
        if was != what:
            self.fault(f"{key} was {was}, is {what}")

    def read_imap(self, user, newest=None):
        newest = random.choice([5, 50]) if newest is None else newest
        try:
            with self.i.imap(user) as m:
                typ, count = m.select("INBOX", readonly=True)
                if typ != "OK":
                    raise Refused(str(count))
                validity = m.response("UIDVALIDITY")[1][0]
                count = int(count[0])
                first = max(1, count - newest) if newest else 1
                rows = m.fetch(f"{first}:*", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT MESSAGE-ID)])")[1] if count else []
        except imaplib.IMAP4.error as e:
            self.check_login(e)
        for item in rows:
            if isinstance(item, tuple):
                self.same((user, validity, re.search(rb"UID (\d+)", item[0])[1]), item[1])

    def read_pop3(self, user):
        m = poplib.POP3_SSL("localhost", self.i.pop3s_port, context=self.i.tls, timeout=60)
        try:
            m.user(user)
            m.pass_(self.i.users[user])
            listing = m.uidl()[1]
            for row in listing[-3:]:
                number, uid = row.split()
                head = [line for line in m.top(int(number), 0)[1] if line.lower().startswith((b"subject:", b"message-id:"))]
                self.same((user, "pop3", uid), tuple(head))
                time.sleep(random.uniform(0, 0.05))  # as over a network: else there is seldom a pop3d to be seen
            m.quit()
        except poplib.error_proto as e:
            self.check_login(e)
        finally:
            m.close()

    def sleep_and_hear(self):
        """A client in IDLE is told of new mail, or loses its connection: it is never left asleep."""
        tls = random.random() < 0.5
        m = imaplib.IMAP4_SSL("localhost", self.i.imaps_port, ssl_context=self.i.tls) if tls else imaplib.IMAP4("localhost", self.i.imap_port)
        try:
            m.login(SLEEPER, self.i.sleeper_password)
            have = int(m.select("INBOX", readonly=True)[1][0])
            m.send(b"i1 IDLE\r\n")
            m.sock.settimeout(0.5)
            heard, since = b"", None
            while b"EXISTS" not in heard and not self.stop.is_set():
                with contextlib.suppress(TimeoutError):
                    piece = m.sock.recv(4096)
                    if not piece:
                        raise Refused("disconnected")
                    heard += piece
                since = since or (time.monotonic() if len(self.box(SLEEPER)) > have else None)
                if b"EXISTS" not in heard and since and time.monotonic() - since > UNTOLD_SECONDS:
                    raise Fault(f"in IDLE, {have} messages known, {len(self.box(SLEEPER))} there, and told only {heard!r}")
        except imaplib.IMAP4.error as e:
            self.check_login(e)
        finally:
            m.shutdown()

    def list_queue(self):
        self.i.tool("mailq")
        queue_ids(self.i)

    def begin(self):
        plans = [(self.sender, kind) for kind in self.KINDS] + [(self.sender, "smtp"), (self.reader, self.read_imap, self.i.user2),
                                                               (self.reader, self.read_imap, self.i.user1),
                                                               (self.reader, self.read_pop3, self.i.user2), (self.reader, self.list_queue),
                                                               *[(self.reader, self.sleep_and_hear)] * 6]
        self.threads = [threading.Thread(target=function, args=args, daemon=True) for function, *args in plans]
        for t in self.threads:
            t.start()

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join()

    def box(self, user):
        """The files of a mailbox."""
        local, domain = user.split("@")
        return [f for sub in ("new", "cur") for f in (pathlib.Path(self.i.mail_dir) / domain / local / sub).glob("*")]

    def progress(self):
        """What has been done so far: accepted by kind, looked at, and arrived."""
        with self.lock:
            done = {kind: self.count_of[kind] for kind in self.KINDS}
        done |= {look: self.looks[look] for look in ("read_imap", "read_pop3", "list_queue", "sleep_and_hear")}
        return done | {"arrived at " + user: len(self.box(user)) for user in (*self.i.users, *BOXES)} | {"sent": len(self.other.taken)}

    # The count.
    def left(self):
        maildrop = [f.name for f in (pathlib.Path(self.i.queue_dir) / "maildrop").iterdir() if f.stat().st_mode & 0o100]
        return queue_ids(self.i) or maildrop

    def settle(self, seconds):
        """Waits until the queue is empty."""
        end = time.monotonic() + seconds
        while True:
            left = ["?"]
            with contextlib.suppress(*CUT_OFF):
                self.i.tool("postqueue", "-f")
                left = self.left()
            if not left:
                return
            if time.monotonic() > end:
                self.fault(f"the queue is not empty after {seconds} s: {left[:20]}")
                return
            time.sleep(0.3)

    def found(self):
        """(copies of token for recipient, failures reported of token)."""
        copies, failed = collections.Counter(), collections.Counter()
        boxes = [(user, self.i.messages(user)) for user in (self.i.user1, self.i.user2)]
        boxes += [(b, [f.read_bytes() for f in self.box(b)]) for b in BOXES]
        boxes += [(rcpt, [text]) for rcpts, text in self.other.taken for rcpt in rcpts]
        for to, messages in boxes:
            for message in messages:
                report = read_report(message)
                token = None if report else read(message)
                if report and "failed" in report[1]:
                    failed[report[0]] += 1
                elif token:
                    copies[token, to] += 1
                elif not report:
                    self.fault(f"{to}: a damaged message: {message[:300]!r}")
        return copies, failed

    def count(self):
        """Looks for every accepted message; how many there were."""
        copies, failed = self.found()
        twice = collections.Counter()
        for token, (kind, to, doing) in self.accepted.items():
            fate = self.KINDS[kind]
            wanted = {self.BOX: copies[token, to], self.OTHER: copies[token, to], self.BOUNCE: failed[token], self.NOWHERE: 1}[fate]
            if not wanted:
                self.fault(f"lost: {token} for {to}, {kind}, accepted during: {doing}")
            twice[kind] += max(0, wanted - 1)
            if failed[token] and fate != self.BOUNCE:
                self.fault(f"bounced without need: {token} for {to}, {kind}, accepted during: {doing}")
        unasked = sum(n for (token, _), n in copies.items() if token not in self.accepted)
        empty = [f.name for user in (*self.i.users, *BOXES) for f in self.box(user) if f.stat().st_size == 0]
        corrupt = [f.name for f in (pathlib.Path(self.i.queue_dir) / "corrupt").iterdir()]
        if empty or corrupt:
            self.fault(f"empty message files: {empty[:5]}, corrupt queue files: {corrupt[:5]}")
        self.notes += ["accepted of tried: " + ", ".join(f"{k} {self.count_of[k]}/{self.tried[k]}" for k in self.KINDS),
                       "looked:            " + ", ".join(f"{k} {n}" for k, n in self.looks.items()),
                       "duplicates:        " + (", ".join(f"{k} {n}" for k, n in twice.items() if n) or "none") +
                       f"; arrived although the client was told nothing: {unasked}"]
        return len(self.accepted)
