"""Daemons are started, found and stopped by identity; every wait is bounded and explained."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator_core.config.layout import Layout
from orchestrator_core.console import daemons as module
from orchestrator_core.console.daemons import Daemons, Stopped, find_program
from orchestrator_core.console.endings import Ending, Pace
from orchestrator_core.console.programs import ORCHESTRATORD, POOL_MANAGERD
from orchestrator_core.errors import Code, HostError
from orchestrator_core.platforms import detached, files, runfiles, select
from support.fake_daemon import install
from support.waiting import until_sync

PLATFORM = select.current()


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    programs = install(tmp_path / "bin")
    env = {**os.environ, "LLORCH_HOME": str(tmp_path / "home")}
    found = Daemons(
        Layout.from_env(env),
        PLATFORM,
        env,
        find=lambda name: find_program(name, programs / "python"),
    )
    yield found
    for program in (ORCHESTRATORD, POOL_MANAGERD):
        ended = found.stop(program, grace_s=0)
        if ended.pid is not None:
            reap(ended.pid)


def reap(pid: int) -> None:
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def with_manner(daemons: Daemons, manner: str) -> Daemons:
    env = {**daemons.env, "FAKE_DAEMON": manner}
    return Daemons(daemons.layout, PLATFORM, env, find=daemons.find)


def test_start_waits_until_the_daemon_answers(daemons: Daemons) -> None:
    running = daemons.start(ORCHESTRATORD, args=["--bind", "x"])
    assert running.fresh
    assert daemons.running(ORCHESTRATORD) == running.run
    assert PLATFORM.session_of(running.run.pid) == running.run.pid
    log = daemons.layout.log_file("orchestratord").read_text()
    assert log == "orchestratord starts with ['--bind', 'x']\n"


def test_second_start_leaves_the_running_daemon_alone(daemons: Daemons) -> None:
    first = daemons.start(ORCHESTRATORD)
    second = daemons.start(ORCHESTRATORD)
    assert not second.fresh
    assert second.run == first.run


def test_two_daemons_do_not_take_each_other_for_themselves(daemons: Daemons) -> None:
    one, two = daemons.start(ORCHESTRATORD), daemons.start(POOL_MANAGERD)
    assert one.run.pid != two.run.pid
    assert daemons.stop(POOL_MANAGERD).pid == two.run.pid
    assert daemons.running(ORCHESTRATORD) == one.run


def test_stop_ends_the_process_and_takes_its_run_file_away(daemons: Daemons) -> None:
    pid = daemons.start(ORCHESTRATORD).run.pid
    assert daemons.stop(ORCHESTRATORD) == Stopped("orchestratord", Ending.STOPPED, pid)
    assert PLATFORM.identify(pid) is None
    assert runfiles.read(daemons.layout.run_folder, "orchestratord") is None
    assert daemons.stop(ORCHESTRATORD) == Stopped("orchestratord", Ending.NOT_RUNNING)


def test_frozen_daemon_hears_the_stop(daemons: Daemons) -> None:
    pid = daemons.start(ORCHESTRATORD).run.pid
    os.kill(pid, signal.SIGSTOP)
    assert daemons.stop(ORCHESTRATORD).ending is Ending.STOPPED


def test_stubborn_daemon_is_killed_after_the_grace(daemons: Daemons) -> None:
    stubborn = with_manner(daemons, "stubborn")
    pid = stubborn.start(ORCHESTRATORD).run.pid
    assert stubborn.stop(ORCHESTRATORD, grace_s=0.1).ending is Ending.KILLED
    assert PLATFORM.identify(pid) is None


def test_daemon_without_a_run_file_is_found_by_its_lock(daemons: Daemons) -> None:
    pid = daemons.start(ORCHESTRATORD).run.pid
    (daemons.layout.run_folder / "orchestratord.json").unlink()
    assert daemons.running(ORCHESTRATORD) is None
    assert daemons.stop(ORCHESTRATORD).pid == pid


def test_early_death_shows_what_the_daemon_said(daemons: Daemons) -> None:
    for _ in range(2):
        with pytest.raises(HostError) as caught:
            with_manner(daemons, "dies").start(ORCHESTRATORD)
        assert "ended with exit code 7" in caught.value.refusal.message
        lines = ["orchestratord starts with []", "the cellar is flooded"]
        assert caught.value.refusal.details["log_lines"] == lines


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("orchestratord: no (PORT_IN_USE)", Code.PORT_IN_USE, "orchestratord: no"),
        ("orchestratord: no (x)", Code.CONFIG_INVALID, "orchestratord: no (x)"),
    ],
)
def test_refusal_to_start_is_told_in_the_daemons_own_line(
    daemons: Daemons, tmp_path: Path, line: str, code: Code, message: str
) -> None:
    program = tmp_path / "bin" / "orchestratord"
    program.write_text(f"#!/bin/sh\necho noise\necho '{line}'\nexit 78\n")
    with pytest.raises(HostError) as caught:
        daemons.start(ORCHESTRATORD)
    refusal = caught.value.refusal
    assert (refusal.code, refusal.message, dict(refusal.details)) == (code, message, {})


def test_death_by_signal_is_named(daemons: Daemons, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "orchestratord"
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    with pytest.raises(HostError, match="signal SIGKILL"):
        daemons.start(ORCHESTRATORD)


def test_daemon_that_never_listens_is_not_waited_for_for_ever(daemons: Daemons) -> None:
    with pytest.raises(HostError, match="not listening yet") as caught:
        with_manner(daemons, "silent").start(ORCHESTRATORD, timeout_s=0.5)
    assert caught.value.code is Code.TIMEOUT
    # It may still come up, so it is left alone; here it never does.
    found = re.search(r"pid (\d+)", caught.value.refusal.message)
    assert found is not None
    os.kill(int(found[1]), signal.SIGKILL)


def test_loser_of_a_race_waits_for_the_winner(daemons: Daemons) -> None:
    winner = detached.start(
        [str(daemons.find("orchestratord"))],
        log_path=daemons.layout.log_file("orchestratord"),
        env=daemons.env,
    )
    try:
        files.ensure_folder(daemons.layout.orchestrator_folder)
        lock = files.FileLock(daemons.layout.orchestrator_lock)
        until_sync(lambda: lock.holder_pid() == winner.pid, what="the winner's lock")
        running = daemons.start(ORCHESTRATORD)
        assert (running.fresh, running.run.pid) == (False, winner.pid)
        daemons.stop(ORCHESTRATORD)
    finally:
        winner.kill()
        winner.wait()


def test_loser_of_a_race_is_not_left_to_come_up_later(
    daemons: Daemons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "bin" / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o700)
    start, log = detached.start, daemons.layout.log_file("orchestratord")
    winner = start([str(daemons.find("orchestratord"))], log_path=log, env=daemons.env)
    losers: list[subprocess.Popen[bytes]] = []

    def find_after_the_race_began(_name: str) -> Path:
        # The look for a running daemon is over; only now the winner comes up.
        until_sync(lambda: daemons.running(ORCHESTRATORD), what="the winner's run file")
        return slow

    def start_and_note(argv: Sequence[str], **rest: Any) -> subprocess.Popen[bytes]:
        losers.append(start(argv, **rest))
        return losers[-1]

    monkeypatch.setattr(module.detached, "start", start_and_note)
    try:
        running = replace(daemons, find=find_after_the_race_began).start(ORCHESTRATORD)
        assert (running.fresh, running.run.pid) == (False, winner.pid)
        assert [loser.poll() for loser in losers] == [-signal.SIGKILL]
    finally:
        winner.kill()
        winner.wait()


def test_foreign_service_at_its_address_is_no_answer(daemons: Daemons) -> None:
    with pytest.raises(HostError, match="another process answers"):
        with_manner(daemons, "foreign").start(ORCHESTRATORD, timeout_s=1.0)


def test_daemon_that_ends_while_it_is_asked_is_told(
    daemons: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = daemons.start(ORCHESTRATORD).run

    def kill(_: float) -> None:
        os.kill(run.pid, signal.SIGKILL)
        reap(run.pid)

    os.kill(run.pid, signal.SIGSTOP)
    monkeypatch.setattr(module, "_ANSWER_TIMEOUT_S", 0.05)
    impatient = Daemons(
        daemons.layout, PLATFORM, daemons.env, find=daemons.find, pace=Pace(pause=kill)
    )
    with pytest.raises(HostError, match="has just ended"):
        impatient.start(ORCHESTRATORD)


def test_programs_are_found_beside_the_interpreter_then_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, path = install(tmp_path / "a", "orchestratord"), install(tmp_path / "b")
    monkeypatch.setenv("PATH", str(path))
    assert find_program("orchestratord", beside / "python") == beside / "orchestratord"
    assert find_program("pool-managerd", beside / "python") == path / "pool-managerd"
    monkeypatch.setenv("PATH", "")
    with pytest.raises(HostError, match="install llorch-pool-managerd"):
        find_program("pool-managerd", beside / "python")
    assert find_program("pytest", Path(sys.executable)).name == "pytest"
