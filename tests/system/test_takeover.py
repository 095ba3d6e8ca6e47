"""A Maildir that Debian's Dovecot wrote, served by ours, then by Dovecot again, and once more: a client must not notice.

What it may remember (UIDVALIDITY, UIDNEXT, UIDs, flags, keywords, dates, sizes, folders, subscriptions, UIDLs) is recorded at each
swap and compared; between the swaps each side delivers, stores, expunges, copies, moves, renames. mbsync keeps a copy of
its own all the way and says what it had to transfer. Skipped when Debian's packages cannot be had.
"""
import contextlib
import datetime
import os
import pathlib
import random
import re
import shutil

import mailstate
import pytest
import together
from conftest import own_instance, wait_until
from takeover import Account, dovecot

MESSAGES = int(os.environ.get("POSTHORN_TAKEOVER_MESSAGES", 20000))
PORTS = 22000
FOLDERS = ["INBOX", "Sent", "Drafts", "Trash", "Junk", "Archive", "Archive/2024", "Archive/2024/Q1", "Entw&APw-rfe", "&Jjo-", "A&-B", "x y", " lead", "tail ",
           "a/~b", "b%c", "c*d", "INBOX/kid", "INBOX/kid/deep", "x" * 200, '"quo"', "back\\sl", "#news", "(paren)", "{brace}", "keywords", "empty",
           "very/deep/" + "/".join("abcdefghij"), "lists/postfix-users", "files"]
KEYWORDS = [f"$Label{n}" for n in range(1, 6)] + ["Junk", "NonJunk", "$Forwarded", "$MDNSent", "uni.que"] + [f"kw{n}" for n in range(30)]
SYSTEM = [rb"\Seen", rb"\Answered", rb"\Flagged", rb"\Deleted", rb"\Draft"]


def letter(ident, random_):
    lines = ["From: Sender <sender@elsewhere.example>", "To: bob@example.test", f"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= {ident}", f"Message-ID: <{ident}@takeover.example>",
             "Date: Mon, 01 Jan 2024 00:00:00 +0000", "", *["line " * random_.randrange(1, 9)] * random_.randrange(1, 12), ""]
    return "\r\n".join(lines).encode() + ("Grüße\r\n".encode() if random_.random() < 0.1 else b"")


def date(n):
    return (datetime.datetime(2019, 3, 1, 12) + datetime.timedelta(minutes=37 * n)).strftime("%d-%b-%Y %H:%M:%S +0100").encode()


def random_flags(random_, keywords):
    flags = [f for f in SYSTEM if random_.random() < 0.3]
    if random_.random() < 0.4:
        flags += [k.encode() for k in random_.sample(keywords, random_.choice([1, 1, 2, min(5, len(keywords))]))]
    return b" ".join(flags)


def populate(imap, count, box_dir, owner):
    """The first state, by Dovecot's own APPEND; "files" is made of bare files, as other programs leave them."""
    random_, number = random.Random(4), 0
    for name in FOLDERS[1:-1]:
        imap.ok(b"CREATE " + mailstate.quoted(name))
    targets = [f for f in FOLDERS[:-1] if f != "empty"]
    for name in targets:
        share = count * 3 // 20 if name in ("INBOX", "keywords") else count * 12 // 20 // (len(targets) - 2)
        keywords = KEYWORDS if name in ("keywords", "INBOX") else KEYWORDS[:20]
        for first in range(0, share, 400):
            batch = [(random_flags(random_, keywords), date(number + n) if random_.random() < 0.8 else None, letter(f"d{number + n}", random_)) for n in range(min(400, share - first))]
            imap.append(name, batch)
            number += len(batch)
    bare_files(box_dir / ".files", count - number, owner, random_)
    for name in FOLDERS[::2]:
        imap.ok(b"SUBSCRIBE " + mailstate.quoted(name))
    imap.ok(b"CREATE gone")
    imap.ok(b"SUBSCRIBE gone")
    imap.ok(b"DELETE gone")


