"""The cases: what is driven, how a unit is counted. A case answers {"debian": figures, "posthorn": figures, ...}."""
import concurrent.futures
import contextlib
import itertools
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

from sides import BUILD, DOMAIN, IDLERS, PASSWORD, ROOT, USERS, Debian, Ours, run, tree, wait_until

LOAD = BUILD / "bench/load"
TO = f"u%d@{DOMAIN}"


def load(*argv, script=None):
    out = subprocess.run([str(LOAD), *map(str, argv)], capture_output=True, text=True, timeout=900, input=script)
    if out.returncode != 0:
        raise RuntimeError(f"load {' '.join(map(str, argv))}: {out.stdout[-600:]} {out.stderr[-300:]}")
    return [json.loads(line) for line in out.stdout.splitlines()]


class Case:
    def __init__(self, name, what, unit, one, rounds=None, prepare=None, files=None):
        """files: (threads, bytes, "queue", "mail", "both" or "journal"): what a unit of this case asks of the file system, see disk.c."""
        self.name, self.what, self.unit, self.one, self.rounds, self.prepare, self.files = name, what, unit, one, rounds, prepare, files

    def disk_limit(self, top):
        """Units a second when only the files are made."""
        directory = tempfile.mkdtemp(dir=top)
        threads, size, which = self.files
        out = subprocess.run([BUILD / "bench/disk", directory, str(threads), "3", str(size), which], capture_output=True, text=True, check=True)
        shutil.rmtree(directory)
        return json.loads(out.stdout)["per_second"]

    def run(self, both, rounds):
        """A B A B: each round drives one side, then the other."""
        figures = {s.name: [] for s in both}
        for s in both:
            if self.prepare:
                self.prepare(s)
        for _ in range(min(rounds, self.rounds or rounds)):
            for s in both:
                figures[s.name].append(self.measured(s))
        return {name: summary(rows) for name, rows in figures.items()} | {"rounds": figures}

    def measured(self, side):
        database = side.site.database_pid()
        os.sync()  # what the other side left to be written is no work of this one
        cpu, db, own, machine = side.cpu_seconds(), process_cpu(database), children_cpu(), machine_cpu()
        row = self.one(side)
        units = row.get("units") or row.get("count") or 1
        row["cpu_ms"] = (side.cpu_seconds() - cpu) * 1000 / units
        row["database_cpu_ms"] = (process_cpu(database) - db) * 1000 / units
        row["generator_cpu_ms"] = (children_cpu() - own) * 1000 / units
        idle, total = (b - a for a, b in zip(machine, machine_cpu()))
        row["busy"] = 1 - idle / total if total else 0.0  # it may be over within a tick
        return row


def children_cpu():
    """Seconds of those this program started and waited for: the generator, a sink."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def machine_cpu():
    """Ticks of all processors: those without work, and all."""
    fields = [int(f) for f in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return fields[3] + fields[4], sum(fields)


def process_cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def summary(rows):
    keys = [k for k, v in rows[0].items() if isinstance(v, (int, float)) and not isinstance(v, bool)]
    out = {k: statistics.median(r[k] for r in rows) for k in keys}
    if "per_second" in keys:
        out["min"], out["max"] = min(r["per_second"] for r in rows), max(r["per_second"] for r in rows)
    return out


# Mail.
def mail(count, sessions, size=4096, to=TO, users=USERS, keep=False, arrive=True):
    """Messages a second from the first connection to the last message in its mailbox."""

    def one(side):
        # Nothing is deleted between rounds: ext4 is slow to give out what was freed in the last minutes.
        have = side.count() if arrive else 0
        began = time.monotonic()
        figures = load("smtp", "-p", side.port(25), "-n", count, "-s", sessions, "-b", size, "-t", to, "-u", users, *(["-k"] if keep else []))[0]
        # The queue is looked at, not the mailboxes: to walk through those again and again takes the processor from the servers.
        wait_until(side.queue_empty, 300, "an empty queue")
        figures["per_second"] = count / (time.monotonic() - began)
        if arrive:
            wait_until(lambda: side.count() >= have + count, 10, "arrival of all messages")
        return figures

    return one


def smtp_source(count, sessions, size=4096):
    """To discard, with Debian's own generator: a second opinion on ours."""

    def one(side):
        program = run(ROOT / "tests/peer/debian", "smtp-source").strip()
        began = time.monotonic()
        run(program, "-s", sessions, "-m", count, "-l", size, "-N", "-f", "s@elsewhere.example", "-t", "d@disc.test", f"inet:127.0.0.1:{side.port(25)}")
        wait_until(side.queue_empty, 300, "an empty queue")
        return {"count": count, "per_second": count / (time.monotonic() - began)}

    return one


