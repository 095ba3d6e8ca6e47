"""hash: and btree: tables whose index the other side built: the same answers, and none of them stale after a swap."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

import pytest

from mta import BUILD, DEBIAN, OURS, debian_root

ENTRIES = "alpha one\nBETA two words\nc@d.test x@y.test,\n  z@y.test\nétoile ünïcode\nempty-after \n# no\n\"quoted key\" value\n" + "".join(
    f"key{i} value{i}\n" for i in range(3000))
KEYS = ["alpha", "ALPHA", "beta", "Beta", "c@d.test", "étoile", "quoted key", "key2999", "nokey", "", "#"]


@pytest.fixture
def etc():
    with tempfile.TemporaryDirectory(prefix="posthorn-peer-tables.") as top:
        os.chmod(top, 0o755)
        root = debian_root("postfix")
        for side, command in ((OURS, BUILD / "sbin"), (DEBIAN, root / "usr/sbin")):
            d = pathlib.Path(top) / side
            d.mkdir()
            (d / "main.cf").write_text(f"compatibility_level = 3.6\ncommand_directory = {command}\ndaemon_directory = {BUILD}/daemons\n"
                                       f"shlib_directory = {root}/usr/lib/postfix\nqueue_directory = {top}\nmeta_directory = {top}/{side}\n")
            (d / "dynamicmaps.cf").write_text("")
            os.utime(d / "main.cf", (time.time() - 100,) * 2)
        yield pathlib.Path(top)


def postmap(etc, side, *argv, ok=True, program="postmap", **kw):
    root = debian_root("postfix")
    sbin = BUILD / "sbin" if side == OURS else root / "usr/sbin"
    out = subprocess.run([str(sbin / program), "-c", str(etc / side), *map(str, argv)], capture_output=True, text=True, timeout=30,
                         env={**os.environ, "LD_LIBRARY_PATH": f"{root}/usr/lib/postfix"} if side == DEBIAN else None, **kw)
    assert not ok or out.returncode == 0, (side, argv, out.stdout, out.stderr)
    return out


def dump(etc, side, spec):
    return sorted(postmap(etc, side, "-s", spec).stdout.splitlines())


@pytest.mark.parametrize("kind", ["hash", "btree"])
@pytest.mark.parametrize("first,second", [(DEBIAN, OURS), (OURS, DEBIAN)])
def test_built_by_the_other(etc, kind, first, second):
    source = etc / "table"
    source.write_text(ENTRIES)
    postmap(etc, first, f"{kind}:{source}")
    assert len(dump(etc, first, f"{kind}:{source}")) == 3005
    assert dump(etc, second, f"{kind}:{source}") == dump(etc, first, f"{kind}:{source}")
    for key in KEYS:
        one, two = (postmap(etc, side, "-q", key, f"{kind}:{source}", ok=False) for side in (first, second))
        assert (one.returncode, one.stdout) == (two.returncode, two.stdout), key


@pytest.mark.parametrize("kind", ["hash", "btree"])
def test_back_and_forth(etc, kind):
    """Each side changes the table in turn, in every way that it can; the other sees it, and nothing older."""
    source, spec = etc / "table", f"{kind}:{etc}/table"
    source.write_text(ENTRIES)
    postmap(etc, DEBIAN, spec)
    for turn, side in enumerate((OURS, DEBIAN, OURS, OURS, DEBIAN)):
        other = DEBIAN if side == OURS else OURS
        source.write_text(f"turn {turn}\nfixed a\n")
        postmap(etc, side, spec)
        assert dump(etc, other, spec) == dump(etc, side, spec) == ["fixed\ta", f"turn\t{turn}"]
        postmap(etc, side, "-i", spec, input=f"added {turn}\n")
        assert dump(etc, other, spec) == dump(etc, side, spec) == [f"added\t{turn}", "fixed\ta", f"turn\t{turn}"]
        postmap(etc, side, "-d", "turn", spec)
        assert dump(etc, other, spec) == dump(etc, side, spec) == [f"added\t{turn}", "fixed\ta"]
        postmap(etc, other, "-r", "-i", spec, input="added more\n")
        assert dump(etc, side, spec) == dump(etc, other, spec) == ["added\tmore", "fixed\ta"]


def test_a_source_that_is_being_edited(etc):
    """As Postfix: the built index is served, not the text."""
    source = etc / "table"
    source.write_text("built yes\n")
    postmap(etc, DEBIAN, f"hash:{source}")
    source.write_text("built no\nhalf")
    os.utime(source, (time.time() + 5,) * 2)
    assert dump(etc, OURS, f"hash:{source}") == ["built\tyes"]


def test_without_source(etc):
    """What is only in FILE.db is served, and not guessed at: keys that kept their case, and lines no source would give."""
    source = etc / "table"
    source.write_text("")
    postmap(etc, DEBIAN, "-f", f"hash:{source}")
    postmap(etc, DEBIAN, "-f", "-i", f"hash:{source}", input="Kept CASE\n")
    source.unlink()
    assert dump(etc, OURS, f"hash:{source}") == ["Kept\tCASE"]
    source.write_text("")
    postmap(etc, DEBIAN, "-r", "-i", f"hash:{source}", input="later too\n")
    source.unlink()
    assert dump(etc, OURS, f"hash:{source}") == ["Kept\tCASE", "later\ttoo"]


def test_damaged(etc):
    source = etc / "table"
    source.write_text("a b\n")
    postmap(etc, DEBIAN, f"hash:{source}")
    source.unlink()
    db = etc / "table.db"
    for spoil in (lambda b: b"", lambda b: b"no database at all", lambda b: b[:100], lambda b: b[:4096] + os.urandom(len(b) - 4096)):
        good = db.read_bytes()
        db.write_bytes(spoil(good))
        out = postmap(etc, OURS, "-q", "a", f"hash:{source}", ok=False)
        assert out.returncode == 1 and out.stdout == "" and "table.db" in out.stderr, out
        assert not (etc / "table.cdb").exists()
        db.write_bytes(good)
    assert postmap(etc, OURS, "-q", "a", f"hash:{source}").stdout == "b\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another owner")
def test_read_as_its_owner(etc):
    """A file of somebody else's is parsed under that account: root's powers are not there for who wrote it."""
    folder = etc / "lists"
    folder.mkdir()
    source = folder / "table"
    source.write_text("a b\n")
    shutil.chown(folder, "nobody")
    shutil.chown(source, "nobody")
    postmap(etc, DEBIAN, f"hash:{source}")
    source.unlink()
    out = subprocess.run(["strace", "-f", "-e", "trace=setuid,openat", "-o", etc / "trace", BUILD / "sbin/postmap", "-c", etc / OURS, "-q", "a",
                          f"hash:{source}"], capture_output=True, text=True)
    trace = (etc / "trace").read_text()
    opened = [i for i, line in enumerate(trace.splitlines()) if 'table.db"' in line and "O_RDWR" not in line]
    dropped = next(i for i, line in enumerate(trace.splitlines()) if re.search(r"setuid\(65534\) += 0", line))
    # Our own open is for the watch on changes; libdb's come after the drop.
    assert out.stdout == "b\n" and len(opened) > 1 and sum(i < dropped for i in opened) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs an account that may not write")
def test_index_that_cannot_be_written(etc):
    source = etc / "table"
    source.write_text("a b\n")
    postmap(etc, DEBIAN, f"hash:{source}")
    os.chmod(etc, 0o755)
    out = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", BUILD / "sbin/postmap", "-c", etc / OURS, "-q", "a",
                          f"hash:{source}"], capture_output=True, text=True)
    assert out.stdout == "b\n" and not (etc / "table.cdb").exists(), out


@pytest.mark.parametrize("kind", ["hash", "btree"])
def test_postalias(etc, kind):
    source = etc / "aliases"
    source.write_text("Postmaster: root\nroot: admin@x.test,\n  other@x.test\nlist: \"|/bin/cmd a b\", :include:/etc/list\n\"a b\": c\n")
    postmap(etc, DEBIAN, f"{kind}:{source}", program="postalias")
    theirs = dump(etc, DEBIAN, f"{kind}:{source}")
    assert dump(etc, OURS, f"{kind}:{source}") == theirs
    assert [l.split()[0] for l in theirs[:3]] == ["@", "YP_LAST_MODIFIED", "YP_MASTER_NAME"]
    os.unlink(f"{source}.db")
    postmap(etc, OURS, f"{kind}:{source}", program="postalias")
    ours = dump(etc, DEBIAN, f"{kind}:{source}")
    same = lambda lines: [l.split() for l in lines if "MODIFIED" not in l]  # blanks between addresses mean nothing
    assert same(ours) == same(theirs) and len(ours) == len(theirs)


def test_mode_and_owner(etc):
    source = etc / "table"
    source.write_text("a b\n")
    source.chmod(0o640)
    if os.geteuid() == 0:
        shutil.chown(source, "root", "postfix")
    postmap(etc, OURS, f"hash:{source}")
    for end in (".db", ".cdb"):
        st = os.stat(f"{source}{end}")
        assert st.st_mode & 0o777 == 0o640 and (st.st_uid, st.st_gid) == (source.stat().st_uid, source.stat().st_gid)


def test_an_untyped_table_takes_its_db_with_it(etc):
    """default_database_type is cdb here; "postmap FILE" of Debian's wrote FILE.db, which hash:FILE will read again."""
    source = etc / "table"
    source.write_text("a old\n")
    postmap(etc, DEBIAN, f"btree:{source}")
    source.write_text("a new\n")
    postmap(etc, OURS, f"cdb:{source}")
    assert dump(etc, DEBIAN, f"btree:{source}") == dump(etc, OURS, f"btree:{source}") == ["a\tnew"]
