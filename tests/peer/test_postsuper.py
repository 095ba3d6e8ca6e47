"""postsuper of both sides on the same queue: what they say, and every name, mode and time they leave behind."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import pytest

from mta import DEBIAN, OURS, Site
from test_spool import due, letter, queue_id

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="postsuper is for root")
WEEK = 8 * 24 * 3600
BOGUS = ("deferred/0/.hidden", "deferred/0/a-b", "hold/no id at all")


class Frozen:
    """A queue with mail and faults in it, which can be had again and again: as hard links, so that inode numbers stay."""

    def __init__(self, site):
        self.site, self.kept = site, site.top / "kept"
        self.make()
        site.queue.rename(self.kept)
        self.stats = {str(p.relative_to(self.kept)): p.lstat() for p in self.kept.rglob("*") if p.is_file()}
        self.inodes = {st.st_ino: name for name, st in self.stats.items()}

    def make(self):
        site = self.site
        site.sink.answers.update(later="450 4.2.0 later")
        for ids in ("no", "yes"):
            site.write(f"enable_long_queue_ids = {ids}")
            site.start(DEBIAN)
            for name in ("one", "two", "held", "copied", "misplaced", "expired", "incoming"):
                letter(site, DEBIAN, name + ids, ["later+" + name])
            site.wait(lambda: len(site.files("deferred")) == 7 + 7 * (ids == "yes") and site.quiet(), "deferred mail")
            site.stop()
        for ids in ("no", "yes"):
            self.spoil(ids)
        site.write()
        queue = site.queue
        for where, age in (("incoming", WEEK), ("incoming", 60), ("maildrop", WEEK), ("maildrop", 60)):
            path = queue / where / f"{age}.999"
            path.write_bytes(b"T\x031 1")
            path.chmod(0o600)
            shutil.chown(path, "postfix")
            os.utime(path, (time.time() - age,) * 2)
        letter(site, DEBIAN, "maildrop", ["maildrop"], sendmail=[])
        for name in BOGUS:
            (queue / name).parent.mkdir(exist_ok=True)
            (queue / name).write_bytes(b"x")
        for path in queue.rglob("*"):
            if path.is_file() and time.time() - 60 < path.stat().st_mtime < time.time():
                os.utime(path, (time.time() - 60,) * 2)

    def spoil(self, ids):
        site, queue = self.site, self.site.queue
        site.run(DEBIAN, "postsuper", "-h", queue_id(site, "held" + ids), ok=False)
        path = site.files("deferred")[ident := queue_id(site, "copied" + ids, "deferred")]
        shutil.copy2(path, str(path) + ".new")
        shutil.chown(str(path) + ".new", "postfix")
        os.rename(str(path) + ".new", path)  # a restored backup: the name holds another inode
        path = site.files("deferred")[ident := queue_id(site, "misplaced" + ids, "deferred")]
        wrong = queue / "deferred" / ("0" if path.parent.name != "0" else "1")
        wrong.mkdir(exist_ok=True)
        shutil.chown(wrong, "postfix")
        path.rename(wrong / ident)
        log = next((queue / "defer").rglob(ident))
        log.rename(queue / "defer" / ident)  # as hash_queue_names without defer would have it
        path = site.files("deferred")[ident := queue_id(site, "incoming" + ids, "deferred")]
        path.rename(queue / "incoming" / ident)
        path = site.files("deferred")[queue_id(site, "expired" + ids, "deferred")]
        path.chmod(0o710)

    def thaw(self, links=False):
        """The queue as it was: files that were renamed go back; with links, a copy out of which files may be deleted."""
        queue = self.site.queue
        if links:
            subprocess.run(["cp", "-al", self.kept, queue], check=True)
        elif not queue.exists():
            self.kept.rename(queue)
        else:
            now = {p.lstat().st_ino: p for p in queue.rglob("*") if p.is_file()}
            for inode, name in self.inodes.items():
                where = queue / name
                if now[inode] != where:
                    if not where.parent.exists():
                        where.parent.mkdir()
                        shutil.chown(where.parent, "postfix")
                    now[inode].rename(where)
        for name, st in self.stats.items():
            (queue / name).chmod(st.st_mode & 0o7777)
            os.utime(queue / name, ns=(st.st_atime_ns, st.st_mtime_ns))

    def freeze(self, links):
        if links:
            shutil.rmtree(self.site.queue)
        else:
            self.thaw()
            self.site.queue.rename(self.kept)

    def look(self, started, deleted):
        """What there is, told by content: where, under which name (the id stands for itself), mode, and whether its time changed."""
        found = set()
        for path in self.site.queue.rglob("*"):
            st = path.lstat()
            was = self.stats[self.inodes[st.st_ino]] if st.st_ino in self.inodes else None
            # Debian's "-d ALL" takes unfinished files and names that are no ids with it; ours leaves what is no message.
            if path.is_file() and not (deleted and (path.name.endswith(".999") or str(path.relative_to(self.site.queue)) in BOGUS)):
                found.add((self.inodes.get(st.st_ino, "new"), str(path.relative_to(self.site.queue)), oct(st.st_mode & 0o7777),
                           # With ALL Debian's leaves the time of a requeued file, which nobody looks at in maildrop.
                           "any" if "maildrop" in str(path) else "now" if st.st_mtime >= started - 1 and st.st_mtime <= time.time() + 1 else st.st_mtime == (was.st_mtime if was else None)))
        return found


@pytest.fixture(scope="module")
def frozen():
    with tempfile.TemporaryDirectory(prefix="posthorn-peer-postsuper.") as top:
        site = Site(pathlib.Path(top), "minimal_backoff_time = 1000", "maillog_file =", "syslog_name = peer")
        try:
            yield Frozen(site)
        finally:
            site.close()


def compare(frozen, *argv, stdin=None, settings=()):
    """Both sides' postsuper on the same queue; what they printed and left must be alike."""
    seen = {}
    links = not {"-d", "-p", "-ps", "-r"}.isdisjoint(argv)
    frozen.site.write(*settings)
    for side in (DEBIAN, OURS):
        frozen.thaw(links)
        started = time.time()
        out = frozen.site.run(side, "postsuper", *argv, ok=False, input=stdin)
        said = {line for line in out.stderr.decode().splitlines() if "bogus file name" not in line or argv[0] not in ("-d", "-p")}
        left = sorted(frozen.look(started, argv == ("-d", "ALL")))
        if argv[0] == "-r":  # Debian's leaves the defer log of an id that is no more
            left = [f for f in left if not f[0].startswith("defer/")]
        seen[side] = out.returncode, sorted(said), left
        frozen.freeze(links)
    for what in (2, 1):
        ours, theirs = seen[OURS][what], seen[DEBIAN][what]
        only = [("ours", x) for x in ours if x not in theirs] + [("theirs", x) for x in theirs if x not in ours]
        assert not only, "\n".join(map(str, only))
    assert seen[OURS][0] == seen[DEBIAN][0]
    return seen[OURS]


