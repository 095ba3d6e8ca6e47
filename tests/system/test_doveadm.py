"""doveadm user and doveadm auth: Debian's and ours ask the same auth service, and print the same; ours asks our authd."""
import os
import re
import subprocess

import pytest
from test_authd import USERS, both

COMMANDS = [
    ["user", "plain"], ["user", "fields", "nobody"], ["user", "nobody"], ["user", "*ren*"], ["user", "PL*"], ["user", "zz*"], ["user", "*", "nobody"],
    ["user", "-f", "home", "plain"], ["user", "-f", "home", "plain", "fields"], ["user", "-f", "nosuch", "plain"], ["user", "-f", "home", "nobody"],
    ["user", "-f", "mail", "plain", "nobody", "plain"], ["user", "-f", "quota_rule", "fields"],
    ["user", "-e", "%u %h %{home} %{userdb:quota_rule} %{uid}", "fields"], ["user", "-u", "plain"], ["user", "-u", "fields", "nobody"], ["user", "-u", "*"],
    ["user"], ["user", "-x", "service=imap", "plain"], ["user", "-a", "/nonexistent", "plain"], ["user", "-z"], ["user", "noids"], ["user", "temp"],
    ["user", "nohome"], ["user", "plain", "fields"], ["user", "-u", "-f", "home", "nobody"], ["user", "temp", "plain"], ["user", "-u", "temp"], ["user", "-f"],
    ["auth", "test", "plain", "secret"], ["auth", "test", "plain", "wrong"], ["auth", "test", "nobody", "x"], ["auth", "test", "-x", "rip=192.0.2.1", "nets", "secret"],
    ["auth", "test", "fields", "secret"], ["auth", "test", "nologin", "secret"], ["auth", "test"], ["auth", "test", "-a", "/nonexistent", "plain", "secret"],
    ["auth", "test", "plain", "secret", "extra"], ["auth", "test", "noauth", "secret"], ["auth", "test", "-M", "plain", "nodelay", "secret"],
    ["auth", "login", "plain", "secret"], ["auth", "login", "plain", "wrong"], ["auth", "login", "fields", "secret"], ["auth", "login", "ren", "secret"],
    ["auth", "login", "-a", "/nonexistent", "plain", "secret"], ["auth", "login", "nologin", "secret"], ["auth", "lookup", "plain"], ["auth", "lookup", "fields", "nobody"],
    ["auth", "lookup", "-f", "foo", "fields"], ["auth", "lookup", "-f", "user", "ren", "plain"], ["auth", "lookup"], ["auth", "lookup", "-f", "foo", "nobody"],
    ["auth", "lookup", "-a", "/nonexistent", "plain"], ["auth", "cache", "flush"], ["auth", "cache", "flush", "plain", "nobody"], ["auth", "cache"], ["auth"], ["auth", "x"],
]
ENDS = {"user": ["auth-userdb"], "lookup": ["auth-userdb"], "test": ["auth"], "login": ["auth-login", "-m", "auth-master"], "flush": ["auth-master"]}


@pytest.fixture(scope="module")
def services():
    rows = [("passwd-file", "DIR/users", {})]
    ours, debian = both({"users": USERS}, rows, rows, debian="auth_cache_size = 1M\nmail_location = maildir:~/Maildir\n")
    with ours, debian:
        yield ours, debian


def our_doveadm(server, argv, config):
    """With the sockets of that server, unless the command names one; main.cf is our authd's."""
    argv = list(argv)
    at = next((n + 1 for n, word in enumerate(argv[:3]) if word in ENDS), None)
    if at and "-a" not in argv:
        first, *rest = ENDS[argv[at - 1]]
        argv[at:at] = ["-a", server.socket(first), *(word if word.startswith("-") else server.socket(word) for word in rest)]
    return subprocess.run([f"{os.environ['POSTHORN_BUILD']}/bin/doveadm", *argv], capture_output=True, text=True, timeout=60, env={**os.environ, "MAIL_CONFIG": str(config.dir)})


def without_details(text):
    """Numbers of processes and requests, and the empty words that stand where Debian's auth hides a field."""
    text = re.sub(r"<\d+><>", "<PID><>", text)
    return re.sub(r"login: request \[\d+\]: (Login auth request failed: Internal auth failure) \(.*\)", r"login: \1", text)


@pytest.mark.parametrize("argv", COMMANDS, ids=" ".join)
def test_the_same_words(services, argv):
    theirs, ours = services[1].doveadm(*argv), our_doveadm(services[1], argv, services[0])
    if argv[:2] == ["user", "temp"]:  # of a failure with a reason Debian's says nothing at all
        assert theirs.stderr == "" and "Come_back" in ours.stderr
        ours.stderr = ""
    assert (ours.stdout, without_details(ours.stderr), ours.returncode) == (theirs.stdout, without_details(theirs.stderr), theirs.returncode)


@pytest.mark.parametrize("argv", COMMANDS, ids=" ".join)
def test_our_authd_is_asked(services, argv):
    """The two services answer alike, so the command prints the same; but ours lists users in no order."""
    def shown(out):
        lines = [line for line in without_details(out.stdout).splitlines() if line != "  "]
        return (sorted(lines) if any("*" in word for word in argv) else lines), out.returncode

    theirs, ours = our_doveadm(services[1], argv, services[0]), our_doveadm(services[0], argv, services[0])
    if argv[:2] == ["user", "*"] or argv[-1] == "*":  # Debian's names "dup" twice
        theirs.stdout = theirs.stdout.replace("dup\ndup\n", "dup\n")
    assert shown(ours) == shown(theirs)


def test_debians_doveadm_asks_our_authd(services):
    ours, debian = services
    assert debian.doveadm("user", "-a", ours.socket("auth-userdb"), "fields").stdout == debian.doveadm("user", "fields").stdout
    assert debian.doveadm("auth", "test", "-a", ours.socket("auth"), "fields", "secret").stdout == debian.doveadm("auth", "test", "fields", "secret").stdout
    assert debian.doveadm("auth", "login", "-a", ours.socket("auth-login"), "-m", ours.socket("auth-master"), "plain", "secret").returncode == 0


def test_password_from_standard_input(services):
    build = os.environ["POSTHORN_BUILD"]
    for word, code in ("secret\n", 0), ("wrong\n", 77), ("", 64):
        out = subprocess.run([f"{build}/bin/doveadm", "auth", "test", "-a", services[0].socket("auth"), "plain"], input=word, capture_output=True, text=True, timeout=60,
                             env={**os.environ, "MAIL_CONFIG": str(services[0].dir)})
        assert out.returncode == code, out.stderr


def test_help_and_an_instance(instance):
    for argv in ["user"], ["auth"]:
        assert "usage: doveadm " + argv[0] in instance.tool("doveadm", *argv, "--help").stdout
    assert instance.tool("doveadm", "user", "-f", "home", instance.user1).stdout == f"{instance.mail_dir}/{instance.domain}/{instance.user1.split('@')[0]}\n"
    assert instance.user2 in instance.tool("doveadm", "user", "*").stdout.splitlines()
    assert "auth succeeded" in instance.tool("doveadm", "auth", "test", instance.user1, instance.users[instance.user1]).stdout
    assert instance.tool("doveadm", "auth", "test", instance.user1, "wrong", ok=False).returncode == 77
    assert instance.tool("doveadm", "-o", "mail_home=/h/%u", "user", "nobody@nowhere.example", ok=False).returncode == 67
