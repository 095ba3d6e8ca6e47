"""Two servers on one Maildir at the same time: deliveries, flags, keywords, copies, moves, expunges from both, then everything counted.

A message is changed by the workers of one side only (its name says which), so that its state in the end is known; all
see all. Each (UIDVALIDITY, UID) that anybody sees must always stand for the same message.
"""
import collections
import random
import re
import threading
import time

import mailstate

BOXES = ["INBOX", "other"]
KEYWORDS = [f"kw{n}" for n in range(34)]
SYSTEM = [rb"\Seen", rb"\Answered", rb"\Flagged", rb"\Draft"]
SIDES = ["ours", "dovecot"]


class Together:
    def __init__(self, account, seconds, seed):
        self.account, self.end, self.seed = account, time.monotonic() + seconds, seed
        self.lock = threading.Lock()
        self.where = {}  # ident -> (box, flags), None when expunged
        self.copies = collections.Counter()  # ident -> copies in "copies"
        self.unsure = set()  # idents of a command that got no answer, or was refused
        self.stands_for = {}  # (UIDVALIDITY, uid) -> ident
        self.wrong, self.count = [], collections.Counter()

    def note(self, text):
        with self.lock:
            self.wrong.append(text)

    def letter(self, who, n, owner):
        ident = f"{owner}.{who}.{n}"
        return ident.encode(), f"From: <a@elsewhere.example>\r\nSubject: both\r\nMessage-ID: <{ident}>\r\n\r\n{'line ' * (n % 50)}\r\n".encode()

    def running(self):
        return time.monotonic() < self.end

    def guarded(self, function, *args):
        try:
            function(*args)
        except Exception as e:  # the test tells, not the thread
            self.note(f"{function.__name__}{args}: {type(e).__name__}: {e}")

    def deliver(self, side):
        random_ = random.Random(f"{self.seed}{side}")
        n = 0
        while self.running():
            with self.account.lmtp(side) as s:
                for _ in range(20):
                    ident, text = self.letter(f"lmtp-{side}", n, random_.choice(SIDES))
                    s.sendmail("a@elsewhere.example", [self.account.user], text)
                    with self.lock:
                        self.where[ident] = ("INBOX", frozenset())
                    n += 1
                    self.count["delivered by " + side] += 1
                    time.sleep(random_.random() * 0.05)

    def work(self, side, box):
        Worker(self, side, box).run()

    def run(self):
        threads = [threading.Thread(target=self.guarded, args=(self.deliver, side)) for side in SIDES]
        threads += [threading.Thread(target=self.guarded, args=(self.work, side, box)) for side in SIDES for box in BOXES]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def check(self):
        """In the end both show the same, and all of it."""
        found = {side: self.account.record(side) for side in SIDES}
        self.wrong += mailstate.differences(found["ours"], found["dovecot"])
        shown, copies = collections.defaultdict(list), collections.Counter()
        for name, (validity, _, messages) in found["ours"]["boxes"].items():
            for uid, (flags, _, _, ident) in messages.items():
                ident = ident.strip(b"<>")
                if name == "copies":
                    copies[ident] += 1
                else:
                    shown[ident].append((name, flags))
                self.seen(validity, uid, ident)
        for ident, state in self.where.items():
            if ident in self.unsure:
                continue
            if shown.get(ident, []) != ([state] if state else []):
                self.wrong.append(f"{ident}: {shown.get(ident)} instead of {state}")
            if copies[ident] != self.copies[ident]:
                self.wrong.append(f"{ident}: {copies[ident]} copies instead of {self.copies[ident]}")
        self.wrong += [f"{ident}: nobody sent that" for ident in shown if ident not in self.where]
        for folder in [".", ".other", ".copies"]:
            self.check_uidlist(self.account.box_dir / folder)

    def check_uidlist(self, folder):
        lines = (folder / "dovecot-uidlist").read_bytes().split(b"\n")
        if lines.pop() != b"":
            self.wrong.append(f"{folder}: half a line at the end of dovecot-uidlist")
        records = [re.match(rb"(\d+) (?:\S+ )*:(\S+)$", line) for line in lines[1:]]
        self.wrong += [f"{folder}: {line}" for line, record in zip(lines[1:], records) if not record]
        uids, names = [int(r[1]) for r in records if r], [r[2] for r in records if r]
        if uids != sorted(set(uids)):
            self.wrong.append(f"{folder}: UIDs of dovecot-uidlist do not rise")
        self.wrong += [f"{folder}: {name} has {n} UIDs" for name, n in collections.Counter(names).items() if n > 1]
        files = [p.name.split(":")[0] for sub in ("new", "cur") for p in (folder / sub).iterdir()]
        self.wrong += [f"{folder}: {n} files {name}" for name, n in collections.Counter(files).items() if n > 1]
        self.wrong += [f"{folder}: {name} has no UID" for name in files if name.encode() not in names]

    def seen(self, validity, uid, ident):
        with self.lock:
            before = self.stands_for.setdefault((validity, uid), ident)
        if before != ident:
            self.note(f"UID {uid} of {validity} stands for {before} and for {ident}")


