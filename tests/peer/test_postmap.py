"""postmap -b -h -m (a message's headers and body lines as keys) and -F (contents of files as values), by Debian's postmap and by ours."""
import pytest

from mta import DEBIAN, OURS
from test_tables import etc, postmap  # noqa: F401

MESSAGES = {
    "plain": "From: a@b\nSubject: x\n folded\n\tmore\n\nbody\n\nlast\n",
    "no body": "From: a@b\n",
    "empty header": "\nbody\n",
    "no line end": "A: b\n\nbody",
    "mime": "From: a@b\nContent-Type: multipart/mixed; boundary=b\n\npreamble\n--b\nContent-Type: text/plain\nX-Part: 1\n\none\n\ntwo\n--b\n"
            "Content-Type: message/rfc822\n\nSubject: inner\n\ninner body\n--b--\nepilogue\n",
    "nested": "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=\"b c\"\n\n--b c\n\nbare\n--b c\n"
              "Content-Type: text/html\n\n<p>\n--b c--\n--a\nX: y\n\nz\n--a--\n",
}


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("options", ["-h", "-b", "-hm", "-bm", "-hb", "-hbm", "-m"])
def test_a_message(etc, name, options):  # noqa: F811
    (etc / "all").write_text("/./ found\n/^$/ empty\n")
    said = [postmap(etc, side, options, "-q", "-", f"regexp:{etc}/all", input=MESSAGES[name], ok=False) for side in (OURS, DEBIAN)]
    assert [said[0].returncode, said[0].stdout] == [said[1].returncode, said[1].stdout]
    assert said[0].stdout or name in ("no body", "empty header")


def test_misused(etc):  # noqa: F811
    (etc / "t").write_text("k v\n")
    for argv in (["-h", "-q", "k", f"texthash:{etc}/t"], ["-b", f"hash:{etc}/t"], ["-hm", "-s", f"texthash:{etc}/t"]):
        ours, debian = (postmap(etc, side, *argv, ok=False) for side in (OURS, DEBIAN))
        assert ours.returncode == debian.returncode == 1
        assert 'specify -b -h or -m only with "-q -"' in ours.stderr and 'specify -b -h or -m only with "-q -"' in debian.stderr


@pytest.mark.parametrize("first,second", [(DEBIAN, OURS), (OURS, DEBIAN)])
def test_files(etc, first, second):  # noqa: F811
    (etc / "one").write_bytes(b"file one")
    (etc / "two").write_bytes(b"two\n")
    source = etc / "table"
    source.write_text(f"k1 {etc}/one, {etc}/two\nk2 {etc}/two {etc}/one,{etc}/two\nk3 {etc}/missing\n")
    out = postmap(etc, first, "-F", f"hash:{source}")
    assert f"table, line 3: open {etc}/missing: No such file or directory: skipping this entry" in out.stderr
    for spec in (f"hash:{source}", f"texthash:{source}"):
        for argv in (["-F", "-q", "k1"], ["-F", "-q", "k2"], ["-q", "k1"], ["-F", "-q", "k3"]):
            if spec.startswith("texthash") and argv[-1] == "k3":
                continue  # Debian's table has no such entry; ours is asked for the file and says what is wrong
            one, two = (postmap(etc, side, *argv, spec, ok=False) for side in (first, second))
            assert (one.returncode, one.stdout) == (two.returncode, two.stdout), (spec, argv)
    assert sorted(postmap(etc, first, "-F", "-s", f"hash:{source}").stdout.splitlines()) == sorted(postmap(etc, second, "-F", "-s", f"hash:{source}").stdout.splitlines())
    (etc / "bad").write_text("k !!!\n")
    postmap(etc, first, f"hash:{etc}/bad")
    one, two = (postmap(etc, side, "-F", "-q", "k", f"hash:{etc}/bad", ok=False) for side in (first, second))
    assert one.returncode == two.returncode == 1 and one.stdout == two.stdout == ""
