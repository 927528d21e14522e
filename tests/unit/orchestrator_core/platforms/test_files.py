"""Atomic writes, private folders and a lock that ends with its holder."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator_core.platforms import files
from orchestrator_core.platforms.files import FileLock
from support.waiting import until_sync

HOLD = """
import sys, signal
from pathlib import Path
from orchestrator_core.platforms.files import FileLock
lock = FileLock(Path(sys.argv[1]))
print(lock.try_acquire(), flush=True)
signal.pause()
"""


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_write_replaces_content_and_sets_mode_despite_umask(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    umask = os.umask(0o277)
    try:
        files.write_atomically(path, b"one")
        files.write_atomically(path, b"two", mode=0o640)
    finally:
        os.umask(umask)
    assert path.read_bytes() == b"two"
    assert mode_of(path) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_failed_write_leaves_the_old_file_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    files.write_atomically(path, b"old")

    def fail(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_is_private_and_an_existing_one_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    files.ensure_folder(folder)
    assert (mode_of(folder), mode_of(folder.parent)) == (0o700, 0o700)
    folder.chmod(0o750)
    files.ensure_folder(folder)
    assert mode_of(folder) == 0o750


def test_second_lock_is_refused_until_the_first_is_released(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "x.lock"), FileLock(tmp_path / "x.lock")
    assert first.try_acquire()
    assert first.try_acquire()
    assert not second.try_acquire()
    assert second.holder_pid() == os.getpid()
    first.release()
    assert second.holder_pid() is None
    assert second.try_acquire()
    second.release()
    second.release()


def test_lock_of_a_killed_process_is_free_and_its_pid_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"True\n"
        lock = FileLock(path)
        assert not lock.try_acquire()
        assert lock.holder_pid() == process.pid
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert path.read_text() == f"{process.pid}\n"
    assert lock.holder_pid() is None
    assert lock.try_acquire()
    lock.release()


def test_holder_is_known_where_no_list_of_locks_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # macOS has none; a file that only names a crashed holder would get a stranger signalled.
    monkeypatch.setattr(files, "_KERNEL_LOCKS", tmp_path / "none")
    path = tmp_path / "x.lock"
    first, second = FileLock(path), FileLock(path)
    assert first.try_acquire()
    assert first.holder_pid() == os.getpid()
    assert second.holder_pid() == os.getpid()
    first.release()
    path.write_text(f"{os.getpid()}\n")
    assert second.holder_pid() is None
    assert second.try_acquire(), "asking leaves nothing behind"
    second.release()


def test_lock_is_not_inherited_by_children(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "x.lock"), FileLock(tmp_path / "x.lock")
    assert first.try_acquire()
    with subprocess.Popen(["sleep", "600"], close_fds=False) as child:
        try:
            first.release()
            assert until_sync(second.try_acquire, what="the lock")
            second.release()
        finally:
            child.kill()


def test_missing_or_foreign_lock_file_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    assert FileLock(path).holder_pid() is None
    path.write_text("not a pid")
    assert FileLock(path).holder_pid() is None


def test_a_file_in_the_place_of_a_folder_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(NotADirectoryError, match="taken"):
        files.ensure_folder(tmp_path / "taken")
    with pytest.raises(NotADirectoryError, match="taken"):
        files.ensure_folder(tmp_path / "taken" / "below")


def test_a_lock_that_is_a_link_is_refused_and_its_target_unharmed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "lock").symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        FileLock(tmp_path / "lock").try_acquire()
    assert target.read_text() == "precious"


def test_a_lock_is_taken_also_where_the_disk_has_no_room_for_a_pid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "pwrite", refuse)
    lock = FileLock(tmp_path / "lock")
    assert lock.try_acquire()
    assert not FileLock(tmp_path / "lock").try_acquire()
    lock.release()
