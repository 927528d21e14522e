"""Which service manager a host has, and what is said where there is none."""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator_core.daemon import services
from orchestrator_core.daemon.services import (
    Account,
    HostFacts,
    Manager,
    Ran,
    Scope,
    Service,
    choose,
    find_account,
    host_is_stopping,
    look,
    run_command,
    service_pid,
)
from orchestrator_core.errors import Exit, Refusal

ANN = Account("ann", 1000, 1000, Path("/h/ann"))
ROOT = Account("root", 0, 0, Path("/r"))
PROGRAM = Path("/opt/p/pool-managerd")

LINUX = HostFacts(is_mac=False, me=ANN, owner=ANN, systemd_runs=True, user_manager_runs=True)
MAC = HostFacts(is_mac=True, me=ANN, owner=ANN)

AGENT = Path("/h/ann/Library/LaunchAgents/llama-orch.pool-managerd.plist")
DAEMON = Path("/Library/LaunchDaemons/llama-orch.pool-managerd.plist")
USER_UNIT = Path("/h/ann/.config/systemd/user/pool-managerd.service")
SYSTEM_UNIT = Path("/etc/systemd/system/pool-managerd.service")


def as_root(host: HostFacts) -> HostFacts:
    return replace(host, me=ROOT)


@pytest.mark.parametrize(
    ("host", "wanted", "expected"),
    [
        (LINUX, None, Service(Manager.SYSTEMD, Scope.USER, USER_UNIT)),
        (as_root(LINUX), None, Service(Manager.SYSTEMD, Scope.SYSTEM, SYSTEM_UNIT)),
        (LINUX, Scope.USER, Service(Manager.SYSTEMD, Scope.USER, USER_UNIT)),
        (MAC, None, Service(Manager.LAUNCHD, Scope.USER, AGENT, "gui/1000")),
        (as_root(MAC), None, Service(Manager.LAUNCHD, Scope.SYSTEM, DAEMON, "system")),
    ],
)
def test_each_host_has_one_place(host: HostFacts, wanted: Scope | None, expected: Service) -> None:
    assert choose(host, wanted, program=PROGRAM) == expected


@pytest.mark.parametrize(
    ("host", "wanted", "word"),
    [
        (LINUX, Scope.SYSTEM, "needs root: run this with sudo"),
        (MAC, Scope.SYSTEM, "needs root"),
        (as_root(MAC), Scope.USER, "without sudo"),
        (replace(LINUX, user_manager_runs=False), None, "no services for ann"),
        (replace(LINUX, systemd_runs=False), None, "run /opt/p/pool-managerd in the foreground"),
        (replace(LINUX, systemd_runs=False), Scope.SYSTEM, "llorch-pool daemon start"),
        (
            replace(LINUX, systemd_runs=False, in_container=True),
            None,
            "make /opt/p/pool-managerd its main program",
        ),
        (replace(LINUX, systemd_runs=False, in_wsl=True), None, "systemd=true"),
    ],
)
def test_where_it_cannot_be_the_way_out_is_named_in_one_line(
    host: HostFacts, wanted: Scope | None, word: str
) -> None:
    refusal = choose(host, wanted, program=PROGRAM)
    assert isinstance(refusal, Refusal)
    assert word in refusal.message
    assert "\n" not in refusal.message
    assert refusal.outcome.exit_code is Exit.FAILURE


def test_text_alone_needs_neither_root_nor_a_manager() -> None:
    bare = replace(LINUX, systemd_runs=False, user_manager_runs=False)
    for scope, path in ((Scope.SYSTEM, SYSTEM_UNIT), (Scope.USER, USER_UNIT)):
        service = choose(bare, scope, program=PROGRAM, only_text=True)
        assert isinstance(service, Service)
        assert service.path == path
    assert isinstance(choose(bare, None, program=PROGRAM, only_text=True), Refusal)


def tree(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).mkdir(parents=True)
    return root


@pytest.mark.parametrize(
    ("word", "expected"), [("running", True), ("degraded", True), ("offline", False), ("", False)]
)
def test_users_manager_runs_when_it_says_so(tmp_path: Path, word: str, expected: bool) -> None:
    asked: list[tuple[str, ...]] = []

    def run(argv: Sequence[str]) -> Ran:
        asked.append(tuple(argv))
        return Ran(1, f"{word}\n")

    host = look({}, run, tree(tmp_path, "run/systemd/system"))
    assert (host.systemd_runs, host.user_manager_runs) == (True, expected)
    assert asked == [("systemctl", "--user", "is-system-running")]


