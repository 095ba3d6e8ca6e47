"""At rest: a process without work ends, also one to which others keep connections; what comes next finds a new one."""
import pathlib
import re
import smtplib
import time

import pytest

from conftest import own_instance, processes_of, wait_until

STANDING = {"master", "qmgr", "pickup", "postlogd", "tlsmgr", "authd", "dispatcher", "proxymap", "anvil", "resolver", "saslauth", "oauth2", "auth-worker"}
MIB = 12


@pytest.fixture(scope="module")
def i():
    with own_instance(27900, "max_idle = 3s", "mail_process_idle_time = 1") as instance:
        yield instance


def rows(i):
    out = []
    for pid in processes_of(i.dir):
        try:
            name = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
            pss = re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
        except OSError:
            continue
        out.append((name, pid, int(pss[1]) if pss else 0))
    return out


def send(i, n):
    for k in range(n):
        with smtplib.SMTP("localhost", i.smtp_port, timeout=30) as s:
            s.sendmail("a@elsewhere.example", [i.user2], f"Subject: rest {k}\r\n\r\ntext\r\n")


def use(i, n):
    have = len(i.messages())
    send(i, n)
    wait_until(lambda: len(i.messages()) == have + n, 30, "arrival")
    with i.submission():
        pass


def test_only_what_must_listen_stays(i):
    use(i, 5)
    assert "trivial-rewrite" in {name for name, _, _ in rows(i)}
    wait_until(lambda: not {name for name, _, _ in rows(i)} - STANDING, 30, "rest")
    at_rest = rows(i)
    print(sorted(at_rest))
    assert len(at_rest) == len({name for name, _, _ in at_rest})
    assert sum(pss for _, _, pss in at_rest) <= MIB * 1024, sorted(at_rest)


def test_the_next_message_finds_new_ones(i):
    """qmgr had kept its connection to the rewrite that ended: nothing is deferred for that, not even for a moment."""
    for _ in range(2):
        wait_until(lambda: not {name for name, _, _ in rows(i)} - STANDING, 30, "rest")
        mark = i.log_mark()
        use(i, 3)
        assert not re.search(r"status=deferred|cannot be asked| NOQUEUE|fatal|panic", i.log(mark)), i.log(mark)


def test_a_client_that_pauses(i):
    """The cleanup to which smtpd keeps a connection wants to end meanwhile: it takes the next message, another one those after."""
    have, mark = len(i.messages()), i.log_mark()
    with smtplib.SMTP("localhost", i.smtp_port, timeout=30) as s:
        for pause in (8, 8, 0, 0):
            s.sendmail("a@elsewhere.example", [i.user2], "Subject: pause\r\n\r\ntext\r\n")
            time.sleep(pause)
    wait_until(lambda: len(i.messages()) == have + 4, 30, "arrival")
    assert not re.search(r"status=deferred|cannot be asked| NOQUEUE|fatal|panic|warning", i.log(mark)), i.log(mark)
