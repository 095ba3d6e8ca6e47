"""Clients at work until the power goes, and the account of what they were told: used by test_powercut.py.

A message is known by its token. What was answered OK is owed: it must be found after the cut, whole, under the UID that was told.
A UID that any client has seen stands for one message for ever.
"""
import collections
import contextlib
import imaplib
import random
import re
import smtplib
import threading
import time

import mailstate

class Dark(Exception):
    """What a client was told when the power was going is told to nobody: a machine without power says nothing. (An fsync during
    the ioctl may well succeed.)"""


CUT_OFF = (Dark, OSError, EOFError, smtplib.SMTPException, imaplib.IMAP4.error, AssertionError, ValueError)
SENDER = "a@elsewhere.example"
GONE_SECONDS = {"ext4": 10, "xfs": 30}  # an expunge that was answered longer ago does not come undone: the file system has written it
BEGIN_SECONDS = 20    # within which the clients get their first answers
ATTEMPTS = 100        # at reading a box: one for each message that cannot be read
TOGETHER = 500        # messages asked for in one command
SIZES = [1, 1, 1, 8, 8, 60, 60, 900]  # lines of a message


class Ledger:
    def __init__(self, machine, seed):
        self.machine, self.seed, self.lock = machine, seed, threading.RLock()
        self.sent = {}                                # token -> the message as it was sent
        self.owed = collections.defaultdict(dict)     # box -> {token: UID or None}
        self.stands = {}                              # (box, UIDVALIDITY, UID) -> token
        self.validity = {}                            # box -> UIDVALIDITY
        self.seen_by = {}                             # the same -> how a client came to know, and after how many cuts
        self.cuts = 0
        self.copies = {}                              # (box, token) -> how often it was found after the last start
        self.gone = {}                                # (box, UID) -> when its EXPUNGE or MOVE was answered
        self.appended = set()                         # tokens
        self.queued = {}                              # token -> queue ID
        self.somewhere = {}                           # token -> boxes; of a MOVE nobody answered
        self.faults, self.count = [], collections.Counter()
        self.strange = {}                             # lesser faults: (box, UID) -> text
        self.answers, self.cut_at, self.dark = 0, None, threading.Event()
        self.dark_since = 0
        self.mark = machine.i.log_mark()              # what the log holds from here on is of this ledger
        self.told_at = {}                             # token -> when

    def fault(self, text):
        with self.lock:
            self.faults.append(text)

    def doubt(self, lesser, box, uid, text):
        """A fault, or one of those that are told only, each once: of a message whose client was answered nothing, or of sessions
        that disturb each other."""
        if lesser:
            self.strange.setdefault((box, uid), f"{box}: UID {uid}, {text}")
        else:
            self.fault(f"{box}: UID {uid}, {text}")

    def letter(self, rng):
        """(token, message): one that shows whether it is whole."""
        token = f"{rng.getrandbits(64):016x}"
        lines = [f"{n} {token} {rng.getrandbits(200):x}" for n in range(rng.choice(SIZES))]
        head = ["Date: Sun, 22 Nov 2026 10:00:00 +0000", f"From: <{SENDER}>", "To: <you@example.test>", f"Message-ID: <{token}@cut>", f"Subject: cut {token}"]
        with self.lock:
            self.sent[token] = "\r\n".join([*head, "", *lines, ""]).encode()
        return token, self.sent[token]

    def cut(self):
        """Once."""
        with self.lock:
            if self.dark.is_set():
                return
            self.dark.set()
            self.dark_since = time.monotonic()
            self.cuts += 1
            self.machine.cut()

    @contextlib.contextmanager
    def told(self, what, weight=1):
        """A client has read an answer that must last, and writes down what it means. It may be the one on which the power goes."""
        with self.lock:
            if self.dark.is_set():
                raise Dark
            yield
            self.count[what] += weight
            self.answers += 1
            if self.cut_at is not None and self.answers >= self.cut_at:
                self.cut()

    # The following are called within told(), or after a start.
    def owe(self, box, token, uid=None):
        self.owed[box][token] = uid
        self.told_at[token] = time.monotonic()

    def when(self, token):
        """For a person who looks for the fault."""
        return f"{(self.dark_since - self.told_at[token]) * 1000:.1f} ms before the cut" if token in self.told_at else "by a look after a start"

    def saw(self, box, validity, uid, token, how="a look"):
        """A client was shown that this UID is this message. One that was only looked at while it came may be lost in a cut; its
        UID is another's then."""
        was = self.stands.setdefault((box, validity, uid), token)
        by, cuts = self.seen_by.setdefault((box, validity, uid), (how, self.cuts))
        valid = self.validity.setdefault(box, validity)
        if was != token:
            self.doubt(by == "a look" and (how != "APPENDUID" or cuts < self.cuts), box, uid, f"was {was} ({by}), is {token} ({how})")
        if valid != validity:
            self.fault(f"{box}: UIDVALIDITY was {valid}, is {validity}")

    def token_of(self, message):
        found = re.search(rb"^Subject: cut (\w+)\r$", message, re.M)
        return found[1].decode() if found else None

    def same(self, found, token):
        """Whether that is the whole message; delivery puts lines before it."""
        sent = self.sent.get(token)
        return sent is not None and (found == sent if token in self.appended else found.endswith(b"\r\n" + sent))

    def read(self, box):
        """(UIDVALIDITY, {UID: message, or None where the server fails to send it})"""
        found, last = {}, 0
        for attempt in range(ATTEMPTS):
            with imap(self.machine, box) as m:
                validity = select(m, box)
                listed = m(b"UID FETCH 1:* (UID)")
                uids = [int(re.search(rb"UID (\d+)", line)[1]) for line in listed[:-1] if b"UID" in line]
                try:
                    for uid, message in messages(m, [uid for uid in uids if uid > last]):
                        found[uid], last = message, uid
                    return validity, found
                except EOFError:
                    last = min(uid for uid in uids if uid > last)
                    found[last] = None
        raise AssertionError(f"{box}: cannot be read: {found}")

    def check(self, box, copies=1):
        """Looks at a box after a start; what is shown once is owed from now on. copies: as many may be of a message that was on
        its way at the cut; of those that were there before it, no more than there were."""
        where = {}
        validity, shown = self.read(box)
        for uid, message in shown.items():
            token = message and self.token_of(message)
            if message is None or not self.same(message, token):
                size = "unreadable" if message is None else f"{len(message)} bytes: {message[-200:]!r}"
                token = token or self.stands.get((box, validity, uid))
                self.doubt(token not in self.told_at, box, uid, f"{token}, is damaged: {size}")
                continue
            self.saw(box, validity, uid, token, "after a start")
            where.setdefault(token, []).append(uid)
        for token, uid in self.owed[box].items():
            if not where.get(token):
                self.fault(f"{box}: {token}, UID {uid}, is lost; told {self.when(token)}")
            elif uid is not None and uid not in where[token]:
                by, _ = self.seen_by.get((box, validity, uid), (None, 0))
                self.fault(f"{box}: UID {uid} of {token} ({by}) is now {where[token]}; told {self.when(token)}")
        for token, uids in where.items():
            back = [uid for uid in uids if (box, uid) in self.gone]
            for uid in back:
                ago = self.dark_since - self.gone.pop((box, uid))
                self.count["came back"] += 1
                if ago > GONE_SECONDS[self.machine.kind]:
                    self.fault(f"{box}: UID {uid} is back, expunged {ago:.1f} s before the cut")
            if len(uids) - len(back) > self.copies.get((box, token), copies):
                self.fault(f"{box}: {token} is there {len(uids)} times: {uids}")
            self.copies[box, token] = len(uids)
            self.owed[box][token] = uids[0]
        for token, boxes in self.somewhere.items():
            if box in boxes and where.get(token):
                boxes.clear()
        return len(where)

    def check_moves(self):
        """After check() of all boxes."""
        for token, boxes in self.somewhere.items():
            if boxes:
                self.fault(f"{token}: an unanswered MOVE has lost it; it was in one of {boxes}")
        self.somewhere.clear()