def relay(count, sessions, size=4096):
    inner = mail(count, sessions, size, "r%d@sink.test", keep=False, arrive=False)

    def one(side):
        sink = run(ROOT / "tests/peer/debian", "smtp-sink").strip()
        p = subprocess.Popen([sink, "-c", "-u", "nobody", f"inet:127.0.0.1:{side.base + 2}", "1000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: listening(side.base + 2), what="the sink")
            return inner(side)
        finally:
            for pid in tree(p.pid):
                os.kill(pid, signal.SIGTERM)
            p.wait()

    return one


def listening(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def lmtp(count, user, sessions=1):
    return lambda side: load("smtp", "-l", "-k", "-p", side.port(24), "-n", count, "-s", sessions, "-t", f"{user}@{DOMAIN}")[0]


def make_box(messages, user="big", size=900):
    """A Maildir brought from elsewhere, not opened yet: files in cur/, hard links to a few bodies, no uidlist. The names are as
    Dovecot gives them, the same on both sides."""

    def prepare(side):
        chance, seconds = random.Random(1), 1700000000
        box = side.box(user)
        box.mkdir(parents=True, exist_ok=True)  # itself it stays: a server's process may stand in it
        for f in box.iterdir():
            shutil.rmtree(f) if f.is_dir() else f.unlink(missing_ok=True)
        for d in ("cur", "new", "tmp"):
            (box / d).mkdir()
        text = lambda n: (f"Return-Path: <s{n}@elsewhere.example>\nDate: Mon, 2 Nov 2026 10:00:00 +0000\nFrom: S{n} <s{n}@elsewhere.example>\n"
                          f"To: {user}@{DOMAIN}\nSubject: number {n}\nMessage-ID: <{n}@elsewhere.example>\nMIME-Version: 1.0\n"
                          'Content-Type: multipart/alternative; boundary="b"\n\n--b\nContent-Type: text/plain\n\n'
                          + "words and words\n" * ((size - 400) // 16) + f"--b\nContent-Type: text/html\n\n<p>{n}</p>\n--b--\n")
        body = None
        for n in range(messages):
            if n % 1000 == 0:
                body = text(n).encode()
                source = box / "tmp" / f"body{n}"
                source.write_bytes(body)
            virtual = len(body) + body.count(b"\n")
            seconds += chance.randrange(600)
            os.link(source, box / "cur" / f"{seconds}.M{chance.randrange(1000000)}P{chance.randrange(300, 4194304)}.mail,S={len(body)},W={virtual}:2,S")
        shutil.rmtree(box / "tmp")
        (box / "tmp").mkdir()
        run("chown", "-R", "vmail:vmail", side.mail)
        with contextlib.suppress(RuntimeError):  # a process of the user that stands in the directory of before: it ends now
            script(side, user, "NOOP")

    return prepare


def used_box(messages, user="big"):
    """The same after its owner's mail program has listed it once on each side: uidlist, index and cache lie beside the messages."""
    make = make_box(messages, user)

    def prepare(side):
        make(side)
        script(side, user, "SELECT INBOX", "FETCH 1:* (UID FLAGS RFC822.SIZE INTERNALDATE ENVELOPE)")

    return prepare


def script(side, user, *commands, protocol="imap"):
    return load("script", "-P", protocol, "-p", side.port(143 if protocol == "imap" else 110), "-t", f"{user}@{DOMAIN}", "-w", PASSWORD, script="".join(c + "\n" for c in commands))


def commands(user, before, *timed, protocol="imap"):
    """One session; a unit is one command (or message) of those that are timed."""

    def one(side):
        rows = script(side, user, *before, *timed, protocol=protocol)[len(before) :]
        seconds = sum(r["ms"] for r in rows) / 1000
        return {"count": len(rows), "seconds": seconds, "per_second": len(rows) / seconds, "ms": seconds * 1000 / len(rows)}

    return one


def copy_away(side):
    """Each round into a mailbox of its own."""
    name = f"copies{next(FRESH)}"
    return commands("big", [f"CREATE {name}", "SELECT INBOX"], f"COPY 1:5000 {name}", f"SELECT {name}", "STORE 1:* +FLAGS.SILENT (\\Deleted)", "EXPUNGE")(side)


def without_index(user):
    def prepare(side):
        for pattern in ("dovecot*", "posthorn*"):
            for f in side.box(user).glob(pattern):
                f.unlink(missing_ok=True)

    return prepare


def first(user, *timed):
    inner = commands(user, [], *timed)

    def one(side):
        without_index(user)(side)
        return inner(side)

    return one


def delivered(count, user="u7"):
    """The first FETCH of mail that came by LMTP: each round into an empty mailbox."""

    def one(side):
        side.box(user).exists() and side.box(user).rename(side.mail / f"round{next(FRESH)}")
        load("smtp", "-l", "-k", "-p", side.port(24), "-n", count, "-s", 1, "-t", f"{user}@{DOMAIN}")
        rows = script(side, user, "SELECT INBOX", "FETCH 1:* (ENVELOPE BODYSTRUCTURE)")
        return {"units": count, "ms": rows[1]["ms"], "per_second": count / (rows[1]["ms"] / 1000)}

    return one


def append_line():
    text = "Subject: appended\r\n\r\n" + ("x" * 70 + "\r\n") * 4
    return f"APPEND INBOX {{{len(text)}+}}\\n" + text.replace("\r\n", "\\n")


def appends(count, sessions):
    """So many at once, in a session each; over when the slowest has its last answer."""

    def one(side):
        with concurrent.futures.ThreadPoolExecutor(sessions) as pool:
            rows = list(pool.map(lambda _: script(side, "big", "SELECT INBOX", *[append_line()] * count)[1:], range(sessions)))
        seconds = max(sum(r["ms"] for r in session) for session in rows) / 1000
        return {"count": count * sessions, "seconds": seconds, "per_second": count * sessions / seconds, "ms": statistics.median(r["ms"] for session in rows for r in session)}

    return one


# Logins: of ours more, so that beginning and end weigh as little as in the other's time.
def logins(count, sessions, protocol, port, *flags, user=TO, users=USERS, ours=5):
    return lambda side: load("login", "-P", protocol, "-p", side.port(port), "-n", count if side.name == "debian" else count * ours, "-s", sessions, "-t", user, "-u", users, "-w", PASSWORD, *flags)[0]


class Other(Case):
    """The same with sides of its own: Dovecot at its best (service_count=0, preforked), or both with another certificate."""

    def __init__(self, *args, tuned=False, certificate="rsa", **kw):
        super().__init__(*args, **kw)
        self.tuned, self.certificate = tuned, certificate

    def run(self, both, rounds):
        site, base = both[0].site, next(BASES)
        ours = both[1] if self.certificate == "rsa" else Ours(site, base + 1000, f"posthorn-{base}", certificate=self.certificate)
        own = [Debian(site, base, f"debian-{base}", tuned=self.tuned, certificate=self.certificate), *([ours] if ours not in both else [])]
        try:
            for s in own:
                s.start()
            time.sleep(2)
            return super().run([own[0], ours], rounds)
        finally:
            for s in own:
                s.stop()


# Memory.
def settled(side, seconds=150):
    """PSS once no user's process is left (all sleep, or have logged out) and it does not move any more."""
    end = time.monotonic() + seconds
    last = None
    while True:
        now = None if side.user_processes() else side.pss_kib()
        if last is not None and now is not None and abs(now - last) <= max(64, last // 300):
            return now
        if time.monotonic() > end:
            raise RuntimeError(f"{side.name} did not come to rest within {seconds} s")
        last = now
        time.sleep(2)


class Idle(Case):
    """Held sessions: KiB each, CPU to set them up; the first sizes are held on while the next are reached. Where a side cannot hold so
    many, what it held is told. Those in IDLE are each brought a message at the end: from the 250 to the client's EXISTS.

    Each account has been used once before: to make a mailbox costs half as much again as to open a session on it, and
    whether an earlier case has made it would be measured, not the session."""

    def __init__(self, name, what, counts, flags, port, debian_most, imap=False, settings=None):
        super().__init__(name, what, "session", None)
        self.counts, self.flags, self.port, self.debian_most, self.imap, self.settings = counts, flags, port, debian_most, imap, settings

    def generator(self, side, count):
        return subprocess.Popen([str(LOAD), "idle", "-p", str(side.port(self.port)), "-d", str(side.port(24)), "-n", str(count), "-t", f"i%d@{DOMAIN}", "-u", str(IDLERS),
                                 "-w", PASSWORD, *self.flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def first_use(self, side, count):
        if not self.imap or side.box(f"i{count - 1}").exists():
            return
        p = self.generator(side, count)
        out, _ = p.communicate(f"hold {count}\n", timeout=600)
        if (answer := json.loads(out))["failed"]:
            raise RuntimeError(f"{side.name}, first use: {answer['failed']} failed: {answer['error']}")
        before = None
        while (now := side.user_processes()) != before:  # all have heard of the end; the reload ends those that wait for more
            before = now
            time.sleep(3)

    def hold(self, side, counts):
        self.first_use(side, counts[-1])
        side.reload()  # what waits for a next client from cases before is not there to be used again
        base = settled(side)
        p = self.generator(side, counts[-1])

        def order(text):
            p.stdin.write(text + "\n")
            p.stdin.flush()
            answer = json.loads(p.stdout.readline())
            if answer["failed"]:
                raise RuntimeError(f"{side.name}, {text}: {answer['failed']} failed: {answer['error']}")
            return answer

        try:
            rows, held = [], 0
            for count in counts:
                cpu = side.cpu_seconds()
                order(f"hold {count}")
                rows.append({"sessions": count, "setup_cpu_ms": (side.cpu_seconds() - cpu) * 1000 / (count - held)})
                rows[-1]["kib"] = (settled(side) - base) / count
                held = count
            if self.imap:
                told = order("news")
                rows[-1].update({"told": told["count"], "told_rate": told["per_second"], "told_p50_ms": told["p50_ms"], "told_p99_ms": told["p99_ms"],
                                 "told_max_ms": told["max_ms"], "inotify_instances": int(pathlib.Path("/proc/sys/fs/inotify/max_user_instances").read_text())})
            return {**rows[-1], "sizes": rows}
        finally:
            p.stdin.close()
            p.wait(60)

    def drive(self, both):
        out = {}
        for side in both:
            most = self.debian_most if side.name == "debian" else self.counts[-1]
            out[side.name] = self.hold(side, sorted({min(count, most) for count in self.counts}))
        return out

    def run(self, both, rounds):
        if self.settings is None:
            return self.drive(both)
        base = next(BASES)
        ours = Ours(both[0].site, base, f"posthorn-{base}", settings=self.settings)
        try:
            ours.start()
            return self.drive([both[0], ours])
        finally:
            ours.stop()


class Rest(Case):
    """Sides of their own, after mail and logins of 100 users."""

    def use(self, side):
        mail(1000, 10)(side)
        for protocol, port, flags in (("imap", 143, []), ("imap", 993, ["-T"]), ("pop3", 110, []), ("smtp", 587, ["-S"])):
            logins(200, 10, protocol, port, *flags)(side)

    def run(self, both, rounds):
        site, base = both[0].site, next(BASES)
        own = [Debian(site, base, "debian-rest"), Ours(site, base + 1000, "posthorn-rest")]
        try:
            for s in own:
                s.start()
            for s in own:
                self.use(s)
            time.sleep(130)  # max_idle and a quarter of it, in which it is noticed
            return {s.name: {"kib": s.pss_kib(), "processes": len(s.pids())} for s in own}
        finally:
            for s in own:
                s.stop()


class Startup(Case):
    """Sides of their own: from the command of the start to the greetings of SMTP, IMAP and LMTP, and to the first message in a mailbox."""

    def start(self, side):
        began = time.monotonic()
        side.up()
        for port, greeting in ((25, b"220"), (143, b"* OK"), (24, b"220")):
            wait_until(lambda: greets(side.port(port), greeting), 60, f"the greeting of port {port}", step=0.001)
        greeted = time.monotonic()
        have = side.count("u1")
        load("smtp", "-p", side.port(25), "-n", 1, "-t", f"u1@{DOMAIN}")
        wait_until(lambda: side.count("u1") > have, 60, "the first message", step=0.001)
        arrived = time.monotonic()
        side.stop()
        return {"count": 1, "ms": (greeted - began) * 1000, "first_message_ms": (arrived - greeted) * 1000}

    def run(self, both, rounds):
        site, base = both[0].site, next(BASES)
        own = [Debian(site, base, "debian-startup"), Ours(site, base + 1000, "posthorn-startup")]
        figures = {s.name: [] for s in own}
        try:
            for s in own:
                s.start()
                s.stop()
            for _ in range(rounds):
                for s in own:
                    figures[s.name].append(self.start(s))
        finally:
            for s in own:
                s.stop()
        return {name: summary(rows) for name, rows in figures.items()} | {"rounds": figures}


def greets(port, greeting):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as s:
        return s.recv(len(greeting)) == greeting
    return False


class OneMessage(Case):
    """System calls, fsyncs, context switches and SQL questions of one message, by process."""

    def trace(self, side):
        send = lambda n: load("smtp", "-p", side.port(25), "-n", n, "-t", f"u1@{DOMAIN}")
        send(3)
        time.sleep(1)
        before, switched = side.site.queries(), switches(side.pids())
        own = side.site.queries() - before  # of asking
        have = side.count("u1")
        send(1)
        wait_until(lambda: side.count("u1") > have, what="the message")
        time.sleep(0.5)
        questions = side.site.queries() - before - 2 * own
        after = switches(side.pids())
        table = {}
        for pid, (name, n) in after.items():
            if n - switched.get(pid, (name, 0))[1]:
                table.setdefault(name, {"calls": 0, "fsyncs": 0, "switches": 0})["switches"] += n - switched.get(pid, (name, 0))[1]
        out = side.dir / "strace"
        out.mkdir(exist_ok=True)
        for f in out.iterdir():
            f.unlink(missing_ok=True)
        tracer = subprocess.Popen(["strace", "-f", "-ff", "-o", str(out / "t"), *[a for p in side.pids() for a in ("-p", str(p))]], stderr=subprocess.DEVNULL)
        time.sleep(3)
        names = {pid: name for pid, (name, _) in after.items()}
        mark = {f: f.stat().st_size for f in out.iterdir()}
        have = side.count("u1")
        send(1)
        wait_until(lambda: side.count("u1") > have, what="the message")
        time.sleep(1)
        names |= {pid: name for pid, (name, _) in switches(side.pids()).items()}
        tracer.send_signal(signal.SIGINT)
        tracer.wait(30)
        for f in out.iterdir():
            rows = re.findall(r"^([a-z_0-9]+)\(", f.read_bytes()[mark.get(f, 0) :].decode(errors="replace"), re.M)
            row = table.setdefault(names.get(int(f.suffix[1:]), "ended since"), {"calls": 0, "fsyncs": 0, "switches": 0})
            row["calls"] += len(rows)
            row["fsyncs"] += sum(r in ("fsync", "fdatasync") for r in rows)
        table = {k: v for k, v in sorted(table.items()) if any(v.values())}
        total = {k: sum(r[k] for r in table.values()) for k in ("calls", "fsyncs", "switches")}
        return {**total, "sql": questions, "processes": table}

    def run(self, both, rounds):
        return {s.name: self.trace(s) for s in both}


def switches(pids):
    out = {}
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*") if os.path.exists(f"/proc/{pid}") else []:
            try:
                text = (task / "status").read_text()
                out[int(task.name)] = (re.search(r"Name:\s+(\S+)", text)[1], sum(map(int, re.findall(r"ctxt_switches:\s+(\d+)", text))))
            except OSError:
                pass
    return out


FRESH = itertools.count(30)
BASES = itertools.count(23000, 2000)  # of sides beside the first two: their ports, and their directories' names
MANY = [f"FETCH {n} (BODY.PEEK[])" for n in range(1, 1001)]
# Where one side is tens of times faster, each gets as many messages as it takes in about two seconds.
CASES = [
    OneMessage("one-message", "one 4 KiB message, SMTP to Maildir, connections warm", "message", None),
    Case("smtp-discard", "SMTP to discard, 4 KiB, 10 sessions, a connection for each message", "message", mail(3000, 10, to="d%d@disc.test", arrive=False), files=(10, 4096, "queue")),
    Case("smtp-source", "the same, driven by Debian's smtp-source", "message", smtp_source(3000, 10), files=(10, 4096, "queue")),
    Case("lmtp-100-s1", "SMTP to LMTP to 100 mailboxes, 4 KiB, 1 session", "message", mail(600, 1), files=(1, 4096, "both")),
    Case("lmtp-100-s10", "SMTP to LMTP to 100 mailboxes, 4 KiB, 10 sessions", "message", mail(3000, 10), files=(10, 4096, "both")),
    Case("lmtp-100-s50", "SMTP to LMTP to 100 mailboxes, 4 KiB, 50 sessions", "message", mail(3000, 50), files=(50, 4096, "both")),
    Case("lmtp-100-kept", "the same with 10 kept connections", "message", mail(3000, 10, keep=True), files=(10, 4096, "both")),
    Case("lmtp-one", "SMTP to LMTP to one mailbox, 4 KiB, 10 sessions", "message", mail(2000, 10, users=1), files=(10, 4096, "both")),
    Case("lmtp-100k", "SMTP to LMTP to 100 mailboxes, 100 KiB, 10 sessions", "message", mail(800, 10, size=102400), files=(10, 102400, "both")),
    Case("relay", "SMTP relayed to a sink, 4 KiB, 10 sessions", "message", relay(2000, 10), files=(10, 4096, "queue")),
    Case("lmtp-alone-empty", "one LMTP session into an empty mailbox", "message", lambda s: lmtp(500, f"u{next(FRESH) % USERS}")(s), files=(1, 4096, "mail")),
    Case("lmtp-alone-40000", "one LMTP session into 40,000 messages that their owner has seen (with a uidlist and an index)", "message",
         lambda s: lmtp(100 if s.name == "debian" else 6000, "big")(s), prepare=used_box(40000), files=(1, 4096, "journal")),
    Case("lmtp-alone-40000-s10", "ten LMTP sessions into the same mailbox", "message",
         lambda s: lmtp(100 if s.name == "debian" else 5000, "big", 10)(s), prepare=used_box(40000), files=(10, 4096, "journal")),
    Case("append-40000", "APPEND into a selected mailbox of 40,000 messages", "message",
         lambda s: commands("big", ["SELECT INBOX"], *[append_line()] * (300 if s.name == "debian" else 5000))(s), prepare=used_box(40000),
         files=(1, 300, "journal")),
    Case("append-40000-s10", "APPEND by ten sessions that have the same mailbox selected", "message",
         lambda s: appends(10 if s.name == "debian" else 300, 10)(s), prepare=used_box(40000), files=(10, 300, "journal")),
    Case("lmtp-alone-400000", "one LMTP session into 400,000 messages that their owner has seen", "message", lambda s: lmtp(6 if s.name == "debian" else 2500, "big")(s), rounds=2,
         prepare=used_box(400000)),
    Case("big-select-first", "50,000 messages: first SELECT, no index", "command", first("big", "SELECT INBOX"), prepare=make_box(50000)),
    Case("big-select", "50,000 messages: SELECT", "command", commands("big", [], *["SELECT INBOX"] * 5)),
    Case("big-flags", "50,000 messages: FETCH 1:* (FLAGS)", "command", commands("big", ["SELECT INBOX"], "FETCH 1:* (FLAGS)")),
    Case("big-envelope-first", "50,000 messages: FETCH envelope and structure, nothing cached", "command",
         first("big", "SELECT INBOX", "FETCH 1:* (ENVELOPE BODYSTRUCTURE)"), rounds=2),
    Case("big-envelope", "50,000 messages: FETCH envelope and structure again", "command", commands("big", ["SELECT INBOX"], "FETCH 1:* (ENVELOPE BODYSTRUCTURE)")),
    Case("delivered-envelope", "first FETCH of envelope and structure of 5,000 messages that came by LMTP", "message", delivered(5000)),
    Case("big-search-header", "50,000 messages: SEARCH SUBJECT", "command", commands("big", ["SELECT INBOX"], 'SEARCH SUBJECT "number 31000"')),
    Case("big-search-body", "50,000 messages: SEARCH BODY", "command", commands("big", ["SELECT INBOX"], 'SEARCH BODY "no such words"'), rounds=2),
    Case("big-store", "50,000 messages: STORE 1:* +FLAGS.SILENT", "command",
         commands("big", ["SELECT INBOX", "STORE 1:* -FLAGS.SILENT (\\Flagged)"], "STORE 1:* +FLAGS.SILENT (\\Flagged)"), rounds=2),
    Case("big-copy", "50,000 messages: COPY of 5,000, then their EXPUNGE", "command",
         copy_away, rounds=2),
    Case("big-bodies", "50,000 messages: 1,000 bodies one by one", "message", commands("big", ["SELECT INBOX"], *MANY)),
    Case("big-range", "50,000 messages: bodies as one range", "command", commands("big", ["SELECT INBOX"], "FETCH 1:* (BODY.PEEK[])"), rounds=2),
    Case("big-pop3", "50,000 messages: 1,000 by POP3 RETR", "message", commands("big", [], *[f"RETR {n}" for n in range(1, 1001)], protocol="pop3")),
    Case("login-imap", "IMAP logins, SHA256, 10 at a time", "login", logins(2000, 10, "imap", 143)),
    Other("login-imap-tuned", "IMAP logins, SHA256, Dovecot tuned", "login", logins(3000, 10, "imap", 143), tuned=True),
    Case("login-imaps", "IMAPS logins, SHA256, RSA 2048 certificate, 10 at a time", "login", logins(1000, 10, "imap", 993, "-T")),
    Other("login-imaps-tuned", "IMAPS logins, SHA256, RSA 2048 certificate, Dovecot tuned", "login", logins(1500, 10, "imap", 993, "-T"), tuned=True),
    Other("login-imaps-ecdsa", "IMAPS logins, SHA256, ECDSA P-256 certificate as certbot makes it by default, 10 at a time", "login",
          logins(1000, 10, "imap", 993, "-T"), certificate="ecdsa"),
    Other("login-imaps-ecdsa-tuned", "IMAPS logins, SHA256, ECDSA P-256 certificate, Dovecot tuned", "login", logins(1500, 10, "imap", 993, "-T"), tuned=True,
          certificate="ecdsa"),
    Case("login-imap-starttls", "IMAP logins with STARTTLS", "login", logins(600, 10, "imap", 143, "-S")),
    Case("login-pop3", "POP3 logins, SHA256", "login", logins(1500, 10, "pop3", 110)),
    Case("login-smtp", "SMTP AUTH with STARTTLS, SHA256", "login", logins(600, 10, "smtp", 587, "-S")),
    Case("login-argon2", "IMAP logins, ARGON2I", "login", logins(40, 4, "imap", 143, user=f"a%d@{DOMAIN}", users=10)),
    Idle("idle-smtp", "idle SMTP sessions", [1000, 5000, 10000], ["-P", "smtp"], 25, 90),
    Idle("idle-smtp-tls", "idle SMTP sessions, TLS", [1000, 5000, 10000], ["-P", "smtp", "-S"], 25, 90),
    Idle("idle-imap", "IMAP sessions in IDLE; news for each of them", [1000, 5000, 10000], ["-P", "imap"], 143, 1000, imap=True),
    Idle("idle-imap-tls", "IMAP sessions in IDLE, TLS, 100 a login process; news for each of them", [1000, 5000, 10000], ["-P", "imap", "-T"], 993, 90, imap=True),
    Idle("idle-imap-tls-1000", "the same with login_sessions_per_process = 1000", [10000], ["-P", "imap", "-T"], 993, 90, imap=True,
         settings={"login_sessions_per_process": "1000"}),
    Startup("startup", "from the start to the greetings of SMTP, IMAP and LMTP", "start", None),
    Rest("rest", "the whole suite at rest, 130 s after 1,000 messages to and 800 logins of 100 users", "suite", None),
]
