"""How a daemon takes its folder; the rest of a start is driven by the tests of the daemons."""

import os
import threading
from pathlib import Path

import pytest

from orchestrator_core.daemon import program
from orchestrator_core.daemon.program import acquire
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