# Boxes are (user, name). Clients.
def imap(machine, box):
    return mailstate.connect(machine.i.imaps_port, box[0], machine.i.users[box[0]], machine.i.tls)


def select(m, box, command=b"SELECT"):
    """UIDVALIDITY"""
    return int(re.search(rb"\[UIDVALIDITY (\d+)\]", b"\n".join(m.ok(command + b" " + mailstate.quoted(box[1]))))[1])


def messages(m, uids):
    """(UID, bytes) of these messages of the selected box, in order."""
    for n in range(0, len(uids), TOGETHER):
        m.send(b"UID FETCH %d:%d (UID BODY.PEEK[])" % (uids[n], uids[n : n + TOGETHER][-1]))
        while not (line := m.line()).startswith(b"t%d " % m.number):
            if found := re.match(rb"\* \d+ FETCH \(.*?UID (\d+) .*?BODY\[\] (\{(\d+)\}\r\n|\"\"|NIL)", line):
                yield int(found[1]), line[found.end() : found.end() + int(found[3] or 0)]


def lmtp(machine):
    return smtplib.LMTP("127.0.0.1", machine.i.lmtp_port, local_hostname="client.example")


def smtp(machine):
    return smtplib.SMTP("127.0.0.1", machine.i.smtp_port, local_hostname="client.example", timeout=30)


