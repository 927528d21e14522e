"""What every operating system adapter promises, on real processes and real sockets.

The Linux adapter runs as it is; the macOS adapter runs over a Mac that this machine plays.
"""

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

from orchestrator_core.platforms import marks
from orchestrator_core.platforms.linux import LinuxPlatform
from orchestrator_core.platforms.macos import MacPlatform
from orchestrator_core.platforms.port import Platform, ProcessIdentity
from support.fake_macos import mac_facts
from support.waiting import until_sync

NOBODY = 2**22 + 1

ADAPTERS: dict[str, Callable[[], Platform]] = {
    "linux": LinuxPlatform,
    "macos": lambda: MacPlatform(mac_facts()),
}


@pytest.fixture(params=ADAPTERS)
def platform(request: pytest.FixtureRequest) -> Platform:
    return ADAPTERS[request.param]()


@contextmanager
def sleeper(*argv: str, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        argv or ("sleep", "600"), **{"start_new_session": True, **options}
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def named(platform: Platform, pid: int) -> ProcessIdentity:
    identity = platform.identify(pid)
    assert identity is not None
    return identity


def kill_into_zombie(process: subprocess.Popen[bytes]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    stat = Path(f"/proc/{process.pid}/stat")
    until_sync(lambda: stat.read_text().rpartition(")")[2].split()[0] == "Z", what="a zombie")


def test_says_which_system_it_is(platform: Platform, request: pytest.FixtureRequest) -> None:
    assert platform.system == request.node.callspec.params["platform"]


def test_same_process_has_the_same_identity_every_time(
    platform: Platform, request: pytest.FixtureRequest
) -> None:
    first = named(platform, os.getpid())
    another = ADAPTERS[request.node.callspec.params["platform"]]()
    assert first == another.identify(os.getpid())
    assert first.boot_id
    assert first.start_time > 0
    assert platform.is_alive(first)


def test_a_later_process_has_a_later_start(platform: Platform) -> None:
    with sleeper() as process:
        assert named(platform, os.getpid()).start_time < named(platform, process.pid).start_time


def test_nobody_can_be_named(platform: Platform) -> None:
    for pid in (NOBODY, 0, -1):
        assert platform.identify(pid) is None
        assert platform.session_of(pid) is None
        assert platform.environment(pid) == {}


def test_recycled_pid_is_another_process_and_is_left_alone(platform: Platform) -> None:
    with sleeper() as process:
        now = named(platform, process.pid)
        earlier = replace(now, start_time=now.start_time - 1)
        other_boot = replace(now, boot_id="another")
        for stranger in (earlier, other_boot):
            assert not platform.is_alive(stranger)
            assert not platform.signal_if_same(stranger, signal.SIGKILL)
            assert not platform.signal_session(stranger, signal.SIGKILL)
        assert process.poll() is None


def test_zombie_counts_as_gone_but_keeps_its_session(platform: Platform) -> None:
    with sleeper() as process:
        identity = named(platform, process.pid)
        kill_into_zombie(process)
        assert platform.identify(process.pid) is None
        assert not platform.is_alive(identity)
        assert not platform.signal_if_same(identity, signal.SIGTERM)
        assert platform.session_of(process.pid) == process.pid
        assert platform.environment(process.pid) == {}


def test_signal_reaches_this_very_process(platform: Platform) -> None:
    with sleeper() as process:
        identity = named(platform, process.pid)
        assert platform.signal_if_same(identity, signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM
        assert not platform.signal_if_same(identity, signal.SIGTERM)


def test_session_signal_reaches_the_leader_and_its_children(platform: Platform) -> None:
    script = "sleep 600 & echo $!; exec sleep 600"
    with sleeper("sh", "-c", script, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = named(platform, int(process.stdout.readline()))
        leader = named(platform, process.pid)
        assert platform.session_of(child.pid) == leader.pid
        assert platform.signal_session(leader, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        until_sync(lambda: not platform.is_alive(child), what="the child's end")


def test_session_signal_reaches_children_behind_a_dead_leader(platform: Platform) -> None:
    script = "sleep 600 & echo $!; exec sleep 600"
    with sleeper("sh", "-c", script, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = named(platform, int(process.stdout.readline()))
        leader = named(platform, process.pid)
        # Not yet reaped, so the dead leader still holds its session's number.
        kill_into_zombie(process)
        assert platform.is_alive(child)
        assert platform.signal_session(leader, signal.SIGKILL)
        until_sync(lambda: not platform.is_alive(child), what="the child's end")


def test_session_signal_needs_a_session_leader(platform: Platform) -> None:
    with sleeper(start_new_session=False) as member:
        identity = named(platform, member.pid)
        assert not platform.signal_session(identity, signal.SIGKILL)
        assert member.poll() is None


def test_session_signal_finds_nobody_once_everyone_is_gone(platform: Platform) -> None:
    with sleeper() as process:
        identity = named(platform, process.pid)
        kill_into_zombie(process)
        assert not platform.signal_session(identity, signal.SIGKILL)
        process.wait()
        assert not platform.signal_session(identity, signal.SIGKILL)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_exit_watch_calls_back_once_when_the_process_ends(
    platform: Platform, run: Callable[..., None]
) -> None:
    calls: list[str] = []

    async def scenario() -> None:
        with sleeper() as process:
            identity = named(platform, process.pid)
            ended = asyncio.Event()
            watch = platform.watch_exit(identity, lambda: (calls.append("end"), ended.set())[0])
            closed = platform.watch_exit(identity, lambda: calls.append("never"))
            closed.close()
            process.kill()
            await asyncio.wait_for(ended.wait(), 10)
            # Whoever is told can reap at once.
            assert process.poll() == -signal.SIGKILL
            watch.close()

    run(scenario())
    assert calls == ["end"]


async def test_exit_watch_sees_the_end_of_somebody_elses_child(platform: Platform) -> None:
    script = "sleep 600 & echo $!; wait"
    with sleeper("sh", "-c", script, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = named(platform, int(process.stdout.readline()))
        ended = asyncio.Event()
        watch = platform.watch_exit(child, ended.set)
        assert platform.signal_if_same(child, signal.SIGKILL)
        await asyncio.wait_for(ended.wait(), 10)
        assert not platform.is_alive(child)
        watch.close()


async def test_exit_watch_of_a_gone_process_calls_back_soon(platform: Platform) -> None:
    with sleeper() as process:
        identity = named(platform, process.pid)
        kill_into_zombie(process)
        await told_soon(platform, identity)
    await told_soon(platform, identity)
    silent = platform.watch_exit(identity, lambda: pytest.fail("closed watches are silent"))
    silent.close()
    await asyncio.sleep(0)


async def told_soon(platform: Platform, identity: ProcessIdentity) -> None:
    ended = asyncio.Event()
    platform.watch_exit(identity, ended.set)
    assert not ended.is_set()
    await asyncio.wait_for(ended.wait(), 10)


async def test_exit_watch_of_a_recycled_pid_calls_back_soon(platform: Platform) -> None:
    with sleeper() as process:
        now = named(platform, process.pid)
        await told_soon(platform, replace(now, start_time=now.start_time - 1))
        assert process.poll() is None


async def test_watches_leave_no_descriptor_behind(platform: Platform) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with sleeper() as process:
        identity = named(platform, process.pid)
        platform.watch_exit(identity, lambda: None).close()
        stranger = platform.watch_exit(replace(identity, start_time=1), lambda: None)
        stranger.close()
        ended = asyncio.Event()
        platform.watch_exit(identity, ended.set)
        process.kill()
        await asyncio.wait_for(ended.wait(), 10)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_port_holder_is_named(platform: Platform) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        holder = platform.port_holder(port)
    assert holder is not None
    assert holder.pid == os.getpid()
    assert holder.uid == os.getuid()
    assert str(os.getpid()) in holder.describe()
    assert platform.port_holder(port) is None


def test_port_holder_on_the_other_protocol_is_named(platform: Platform) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        holder = platform.port_holder(listener.getsockname()[1])
    assert holder is not None
    assert holder.pid == os.getpid()


def test_console_script_is_named_by_its_script(platform: Platform, tmp_path: Path) -> None:
    script = tmp_path / "orchestratord"
    script.write_text(
        f"#!{sys.executable}\n"
        "import socket, sys\n"
        "s = socket.create_server(('127.0.0.1', 0))\n"
        "print(s.getsockname()[1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    script.chmod(0o700)
    with sleeper(str(script), stdout=subprocess.PIPE, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        holder = platform.port_holder(int(process.stdout.readline()))
    assert holder is not None
    assert (holder.pid, holder.name) == (process.pid, "orchestratord")


def test_environment_is_what_a_process_was_started_with(platform: Platform) -> None:
    given = {"LLORCH_TEST_MARK": "a=b c", "EMPTY": ""}
    with sleeper(env=given) as process:
        # Popen returns while the kernel may still be laying out the new program.
        found = until_sync(lambda: platform.environment(process.pid), what="the environment")
        assert found == given


def test_marked_process_is_found_by_its_environment(platform: Platform) -> None:
    mark = f"{platform.system}-{os.getpid()}"
    with sleeper(env={"LLORCH_TEST_MARK": mark}) as process:
        found = until_sync(
            lambda: marks.find_marked(platform, "LLORCH_TEST_MARK", mark), what="the process"
        )
        assert [identity.pid for identity in found] == [process.pid]
        assert marks.find_marked(platform, "LLORCH_TEST_MARK", f"{mark}x") == []
        kill_into_zombie(process)
        assert marks.find_marked(platform, "LLORCH_TEST_MARK", mark) == []


def test_clock_goes_on(platform: Platform) -> None:
    first = platform.continuous_s()
    until_sync(lambda: platform.continuous_s() > first, what="a later time")
