"""Who speaks for the pool of this host, and how long a holder of its lock is waited for."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator_core.config.layout import Layout
from orchestrator_core.console.endings import Pace
from orchestrator_core.errors import Code, Exit, LlorchError
from orchestrator_core.platforms import files
from pool_ctl.pools import gate as gates
from pool_ctl.pools.gate import Gate
from pool_ctl.settings import CliSettings
from support.run_files import announce


class Clock:
    """Moves only when somebody waits."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.on_pause: Callable[[], None] = lambda: None

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds
        self.on_pause()

    def pace(self) -> Pace:
        """The pace of this clock."""
        return Pace(lambda: self.now_s, self.pause)


@pytest.fixture
def settings(tmp_path: Path) -> CliSettings:
    env = {"LLORCH_HOME": str(tmp_path)}
    return CliSettings(env, Layout.from_env(env))


@pytest.fixture
def held(settings: CliSettings) -> Iterator[files.FileLock]:
    """The pool's lock, held by this process as a stranger."""
    files.ensure_folder(settings.layout.pool_folder)
    lock = files.FileLock(settings.layout.pool_lock)
    assert lock.try_acquire()
    yield lock
    lock.release()


def is_free(layout: Layout) -> bool:
    lock = files.FileLock(layout.pool_lock)
    try:
        return lock.try_acquire()
    finally:
        lock.release()


def test_a_free_lock_is_ours_for_the_act_and_free_again_after_it(settings: CliSettings) -> None:
    with Gate(settings, print, Clock().pace()).act() as run:
        assert run is None
        assert not is_free(settings.layout)
    assert is_free(settings.layout)


def test_the_first_act_on_an_empty_home_makes_private_folders(settings: CliSettings) -> None:
    with Gate(settings, print, Clock().pace()).act():
        for folder in (settings.layout.state, settings.layout.pool_folder):
            assert folder.stat().st_mode & 0o777 == 0o700
        assert settings.layout.pool_lock.stat().st_mode & 0o777 == 0o600


def test_an_act_that_fails_gives_the_lock_back(settings: CliSettings) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        Gate(settings, print, Clock().pace()).act(),
    ):
        raise ZeroDivisionError
    assert is_free(settings.layout)


@pytest.mark.usefixtures("held")
def test_a_daemon_that_holds_the_lock_is_asked(settings: CliSettings) -> None:
    run = announce(settings.layout, "pool-managerd", "http://127.0.0.1:1")
    with Gate(settings, print, Clock().pace()).act() as found:
        assert found == run


@pytest.mark.usefixtures("held")
def test_a_stranger_with_the_lock_is_named_within_seconds(settings: CliSettings) -> None:
    clock, said = Clock(), list[str]()
    with (
        pytest.raises(
            LlorchError, match=rf"process {os.getpid()} \(.+\) has held .*pool.lock"
        ) as it,
        Gate(settings, said.append, clock.pace()).act(),
    ):
        pass
    assert it.value.refusal.outcome.exit_code is Exit.TIMEOUT
    assert clock.now_s < 3
    assert said == []


@pytest.mark.usefixtures("held")
def test_a_stranger_is_named_once_also_on_a_slow_machine(settings: CliSettings) -> None:
    clock, said = Clock(), list[str]()

    def look_at_the_clock() -> float:
        clock.now_s += 0.05
        return clock.now_s

    slow = Pace(look_at_the_clock, clock.pause, 0.06)
    with pytest.raises(LlorchError), Gate(settings, said.append, slow).act():
        pass
    assert said == []


@pytest.mark.usefixtures("held")
def test_another_command_is_waited_for_with_one_line_and_not_for_ever(
    settings: CliSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "program_of", lambda _pid: "llorch-pool")
    clock, said = Clock(), list[str]()
    with (
        pytest.raises(LlorchError, match="for 30 s"),
        Gate(settings, said.append, clock.pace()).act(),
    ):
        pass
    assert said == [f"waiting for process {os.getpid()} (llorch-pool) ..."]
    assert 30 <= clock.now_s < 31


@pytest.mark.usefixtures("held")
def test_many_commands_before_us_are_waited_for_as_long_as_they_take_turns(
    settings: CliSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "program_of", lambda _pid: "llorch-pool")
    clock = Clock()
    monkeypatch.setattr(files.FileLock, "holder_pid", lambda _lock: 1000 + int(clock.now_s // 20))
    with (
        pytest.raises(LlorchError, match="process 1009"),
        Gate(settings, print, clock.pace()).act(),
    ):
        pass
    assert clock.now_s > 100


def test_the_lock_is_taken_once_another_command_has_given_it_back(
    settings: CliSettings, held: files.FileLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "program_of", lambda _pid: "llorch-pool")
    clock = Clock()
    clock.on_pause = held.release
    with Gate(settings, print, clock.pace()).act() as run:
        assert run is None
    assert clock.now_s < 1


@pytest.mark.usefixtures("held")
def test_a_daemon_that_is_starting_is_asked_once_it_listens(
    settings: CliSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "program_of", lambda _pid: "pool-managerd")
    clock = Clock()

    def begin_to_listen() -> None:
        if clock.now_s > 4 and not settings.layout.run_folder.exists():
            announce(settings.layout, "pool-managerd", "http://127.0.0.1:1")

    clock.on_pause = begin_to_listen
    with Gate(settings, print, clock.pace()).act() as run:
        assert run is not None


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (errno.EROFS, Code.CONFIG_INVALID, "cannot be used: Read-only file system"),
        (errno.EACCES, Code.CONFIG_INVALID, "cannot be used: Permission denied"),
        (errno.ENOSPC, Code.DISK_LOW, "No space left on device"),
    ],
)
def test_a_folder_that_cannot_be_used_is_told_in_one_line(
    settings: CliSettings, monkeypatch: pytest.MonkeyPatch, number: int, code: Code, words: str
) -> None:
    def refuse(_lock: files.FileLock) -> bool:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.FileLock, "try_acquire", refuse)
    with pytest.raises(LlorchError, match=words) as caught, Gate(settings, print, Pace()).act():
        pass
    assert caught.value.code is code
    assert str(settings.layout.pool_folder) in caught.value.refusal.message