class Worker:
    """A session that changes its side's messages in one box."""

    def __init__(self, all_, side, box):
        self.all, self.side, self.box = all_, side, box
        self.random = random.Random(f"{all_.seed}{side}{box}")
        self.imap = all_.account.imap(side)
        self.number = 0

    def run(self):
        with self.imap:
            while self.all.running():
                self.select()
                for _ in range(40):
                    if self.all.running():
                        self.step()
                        time.sleep(self.random.random() * 0.03)

    def select(self):
        lines = self.imap.ok(b"SELECT " + mailstate.quoted(self.box))
        self.validity = int(re.search(rb"\[UIDVALIDITY (\d+)\]", b"\n".join(lines))[1])
        self.uids, self.highest = {}, 0  # uid -> ident

    def look(self):
        """New messages of the box: who they are; what was expunged goes with the next NOOP."""
        self.imap.ok(b"NOOP")
        for line in self.imap.ok(b"UID FETCH %d:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])" % (self.highest + 1)):
            if (uid := re.search(rb"UID (\d+)", line)) and (ident := re.search(rb"(?i)message-id:\s*<(\S+)>", line)):
                self.all.seen(self.validity, int(uid[1]), ident[1])
                self.highest = max(self.highest, int(uid[1]))
                if ident[1].startswith(self.side.encode() + b"."):
                    self.uids[int(uid[1])] = ident[1]

    def step(self):
        self.look()
        what = self.random.choice([self.append, self.store, self.store, self.store, self.expunge, self.move, self.copy])
        mine = [(uid, ident) for uid, ident in self.uids.items() if (self.all.where.get(ident) or ("",))[0] == self.box]
        if what == self.append:
            self.append()
        elif mine:
            what(*self.random.choice(mine))

    def tell(self, command, *idents):
        """The answer when it is OK; else nobody knows what became of the messages, and that is told."""
        lines = self.imap(command)
        self.all.count[f"{command.split()[0 if command.startswith(b'APPEND') else 1].decode()} by {self.side}"] += 1
        if lines[-1].startswith(b"OK"):
            return lines
        with self.all.lock:
            self.all.unsure.update(idents)
        self.all.note(f"{self.side}: {command[:100]}: {lines[-1]}")
        return None

    def flags(self):
        return self.random.sample(SYSTEM, self.random.randrange(3)) + [k.encode() for k in self.random.sample(KEYWORDS, self.random.randrange(3))]

    def append(self):
        ident, text = self.all.letter(f"append-{self.side}-{self.box}", self.number, self.random.choice(SIDES))
        flags, self.number = self.flags(), self.number + 1
        if self.tell(b"APPEND %s (%s) {%d+}\r\n%s" % (mailstate.quoted(self.box), b" ".join(flags), len(text), text), ident):
            with self.all.lock:
                self.all.where[ident] = (self.box, frozenset(flags))

    def store(self, uid, ident):
        how, flags = self.random.choice([b"+", b"+", b"-", b""]), self.flags()
        had = self.all.where[ident][1]
        if self.tell(b"UID STORE %d %sFLAGS%s (%s)" % (uid, how, self.random.choice([b"", b".SILENT"]), b" ".join(flags)), ident):
            self.all.where[ident] = (self.box, frozenset(had | set(flags) if how == b"+" else had - set(flags) if how == b"-" else flags))

    def expunge(self, uid, ident):
        if self.tell(rb"UID STORE %d +FLAGS.SILENT (\Deleted)" % uid, ident) and self.tell(b"UID EXPUNGE %d" % uid, ident):
            self.all.where[ident] = None
            del self.uids[uid]

    def move(self, uid, ident):
        to = BOXES[1 - BOXES.index(self.box)]
        had = self.all.where[ident][1]
        self.all.where[ident] = None  # not to be changed by the other box's worker before it is there
        if self.tell(b"UID MOVE %d %s" % (uid, mailstate.quoted(to)), ident):
            self.all.where[ident] = (to, had)
            del self.uids[uid]

    def copy(self, uid, ident):
        if self.tell(b"UID COPY %d copies" % uid, ident):
            with self.all.lock:
                self.all.copies[ident] += 1


def run(account, seconds, seed):
    """What was wrong, and how often what was done."""
    both = Together(account, seconds, seed)
    with account.imap("dovecot") as imap:
        imap.ok(b"CREATE other")
        imap.ok(b"CREATE copies")
    both.run()
    both.check()
    return both.wrong, both.count
