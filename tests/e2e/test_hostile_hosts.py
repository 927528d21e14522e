"""Hosts that lie, hang, speak nonsense or have odd names: one clear line each, and nothing done.

Every row goes through `llorch` itself; where a row would wait for a limit, the limit is short.
"""

from collections.abc import Iterator

import pytest

from orchestrator_core.clients.ssh import remote_running
from support.hostile_hosts import (
    MAGIC,
    VERSION,
    WILLING,
    at_mac,
    be,
    hello,
    impatient_logins,
    put_back,
    refused,
    start_file,
    typed,
)
from support.odd_servers import odd_server, relay_until
from support.second_machine import SecondMachine, second_machine
from support.sshd import needs_sshd

pytestmark = [pytest.mark.e2e, needs_sshd]

CANARY = "canary-of-hostile-hosts"
HOSTILE = (
    f"-oProxyCommand=touch {CANARY}",
    f"--config=$(touch {CANARY})",
    "-",
    " ",
    "a b",
    " mac",
    "mac ",
    f"mac;touch {CANARY}",
    f"$(touch {CANARY})",
    f"`touch {CANARY}`",
    f"mac\ntouch {CANARY}",
    "mac\r",
    "mac\0",
    "it's",
    'say "mac"',
    "mac\\",
    "mac/../x",
    "mac\u202e",
    "\uff4dac",
    "m\u0430c",
    "mac\x1b[31m",
    "user@",
    "@mac",
    "-u@mac",
    "a@b@mac",
    "mac:",
    "mac:0",
    "mac:65536",
    "mac:-1",
    "mac:22:22",
    "[::1",
    "[fe80::1%eth0]:22",
    "ssh://",
    "http://mac",
    "m" * 300,
)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecondMachine]:
    with second_machine(tmp_path_factory.mktemp("hostile")) as made:
        yield made


@pytest.fixture
def mac(machine: SecondMachine) -> Iterator[SecondMachine]:
    with put_back(machine) as it:
        yield it


@pytest.fixture
def short_login(monkeypatch: pytest.MonkeyPatch) -> None:
    impatient_logins(monkeypatch)


