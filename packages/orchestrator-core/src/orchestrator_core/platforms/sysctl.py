"""Asks the kernel of macOS by sysctl: which process has a pid, since when, and which boot this is.

The record is struct kinfo_proc of <sys/sysctl.h>, which is part of the system's ABI.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, cast

from orchestrator_core.errors import Code, HostError, Refusal

__all__ = ["KernelProcess", "Libc", "Sysctl", "boot_session", "kernel_process"]

_CTL_KERN: Final = 1
_KERN_PROC: Final = 14
_KERN_PROC_PID: Final = 1
_BUFFER_BYTES: Final = 1024

_RECORD_BYTES: Final = 648
_STATE_ZOMBIE: Final = 5
# p_starttime (seconds, microseconds), then p_stat and p_pid behind two pointers and the flags.
_HEAD: Final = struct.Struct("<qi4x16x4xb3xi")
_GROUP: Final = struct.Struct("<i")
_GROUP_OFFSET: Final = 564


class Sysctl(Protocol):
    """The two calls we make; a test answers them from what it knows of real processes."""

    def by_number(self, name: Sequence[int]) -> bytes:
        """The value of a numbered name; empty when there is no such thing."""
        ...

    def by_name(self, name: str) -> bytes:
        """The value of a spelled name."""
        ...


@dataclass(frozen=True, slots=True)
class KernelProcess:
    """What the kernel records of a process, zombies included."""

    start_us: int
    is_zombie: bool
    group: int


def kernel_process(sysctl: Sysctl, pid: int) -> KernelProcess | None:
    """Read the record of a process; None when there is no such process."""
    raw = sysctl.by_number((_CTL_KERN, _KERN_PROC, _KERN_PROC_PID, pid))
    if not raw:
        return None
    seconds, micros, state, own_pid = (
        cast("tuple[int, int, int, int]", _HEAD.unpack_from(raw))
        if len(raw) == _RECORD_BYTES
        else (0, 0, 0, -1)
    )
    if own_pid != pid:
        # Better no answer than the start time of something else.
        reason = f"this macOS describes processes in a way we do not know ({len(raw)} bytes)"
        raise HostError(Refusal(Code.INTERNAL, reason))
    group = cast("tuple[int]", _GROUP.unpack_from(raw, _GROUP_OFFSET))[0]
    return KernelProcess(seconds * 1_000_000 + micros, state == _STATE_ZOMBIE, group)


def boot_session(sysctl: Sysctl) -> str:
    """The id that the kernel draws at each boot."""
    return sysctl.by_name("kern.bootsessionuuid").rstrip(b"\0").decode("ascii")


class Libc:
    """The system's own sysctl."""

    def __init__(self, library: object | None = None) -> None:
        self._library = cast("_Library", library or ctypes.CDLL(None, use_errno=True))

    def by_number(self, name: Sequence[int]) -> bytes:
        """The value of a numbered name; empty when there is no such thing."""
        buffer, size = _buffer()
        numbers = (ctypes.c_int * len(name))(*name)
        failed = self._library.sysctl(
            numbers, len(name), buffer, ctypes.byref(size), None, ctypes.c_size_t(0)
        )
        return _answer(failed, buffer, size)

    def by_name(self, name: str) -> bytes:
        """The value of a spelled name."""
        buffer, size = _buffer()
        failed = self._library.sysctlbyname(
            name.encode("ascii"), buffer, ctypes.byref(size), None, ctypes.c_size_t(0)
        )
        return _answer(failed, buffer, size)


class _Library(Protocol):
    def sysctl(self, *arguments: object) -> int: ...

    def sysctlbyname(self, *arguments: object) -> int: ...


def _buffer() -> tuple[ctypes.Array[ctypes.c_char], ctypes.c_size_t]:
    return ctypes.create_string_buffer(_BUFFER_BYTES), ctypes.c_size_t(_BUFFER_BYTES)


def _answer(failed: int, buffer: ctypes.Array[ctypes.c_char], size: ctypes.c_size_t) -> bytes:
    if not failed:
        return buffer.raw[: size.value]
    code = ctypes.get_errno()
    if code == errno.ESRCH:
        return b""
    raise OSError(code, os.strerror(code))
