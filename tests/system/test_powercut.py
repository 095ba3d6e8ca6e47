"""The power is cut under load: what was answered is there after the next start, whole, and under the UID that was told.

POSTHORN_CUTS: how many cuts each case gets (a few without it). POSTHORN_SEED: a number, to get the same messages and moments again.
POSTHORN_STRICT: what was not answered, and is shown torn or under a UID that an onlooker knew as another's, fails too.
"""
import os
import random

import pytest
from ledger import Ledger, Load, imap
from powercut import Unable, machine, own_mounts

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: file systems are mounted")
PORTS = 25600
USERS = ["alice", "bob"]
ALICE, BOB = ("alice@example.test", "INBOX"), ("bob@example.test", "INBOX")
MOST_SHOWN = 40  # faults
FEW = {"ext4": 2, "xfs": 1}
SETTINGS = ["mynetworks = 127.0.0.0/8", "virtual_mailbox_limit = 0", "mail_max_userip_connections = 100"]


def cuts(m):
    return range(int(os.environ.get("POSTHORN_CUTS", FEW[m.kind])))


@pytest.fixture(scope="module")
def mounts():
    try:
        own_mounts()
    except Unable as e:
        pytest.skip(str(e))


@pytest.fixture(scope="module", params=["ext4", "xfs"])
def m(request, mounts):
    try:
        with machine(request.param, PORTS, USERS, *SETTINGS) as made:
            yield made
    except Unable as e:
        pytest.skip(str(e))


@pytest.fixture
def ledger(m):
    return Ledger(m, os.environ.get("POSTHORN_SEED", random.randrange(1 << 32)))


def folder(m, name):
    with imap(m, ALICE) as session:
        session.ok(b"CREATE " + name.encode())
    return (ALICE[0], name)


def show(ledger):
    print(", ".join(f"{n} {what}" for what, n in ledger.count.items()))
    faults, strange = ledger.faults, list(ledger.strange.values())
    if strange:
        print(f"{len(strange)} faults of messages that nobody was answered for:")
    print("\n".join([*strange[:MOST_SHOWN], *faults[:MOST_SHOWN]]))
    if os.environ.get("POSTHORN_STRICT"):
        faults = faults + strange
    assert not faults, f"{len(faults)} faults, the first: {faults[0]}"


def test_a_boot(m, ledger):
    """What is cut off is lost; and to the daemons it is another boot."""
    here = open("/proc/sys/kernel/random/boot_id").read().strip()
    kept, lost = m.dir / "kept", m.dir / "lost"
    with open(kept, "w") as f:
        f.write("kept")
        f.flush()
        os.fsync(f.fileno())
    lost.write_text("lost")
    m.cut()
    with pytest.raises(OSError):
        (m.dir / "later").write_text("later")
    m.boot()
    assert kept.read_text() == "kept" and not lost.exists()
    assert m.boot_id_seen() == m.boot_id != here


@pytest.mark.parametrize("sessions", [1, 10])
def test_lmtp(m, ledger, sessions):
    for n in cuts(m):
        load = Load(ledger, n)
        load.add(load.by_lmtp, ALICE if sessions == 1 else BOB, times=sessions)
        load.run(1, 100 * sessions)
        ledger.check(ALICE if sessions == 1 else BOB)
    show(ledger)


@pytest.mark.parametrize("sessions, most", [(1, 1), (10, 1), (2, 5)])
def test_append(m, ledger, sessions, most):
    box = folder(m, f"append-{sessions}-{most}")
    for n in cuts(m):
        load = Load(ledger, n)
        load.add(load.by_append, box, most, times=sessions)
        load.add(load.observe, box)
        load.run(1, 50 * sessions)
        ledger.check(box, appended=True)
    show(ledger)