@pytest.fixture
def short_greeting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little patience with what never greets; what it says before must still come through."""
    monkeypatch.setattr(remote_running, "_MAGIC_TIMEOUT_S", 2.5)
    monkeypatch.setattr(remote_running, "_HELLO_TIMEOUT_S", 0.5)


def snapshot(mac: SecondMachine) -> list[tuple[str, int]]:
    """Every file of ours and its last change."""
    found = (it for top in (mac.ours.folder, mac.user_home) for it in top.rglob("*"))
    return sorted((str(it), it.stat().st_mtime_ns) for it in found)


@pytest.mark.parametrize(
    "command",
    [
        "pool devices --host {}",
        "pool --host {} worker list",
        "pool worker spawn cpu --model m --host={}",
        "pool models list --host {} --via http",
        "host trust --yes -- {}",
        "host add --no-join -- {}",
        "host add --no-join -- box {}",
        "host check -- {}",
        "host remove --yes -- {}",
        "pool drain -- {}",
    ],
)
def test_a_hostile_name_is_one_line_and_nothing_else(
    mac: SecondMachine, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mac.user_home)
    before = snapshot(mac)
    # The name of a pool is a parameter like any other: one that is wrong is misuse.
    code = 2 if command.startswith("pool drain") else 1
    for name in HOSTILE:
        line = refused(mac, *(word.format(name) for word in command.split(" ")), code=code)
        assert len(line) < 400
    assert snapshot(mac) == before
    assert not (mac.user_home / CANARY).exists()


def test_a_hostile_name_is_shown_so_that_a_terminal_stays_as_it_is(mac: SecondMachine) -> None:
    ends = "is no host: name one of llorch.toml, or [USER@]HOST[:PORT] (INVALID_REQUEST)"
    assert at_mac(mac, 1, host="-oProxyCommand=x") == f"'-oProxyCommand=x' {ends}"
    assert at_mac(mac, 1, host="a\nb\x1b[0m") == rf"'a\nb\x1b[0m' {ends}"
    assert at_mac(mac, 1, host="m\u0430c") == rf"'m\u0430c' {ends}"
    assert refused(mac, "host", "trust", "-oX", code=2) == "No such option '-o'."
    twice = refused(mac, "pool", "devices", "--host", "mac", "--host", "box", code=2)
    assert twice == "--host is given twice: a command runs on one host."


SILENT = "{place} gives no answer within 0.7 s: is it up and awake? (TIMEOUT)"
CLOSED = "{place} closed the connection during the login"
NO_SSH = "what answers at {place} does not speak SSH as we do"


@pytest.mark.usefixtures("short_login")
@pytest.mark.parametrize(
    ("words", "then", "code", "line"),
    [
        (b"", "hang", 124, SILENT),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "hang", 124, SILENT),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "close", 5, CLOSED),
        (b"", "close", 5, CLOSED),
        (b"Not allowed at this time\r\n", "close", 5, CLOSED),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "close", 5, CLOSED),
        (b"SSH-1.5-old\r\n", "hang", 5, NO_SSH),
        (b"hello\r\n" * 1024, "repeat", 5, NO_SSH),
        (b"x" * 8192, "repeat", 5, NO_SSH),
    ],
    ids=range(9),
)
def test_what_answers_but_is_no_ssh_server_is_one_line(
    mac: SecondMachine, words: bytes, then: str, code: int, line: str
) -> None:
    with odd_server(words, then) as port:
        place = f"127.0.0.1:{port}"
        assert at_mac(mac, code, host=place).startswith(line.format(place=place))
        trusted = refused(mac, "host", "trust", "--yes", place, code=code)
    assert trusted.startswith(line.format(place=place))


@pytest.mark.usefixtures("short_login")
@pytest.mark.parametrize("bytes_let_through", [10, 60, 700, 1200])
def test_a_host_that_hangs_anywhere_in_the_login_is_one_line(
    mac: SecondMachine, bytes_let_through: int
) -> None:
    with relay_until(mac.sshd.port, bytes_let_through) as port:
        place = f"127.0.0.1:{port}"
        assert at_mac(mac, 124, host=place) == SILENT.format(place=place)


@pytest.mark.usefixtures("short_greeting")
@pytest.mark.parametrize(
    ("start", "code", "line"),
    [
        ("exec cat", 124, "llorch-pool at mac has not answered within 2.5 s: is it overloaded, or"),
        (
            "echo hi; read x",
            124,
            "llorch-pool at mac has not answered within 2.5 s; its shell said",
        ),
        (
            r"printf '\0LLORCH1\0'; exec sleep 30",
            1,
            "llorch-pool at mac is too old for this: llorch host upgrade mac (VERSION_SKEW)",
        ),
    ],
)
def test_a_start_file_that_waits_is_one_line(
    mac: SecondMachine, start: str, code: int, line: str
) -> None:
    start_file(mac).write_text(f"{start}\n")
    assert at_mac(mac, code).startswith(line)


@pytest.mark.parametrize(
    ("start", "line"),
    [
        ("exit 0", "llorch-pool does not start at mac (exit 0): is it killed, or does a start"),
        ("echo bye; exit 3", "llorch-pool does not start at mac (exit 3): bye (INTERNAL)"),
        (
            r"printf '\0LLORCH1\0X\0\0\0\0010'; exec sleep 30",
            "what answers at mac is no llorch-pool: it answers before it is asked (DATA_CORRUPT)",
        ),
        (
            r"printf '\0LLORCH1\0nonsense and more of it'; exec sleep 30",
            "what answers at mac is no llorch-pool: the two sides of remote-exec are out of step",
        ),
    ],
)
def test_a_start_file_in_the_way_is_one_line(mac: SecondMachine, start: str, line: str) -> None:
    start_file(mac).write_text(f"{start}\n")
    assert at_mac(mac, 1).startswith(line)


def test_what_a_start_file_prints_is_passed_over(mac: SecondMachine) -> None:
    # Where the host's reads end, the magic may be in one and the version in the next.
    said = "head -c 3000000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero >&2; echo Welcome"
    be(mac, WILLING)
    start_file(mac).write_text(f"{said}\n")
    result = typed(mac, "pool", "devices", "--host", "mac")
    assert (result.exit_code, result.output) == (0, "")


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        (
            f"{hello('7.2.0')}; sleep 30",
            1,
            f"llorch-pool on mac is 7.2.0, this is {VERSION}: upgrade llorch here (VERSION_SKEW)",
        ),
        (
            f"{hello('')}; sleep 30",
            1,
            f"llorch-pool on mac is of no version, this is {VERSION}: run: llorch host upgrade mac",
        ),
        (
            rf"printf '\0LLORCH1\0'; sleep 0.3; {hello('7.2.0').replace(MAGIC, '')}; sleep 30",
            1,
            f"llorch-pool on mac is 7.2.0, this is {VERSION}: upgrade llorch here (VERSION_SKEW)",
        ),
        (
            "echo \"Error: No such command 'remote-exec'.\" >&2; exit 2",
            1,
            "llorch-pool at mac is too old for this: llorch host upgrade mac (VERSION_SKEW)",
        ),
        (
            f"{hello(VERSION)}; head -c 5 >/dev/null; kill -9 $$",
            5,
            "llorch-pool was ended at mac (exit 137): it is not known how far the command came",
        ),
        (
            "kill -9 $$",
            1,
            "llorch-pool does not start at mac (exit 137): is it killed, or does a start file",
        ),
    ],
)
def test_a_llorch_pool_that_is_odd_is_one_line(
    mac: SecondMachine, text: str, code: int, line: str
) -> None:
    be(mac, text)
    assert at_mac(mac, code).startswith(line)
