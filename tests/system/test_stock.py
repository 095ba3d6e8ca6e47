"""Debian's own master.cf starts; what has no program yet is named, the rest works."""
import pathlib
import re
import subprocess

import pytest
from conftest import ROOT, own_instance, wait_until

PORT = 26025


@pytest.fixture(scope="module")
def stock():
    found = subprocess.run([ROOT / "tests/peer/debian", "postconf"], capture_output=True, text=True, timeout=300)
    if found.returncode:
        pytest.skip("Debian's postfix package, for its master.cf, cannot be had")
    top = pathlib.Path(found.stdout.strip()).parent / "root"
    text = next(top.glob("**/master.cf.dist"), None) or next(top.glob("**/master.cf"))
    return re.sub(r"^smtp( +inet)", rf"127.0.0.1:{PORT}\1", text.read_text(), flags=re.M)


def test_debian_master_cf(stock):
    with own_instance(26000) as i:
        path = pathlib.Path(i.config_dir, "master.cf")
        ours = path.read_text()
        # Debian has no IMAP in its master.cf: the login side stays on the ports of this instance.
        path.write_text(stock + "".join(line + "\n" for line in ours.splitlines() if " login " in line or line.endswith(" none")))
        mark = i.log_mark()
        i.restart()
        for name in ("local", "pipe", "scache", "verify"):
            i.wait_log(rf"warning: service [a-z/-]+ \(.*master\.cf, line \d+\).*daemons/{name}: No such file", mark)
        with i.smtp(PORT) as s:
            s.sendmail("a@elsewhere.example", [i.user2], b"Subject: stock\r\n\r\nx\r\n")
        i.wait_message("Subject: stock")
        i.tool("sendmail", i.user2, input="Subject: local\n\nx\n")
        i.wait_message("Subject: local")
        assert wait_until(lambda: i.tool("mailq").stdout == "Mail queue is empty\n", what="an empty queue")


def test_stop_start_abort_status():
    with own_instance(26200) as i:
        assert "is running" in (out := i.postfix("status")).stdout + out.stderr
        again = i.postfix("start", ok=False)
        assert again.returncode != 0 and "already running" in again.stdout + again.stderr
        daemons = i.daemons()
        i.postfix("abort")
        wait_until(lambda: i.postfix("status", ok=False).returncode == 1, what="the end")
        wait_until(lambda: not any(pathlib.Path(f"/proc/{pid}").exists() for pid in daemons), what="the end of every daemon")
        i.postfix("start")
        i.postfix("flush")
