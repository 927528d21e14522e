import errno
import fcntl
import hashlib
import os
import threading
from pathlib import Path

import pytest

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.units import GIB
from pool_core.catalog.arrivals.intake import Intake, Taken, Way
from pool_core.catalog.store.blobs import Blobs
from support.model_store import Never

DATA = b"weights" * 1000
SHA = hashlib.sha256(DATA).hexdigest()
EVERY = (Way.REFLINK, Way.HARDLINK, Way.COPY)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.gguf"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    store = tmp_path / "store"
    return Intake(Blobs(store / "blobs"), store / "partial", lambda _: 100 * GIB)


def take(intake: Intake, source: Path, *ways: Way, expected: str | None = None) -> Taken | Refusal:
    answer = intake.take(
        source, ways, tell=lambda _: None, cancel=Never(), expected_sha256=expected
    )
    assert not intake.drafts.exists() or list(intake.drafts.iterdir()) == []
    return answer


@pytest.mark.parametrize("way", [Way.HARDLINK, Way.COPY])
def test_a_file_is_taken_in_and_stays_where_it_was(intake: Intake, source: Path, way: Way) -> None:
    assert take(intake, source, way) == Taken(SHA, len(DATA), way)
    assert source.read_bytes() == DATA
    assert intake.blobs.path(SHA).samefile(source) is (way is Way.HARDLINK)


def test_a_shared_copy_is_preferred_where_the_file_system_knows_one(
    intake: Intake, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clone(target: int, request: int, origin: int) -> int:
        assert request == 0x40049409
        return os.write(target, os.pread(origin, len(DATA), 0)) * 0

    monkeypatch.setattr(fcntl, "ioctl", clone)
    assert take(intake, source, *EVERY) == Taken(SHA, len(DATA), Way.REFLINK)
    assert not intake.blobs.path(SHA).samefile(source)


def test_the_next_way_is_tried_where_one_does_not_work(
    intake: Intake, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    assert take(intake, source, *EVERY) == Taken(SHA, len(DATA), Way.HARDLINK)
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    other = source.with_name("other.gguf")
    other.write_bytes(DATA + b"!")
    taken = take(intake, other, *EVERY)
    assert isinstance(taken, Taken)
    assert taken.way is Way.COPY


def test_a_way_that_alone_was_wanted_is_refused_with_the_reason(
    intake: Intake, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    answer = take(intake, source, Way.HARDLINK)
    assert isinstance(answer, Refusal)
    assert "cannot be taken in by hardlink: Invalid cross-device link" in answer.message
    assert "try --method copy" in answer.message


@pytest.mark.parametrize("way", [Way.HARDLINK, Way.COPY])
def test_another_content_than_expected_is_not_kept(intake: Intake, source: Path, way: Way) -> None:
    answer = take(intake, source, way, expected="0" * 64)
    assert isinstance(answer, Refusal)
    assert answer.code is Code.DATA_CORRUPT
    assert list(intake.blobs.all()) == []
    assert source.read_bytes() == DATA


@pytest.mark.parametrize("way", [Way.HARDLINK, Way.COPY])
def test_a_file_that_changes_while_it_is_read_is_not_kept(
    intake: Intake, source: Path, way: Way
) -> None:
    def change(done_bytes: int) -> None:
        if done_bytes == len(DATA):
            with source.open("ab") as stream:
                stream.write(b"!")

    answer = intake.take(source, [way], tell=change, cancel=Never())
    assert isinstance(answer, Refusal)
    assert answer.code is Code.CONFLICT
    assert list(intake.blobs.all()) == []


@pytest.mark.parametrize("way", [Way.HARDLINK, Way.COPY])
def test_a_cancelled_intake_leaves_nothing(intake: Intake, source: Path, way: Way) -> None:
    cancel = threading.Event()
    cancel.set()
    answer = intake.take(source, [way], tell=lambda _: None, cancel=cancel)
    assert isinstance(answer, Refusal)
    assert answer.code is Code.CANCELLED
    assert list(intake.blobs.all()) == []
    assert list(intake.drafts.iterdir()) == []


def test_a_link_of_a_person_is_followed_to_its_file(intake: Intake, source: Path) -> None:
    link = source.with_name("link.gguf")
    link.symlink_to(source)
    assert take(intake, link, Way.HARDLINK) == Taken(SHA, len(DATA), Way.HARDLINK)
    assert not intake.blobs.path(SHA).is_symlink()


def test_a_pipe_or_a_folder_is_not_taken(intake: Intake, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, tmp_path / "nowhere"):
        answer = take(intake, path, *EVERY)
        assert isinstance(answer, Refusal)
        assert answer.code is Code.NOT_FOUND


def test_a_full_disk_is_said(intake: Intake, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    answer = take(intake, source, Way.COPY)
    assert isinstance(answer, Refusal)
    assert answer.code is Code.DISK_LOW


def test_a_content_that_is_here_stays_the_file_it_is(intake: Intake, source: Path) -> None:
    take(intake, source, Way.COPY)
    before = intake.blobs.look(SHA).st_ino
    take(intake, source, Way.COPY)
    assert intake.blobs.look(SHA).st_ino == before


def test_a_damaged_content_is_replaced(intake: Intake, source: Path) -> None:
    take(intake, source, Way.COPY)
    intake.blobs.mark_damaged(SHA)
    take(intake, source, Way.COPY)
    assert intake.blobs.holds(SHA, len(DATA))
