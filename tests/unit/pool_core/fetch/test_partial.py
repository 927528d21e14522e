import errno
import hashlib
import os
from pathlib import Path

import pytest

from orchestrator_core.errors import Code
from pool_core.fetch.partial import Partial, PartialFacts, PartialPaths, disk_refusal

SHA = "a" * 64
DATA = b"0123456789" * 1000


@pytest.fixture
def paths(tmp_path: Path) -> PartialPaths:
    return PartialPaths(tmp_path, SHA)


def test_the_hash_covers_what_was_there_and_what_was_added(paths: PartialPaths) -> None:
    paths.part.write_bytes(DATA)
    with Partial.open(paths) as partial:
        assert partial.read_again(lambda _: True)
        partial.append(b"more")
        assert partial.length == len(DATA) + 4
        assert partial.sha256 == hashlib.sha256(DATA + b"more").hexdigest()


def test_reading_again_can_be_stopped(paths: PartialPaths) -> None:
    paths.part.write_bytes(DATA)
    with Partial.open(paths) as partial:
        assert not partial.read_again(lambda _: False)


def test_emptied_it_begins_anew(paths: PartialPaths) -> None:
    with Partial.open(paths) as partial:
        partial.append(DATA)
        partial.empty()
        partial.append(b"new")
        assert partial.sha256 == hashlib.sha256(b"new").hexdigest()
    assert paths.part.read_bytes() == b"new"


def test_what_a_system_call_leaves_over_is_written_by_the_next(
    paths: PartialPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: plain(fd, bytes(data)[:7], at))
    with Partial.open(paths) as partial:
        partial.append(DATA)
        assert partial.sha256 == hashlib.sha256(DATA).hexdigest()
    assert paths.part.read_bytes() == DATA


def test_what_cannot_be_synced_is_not_believed_next_time(
    paths: PartialPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Partial.open(paths) as partial:
        partial.append(DATA)
        monkeypatch.setattr(os, "fsync", fails)
        with pytest.raises(OSError, match="Input/output"):
            partial.finish(paths.part.with_name("whole"))
    assert paths.length() == 0
    assert not paths.part.with_name("whole").exists()


def test_what_was_written_down_is_read_back(paths: PartialPaths) -> None:
    facts = PartialFacts(sha256=SHA, size_bytes=5, path="a.gguf", etag='"x"')
    with Partial.open(paths) as partial:
        partial.note(facts)
        assert partial.facts() == facts


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"size_bytes": -1}', '{"sha256": "../x", "size_bytes": 1}', "\xff"]
)
def test_damaged_words_about_a_part_are_no_words(paths: PartialPaths, text: str) -> None:
    paths.facts.write_bytes(text.encode("latin-1"))
    with Partial.open(paths) as partial:
        assert partial.facts() is None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_a_disk_s_error_says_how_much_is_missing(number: int) -> None:
    refusal = disk_refusal(OSError(number, "x"), "a.gguf", 2048)
    assert refusal is not None
    assert (refusal.code, refusal.details["lacking_bytes"]) == (Code.DISK_LOW, 2048)
    assert "2 KiB of a.gguf are still missing" in refusal.message


def test_another_error_is_not_the_disk_s() -> None:
    assert disk_refusal(OSError(errno.EACCES, "x"), "a.gguf", 1) is None


def test_facts_that_are_no_plain_file_are_none_and_nobody_waits(paths: PartialPaths) -> None:
    os.mkfifo(paths.facts)
    with Partial.open(paths) as partial:
        assert partial.facts() is None
        paths.facts.unlink()
        elsewhere = paths.facts.with_name("elsewhere")
        elsewhere.write_text(PartialFacts(size_bytes=1).model_dump_json())
        paths.facts.symlink_to(elsewhere)
        assert partial.facts() is None