class Load:
    """Clients, each a thread, until the power goes."""

    def __init__(self, ledger, number):
        self.ledger, self.machine = ledger, ledger.machine
        self.seed = f"{ledger.seed}.{number}"
        self.threads = []

    def add(self, work, *args, times=1):
        for _ in range(times):
            rng = random.Random(f"{self.seed}.{len(self.threads)}")
            self.threads.append(threading.Thread(target=self.guarded, args=(work, rng, *args), daemon=True))

    def guarded(self, work, rng, *args):
        try:
            work(rng, *args)
        except smtplib.SMTPResponseException as e:
            if e.smtp_code >= 500 or not self.ledger.dark.is_set():
                self.ledger.fault(f"{work.__name__}: {e}")
        except CUT_OFF as e:
            if not self.ledger.dark.is_set():
                self.ledger.fault(f"{work.__name__} ended before the cut: {type(e).__name__}: {e}")

    def run(self, least, most, at_most=0.3):
        """Cuts after that many answers: at the instant of the answer, or up to so many seconds later. Then starts anew."""
        ledger, rng = self.ledger, random.Random(self.seed)
        answers, later = rng.randint(least, most), rng.choice([0, 0, rng.uniform(0, 0.02), rng.uniform(0, at_most)] if most else [rng.uniform(0, at_most)])
        print(f"{self.machine.kind}, seed {self.seed}: cut after {answers} answers and {later * 1000:.0f} ms", flush=True)
        ledger.dark.clear()
        ledger.answers, ledger.cut_at = 0, None if later else answers
        for t in self.threads:
            t.start()
        end = time.monotonic() + BEGIN_SECONDS
        while not ledger.dark.is_set() and ledger.answers < answers:
            assert time.monotonic() < end, f"{ledger.answers} of {answers} answers; {ledger.faults[:5]}"
            time.sleep(0.001)
        time.sleep(later)
        ledger.cut()
        self.machine.end_processes()
        for t in self.threads:
            t.join(30)
            assert not t.is_alive()
        self.machine.boot()

    # What clients do.
    def by_lmtp(self, rng, box):
        with lmtp(self.machine) as s:
            while True:
                token, text = self.ledger.letter(rng)
                s.sendmail(SENDER, [box[0]], text)
                with self.ledger.told("LMTP"):
                    self.ledger.owe(box, token)

    def by_smtp(self, rng, boxes):
        with smtp(self.machine) as s:
            while True:
                box, (token, text) = rng.choice(boxes), self.ledger.letter(rng)
                s.sendmail(SENDER, [box[0]], text)
                with self.ledger.told("SMTP"):
                    self.ledger.owe(box, token)

    def to_wait(self, rng, box):
        """By SMTP to a box whose mail waits. In the queue a message is known by its sender, which is its token, and by its ID."""
        with smtp(self.machine) as s:
            s.ehlo()
            while True:
                token, text = self.ledger.letter(rng)
                for step, given in ((s.mail, f"{token}@elsewhere.example"), (s.rcpt, box[0]), (s.data, text)):
                    answer = step(given)
                    if answer[0] != 250:
                        raise smtplib.SMTPResponseException(*answer)
                with self.ledger.told("SMTP"):
                    self.ledger.owe(box, token)
                    self.ledger.queued[token] = re.search(rb"queued as (\w+)", answer[1])[1].decode()

    def append_some(self, m, rng, box, most):
        """[(UID, token)] of one APPEND with up to so many messages."""
        letters = [self.ledger.letter(rng) for _ in range(rng.randint(1, most))]
        self.ledger.appended.update(token for token, _ in letters)
        parts = [b" {%d+}\r\n%s" % (len(text), text) for _, text in letters]
        answer = m.ok(b"APPEND " + mailstate.quoted(box[1]) + b"".join(parts))[-1]
        validity, uids = re.search(rb"APPENDUID (\d+) (\S+)\]", answer).groups()
        uids = numbers(uids)
        assert len(uids) == len(letters), answer
        with self.ledger.told("APPEND", len(uids)):
            for uid, (token, _) in zip(uids, letters):
                self.ledger.owe(box, token, uid)
                self.ledger.saw(box, int(validity), uid, token, "APPENDUID")
        return [(uid, token) for uid, (token, _) in zip(uids, letters)]

    def by_append(self, rng, box, most=1, selected=True):
        with imap(self.machine, box) as m:
            if selected:
                select(m, box)
            while True:
                self.append_some(m, rng, box, most)

    def observe(self, rng, box):
        """Sees each message as it comes, and which UID it has."""
        with imap(self.machine, box) as m:
            validity, highest = select(m, box), 0
            while True:
                m.ok(b"NOOP")
                highest = self.look(m, box, validity, highest)
                time.sleep(rng.uniform(0, 0.02))

    def open(self, rng, m, box):
        """For a cut during what the first opening after a start does."""
        with m:
            self.look(m, box, select(m, box), 0)

    def new(self, m, highest):
        """[(UID, token)] of those above."""
        new = []
        for line in m.ok(b"UID FETCH %d:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])" % (highest + 1)):
            if found := re.search(rb"UID (\d+) .*Subject: cut (\w+)", line, re.S):
                new.append((int(found[1]), found[2].decode()))
        return new

    def look(self, m, box, validity, highest):
        """The highest UID."""
        new = self.new(m, highest)
        with self.ledger.told("look"):
            for uid, token in new:
                self.ledger.saw(box, validity, uid, token)
        return max([highest, *(uid for uid, _ in new)])

    def copy_newest(self, rng, box, other):
        """Of what others deliver, the last one at each look."""
        with imap(self.machine, box) as m:
            select(m, box)
            highest = 0
            while True:
                m.ok(b"NOOP")
                uid, token = max(self.new(m, highest), default=(0, None))
                if uid > highest:
                    self.copy(m, uid, token, box, other)
                    highest = uid

    def idle(self, rng, box):
        """Sleeps in IDLE, looks at what it is told of."""
        with imap(self.machine, box) as m:
            validity, highest = select(m, box), 0
            while True:
                m.send(b"IDLE")
                while b"EXISTS" not in (line := m.file.readline()):
                    if not line:
                        raise EOFError("in IDLE")
                m.sock.sendall(b"DONE\r\n")
                m.answer()
                highest = self.look(m, box, validity, highest)

    def change(self, rng, box, other):
        """APPEND, then COPY, MOVE, flags or EXPUNGE of one's own messages."""
        with imap(self.machine, box) as m:
            select(m, box)
            while True:
                uid, token = rng.choice(self.append_some(m, rng, box, 3))
                rng.choice([self.copy, self.move, self.flag, self.expunge])(m, uid, token, box, other)

    def copied(self, lines, uid, token, other):
        validity, source, target = re.search(rb"COPYUID (\d+) (\d+) (\d+)\]", b"\n".join(lines)).groups()
        assert int(source) == uid
        self.ledger.owe(other, token, int(target))
        self.ledger.saw(other, int(validity), int(target), token, "COPYUID")

    def copy(self, m, uid, token, box, other):
        lines = m.ok(b"UID COPY %d %s" % (uid, mailstate.quoted(other[1])))
        with self.ledger.told("COPY"):
            self.copied(lines, uid, token, other)

    def move(self, m, uid, token, box, other):
        ledger = self.ledger
        with ledger.lock:
            del ledger.owed[box][token]
            ledger.somewhere[token] = [box, other]
        lines = m.ok(b"UID MOVE %d %s" % (uid, mailstate.quoted(other[1])))
        with ledger.told("MOVE"):
            self.copied(lines, uid, token, other)
            del ledger.somewhere[token]
            ledger.gone[box, uid] = time.monotonic()

    def flag(self, m, uid, token, box, other):
        m.ok(rb"UID STORE %d +FLAGS (\Seen \Flagged cut)" % uid)
        with self.ledger.told("STORE"):
            pass

    def expunge(self, m, uid, token, box, other):
        del self.ledger.owed[box][token]
        m.ok(rb"UID STORE %d +FLAGS.SILENT (\Deleted)" % uid)
        m.ok(b"UID EXPUNGE %d" % uid)
        with self.ledger.told("EXPUNGE"):
            self.ledger.gone[box, uid] = time.monotonic()


def numbers(text):
    return [n for part in text.split(b",") for n in range(int(part.split(b":")[0]), int(part.split(b":")[-1]) + 1)]
