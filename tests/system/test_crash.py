"""kill -9 of each daemon in turn while mail is being delivered: what was accepted arrives."""
import os
import secrets
import signal
import threading

import pytest
from conftest import own_instance, queue_ids, wait_until

DAEMONS = ["smtpd", "cleanup", "trivial-rewrite", "qmgr", "bounce", "lmtp", "lmtpd", "smtp", "tlsmgr", "anvil", "resolver", "authd", "login",
           "dispatcher", "imapd", "pickup", "postlogd"]


@pytest.fixture(scope="module")
def victim():
    with own_instance(23000, "minimal_backoff_time = 1s", "maximal_backoff_time = 2s", "queue_run_delay = 1s", "transport_retry_time = 1s",
                      "service_throttle_time = 1s") as i:
        yield i


@pytest.mark.parametrize("name", DAEMONS)
def test_kill(victim, name):
    victim.empty()
    accepted, stop = [], threading.Event()

    def sender():
        while not stop.is_set():
            marker = secrets.token_hex(8)
            try:
                with victim.smtp() as s:
                    s.sendmail("a@elsewhere.example", [victim.user2], f"Subject: {marker}\r\n\r\nx\r\n".encode())
                accepted.append(marker)
            except (OSError, Exception):  # refused or cut off: not accepted, so nothing is owed
                stop.wait(0.05)

    threads = [threading.Thread(target=sender) for _ in range(3)]
    for t in threads:
        t.start()
    killed = 0
    try:
        wait_until(lambda: len(accepted) >= 5, what="some traffic")
        for _ in range(4):
            for pid in victim.pids(name):
                try:
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
                except ProcessLookupError:
                    pass
            stop.wait(0.3)
        before = len(accepted)
        wait_until(lambda: len(accepted) > before + 3, seconds=60, what=f"traffic after {name} was killed")
    finally:
        stop.set()
        for t in threads:
            t.join()
    if name in ("smtpd", "cleanup", "qmgr", "lmtpd", "trivial-rewrite", "lmtp"):
        assert killed, f"{name} never ran"

    def all_there():
        victim.tool("postqueue", "-f")
        have = b"\n".join(victim.messages())
        return all(m.encode() in have for m in accepted)

    wait_until(all_there, seconds=90, what=f"{len(accepted)} accepted messages")
    wait_until(lambda: not queue_ids(victim), seconds=60, what="an empty queue")
    if not killed:
        pytest.skip(f"{name} was not running under this traffic: nothing was shown")
