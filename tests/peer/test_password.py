"""Password schemes: what Debian's doveadm pw makes, ours accepts, and the other way round; the same words and exit codes.

POSTHORN_BIN names the directory of our doveadm. Skipped when Debian's package cannot be had.
"""
import os
import pathlib
import pty
import re
import subprocess
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
BIN = pathlib.Path(os.environ.get("POSTHORN_BIN", HERE.parents[1] / "build" / "bin"))
WORD = "Sesame \u00f6ffne dich"
USER = "joe@example.org"


@pytest.fixture(scope="module")
def theirs():
    out = subprocess.run([HERE / "debian", "doveadm"], capture_output=True, text=True)
    if out.returncode != 0:
        pytest.skip(f"Debian's doveadm cannot be had: {out.stderr.strip()}")
    return [out.stdout.strip(), "-O"]


def run(program, *args, stdin=""):
    """Exit code, standard output, standard error."""
    p = subprocess.run([*program, "pw", *args], input=stdin.encode(), capture_output=True, timeout=60)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


@pytest.fixture(scope="module")
def ours():
    return [str(BIN / "doveadm")]


def schemes(program):
    code, out, _ = run(program, "-l")
    assert code == 0
    return out.split()


def test_the_same_31_schemes(ours, theirs):
    assert sorted(schemes(ours)) == sorted(schemes(theirs))
    assert len(schemes(ours)) == 31


def form(stored):
    """A stored password with what is random in it left out: lengths and alphabets stay."""
    if stored.startswith("{OTP}"):
        return re.sub(r"[0-9a-f]{16}", "#", stored)
    head, brace, text = stored.partition("}")
    return head + brace + re.sub(r"[A-Za-z0-9+./]+(?==*(,|$|\$))", lambda m: f"<{len(m[0])}>" if len(m[0]) > 7 else m[0], text)


def test_each_scheme_both_ways(ours, theirs):
    names = [name + suffix for name in schemes(theirs) for suffix in ("", ".b64", ".base64", ".hex")]
    for name in names:
        if name.startswith("PLAIN-TRUNC"):
            continue  # what is made lacks the length that verifying wants, there as here
        args = ("-s", name, "-p", WORD, "-u", USER)
        for maker, checker in ((theirs, ours), (ours, theirs)):
            code, made, words = run(maker, *args)
            assert (code, words) == (0, ""), name
            made = made.rstrip("\n")
            assert run(checker, "-t", made, "-p", WORD, "-u", USER) == (0, made + " (verified)\n", ""), made
            code, out, words = run(checker, "-t", made, "-p", "!" + WORD, "-u", USER)
            assert (code, out, words) == \
                (75, "", "Fatal: reverse password verification check failed: Password mismatch\n"), made
        if not re.search(r"\.(b64|base64|hex)$", name):  # the form itself, where no encoding hides it
            assert form(run(ours, *args)[1].strip()) == form(run(theirs, *args)[1].strip())


