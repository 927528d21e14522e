"""What stands in ~/.ssh and in our own list of keys, odd or hostile: one clear line, or no harm."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.hostile_hosts import (
    WILLING,
    at_mac,
    be,
    impatient_logins,
    put_back,
    refused,
    typed,
)
from support.second_machine import SecondMachine, second_machine
from support.sshd import make_key, needs_sshd, running_sshd

pytestmark = [pytest.mark.e2e, needs_sshd]


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


def configure(mac: SecondMachine, lines: str) -> None:
    config = mac.user_home / ".ssh" / "config"
    own = lines.format(key=mac.sshd.client_key)
    config.write_text(f"Host *\n{own}\n{config.read_text()}")


@pytest.mark.parametrize(
    ("lines", "code", "line"),
    [
        ('Host "mac', 1, "~/.ssh/config cannot be used for mac: "),
        ("Port many", 1, "~/.ssh/config cannot be used for mac: "),
        ("Port 99999", 1, "~/.ssh/config cannot be used for mac: 99999 is no port"),
        ("Include ~/.ssh/config", 1, "~/.ssh/config cannot be used for mac: "),
        ("ProxyJump -oProxyCommand=x", 1, "ProxyJump in ~/.ssh/config: '-oProxyCommand=x' is no"),
        ("ProxyCommand /no/such", 5, "the way to mac needs /no/such: No such file or directory"),
        ("User nobody-here", 4, "mac lets user nobody-here in with none of our keys: "),
    ],
)
def test_a_configuration_that_leads_nowhere_is_one_line(
    mac: SecondMachine, lines: str, code: int, line: str
) -> None:
    configure(mac, lines)
    assert at_mac(mac, code).startswith(line)


@pytest.mark.usefixtures("short_login")
@pytest.mark.parametrize(
    ("command", "code", "line"),
    [
        ("false", 5, "127.0.0.1:{port} closed the connection during the login"),
        ("sleep 30", 124, "mac gives no answer within 0.7 s"),
    ],
)
def test_a_proxy_that_is_no_way_is_one_line(
    mac: SecondMachine, command: str, code: int, line: str
) -> None:
    configure(mac, f"ProxyCommand {command}")
    assert at_mac(mac, code).startswith(line.format(port=mac.sshd.port))


@pytest.mark.parametrize(
    "lines",
    [
        "IdentityFile /etc/passwd",
        "IdentityFile ~/.ssh/known_hosts\nIdentitiesOnly yes",
        "IdentityFile {key}.pub",
        "IdentityFile {key}.pub\nIdentitiesOnly yes",
        "IdentityFile /nowhere",
        "IdentityAgent /nowhere",
        "ProxyJump none\nProxyCommand none",
        "StrictHostKeyChecking no\nForwardAgent yes\nRemoteCommand touch x",
    ],
)
def test_odd_lines_of_the_configuration_do_no_harm(mac: SecondMachine, lines: str) -> None:
    be(mac, WILLING)
    configure(mac, lines)
    result = typed(mac, "pool", "devices", "--host", "mac")
    assert (result.exit_code, result.output) == (0, "")


def test_variables_of_a_terminal_that_a_host_does_not_know_stay_here(mac: SecondMachine) -> None:
    be(mac, WILLING)
    mac.ours.env["LC_TERMINAL_VERSION"] = "3.4"
    try:
        result = typed(mac, "pool", "devices", "--host", "mac")
    finally:
        del mac.ours.env["LC_TERMINAL_VERSION"]
    assert (result.exit_code, result.output) == (0, "")


def test_a_host_whose_entry_has_a_port_is_named_as_our_commands_know_it(mac: SecondMachine) -> None:
    mac.know_nobody()
    place = f"127.0.0.1:{mac.sshd.port}"
    step = "compare it and run: llorch host trust {} (HOST_KEY_UNKNOWN)"
    mac.write_host(ssh=f"{mac.sshd.user}@{place}")
    assert at_mac(mac, 4).endswith(step.format("mac"))
    assert at_mac(mac, 4, host=f"{mac.sshd.user}@{place}").endswith(step.format(place))
    typed(mac, "host", "trust", "--yes", place)
    assert at_mac(mac, 4).startswith("mac lets user ")


def test_a_host_behind_another_is_trusted_after_that_one(
    mac: SecondMachine, tmp_path: Path
) -> None:
    be(mac, WILLING)
    mac.know_nobody()
    with running_sshd(tmp_path / "gate") as gate:
        config = mac.user_home / ".ssh" / "config"
        inner = mac.sshd.ssh_config("mac", more="  ProxyJump gate\n")
        config.write_text(inner + gate.ssh_config("gate"))
        for command in (("pool", "devices", "--host", "mac"), ("host", "trust", "--yes", "mac")):
            line = refused(mac, *command, code=4)
            assert line.startswith("the host key of gate (SHA256:")
            assert line.endswith("run: llorch host trust gate (HOST_KEY_UNKNOWN)")
        assert typed(mac, "host", "trust", "--yes", "gate").exit_code == 0
        assert at_mac(mac, 4).startswith("the host key of mac (SHA256:")
        assert typed(mac, "host", "trust", "--yes", "mac").exit_code == 0
        assert typed(mac, "pool", "devices", "--host", "mac").exit_code == 0
        gate.change_host_key()
        changed = at_mac(mac, 4)
    assert changed.startswith("the host key of gate was SHA256:")
    assert "llorch host trust gate --replace" in changed


def test_a_key_of_another_kind_is_a_changed_key(mac: SecondMachine, tmp_path: Path) -> None:
    known = make_key(tmp_path / "ecdsa", kind="ecdsa")
    file = mac.user_home / ".ssh" / "known_hosts"
    file.write_text(f"[127.0.0.1]:{mac.sshd.port} {known}\n")
    line = at_mac(mac, 4)
    assert len(re.findall(r"SHA256:", line)) == 2
    assert "llorch host trust mac --replace" in line


@pytest.mark.parametrize("spelled", ["[127.0.0.1]:{port}", "127.0.0.1", "*"])
def test_a_revoked_key_is_never_trusted(mac: SecondMachine, spelled: str) -> None:
    file = mac.user_home / ".ssh" / "known_hosts"
    name = spelled.format(port=mac.sshd.port)
    file.write_text(f"@revoked {name} {mac.sshd.host_key_line}\n{mac.sshd.known_hosts}")
    assert "is marked as revoked in known_hosts" in at_mac(mac, 4)
    if name != "127.0.0.1":
        trusted = typed(mac, "host", "trust", "--yes", "mac")
        assert trusted.exit_code == 4
        assert "is marked as revoked" in trusted.stderr


def test_names_that_are_hashed_are_known(mac: SecondMachine) -> None:
    be(mac, WILLING)
    file = mac.user_home / ".ssh" / "known_hosts"
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert "127.0.0.1" not in file.read_text()
    assert typed(mac, "pool", "devices", "--host", "mac").exit_code == 0
    assert "known already" in typed(mac, "host", "trust", "mac").stderr


def test_a_place_for_keys_that_takes_no_file_is_one_line(mac: SecondMachine) -> None:
    mac.know_nobody()
    state = mac.ours.folder / "state" / "known_hosts"
    state.mkdir(parents=True)
    try:
        result = typed(mac, "host", "trust", "--yes", "mac")
    finally:
        state.rmdir()
    assert result.exit_code == 1
    assert "error: cannot write " in result.stderr.splitlines()[-1]
