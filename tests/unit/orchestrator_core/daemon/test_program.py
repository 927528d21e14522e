"""How a daemon takes its folder; the rest of a start is driven by the tests of the daemons."""

import os
import socket
import threading
from pathlib import Path

import pytest

from orchestrator_core.config.layout import Layout
from orchestrator_core.daemon import program
from orchestrator_core.daemon.program import Site, acquire, listen
from orchestrator_core.daemon.settings import DaemonSettings
from orchestrator_core.errors import Code, Exit, LlorchError, Refusal
from orchestrator_core.platforms import select
from orchestrator_core.platforms.files import FileLock
from orchestrator_core.platforms.names import program_of

US = program_of(os.getpid()) or ""


@pytest.fixture
def taken(tmp_path: Path) -> FileLock:
    """A lock that this process holds."""
    lock = FileLock(tmp_path / "pool.lock")
    assert lock.try_acquire()
    return lock


def test_a_free_folder_is_taken_at_once(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "pool.lock")
    assert acquire(lock, "pool-managerd")
    lock.release()


def test_a_folder_of_the_same_daemon_is_not_waited_for(taken: FileLock, tmp_path: Path) -> None:
    assert not acquire(FileLock(tmp_path / "pool.lock"), US)
    taken.release()


def test_a_command_that_holds_it_for_a_moment_is_waited_for(
    taken: FileLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = threading.Event()
    monkeypatch.setattr(program.time, "sleep", lambda _s: waited.set())
    ours = FileLock(tmp_path / "pool.lock")
    answers: list[bool] = []
    daemon = threading.Thread(target=lambda: answers.append(acquire(ours, "pool-managerd")))
    daemon.start()
    assert waited.wait(10)
    taken.release()
    daemon.join(10)
    assert answers == [True]
    ours.release()


def test_patience_with_a_command_ends(
    taken: FileLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = iter(range(0, 1000, 4))
    monkeypatch.setattr(program.time, "monotonic", lambda: float(next(now_s)))
    monkeypatch.setattr(program.time, "sleep", lambda _s: None)
    assert not acquire(FileLock(tmp_path / "pool.lock"), "pool-managerd")
    taken.release()


def site_at(bind: str, env: dict[str, str]) -> Site[DaemonSettings]:
    layout = Layout.from_env({"LLORCH_HOME": "/nowhere"})
    settings = DaemonSettings(bind=bind, insecure_lan=True)
    return Site(settings, layout, select.current(), env, "1")


def test_a_service_waits_for_an_address_that_its_machine_has_not_got_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = Refusal(Code.CONFIG_INVALID, "no such address", {"is_missing": True})
    with socket.create_server(("127.0.0.1", 0)) as found:
        answers: list[socket.socket | Refusal] = [missing, missing, found]
        monkeypatch.setattr(program.sockets, "bind_listener", lambda *_: answers.pop(0))
        pauses: list[float] = []
        monkeypatch.setattr(program.time, "sleep", pauses.append)
        assert listen(site_at("192.0.2.1:0", {"INVOCATION_ID": "x"})) is found
    assert pauses == [1.0, 1.0]


def test_a_service_whose_address_does_not_come_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = iter(range(0, 1000, 20))
    monkeypatch.setattr(program.time, "monotonic", lambda: float(next(now_s)))
    monkeypatch.setattr(program.time, "sleep", lambda _s: None)
    with pytest.raises(LlorchError, match="cannot listen on") as caught:
        listen(site_at("192.0.2.1:0", {"INVOCATION_ID": "x"}))
    assert caught.value.refusal.outcome.exit_code is not Exit.CONFIG


def test_a_person_hears_of_a_wrong_address_at_once() -> None:
    with pytest.raises(LlorchError, match="cannot listen on") as caught:
        listen(site_at("192.0.2.1:0", {}))
    assert caught.value.code is Code.CONFIG_INVALID