def bare_files(folder, count, owner, random_):
    for sub in ("cur", "new", "tmp"):
        (folder / sub).mkdir(parents=True)
    for n in range(count):
        text = letter(f"f{n}", random_).replace(b"\r\n", b"\r\n" if n % 7 == 0 else b"\n")
        virtual = len(text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        base = [f"{1400000000 + n}.V801I{n:x}.mx", f"{1400000000 + n}.{n}_0.mx,S={len(text)}", f"{1400000000 + n}.M5P{n}.mx,S={len(text)},W={virtual}", f"odd,name;\u00e9+{n}"][n % 4]
        info = random_.choice(["", ":2,", ":2,S", ":2,FRS", ":2,PST", ":2,DS", ":2,S,extra=1"])
        path = folder / ("cur" if info else "new") / (base + info)
        path.write_bytes(text)
        os.utime(path, (1400000000 + 61 * n,) * 2)
    for top, _, files in os.walk(folder):
        for path in [top, *(os.path.join(top, f) for f in files)]:
            os.chown(path, *owner)


@pytest.fixture(scope="module")
def account():
    if dovecot.programs() is None:
        pytest.skip("Debian's dovecot packages cannot be fetched")
    with own_instance(PORTS) as instance:
        a = Account(instance)
        with a.peer:
            a.sides.add("dovecot")
            a.go("dovecot")
            yield a


def some(imap, random_, count):
    """A set of UIDs of the selected mailbox: single ones and runs."""
    uids = [int(u) for line in imap.ok(b"UID SEARCH ALL")[:-1] if line.startswith(b"* SEARCH") for u in line.split()[2:]]
    assert uids
    runs = []
    while count > 0 and uids:
        length = random_.choice([1, 1, 2, 7])
        at = random_.randrange(len(uids))
        runs.append(b"%d:%d" % (uids[at], uids[min(at + length, len(uids)) - 1]))
        count -= length
    return b",".join(runs)


def work(account, n):
    """What goes on between two swaps, at the server that runs. n: of this time; keywords and folders are named for it."""
    random_, fresh = random.Random(n), f"new{n}".encode()
    with account.lmtp() as s:
        for k in range(15):
            s.sendmail("a@elsewhere.example", [account.user], letter(f"l{n}.{k}", random_))
    with account.imap() as imap:
        for box in ("INBOX", "keywords", "files", "x y", "Archive/2024/Q1"):
            imap.ok(b"SELECT " + mailstate.quoted(box))
            for flag in [*SYSTEM, b"kw0", b"kw29", b"kw27", fresh]:
                imap.ok(b"UID STORE %s %sFLAGS.SILENT (%s)" % (some(imap, random_, 20), random_.choice([b"+", b"+", b"-"]), flag))
            imap.ok(b"UID STORE %s +FLAGS (%s %s-more)" % (some(imap, random_, 5), fresh, fresh))
            imap.ok(rb"UID STORE %s FLAGS (\Seen kw28 $Label1)" % some(imap, random_, 9))
            imap.ok(b"UID STORE %s FLAGS ()" % some(imap, random_, 9))
            gone = some(imap, random_, 12)
            imap.ok(rb"UID STORE %s +FLAGS.SILENT (\Deleted)" % gone)
            imap.ok(b"UID EXPUNGE " + gone)
            for command, to in ((b"COPY", "keywords"), (b"COPY", "x" * 200), (b"COPY", box), (b"MOVE", "&Jjo-"), (b"MOVE", "empty"), (b"COPY", "INBOX/kid/deep")):
                imap.ok(b"UID %s %s %s" % (command, some(imap, random_, 6), mailstate.quoted(to)))
            imap.append(box, [(rb"\Flagged kw25 kw26 %s" % fresh, date(n), letter(f"a{n}.{box}.{k}", random_)) for k in range(3)])
        folders(imap, n, random_)


def folders(imap, n, random_):
    """Folders come, go, come back under the same name, change their names with and without children."""
    if n > 1:
        imap.ok(b"DELETE work-gone")
        imap.ok(b"RENAME work/moved%d work/moved%d" % (n - 1, n))
        imap.ok(b"RENAME work-again%d work-again%d" % (n - 1, n))
    else:
        imap.ok(b"CREATE work/moved1/most")
        imap.ok(b"CREATE work/moved1")
        imap.ok(b"CREATE work-again1")
    imap.ok(b"CREATE work-gone")
    for box in ("work-gone", f"work/moved{n}", f"work/moved{n}/most", f"work-again{n}"):
        imap.append(box, [(b"kw1", None, letter(f"w{n}.{box}.{k}", random_)) for k in range(2)])
    imap.ok(b"SUBSCRIBE work-gone")
    imap.ok(b"SUBSCRIBE work/moved%d" % n)
    imap.ok(b"UNSUBSCRIBE " + mailstate.quoted(FOLDERS[2 * n]))
    imap.ok(b"SUBSCRIBE " + mailstate.quoted(FOLDERS[2 * n + 1]))


def test_round_trips(account, tmp_path):
    account.wipe()
    with account.imap() as imap:
        populate(imap, MESSAGES, account.box_dir, account.owner)
    before, uidls, copy = account.record(), account.uidls(), account.mbsync(tmp_path)
    assert len(before["boxes"]) == len(FOLDERS) and sum(len(box[2]) for box in before["boxes"].values()) >= MESSAGES - 20
    assert len(copy) > MESSAGES * 9 // 10
    keywords = {flag for flags, _, _, _ in before["boxes"]["keywords"][2].values() for flag in flags if not flag.startswith(b"\\")}
    assert len(keywords) == len(KEYWORDS) > 26
    for n, side in enumerate(["ours", "dovecot", "ours", "dovecot"], 1):
        account.go(side)
        assert mailstate.differences(before, account.record()) == []
        assert account.mbsync(tmp_path) == copy
        assert account.uidls() == uidls
        work(account, n)
        before, uidls, copy = account.record(), account.uidls(), account.mbsync(tmp_path)
    complaints = [line for line in account.peer.complaints() if "Killed with signal 15" not in line]
    assert complaints == []
    assert re.findall(r"^.*\b(?:warning|error|fatal|panic): .*$", account.instance.log(), re.M) == []


# Commands whose answer, or what LIST shows after it, tells how a name is taken.
NAMES = ["plain", "a", "a/b", "x y", " lead", "tail ", "&Jjo-", "A&-B", "~tilde", "a/~b", "b%c", "c*d", "dot.ted", "Inbox", "inbox/low", "INBOX/kid/deep", "x" * 200, "y" * 255,
         "q/" * 14 + "z", '"quo"', "back\\sl", "#news", "&AOk-&AOk-", "a//b", "/lead", "a/b/", "mixed/INBOX", "cur", "a/tmp", "..", "a/..", "foo~", "&", "&-", "x&", "(paren)", "{brace}", "a\tb", ""]
RENAMES = [("a", "A1"), ("A1", "A1/x"), ("A1", "new/n"), ("nx", "ny"), ("x y", "b/x y"), ("b", "c"), ("c", "d%e"), ("inbox/low", "iNbOx/high"), ("moved", "INBOX"), ("INBOX/kid", "nokid")]


def conversation(imap):
    """{command: answer}, without words that may differ and what must."""
    said = {}

    def do(command):
        lines = imap(command)
        lines[-1] = b" ".join(lines[-1].split()[:1])
        skip = (b"* OK [UIDVALIDITY", b"* OK [CLOSED")
        said[command.decode()] = sorted(line for line in lines if not line.startswith(skip))

    for verb, after in ((b"CREATE", b""), (b"SUBSCRIBE", b""), (b"STATUS", b" (MESSAGES UIDNEXT)"), (b"SELECT", b"")):
        for name in NAMES:
            if (verb, name) != (b"SUBSCRIBE", "a/b/"):  # ours takes it for a/b, as in CREATE
                do(b"%s %s%s" % (verb, mailstate.quoted(name), after))
    for pattern in (b"*", b"%", b"INBOX/%", b"INBOX%", b"inbox*", b"a/%", b"%/%", b"b%c", b"c*d"):
        do(b'LIST "" "%s"' % pattern)
        do(b'LSUB "" "%s"' % pattern)
    do(b'LIST "a" "%"')
    for old, new in RENAMES:
        do(b"RENAME %s %s" % (mailstate.quoted(old), mailstate.quoted(new)))
    do(b'LIST "" *')
    for name in NAMES:
        if name not in ("", "new"):
            do(b"DELETE " + mailstate.quoted(name))
    do(b'LSUB "" *')
    return said


def test_names(account):
    """Every folder that Dovecot makes is reached by the same name here, and the other way round."""
    said = {}
    for side in ("dovecot", "ours"):
        account.wipe()
        account.go(side)
        with account.imap() as imap:
            said[side] = conversation(imap)
    assert {k: (v, said["ours"][k]) for k, v in said["dovecot"].items() if v != said["ours"][k]} == {}


def test_both_at_once(account):
    """Ours and Dovecot at the same time on one Maildir; tests/fault/both for longer."""
    account.wipe()
    account.go("ours", "dovecot")
    wrong, count = together.run(account, seconds=10, seed=1)
    assert wrong == []
    assert len(count) == 12 and min(count.values()) > 10, count


LOCATIONS = {
    "fs": "maildir:{mail}/%d/%n:LAYOUT=fs",
    "elsewhere": "maildir:{mail}/%d/%n:CONTROL={other}/control/%d/%n:INDEX={other}/index/%d/%n",
    "fs elsewhere": "maildir:{mail}/%d/%n:LAYOUT=fs:INBOX={mail}/inbox/%n:CONTROL={other}/control/%n:INDEX={other}/index/%n",
    "inbox": "maildir:{mail}/%d/%n/Folders:INBOX={mail}/%d/%n/Inbox",
    "memory": "maildir:{mail}/%d/%n:INDEX=MEMORY",
}


@pytest.fixture(scope="module")
def asking():
    """An instance whose deliveries ask authd where mail lies."""
    if dovecot.programs() is None:
        pytest.skip("Debian's dovecot packages cannot be fetched")
    with own_instance(24500, "userdb_service = private/auth-userdb") as instance:
        yield instance


@pytest.fixture
def located(asking):
    """located(location): an account whose mail lies there, for both servers."""
    users = pathlib.Path(asking.config_dir) / "users"
    before = users.read_text()
    other = pathlib.Path(asking.dir) / "other"
    other.mkdir(exist_ok=True)
    os.chown(other, *Account(asking).owner)
    with contextlib.ExitStack() as stack:

        def make(location):
            text = location.format(mail=asking.mail_dir, other=other)
            user, domain = asking.user2.split("@")
            mail = text.replace("%d", domain).replace("%n", user)
            users.write_text(re.sub(rf"^({asking.user2}:.*)$", rf"\1userdb_mail={mail}", before, flags=re.M))
            account = Account(asking, text)
            stack.enter_context(account.peer)
            account.sides = {"ours", "dovecot"}
            stack.callback(account.go, "ours")
            account.wipe()
            return account

        yield make
    users.write_text(before)
    shutil.rmtree(other)


@pytest.mark.parametrize("name", LOCATIONS)
def test_locations(located, name):
    account = located(LOCATIONS[name])
    folders, keywords = ["a", "a/b", "x y", "deep/er/box", "INBOX/kid"], KEYWORDS[: 20 if name == "memory" else 40]
    if "fs" in name:
        folders.append("dot.ted")
    random_ = random.Random(5)
    with account.imap() as imap:
        for box in folders:
            imap.ok(b"CREATE " + mailstate.quoted(box))
        for box in ["INBOX", *folders]:
            imap.append(box, [(random_flags(random_, keywords), date(n), letter(f"p{box}{n}", random_)) for n in range(60)])
        imap.ok(b'SUBSCRIBE "a/b"')
    before, uidls = account.record(), account.uidls()
    for n, side in enumerate(["ours", "dovecot", "ours", "dovecot"], 1):
        account.go(side)
        assert mailstate.differences(before, account.record()) == []
        assert account.uidls() == uidls
        with account.lmtp() as s:
            s.sendmail("a@elsewhere.example", [account.user], letter(f"l{n}", random_))
        with account.imap() as imap:
            for box in ("INBOX", "a/b"):
                imap.ok(b"SELECT " + mailstate.quoted(box))
                for flag in (rb"\Seen", keywords[-1].encode(), f"new{n}".encode()):
                    imap.ok(b"UID STORE %s +FLAGS.SILENT (%s)" % (some(imap, random_, 9), flag))
                imap.ok(b"UID MOVE %s %s" % (some(imap, random_, 4), mailstate.quoted("x y")))
                imap.ok(b"UID COPY %s INBOX" % some(imap, random_, 4))
            imap.ok(b"CREATE top%d/in/most" % n)
            imap.append(f"top{n}/in/most", [(b"kw1", None, letter(f"t{n}", random_))])
            imap.ok(b"RENAME top%d moved/to%d" % (n, n))
            imap.ok(b"CREATE above%d/" % n)
            imap.ok(b"CREATE above%d/below" % n)
            imap.ok(b"RENAME above%d/below above%d" % (n, n + 10))
            if n > 1:
                imap.ok(b"DELETE moved/to%d/in/most" % (n - 1))
            imap.ok(b"SUBSCRIBE moved/to%d/in/most" % n)
        before, uidls = account.record(), account.uidls()
    assert len(before["boxes"]["INBOX"][2]) > 60 and "moved/to4/in/most" in before["boxes"]
    assert [line for line in account.peer.complaints() if "Killed with signal 15" not in line] == []
    stray = [p for p in account.box_dir.rglob("*") if "CONTROL" in LOCATIONS[name] and p.name.startswith(("dovecot", "posthorn", "subscriptions"))]
    assert stray == []


def test_location_not_supported(located):
    """What is not obeyed is named, and keeps the user out: mail must not seem to be lost."""
    account = located("maildir:{mail}/%d/%n")
    users = pathlib.Path(account.instance.config_dir) / "users"
    account.go("ours")
    for option in ("LAYOUT=index", "ALT=/srv/alt", "UTF-8"):
        mark = account.instance.log_mark()
        users.write_text(re.sub(r"userdb_mail=\S+", f"userdb_mail=maildir:{account.box_dir}:{option}", users.read_text()))
        wait_until(lambda: refused(account) and f"{option} is not supported" in account.instance.log(mark), what="refusal")


def refused(account):
    try:
        with account.imap():
            return False
    except AssertionError:
        return True
