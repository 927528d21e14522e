"""The call into the C library, with a library that answers as the real one does."""

import ctypes
import errno

import pytest

from orchestrator_core.platforms.sysctl import Libc, boot_session, kernel_process
from support.fake_macos import kinfo_proc


class Library:
    """Writes its answer where the caller says, or fails with a number."""

    def __init__(self, answer: bytes = b"", failure: int = 0) -> None:
        self.answer = answer
        self.failure = failure
        self.asked: list[object] = []

    def sysctl(self, name, count, buffer, size, new, new_size) -> int:  # type: ignore[no-untyped-def]
        self.asked.append(list(name[:count]))
        return self._reply(buffer, size, new, new_size)

    def sysctlbyname(self, name, buffer, size, new, new_size) -> int:  # type: ignore[no-untyped-def]
        self.asked.append(name)
        return self._reply(buffer, size, new, new_size)

    def _reply(self, buffer, size, new, new_size) -> int:  # type: ignore[no-untyped-def]
        assert new is None
        assert new_size.value == 0
        if self.failure:
            ctypes.set_errno(self.failure)
            return -1
        room = size._obj
        assert room.value >= len(self.answer)
        ctypes.memmove(buffer, self.answer, len(self.answer))
        room.value = len(self.answer)
        return 0


def test_process_is_asked_for_by_its_pid() -> None:
    library = Library(kinfo_proc(70, start_us=5_000_007, state=5, group=69))
    process = kernel_process(Libc(library), 70)
    assert process is not None
    assert (process.start_us, process.is_zombie, process.group) == (5_000_007, True, 69)
    assert library.asked == [[1, 14, 1, 70]]


def test_empty_record_means_that_there_is_no_such_process() -> None:
    assert kernel_process(Libc(Library(b"")), 70) is None
    assert kernel_process(Libc(Library(failure=errno.ESRCH)), 70) is None


def test_boot_is_read_without_its_ending_zero() -> None:
    library = Library(b"5B0C8E0A-0000\0")
    assert boot_session(Libc(library)) == "5B0C8E0A-0000"
    assert library.asked == [b"kern.bootsessionuuid"]


def test_any_other_failure_is_an_error_and_not_a_missing_process() -> None:
    with pytest.raises(PermissionError):
        kernel_process(Libc(Library(failure=errno.EPERM)), 70)
