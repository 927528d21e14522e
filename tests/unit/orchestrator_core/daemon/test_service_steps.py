"""What a plan says, and what its execution leaves behind."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator_core.daemon.service_steps import (
    Command,
    MakeLog,
    RemoveFile,
    Step,
    WriteFile,
    apply,
    describe,
    install_steps,
    is_loaded,
    read_ours,
    remove_steps,
)
from orchestrator_core.daemon.services import Account, Manager, Ran, Scope, Service
from orchestrator_core.daemon.units import MARK
from orchestrator_core.errors import Refusal

TEXT = f"# {MARK}\nnew\n"
ME = Account("me", os.getuid(), os.getgid(), Path("/h"))


class Runner:
    """Answers each command line, and remembers them all."""

    def __init__(self, answers: dict[str, list[Ran]] | None = None) -> None:
        self.answers = answers or {}
        self.ran: list[str] = []

    def __call__(self, argv: Sequence[str]) -> Ran:
        line = " ".join(argv)
        self.ran.append(line)
        queue = self.answers.get(line, [])
        return queue.pop(0) if queue else Ran(0, "")


@pytest.fixture
def user(tmp_path: Path) -> Service:
    return Service(Manager.SYSTEMD, Scope.USER, tmp_path / "systemd/user/pool-managerd.service")


@pytest.fixture
def agent(tmp_path: Path) -> Service:
    return Service(Manager.LAUNCHD, Scope.USER, tmp_path / "agents/x.plist", "gui/1000")


NAME = "gui/1000/llama-orch.pool-managerd"


def lines(steps: list[Step], folder: Path) -> list[str]:
    return [describe(step).replace(f"{folder}/", "") for step in steps]


def test_first_installation_writes_enables_and_starts(user: Service, tmp_path: Path) -> None:
    steps = install_steps(user, TEXT, installed=None, loaded=False, now=True)
    assert lines(steps, tmp_path) == [
        "write systemd/user/pool-managerd.service",
        "run: systemctl --user daemon-reload",
        "run: systemctl --user enable pool-managerd.service",
        "run: systemctl --user restart pool-managerd.service",
    ]


def test_second_installation_only_makes_sure_that_it_runs(user: Service, tmp_path: Path) -> None:
    steps = install_steps(user, TEXT, installed=TEXT, loaded=False, now=True)
    assert lines(steps, tmp_path) == [
        "run: systemctl --user enable pool-managerd.service",
        "run: systemctl --user start pool-managerd.service",
    ]


def test_without_now_nothing_is_started(user: Service) -> None:
    steps = install_steps(user, TEXT, installed="old", loaded=False, now=False)
    assert not any("start" in describe(step) for step in steps)


def test_removal_stops_takes_away_and_forgets(user: Service, tmp_path: Path) -> None:
    assert lines(remove_steps(user, loaded=False, now=True), tmp_path) == [
        "run: systemctl --user disable --now pool-managerd.service",
        "remove systemd/user/pool-managerd.service",
        "run: systemctl --user daemon-reload",
        "run: systemctl --user reset-failed pool-managerd.service",
    ]
    kept = lines(remove_steps(user, loaded=False, now=False), tmp_path)
    assert kept[0] == "run: systemctl --user disable pool-managerd.service"


def test_launchd_loads_a_new_agent(agent: Service, tmp_path: Path) -> None:
    log = MakeLog(tmp_path / "log/x.log", ME)
    steps = install_steps(agent, TEXT, installed=None, loaded=False, now=True, log=log)
    assert lines(steps, tmp_path) == [
        "make the log log/x.log",
        "write agents/x.plist",
        f"run: launchctl enable {NAME}",
        "run: launchctl bootstrap gui/1000 agents/x.plist",
    ]


def test_launchd_ends_the_old_agent_before_it_loads_the_changed_one(
    agent: Service, tmp_path: Path
) -> None:
    steps = install_steps(agent, TEXT, installed="old", loaded=True, now=True)
    assert lines(steps, tmp_path) == [
        f"run: launchctl bootout {NAME}",
        f"wait for the end of: launchctl print {NAME}",
        "write agents/x.plist",
        f"run: launchctl enable {NAME}",
        "run: launchctl bootstrap gui/1000 agents/x.plist",
    ]


def test_launchd_is_left_alone_when_all_is_well(agent: Service) -> None:
    assert install_steps(agent, TEXT, installed=TEXT, loaded=True, now=True) == []
    assert install_steps(agent, TEXT, installed=TEXT, loaded=True, now=False) == []
    waiting = install_steps(agent, TEXT, installed="old", loaded=True, now=False)
    assert waiting == [WriteFile(agent.path, TEXT)]


def test_launchd_removal_unloads_only_what_is_loaded(agent: Service, tmp_path: Path) -> None:
    assert lines(remove_steps(agent, loaded=True, now=True), tmp_path) == [
        f"run: launchctl bootout {NAME}",
        f"wait for the end of: launchctl print {NAME}",
        "remove agents/x.plist",
    ]
    assert remove_steps(agent, loaded=False, now=True) == [RemoveFile(agent.path)]
    assert remove_steps(agent, loaded=True, now=False) == [RemoveFile(agent.path)]


def test_only_launchd_is_asked_what_it_has_loaded(agent: Service, user: Service) -> None:
    run = Runner({f"launchctl print {NAME}": [Ran(0, "x"), Ran(113, "")]})
    assert is_loaded(agent, run)
    assert not is_loaded(agent, run)
    assert not is_loaded(user, Runner())


def test_applied_plan_leaves_a_file_that_everyone_may_read(user: Service) -> None:
    run = Runner()
    assert apply(install_steps(user, TEXT, installed=None, loaded=False, now=True), run) is None
    assert user.path.read_text() == TEXT
    assert user.path.stat().st_mode & 0o777 == 0o644
    assert read_ours(user.path) == TEXT
    assert [line.split()[2] for line in run.ran] == ["daemon-reload", "enable", "restart"]
    assert apply(remove_steps(user, loaded=False, now=True), run) is None
    assert read_ours(user.path) is None


def test_first_failure_ends_the_plan_with_the_commands_own_words(user: Service) -> None:
    run = Runner({"systemctl --user daemon-reload": [Ran(1, "see:\nFailed to connect to bus\n")]})
    refusal = apply(install_steps(user, TEXT, installed=None, loaded=False, now=True), run)
    assert refusal is not None
    assert "daemon-reload: Failed to connect to bus" in refusal.message
    assert len(run.ran) == 1
    silent = Runner({"x": [Ran(5, "")]})
    quiet = apply([Command(("x",))], silent)
    assert quiet is not None
    assert quiet.message.endswith("exit code 5")


def test_failure_that_may_be_is_passed_over() -> None:
    run = Runner({"x": [Ran(1, "never failed")]})
    assert apply([Command(("x",), may_fail=True), Command(("y",))], run) is None
    assert run.ran == ["x", "y"]


def test_waits_until_the_old_job_is_gone_but_not_for_ever() -> None:
    pauses: list[float] = []
    wait = Command(("p",), until_it_fails=True)
    run = Runner({"p": [Ran(0, ""), Ran(0, ""), Ran(113, "")]})
    assert apply([wait], run, pause=pauses.append) is None
    assert len(pauses) == 2
    refusal = apply([wait], Runner(), pause=pauses.append)
    assert refusal is not None
    assert "still there after 60 s" in refusal.message


def test_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    refusal = apply([WriteFile(tmp_path / "taken" / "x.service", TEXT)], Runner())
    assert refusal is not None
    assert "taken" in refusal.message


def test_log_is_made_once_and_kept(tmp_path: Path) -> None:
    log = MakeLog(tmp_path / "log" / "x.log", ME)
    assert apply([log], Runner()) is None
    assert log.path.stat().st_mode & 0o777 == 0o600
    log.path.write_text("kept")
    assert apply([log], Runner()) is None
    assert log.path.read_text() == "kept"


@pytest.mark.parametrize("content", [b"[Unit]\nDescription=mine\n", b"\xff\xfe"])
def test_strangers_file_is_never_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pool-managerd.service"
    path.write_bytes(content)
    refusal = read_ours(path)
    assert isinstance(refusal, Refusal)
    assert str(path) in refusal.message
