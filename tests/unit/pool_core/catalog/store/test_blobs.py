from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_core.catalog.store.blobs import Blobs

SHA = "a" * 64


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    made = Blobs(tmp_path / "blobs")
    made.prepare()
    return made


def put(blobs: Blobs, folder: Path, data: bytes = b"data") -> None:
    draft = folder / "draft"
    draft.write_bytes(data)
    blobs.put(draft, SHA)


def test_a_content_lies_read_only_under_its_hash(blobs: Blobs, tmp_path: Path) -> None:
    put(blobs, tmp_path)
    assert blobs.path(SHA).read_bytes() == b"data"
    assert blobs.look(SHA).st_mode & 0o777 == 0o444
    assert blobs.holds(SHA, 4)
    assert not blobs.holds(SHA, 5)
    assert [sha for sha, _ in blobs.all()] == [SHA]


def test_a_file_that_has_another_name_keeps_its_mode(blobs: Blobs, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"data")
    mine.chmod(0o640)
    draft = tmp_path / "draft"
    draft.hardlink_to(mine)
    blobs.put(draft, SHA)
    assert mine.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "sha256", ["", "a" * 63, "a" * 65, "A" * 64, "../" + "a" * 61, "a" * 64 + "\n"]
)
def test_what_is_no_hash_never_becomes_a_path(blobs: Blobs, sha256: str) -> None:
    with pytest.raises(ValueError, match="64 hex digits"):
        blobs.path(sha256)


@given(st.text(max_size=70))
def test_no_text_leads_out_of_the_folder(sha256: str) -> None:
    blobs = Blobs(Path("/models/blobs"))
    try:
        path = blobs.path(sha256)
    except ValueError:
        return
    assert path.parent == Path("/models/blobs")


def test_a_link_is_no_content(blobs: Blobs, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"data")
    blobs.path(SHA).symlink_to(secret)
    assert not blobs.holds(SHA, 4)
    assert list(blobs.all()) == []
    with pytest.raises(OSError, match="it is a link"):
        blobs.open(SHA)


def test_a_mark_stays_until_a_sound_content_comes(blobs: Blobs, tmp_path: Path) -> None:
    put(blobs, tmp_path)
    blobs.mark_damaged(SHA)
    assert not blobs.holds(SHA, 4)
    put(blobs, tmp_path)
    assert blobs.holds(SHA, 4)
    blobs.mark_damaged(SHA)
    blobs.remove(SHA)
    assert list(blobs.folder.iterdir()) == []