MALFORMED = """
{SHA}y|{SHA}YWJj|{SHA1.hex}zz|{SHA.hex}00|{SHA.foo}00|{SSHA}YWJj|{SSHA}|{SSHA.hex}ab|{SMD5}YWJj|{SSHA256}YWJj|{SSHA512}YWJj
{LDAP-MD5}YWJj|{PLAIN-MD5}YWJj|{PLAIN-MD4}YWJj|{CRAM-MD5}YWJj|{CRAM-MD5}|{DIGEST-MD5}YWJj|{HMAC-MD5}zzz|{MD5}abc|{MD5}|{MD5-CRYPT}
{MD5-CRYPT}abc|{MD5-CRYPT}$1$|{CRYPT}|{CRYPT}*|{CRYPT}!$6$x$y|{CRYPT}$9$abc$d|{DES-CRYPT}a|{DES-CRYPT}|{BLF-CRYPT}x
{BLF-CRYPT}$6$abcdefg$h|{SHA512-CRYPT}$5$a$b|{SHA512-CRYPT}|{PBKDF2}|{PBKDF2}abc|{PBKDF2}$1$salt$x$aa|{PBKDF2}$1$salt$0$aa
{PBKDF2}$1$salt$10$aa|{PBKDF2}$2$salt$10$aa|{PBKDF2}$1$salt$10|{SCRAM-SHA-1}|{SCRAM-SHA-1}abc|{SCRAM-SHA-1}4096,a,b,c
{SCRAM-SHA-1}0,YWJj,YWJj,YWJj|{SCRAM-SHA-1}1,YWJj,YWJj,YWJj|{SCRAM-SHA-1}4096,YWJj,YWJj,YWJj|{SCRAM-SHA-1}4096,YWJj,YWJj,YWJj,x
{SCRAM-SHA-1}x,YWJj,YWJj,YWJj|{OTP}|{OTP}abc|{OTP}sha1 1024 seed 0000000000000000|{OTP}md5 3 seed 0000000000000000
{OTP}md4 3 seed 0000000000000000|{OTP}sha2 3 seed 0000000000000000|{OTP}md5 0 seed 0000000000000000|{OTP}md5 3 seed 00
{OTP}md5 99999 seedseedseedseedseed 0000000000000000|{OTP}sha1 3 SeEd 0000000000000000|$1$vlNHQl7q$kbNO9RRt5mvgX3psTB8RR.
$1$vlNHQl7q$kbNO9RRt5mvgX3psTB8RR.$more|{MD5}$1$vlNHQl7q$kbNO9RRt5mvgX3psTB8RR.$more|{MD5}9dd4e461268c8034f5c8564e155c67a6
{MD5}ndTkYSaMgDT1yFZOFVxnpg==|{SHA256}2D711642B726B04401627CA9FBAC32F5C8530FB1903CC4DB02258717921A4881
{SHA256}LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE|{SHA256} LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=
{SHA256.b64}2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881|{PLAIN.b64}eA==|{PLAIN.b64}eA|{PLAIN.hex}78|{PLAIN.hex}7
{PBKDF2}$1$TTczI3tsSGD3zO/W$10$A9825245FEA7BB0A09557F17E2A9451EE30CB6F8|{}x|{PLAIN}|{PLAIN }x| {PLAIN}x|{PLAIN|{|y||{plain}x|{NIX}y
{PLAIN-TRUNC}5-x|{PLAIN-TRUNC}01-x|{PLAIN-TRUNC}+1-x|{PLAIN-TRUNC}-x|{PLAIN-TRUNC}1-xyz|{PLAIN-TRUNC}3-xyz|{PLAIN-TRUNC}x
{SCRAM-SHA-1}4096,WNUeuw4yQxfFv94nxkIeTQ==,rqfnGL43HgMEhG4nJ0eXwNio884=,AAP7om8X8L/IIQWjMauW7gzx33Q=
{OTP}SHA1 1024 b58a394f6c5bd6d9 F56558FBB39ED3FD|{OTP}sha1  1024 b58a394f6c5bd6d9 f56558fbb39ed3fd
""".strip("\n").replace("\n", "|").split("|")


@pytest.mark.parametrize("stored", MALFORMED)
def test_what_is_not_a_hash(ours, theirs, stored):
    assert run(ours, "-t", stored, "-p", "x") == run(theirs, "-t", stored, "-p", "x")


ARGUMENTS = [
    ["-s", "NIX", "-p", "x"], ["-s", "", "-p", "x"], ["-s", ".hex", "-p", "x"], ["-s", "{PLAIN}", "-p", "x"],
    ["-s", "SHA256.foo", "-p", "x"], ["-s", "NTLM", "-p", "x"], ["foo", "bar"], ["-s", "PLAIN", "-p", ""],
    ["-s", "PLAIN", "-p", "a\nb"], ["-p", "x", "-p", "y", "-s", "PLAIN"], ["-s", "SHA256", "-r", "5", "-p", "x"],
    ["-s", "ARGON2I", "-r", "1", "-p", "x"], ["-s", "DIGEST-MD5", "-p", "x"], ["-s", "DIGEST-MD5", "-p", "x", "-u", ""],
    ["-s", "DIGEST-MD5", "-p", "x", "-u", "joe"], ["-s", "DIGEST-MD5", "-p", "x", "-u", "a@b@c"],
    ["-s", "DIGEST-MD5", "-p", "x", "-u", "JOE@Ex.Org"], ["-s", "plain-md5.b64", "-p", "x", "-V"],
    ["-t", "{PLAIN}x", "-V", "-p", "x"], ["-t", "{PLAIN}x", "-p", "x", "-s", "foo"], ["-s", "PLAIN-TRUNC", "-p", "2-x"],
]


@pytest.mark.parametrize("args", ARGUMENTS, ids=" ".join)
def test_arguments(ours, theirs, args):
    assert run(ours, *args) == run(theirs, *args)


