"""What only the macOS adapter knows: records of the kernel, late ends, other users' ports."""

import asyncio
import errno
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psutil
import pytest

from orchestrator_core.errors import HostError
from orchestrator_core.platforms.macos import MacPlatform
from orchestrator_core.platforms.port import PortHolder, ProcessIdentity
from support.fake_macos import (
    BOOT,
    FakeKqueues,
    FakeSysctl,
    kinfo_proc,
    lsof_text,
    mac_facts,
    netstat_text,
)


class OneRecord(FakeSysctl):
    """A kernel with one process, which a test changes as it likes."""

    def __init__(self, record: bytes) -> None:
        self.record = record

    def by_number(self, name: Sequence[int]) -> bytes:
        return self.record


def mac(**changes: object) -> MacPlatform:
    return MacPlatform(mac_facts(**changes))


@contextmanager
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_identity_is_the_kernels_start_in_microseconds_and_its_boot() -> None:
    record = kinfo_proc(70, start_us=1_700_000_000_123_456)
    identity = mac(sysctl=OneRecord(record)).identify(70)
    assert identity == ProcessIdentity(70, 1_700_000_000_123_456, BOOT)


def test_identity_stays_when_the_clock_of_the_machine_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with sleeper() as process:
        identity = mac().identify(process.pid)
        assert identity is not None
        # This is how psutil's own create_time() moves after a correction of the time.
        monkeypatch.setattr(psutil.Process, "create_time", lambda self: 3600.0)
        assert mac().is_alive(identity)


@pytest.mark.parametrize(
    "record",
    [b"\0" * 492, kinfo_proc(71, start_us=1), kinfo_proc(70, start_us=1) + b"more"],
    ids=["another size", "another pid", "a longer one"],
)
def test_record_of_an_unknown_shape_is_refused_instead_of_believed(record: bytes) -> None:
    with pytest.raises(HostError, match="in a way we do not know"):
        mac(sysctl=OneRecord(record)).identify(70)


def test_signal_to_nobody_never_reaches_ourselves() -> None:
    sent: list[int] = []
    platform = mac(kill=lambda pid, _signum: sent.append(pid), getsid=lambda _pid: os.getpid())
    us = ProcessIdentity(0, 1, BOOT)
    assert platform.session_of(0) is None
    assert not platform.signal_if_same(us, signal.SIGKILL)
    assert not platform.signal_session(us, signal.SIGKILL)
    assert sent == []


def test_identity_is_compared_right_before_the_signal() -> None:
    with sleeper() as process:
        order: list[str] = []

        class Watched(FakeSysctl):
            def by_number(self, name: Sequence[int]) -> bytes:
                order.append("look")
                return super().by_number(name)

        platform = mac(sysctl=Watched(), kill=lambda _pid, _signum: order.append("kill"))
        identity = platform.identify(process.pid)
        assert identity is not None
        assert platform.signal_if_same(identity, signal.SIGTERM)
        assert order[-2:] == ["look", "kill"]


def test_process_that_ends_between_look_and_signal_is_not_an_error() -> None:
    def gone(pid: int, signum: int) -> None:
        raise ProcessLookupError(errno.ESRCH, "No such process")

    platform = mac(kill=gone)
    me = platform.identify(os.getpid())
    assert me is not None
    assert not platform.signal_if_same(me, signal.SIGTERM)


def test_other_users_process_is_named_when_it_may_not_be_signalled() -> None:
    def deny(pid: int, signum: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    platform = mac(kill=deny)
    me = platform.identify(os.getpid())
    assert me is not None
    with pytest.raises(HostError, match="another user"):
        platform.signal_if_same(me, signal.SIGTERM)


def test_session_that_may_not_be_asked_is_unknown() -> None:
    def deny(pid: int) -> int:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    assert mac(getsid=deny).session_of(os.getpid()) is None


async def test_end_that_is_announced_early_is_told_once_it_is_complete() -> None:
    """kqueue may speak while the process is still on its way out and cannot be reaped."""
    with sleeper() as process:
        kernel = OneRecord(FakeSysctl().by_number((1, 14, 1, process.pid)))
        platform = mac(sysctl=kernel)
        identity = platform.identify(process.pid)
        assert identity is not None
        ended = asyncio.Event()
        platform.watch_exit(identity, ended.set)
        silenced = platform.watch_exit(identity, lambda: pytest.fail("closed watches are silent"))
        looks = 0
        real = kernel.by_number

        def look(name: Sequence[int]) -> bytes:
            nonlocal looks
            looks += 1
            if looks == 5:
                silenced.close()
                kernel.record = b""
            return real(name)

        kernel.by_number = look  # type: ignore[method-assign]
        process.kill()
        await asyncio.wait_for(ended.wait(), 10)
        assert looks >= 5


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES])
async def test_queue_that_cannot_watch_is_an_error_and_not_an_end(number: int) -> None:
    class Refusing(FakeKqueues):
        def kevent(self, ident: int, filter: int, flags: int, fflags: int) -> object:  # noqa: A002
            question = super().kevent(ident, filter, flags, fflags)

            class Full:
                def __getattr__(self, name: str) -> object:
                    if name == "filter":
                        raise OSError(number, os.strerror(number))
                    return getattr(question, name)

            return Full()

    kqueues = Refusing()
    platform = mac(kqueues=kqueues)
    me = platform.identify(os.getpid())
    assert me is not None
    with pytest.raises(HostError, match="cannot watch process"):
        platform.watch_exit(me, lambda: None)
    assert [queue.closed for queue in kqueues.queues] == [True]


async def test_queue_is_given_back_when_the_process_is_another() -> None:
    kqueues = FakeKqueues()
    platform = mac(kqueues=kqueues)
    platform.watch_exit(ProcessIdentity(os.getpid(), 1, BOOT), lambda: None).close()
    assert [queue.closed for queue in kqueues.queues] == [True]


def test_other_users_listener_is_known_to_be_there() -> None:
    def run(argv: Sequence[str]) -> str:
        return netstat_text(8080) if argv[0] == "netstat" else ""

    assert mac(run=run).port_holder(8080) == PortHolder(8080)
    assert mac(run=run).port_holder(808) is None


def test_holder_that_hides_its_command_line_keeps_the_name_that_lsof_knows() -> None:
    def hide(pid: int) -> Sequence[str]:
        raise psutil.AccessDenied(pid)

    def run(argv: Sequence[str]) -> str:
        return lsof_text(8080, 4242, "mDNSResponder", os.getuid())

    holder = mac(run=run, command_line=hide).port_holder(8080)
    assert holder is not None
    assert (holder.pid, holder.name, holder.uid) == (4242, "mDNSResponder", os.getuid())


def test_environment_that_is_hidden_is_empty() -> None:
    def hide(pid: int) -> dict[str, str]:
        raise psutil.AccessDenied(pid)

    assert mac(environ=hide).environment(os.getpid()) == {}
