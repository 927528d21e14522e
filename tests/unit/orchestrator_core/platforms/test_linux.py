"""The Linux adapter on real processes, real sockets and a few made-up /proc files."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from orchestrator_core.errors import HostError
from orchestrator_core.platforms import linux, marks, select
from orchestrator_core.platforms.linux import LinuxPlatform
from orchestrator_core.platforms.port import PortHolder
from support.waiting import until_sync

PLATFORM = LinuxPlatform()


@contextmanager
def sleeper(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(argv or ("sleep", "600"), start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_current_platform_is_linux_here() -> None:
    assert isinstance(select.current(), LinuxPlatform)


def test_refuses_another_system_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "plan9")
    with pytest.raises(HostError, match="plan9"):
        select.current()


def test_same_process_has_the_same_identity_every_time() -> None:
    first = PLATFORM.identify(os.getpid())
    assert first is not None
    assert first == LinuxPlatform().identify(os.getpid())
    assert PLATFORM.is_alive(first)


def test_recycled_pid_is_another_process() -> None:
    me = PLATFORM.identify(os.getpid())
    assert me is not None
    earlier = replace(me, start_time=me.start_time - 1)
    other_boot = replace(me, boot_id="another")
    for stranger in (earlier, other_boot):
        assert not PLATFORM.is_alive(stranger)
        assert not PLATFORM.signal_if_same(stranger, signal.SIGKILL)
        assert not PLATFORM.signal_session(stranger, signal.SIGKILL)


def test_zombie_counts_as_gone_but_keeps_its_session() -> None:
    with sleeper() as process:
        identity = PLATFORM.identify(process.pid)
        assert identity is not None
        os.kill(process.pid, signal.SIGKILL)
        until_sync(lambda: state_of(process.pid) == "Z", what="a zombie")
        assert PLATFORM.identify(process.pid) is None
        assert not PLATFORM.is_alive(identity)
        assert PLATFORM.session_of(process.pid) == process.pid


def test_reads_start_time_behind_a_name_with_spaces_and_parentheses(tmp_path: Path) -> None:
    fields = ["S", "1", "7", "70", *["0"] * 15, "4242", "0"]
    (tmp_path / "70").mkdir()
    (tmp_path / "70" / "stat").write_text(f"70 (odd ) name (x) {' '.join(fields)}\n")
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("boot-1\n")
    identity = LinuxPlatform(tmp_path).identify(70)
    assert identity is not None
    assert (identity.start_time, identity.boot_id) == (4242, "boot-1")
    assert LinuxPlatform(tmp_path).session_of(70) == 70


def test_unknown_pid_is_nobody() -> None:
    assert PLATFORM.identify(2**22 + 1) is None
    assert PLATFORM.session_of(2**22 + 1) is None


def test_signal_reaches_this_very_process() -> None:
    with sleeper() as process:
        identity = PLATFORM.identify(process.pid)
        assert identity is not None
        assert PLATFORM.signal_if_same(identity, signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM
        assert not PLATFORM.signal_if_same(identity, signal.SIGTERM)


def test_session_signal_reaches_children_also_behind_a_dead_leader() -> None:
    script = "sleep 600 & echo $!; exec sleep 600"
    with subprocess.Popen(
        ["sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        child = PLATFORM.identify(int(process.stdout.readline()))
        leader = PLATFORM.identify(process.pid)
        assert child is not None
        assert leader is not None
        # Not yet reaped, so the dead leader still holds its session's number.
        os.kill(process.pid, signal.SIGKILL)
        until_sync(lambda: not PLATFORM.is_alive(leader), what="the leader's end")
        assert PLATFORM.is_alive(child)
        assert PLATFORM.signal_session(leader, signal.SIGKILL)
        until_sync(lambda: not PLATFORM.is_alive(child), what="the child's end")


def test_session_signal_needs_a_session_leader() -> None:
    with subprocess.Popen(["sleep", "600"]) as member:
        try:
            identity = PLATFORM.identify(member.pid)
            assert identity is not None
            assert not PLATFORM.signal_session(identity, signal.SIGKILL)
            assert member.poll() is None
        finally:
            member.kill()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_exit_watch_calls_back_once_when_the_process_ends(
    run: Callable[..., None],
) -> None:
    calls: list[str] = []

    async def scenario() -> None:
        with sleeper() as process:
            identity = PLATFORM.identify(process.pid)
            assert identity is not None
            ended = asyncio.Event()
            watch = PLATFORM.watch_exit(identity, lambda: (calls.append("end"), ended.set())[0])
            closed = PLATFORM.watch_exit(identity, lambda: calls.append("never"))
            closed.close()
            process.kill()
            await asyncio.wait_for(ended.wait(), 10)
            watch.close()

    run(scenario())
    assert calls == ["end"]


async def test_exit_watch_of_a_gone_process_calls_back_soon() -> None:
    with sleeper() as process:
        identity = PLATFORM.identify(process.pid)
        assert identity is not None
    ended = asyncio.Event()
    PLATFORM.watch_exit(identity, ended.set)
    assert not ended.is_set()
    await asyncio.wait_for(ended.wait(), 10)
    silent = PLATFORM.watch_exit(identity, lambda: pytest.fail("closed watches are silent"))
    silent.close()
    await asyncio.sleep(0)


async def test_missing_pidfd_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(linux.os, "pidfd_open", refuse)
    identity = PLATFORM.identify(os.getpid())
    assert identity is not None
    with pytest.raises(HostError, match=r"Linux 5\.3"):
        PLATFORM.watch_exit(identity, lambda: None)


def test_port_holder_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        holder = PLATFORM.port_holder(port)
    assert holder is not None
    assert holder.pid == os.getpid()
    assert holder.uid == os.getuid()
    assert str(os.getpid()) in holder.describe()
    assert PLATFORM.port_holder(port) is None


def test_hidden_holder_is_described_by_its_user(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    line = "0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 4711 0 99 1 0"
    (tmp_path / "net/tcp").write_text(f"head\n{line}\n")
    holder = LinuxPlatform(tmp_path).port_holder(8080)
    assert holder == PortHolder(8080, None, None, 4711, None)
    assert holder.describe() == "a process of user ? (uid 4711)"
    assert PortHolder(1).describe() == "an unknown process"
    assert PortHolder(1, pid=9).describe() == "process 9"


def test_console_script_is_named_by_its_script(tmp_path: Path) -> None:
    script = tmp_path / "orchestratord"
    script.write_text(
        f"#!{sys.executable}\n"
        "import socket, time\n"
        "s = socket.create_server(('127.0.0.1', 0))\n"
        "print(s.getsockname()[1], flush=True)\n"
        "time.sleep(600)\n"
    )
    script.chmod(0o700)
    with subprocess.Popen([script], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            holder = PLATFORM.port_holder(int(process.stdout.readline()))
        finally:
            process.kill()
    assert holder is not None
    assert (holder.pid, holder.name) == (process.pid, "orchestratord")


def test_marked_process_is_found_by_its_environment() -> None:
    with subprocess.Popen(["sleep", "600"], env={"LLORCH_TEST_MARK": "one"}) as process:
        try:
            found = marks.find_marked(PLATFORM, "LLORCH_TEST_MARK", "one")
        finally:
            process.kill()
    assert [identity.pid for identity in found] == [process.pid]
    assert marks.find_marked(PLATFORM, "LLORCH_TEST_MARK", "one") == []