@pytest.mark.parametrize("args,begins", [
    (["-s", "BLF-CRYPT", "-r", "1"], "{BLF-CRYPT}$2y$04$"), (["-s", "SHA512-CRYPT", "-r", "1"], "{SHA512-CRYPT}$6$rounds=1000$"),
    (["-s", "SHA512-CRYPT", "-r", "0"], "{SHA512-CRYPT}$6$"), (["-s", "ARGON2I", "-r", "5"], "{ARGON2I}$argon2i$v=19$m=32768,t=5,p=1$"),
    (["-s", "ARGON2ID", "-r", "2"], "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$"),
    (["-s", "ARGON2ID", "-r", "3"], "{ARGON2ID}$argon2id$v=19$m=262144,t=3,p=1$"),
    (["-s", "ARGON2ID", "-r", "4"], "{ARGON2ID}$argon2id$v=19$m=1048576,t=4,p=1$"),
    (["-s", "ARGON2I", "-r", "6"], "{ARGON2I}$argon2i$v=19$m=131072,t=6,p=1$"), (["-s", "ARGON2I", "-r", "8"], "{ARGON2I}$argon2i$v=19$m=524288,t=8,p=1$"), (["-s", "SCRAM-SHA-1", "-r", "5000"], "{SCRAM-SHA-1}4096,"),
    ([], "{CRYPT}$2y$05$"), (["-s", "MD5", "-r", "9"], "{MD5}$1$")])
def test_rounds(ours, theirs, args, begins):
    for program in (ours, theirs):
        code, out, words = run(program, *args, "-p", "x")
        assert (code, words) == (0, "") and out.startswith(begins)


@pytest.mark.parametrize("stdin", ["a\na\n", "a\na", "a\nb\nc\nc\n", "\n\n"])
def test_password_from_a_pipe(ours, theirs, stdin):
    assert run(ours, "-s", "PLAIN", stdin=stdin) == run(theirs, "-s", "PLAIN", stdin=stdin)


@pytest.mark.parametrize("stdin", ["a\n", "a", "a\na\n", "b\n"])
def test_check_from_a_pipe(ours, theirs, stdin):
    assert run(ours, "-t", "{PLAIN}a", stdin=stdin) == run(theirs, "-t", "{PLAIN}a", stdin=stdin)


@pytest.mark.parametrize("stdin", ["", "a", "a\n", "a\nb\n"])
def test_the_end_of_input_is_no_password(ours, stdin):
    """Debian's makes the hash of an empty password of it, with exit code 0."""
    code, out, words = run(ours, "-s", "PLAIN", stdin=stdin)
    assert (code, out) == (75, "") and words.endswith("Fatal: no password was given\n")


def test_a_length_of_0_lets_nobody_in(ours):
    """Debian's verifies any password against it."""
    assert run(ours, "-t", "{PLAIN-TRUNC}0-", "-p", "x")[0] == 75


def test_what_postfixadmin_writes(ours):
    """pacrypt_dovecot: the word twice, or once with -t beside -s; it takes any word on standard error for a failure."""
    code, out, words = run(ours, "-s", "ARGON2I", "-u", "joe@example.org", "-r", "5", stdin="Secret 1\nSecret 1\n")
    assert (code, words) == (0, "") and out.startswith("{ARGON2I}$argon2i$") and len(out) <= 200
    stored = out.strip()
    assert run(ours, "-s", "ARGON2I", "-t", stored, stdin="Secret 1\n") == (0, stored + " (verified)\n", "")
    code, out, words = run(ours, "-s", "ARGON2I", "-t", stored, stdin="Secret 2\n")
    assert code == 75 and "(verified)" not in out


def typed(program, *lines):
    """What a terminal shows when each line is typed after its prompt."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp(program[0], [*program, "pw", "-s", "PLAIN"])
    shown = b""
    try:
        for line in lines:
            while not shown.endswith(b": "):
                shown += os.read(fd, 1000)
            time.sleep(0.05)  # the echo is switched off behind the prompt, and what came before is dropped
            os.write(fd, line.encode() + b"\n")
            shown += os.read(fd, 1)
        while more := os.read(fd, 1000):
            shown += more
    except OSError:
        pass  # the end of a terminal
    os.close(fd)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return re.sub(r"\s+", " ", shown.decode())


def test_prompts_on_a_terminal(ours, theirs):
    """The same words, and nothing of what is typed."""
    lines = "word", "other", "word", "word"
    assert typed(ours, *lines) == typed(theirs, *lines)
    assert typed(ours, *lines).strip() == ("Enter new password: Retype new password: Error: Passwords don't match! "
                                           "Enter new password: Retype new password: {PLAIN}word")
