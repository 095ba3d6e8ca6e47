"""Mail that cannot go now: warnings, expiry, and the endpoints and log of older set-ups."""
import array
import contextlib
import os
import pathlib
import re
import secrets
import socket

import pytest
from conftest import own_instance, queue_ids, wait_until

WAIT = "transport_maps = inline:{ {wait.example = retry:4.3.0 not today} }"


def submit(i, to):
    marker = secrets.token_hex(8)
    with i.submission() as s:
        s.sendmail(i.user1, [to], f"Subject: {marker}\r\n\r\nbody\r\n".encode())
    return marker


def test_delay_warning_then_expiry():
    with own_instance(28000, WAIT, "delay_warning_time = 1s", "maximal_queue_lifetime = 5s", "minimal_backoff_time = 1s",
                      "maximal_backoff_time = 1s", "queue_run_delay = 1s") as i:
        mark = i.log_mark()
        marker = submit(i, "x@wait.example")
        warning = i.wait_message("Subject: Delayed Mail (still being retried)", user=i.user1)
        assert marker.encode() in warning and b"Action: delayed" in warning and b"Will-Retry-Until: " in warning
        i.wait_log(r": sender delay notification: ", mark)
        report = i.wait_message("Subject: Undelivered Mail Returned to Sender", user=i.user1)
        assert marker.encode() in report and b"Action: failed" in report and b"not today" in report
        i.wait_log(r"from=<" + i.user1 + r">, status=expired, returned to sender", mark)
        wait_until(lambda: not queue_ids(i), what="an empty queue")


def test_fifo_endpoints():
    """pickup and qmgr as master.cf had them before Postfix 2.11."""
    with own_instance(28200) as i:
        path = pathlib.Path(i.config_dir, "master.cf")
        path.write_text(re.sub(r"(?m)^(pickup +)unix", r"\1fifo", path.read_text()))
        i.restart()
        assert pathlib.Path(i.queue_dir, "public/pickup").is_fifo()
        marker = secrets.token_hex(8)
        i.tool("sendmail", i.user2, input=f"Subject: {marker}\n\nx\n")
        i.wait_message(marker, seconds=10)  # long before pickup's own wake-up, so by the trigger


def test_pass_endpoint():
    """A connection handed to smtpd over a unix socket, as postscreen will."""
    if os.geteuid() != 0:
        pytest.skip("needs root: the socket is private")
    with own_instance(28400, services="handed pass - - y - - smtpd\n") as i:
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname(), timeout=20)
        server, _ = listener.accept()
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(pathlib.Path(i.queue_dir, "private/handed")))
            s.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [server.fileno()]))])
            server.close()
            assert client.recv(200).startswith(b"220 ")
            client.sendall(b"EHLO x\r\n")
            assert client.recv(500).startswith(b"250-")


def test_syslog():
    """Without maillog_file lines go to the system's log socket."""
    if os.geteuid() != 0 or os.path.lexists("/dev/log"):
        pytest.skip("needs root and a machine whose /dev/log is free")
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        log.bind("/dev/log")
        stack.callback(os.unlink, "/dev/log")
        os.chmod("/dev/log", 0o666)
        log.settimeout(20)
        i = stack.enter_context(own_instance(28600))
        i.postconf("maillog_file =")
        i.restart()
        with i.smtp() as s:
            s.sendmail("a@elsewhere.example", [i.user2], b"Subject: syslog\r\n\r\nx\r\n")
        seen = b""
        while b"status=sent" not in seen:
            seen += log.recv(8192) + b"\n"
        assert b"<22>" in seen and b"postfix/smtpd[" in seen and b"postfix/qmgr[" in seen
