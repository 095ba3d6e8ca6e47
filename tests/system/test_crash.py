"""kill -9 of each daemon in turn while it works: what was accepted arrives, and the suite goes on by itself."""
import contextlib
import os
import pathlib
import random
import signal
import sys
import time

import pytest
from conftest import ROOT, wait_until

sys.path.insert(0, str(ROOT / "tests/fault"))
from traffic import instance_with_traffic  # noqa: E402

# name -> process name, service name of master.cf where that tells them apart
DAEMONS = {name: (name, None) for name in
           ["smtpd", "cleanup", "trivial-rewrite", "qmgr", "smtp", "lmtp", "lmtpd", "virtual", "error", "discard", "pickup", "showq", "postlogd",
            "anvil", "tlsmgr", "resolver", "proxymap", "authd", "auth-worker", "login", "dispatcher", "keeper", "imapd", "pop3d",
            "mailboxd"]}
DAEMONS |= {"bounce": ("bounce", "bounce"), "defer": ("bounce", "defer"), "trace": ("bounce", "trace"), "spawner of imapd": ("imapd", None),
            "spawner of pop3d": ("pop3d", None), "spawner of mailboxd": ("mailboxd", None),
            "master": ("master", None)}
AT_WORK_SECONDS = 60  # within which a daemon must have been seen at work
AWAKE_SECONDS = 90    # within which everything must go on


@pytest.fixture(scope="module")
def traffic():
    if os.geteuid() != 0:
        pytest.skip("needs root: a spawner is told from its children by its uid")
    with instance_with_traffic(23000) as t:
        t.begin()
        try:
            wait_for_progress(t)
            yield t
        finally:
            t.end()


def wait_for_progress(t):
    """Every kind of traffic gets something done from now on."""
    before, end = t.progress(), time.monotonic() + AWAKE_SECONDS
    while stuck := [kind for kind, n in t.progress().items() if n <= before[kind]]:
        assert time.monotonic() < end, f"no progress within {AWAKE_SECONDS} s: {stuck}"
        time.sleep(0.05)


def processes(t, name):
    program, service = DAEMONS[name]
    if name == "master":
        return [t.i.master()]
    found = []
    for pid in t.i.pids(program):
        with contextlib.suppress(OSError):
            proc = pathlib.Path(f"/proc/{pid}")
            argv = proc.joinpath("cmdline").read_bytes().split(b"\0")
            spawner = b"spawner" in argv and proc.stat().st_uid == 0
            named = argv[argv.index(b"-n") + 1] if b"-n" in argv else None  # not yet, or no longer
            if spawner == name.startswith("spawner") and (service is None or named == service.encode()):
                found.append(pid)
    return found


def ran(pid):
    """Nanoseconds of processor time of a process; None after its end."""
    with contextlib.suppress(OSError):
        return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    return None


def wait_at_work(t, name):
    """A process of that name that has just been seen running: the instance has nothing else to do than this traffic."""
    end = time.monotonic() + AT_WORK_SECONDS
    while time.monotonic() < end:
        before = {pid: ran(pid) for pid in processes(t, name)}
        look_again = time.monotonic() + 0.05
        while time.monotonic() < look_again:
            for pid, ns in before.items():
                if ns and (ran(pid) or 0) > ns:
                    return pid
            time.sleep(0.0005)
    raise AssertionError(f"{name} was never at work")


def end(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return 1
    return 0


def at_any_instruction(t, name, pid):
    time.sleep(random.uniform(0, 0.003))
    return end(pid)


def with_others_waiting(t, name, pid):
    """It is stopped first: what is asked of it meanwhile is never answered."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.05)
    return end(pid)


def with_its_successors(t, name, pid):
    """Who asks again asks one that dies as well."""
    killed, until = end(pid), time.monotonic() + 0.3
    while time.monotonic() < until and name != "master":
        killed += sum(end(pid) for pid in processes(t, name))
    return killed


WAYS = [at_any_instruction, with_others_waiting, with_its_successors]


def start_again(t):
    """What an init system does after master's end."""
    wait_until(lambda: t.i.postfix("start", ok=False).returncode == 0, AWAKE_SECONDS, "postfix start")


@pytest.mark.parametrize("name", DAEMONS)
def test_kill(traffic, name):
    faults = len(traffic.faults)
    traffic.doing = name
    for way in WAYS:
        while not way(traffic, name, wait_at_work(traffic, name)):
            pass
        if name == "master":
            start_again(traffic)
        time.sleep(random.uniform(0, 0.2))
    wait_for_progress(traffic)
    assert traffic.faults[faults:] == []


def test_nothing_was_lost(traffic):
    traffic.end()
    traffic.settle(60)
    total = traffic.count()
    print("\n".join(traffic.notes))
    assert traffic.faults == [] and total > 0
    began = time.monotonic()
    traffic.i.postfix("stop")
    assert time.monotonic() - began < 8, traffic.i.log()[-3000:]