def ids(frozen, *names):
    frozen.thaw()
    found = [queue_id(frozen.site, n) for n in names]
    frozen.freeze(False)
    return found


@pytest.mark.parametrize("letter", "dhHref")
def test_one(frozen, letter):
    for ident in ids(frozen, "oneno", "oneyes", "heldno", "heldyes", "incomingno", "expiredno", "misplacedyes", "maildrop"):
        compare(frozen, "-" + letter, ident)


@pytest.mark.parametrize("letter", "dhHref")
def test_all(frozen, letter):
    compare(frozen, "-" + letter, "ALL")


def test_some_queues(frozen):
    compare(frozen, "-h", "ALL", "incoming", "hold")
    compare(frozen, "-r", "ALL", "hold")


def test_standard_input(frozen):
    one, two, held = ids(frozen, "oneno", "twoyes", "heldno")
    compare(frozen, "-d", "-", stdin=f"{one}\n{two}\nABCDE12345\n".encode())
    compare(frozen, "-H", "-", stdin=f"{held}\n{one}\n".encode())


def test_several(frozen):
    one, two, held = ids(frozen, "oneno", "twoyes", "heldno")
    compare(frozen, "-d", one, "-h", two, "-H", held, "-d", one)


def test_no_such(frozen):
    for name in ("NOSUCH", "ABCDEF12345", "../x", "a b"):
        compare(frozen, "-H", name)


@pytest.mark.parametrize("settings", [(), ("enable_long_queue_ids = yes",), ("hash_queue_depth = 2",), ("hash_queue_names = deferred",),
                                      ("hash_queue_names = deferred, defer, hold, incoming, active",)])
def test_repair(frozen, settings):
    compare(frozen, "-ps", settings=settings)
    compare(frozen, "-S", settings=settings)


def test_purge(frozen):
    compare(frozen, "-p")
