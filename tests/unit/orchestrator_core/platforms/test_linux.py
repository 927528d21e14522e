"""What only the Linux adapter knows: made-up /proc files, and every way to be refused a pidfd.

What it promises like every other adapter is in tests/conformance/test_platform.py.
"""

import errno
import os
import signal
from pathlib import Path

import pytest

from orchestrator_core.errors import HostError
from orchestrator_core.platforms import pidfd
from orchestrator_core.platforms.linux import LinuxPlatform
from orchestrator_core.platforms.port import PortHolder, ProcessIdentity

PLATFORM = LinuxPlatform()


def me() -> ProcessIdentity:
    identity = PLATFORM.identify(os.getpid())
    assert identity is not None
    return identity


def refuse_pidfd(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(pid: int) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(pidfd.os, "pidfd_open", refuse)


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


def test_process_that_proc_hides_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def hide(path: Path, *_args: object) -> str:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "read_text", hide)
    monkeypatch.setattr(Path, "read_bytes", hide)
    assert PLATFORM.identify(1) is None
    assert PLATFORM.environment(1) == {}


def test_process_that_cannot_be_read_for_want_of_descriptors_is_not_called_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    identity = me()

    def full(path: Path, *_args: object) -> str:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    monkeypatch.setattr(Path, "read_text", full)
    with pytest.raises(OSError, match="Too many open files"):
        PLATFORM.is_alive(identity)


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (errno.ENOSYS, r"Linux 5\.3"),
        (errno.EPERM, "seccomp"),
        (errno.EMFILE, "limit of open files"),
        (errno.ENFILE, "limit of open files"),
        (errno.ENOMEM, "cannot open a process descriptor"),
    ],
)
async def test_refused_pidfd_is_named_by_its_cause(
    monkeypatch: pytest.MonkeyPatch, number: int, word: str
) -> None:
    refuse_pidfd(monkeypatch, number)
    with pytest.raises(HostError, match=word):
        PLATFORM.watch_exit(me(), lambda: None)
    with pytest.raises(HostError, match=word):
        PLATFORM.signal_if_same(me(), signal.SIGTERM)


@pytest.mark.parametrize("number", [errno.ESRCH, errno.EINVAL, errno.ENOENT])
def test_pid_without_a_process_is_nobody_to_signal(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refuse_pidfd(monkeypatch, number)
    assert not PLATFORM.signal_if_same(me(), signal.SIGTERM)


async def test_python_without_pidfd_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(pidfd.os, "pidfd_open")
    with pytest.raises(HostError, match=r"Linux 5\.3"):
        PLATFORM.watch_exit(me(), lambda: None)


async def test_failed_look_leaves_no_descriptor_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    identity = me()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    def full(pid: int) -> ProcessIdentity | None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(PLATFORM, "identify", full)
    with pytest.raises(OSError, match="Too many"):
        PLATFORM.watch_exit(identity, lambda: None)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_right_to_signal_is_asked_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(fd: int, signum: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(pidfd.signal, "pidfd_send_signal", deny)
    with pytest.raises(HostError, match="belongs to another user"):
        PLATFORM.signal_if_same(me(), signal.SIGTERM)


def test_hidden_holder_is_described_by_its_user(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    line = "0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 4711 0 99 1 0"
    (tmp_path / "net/tcp").write_text(f"head\n{line}\n")
    holder = LinuxPlatform(tmp_path).port_holder(8080)
    assert holder == PortHolder(8080, None, None, 4711, None)
    assert holder.describe() == "a process of user ? (uid 4711)"
    assert PortHolder(1).describe() == "an unknown process"
    assert PortHolder(1, pid=9).describe() == "process 9"


def test_process_that_ends_between_the_look_and_the_signal_is_not_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone(fd: int, signum: int) -> None:
        raise ProcessLookupError(errno.ESRCH, "No such process")

    monkeypatch.setattr(pidfd.signal, "pidfd_send_signal", gone)
    assert not PLATFORM.signal_if_same(me(), signal.SIGTERM)


def test_clock_counts_suspend() -> None:
    # Nothing can be suspended in a test: the clock is the one that does, and no other.
    assert abs(PLATFORM.continuous_s() - float(Path("/proc/uptime").read_text().split()[0])) < 60