def test_installed_systemctl_proves_nothing(tmp_path: Path) -> None:
    def run(argv: Sequence[str]) -> Ran:
        raise AssertionError(f"nobody is there to ask: {argv}")

    host = look({}, run, tmp_path)
    assert not host.systemd_runs
    assert not host.in_container
    assert not host.is_mac
    assert host.me.uid == os.getuid()
    assert host.is_root == (os.getuid() == 0)


def test_container_wsl_and_linger_are_noticed(tmp_path: Path) -> None:
    me = look({}, lambda _argv: Ran(0, ""), tmp_path).me
    root = tree(tmp_path, "run", f"var/lib/systemd/linger/{me.name}")
    (root / "run/.containerenv").touch()
    host = look({"WSL_DISTRO_NAME": "Debian"}, lambda _argv: Ran(0, ""), root)
    assert (host.in_container, host.in_wsl, host.lingers) == (True, True, True)


def test_mac_is_a_mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert look({}, lambda _argv: Ran(0, ""), tmp_path).is_mac


def test_sudo_names_whom_the_service_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = {"ann": ANN}
    monkeypatch.setattr(services, "find_account", accounts.get)
    monkeypatch.setattr(services.os, "geteuid", lambda: 0)
    assert look({"SUDO_USER": "ann"}, lambda _argv: Ran(0, ""), tmp_path).owner == ANN
    assert look({"SUDO_USER": "bob"}, lambda _argv: Ran(0, ""), tmp_path).owner.uid == 0


def test_account_is_found_by_name() -> None:
    root = find_account("root")
    assert root is not None
    assert root.uid == 0
    assert find_account("") is None
    assert find_account("no-such-user-here") is None


def test_command_lines_name_the_right_manager() -> None:
    user = Service(Manager.SYSTEMD, Scope.USER, USER_UNIT)
    assert user.control("start", user.name) == (
        "systemctl",
        "--user",
        "start",
        "pool-managerd.service",
    )
    system = Service(Manager.SYSTEMD, Scope.SYSTEM, SYSTEM_UNIT)
    assert system.control("daemon-reload") == ("systemctl", "daemon-reload")
    agent = Service(Manager.LAUNCHD, Scope.USER, AGENT, "gui/1000")
    assert agent.control("print", agent.name) == (
        "launchctl",
        "print",
        "gui/1000/llama-orch.pool-managerd",
    )


@pytest.mark.parametrize(
    ("manager", "ran", "pid"),
    [
        (Manager.SYSTEMD, Ran(0, "4242\n"), 4242),
        (Manager.SYSTEMD, Ran(0, "0\n"), None),
        (Manager.SYSTEMD, Ran(1, "Failed to connect to bus: 7\n"), None),
        (Manager.LAUNCHD, Ran(0, "x = {\n\tstate = running\n\tpid = 4242\n}\n"), 4242),
        (Manager.LAUNCHD, Ran(0, "x = {\n\tstate = waiting\n}\n"), None),
        (Manager.LAUNCHD, Ran(113, "Could not find service"), None),
    ],
)
def test_process_of_the_service_is_known_to_its_manager(
    manager: Manager, ran: Ran, pid: int | None
) -> None:
    service = Service(manager, Scope.SYSTEM, DAEMON, "system")
    assert service_pid(service, lambda _argv: ran) == pid


@pytest.mark.parametrize(
    ("env", "system", "user", "expected"),
    [
        ({}, "running", "stopping", False),
        ({}, "stopping", "running", True),
        ({}, "degraded", "offline", False),
        ({"MANAGERPID": "77"}, "running", "stopping", True),
        ({"MANAGERPID": "77"}, "running", "running", False),
    ],
)
def test_host_that_goes_down_says_so(
    env: dict[str, str], system: str, user: str, expected: bool
) -> None:
    def run(argv: Sequence[str]) -> Ran:
        assert argv[-1] == "is-system-running"
        return Ran(1, f"{user if '--user' in argv else system}\n")

    assert host_is_stopping(env, run) is expected


def test_host_without_systemctl_never_says_that_it_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert not host_is_stopping({"MANAGERPID": "77"})


def test_command_tells_its_end_and_its_words() -> None:
    script = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    ran = run_command([sys.executable, "-c", script])
    assert ran.code == 3
    assert sorted(ran.output.split()) == ["err", "out"]
    assert run_command(["no-such-program"]).code == 127
    slow = run_command(["sleep", "600"], timeout_s=0.01)
    assert slow == Ran(124, "no answer within 0.01 s")
