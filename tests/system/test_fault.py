"""The short form of tests/fault/run: daemons are killed at random for some seconds, nothing accepted is lost."""
import contextlib
import os
import pathlib
import secrets
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, own_instance, queue_ids, wait_until


@pytest.fixture(scope="module")
def own():
    with own_instance(45200, "minimal_backoff_time = 1s", "maximal_backoff_time = 2s", "queue_run_delay = 1s", "transport_retry_time = 1s",
                      "service_throttle_time = 1s") as i:
        yield i


def spool(instance, queue):
    return sorted(p.name for p in (pathlib.Path(instance.queue_dir) / queue).iterdir())


def kill_for(instance, name, seconds):
    end, killed = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for pid in instance.pids(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        time.sleep(0.05)
    return killed


def test_cleanup_killed_under_pickup(own):
    """A message that cleanup did not take whole stays in maildrop: it is not damaged, whatever the answer was."""
    own.postfix("stop")
    markers = [secrets.token_hex(8) for _ in range(4)]
    for m in markers:
        own.tool("sendmail", "-i", "-f", own.user1, own.user2, input=f"Subject: {m}\n\n" + ("x" * 70 + "\n") * 100_000)
    own.postfix("start")
    assert kill_for(own, "cleanup", 3)
    own.reload()
    for m in markers:
        own.wait_message(m, seconds=60)
    assert spool(own, "corrupt") == []


def test_random_kills():
    out = subprocess.run([sys.executable, str(ROOT / "tests/fault/run"), "--seconds", "15", "--port-base", "45000"], capture_output=True,
                         text=True, timeout=300)
    assert out.returncode == 0, out.stdout + out.stderr
