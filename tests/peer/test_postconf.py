"""postconf -a -A -C -T, and the parameters that services have by their name: Debian's postconf and ours on the same files."""
import os
import pathlib
import re
import subprocess
import tempfile
import time

import pytest

from mta import BUILD, DEBIAN, OURS, debian_root

MAIN_CF = """compatibility_level = 3.6
own = value
unused = x$own
mylmtp_destination_rate_delay = 1s
relay_destination_concurrency_limit = 3
smtpd_restriction_classes = friends
friends = permit
"""
MASTER_CF = """smtp inet n - n - - smtpd -o unknown_here=1
mylmtp unix - - n - - lmtp
relay unix - - n - - smtp
pol unix - n n - 0 spawn user=nobody argv=/bin/true
deliver unix - n n - - pipe user=nobody argv=/bin/true
oops unix - - n - - error
void unix - - n - - discard
vbox unix - n n - - virtual
rewrite unix - - n - - trivial-rewrite
"""


@pytest.fixture(scope="module")
def etc():
    with tempfile.TemporaryDirectory(prefix="posthorn-peer-postconf.") as top:
        os.chmod(top, 0o755)
        root = debian_root("postfix")
        for side in (OURS, DEBIAN):
            d = pathlib.Path(top) / side
            d.mkdir()
            more = f"shlib_directory = {root}/usr/lib/postfix\nmeta_directory = {d}\n" if side == DEBIAN else f"daemon_directory = {BUILD}/daemons\n"
            (d / "main.cf").write_text(MAIN_CF + more)
            (d / "master.cf").write_text(MASTER_CF)
            (d / "dynamicmaps.cf").write_text("")
            os.utime(d / "main.cf", (time.time() - 100,) * 2)
        yield pathlib.Path(top)


def postconf(etc, side, *argv):
    root = debian_root("postfix")
    sbin = BUILD / "sbin" if side == OURS else root / "usr/sbin"
    return subprocess.run([str(sbin / "postconf"), "-c", str(etc / side), *argv], capture_output=True, text=True, timeout=30,
                          env={**os.environ, "LD_LIBRARY_PATH": f"{root}/usr/lib/postfix"} if side == DEBIAN else None)


def obeyed(etc, line):
    """What no program of ours obeys is not shown: a service's parameter whose default is one that we do not have."""
    default = re.search(r"\$(default_\w+|initial_\w+|command_time_limit)", line)
    return not default or postconf(etc, OURS, "-d", default[1]).stdout != ""


@pytest.mark.parametrize("argv", [
    "-a", "-A", "-l", "-T run-version", "-T public-key-algorithms", "-T nothing", "-C user", "-C service", "-C user,service", "-C USER", "-nC service", "-hC user",
    "-HC user", "-xC user", "-C service own friends", "mylmtp_destination_recipient_limit mylmtp_destination_rate_delay relay_delivery_slot_cost", "-x mylmtp_destination_recipient_limit",
    "-C nonsense"], ids=lambda a: a.replace(" ", "_"))
def test_as_debian(etc, argv):
    ours, debian = (postconf(etc, side, *argv.split()) for side in (OURS, DEBIAN))
    assert (ours.returncode, ours.stdout.splitlines()) == (debian.returncode, [line for line in debian.stdout.splitlines() if obeyed(etc, line)])


def test_tls_versions(etc):
    for what in ("compile-version", "run-version"):
        assert postconf(etc, OURS, "-T", what).stdout.startswith("OpenSSL 3.")


def test_classes_make_the_whole(etc):
    names = [{line.split(" =")[0] for line in postconf(etc, OURS, "-C", kind).stdout.splitlines()} for kind in ("builtin", "service", "user")]
    everything = {line.split(" =")[0] for line in postconf(etc, OURS).stdout.splitlines()}
    assert everything == set().union(*names) and sum(map(len, names)) == len(everything)
    assert len(names[0]) > 300


def test_what_nothing_obeys_is_named(etc):
    """A service's parameter is in use only where somebody reads it."""
    with open(etc / OURS / "main.cf", "a") as f:
        f.write("relay_destination_recipient_limit = 5\nrelay_no_such_limit = 1\n")
        f.writelines(f"relay{suffix} = 1\n" for suffix in ("_transport_rate_delay", "_recipient_refill_limit") if not postconf(etc, OURS, "-d", "default" + suffix).stdout)
    said = postconf(etc, OURS, "myhostname").stderr
    assert "relay_no_such_limit" in said and "relay_destination_recipient_limit" not in said
    for suffix in ("_transport_rate_delay", "_recipient_refill_limit"):
        assert ("relay" + suffix in said) == (postconf(etc, OURS, "-d", "default" + suffix).stdout == "")
