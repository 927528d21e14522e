import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_core.catalog.store.records import ModelRecord, RecordedFile, Records, slug_of

SHA = "a" * 64


def record(model_id: str = "hf:acme/tiny:Q8_0", **fields: object) -> ModelRecord:
    known: dict[str, object] = {
        "id": model_id,
        "source": "hub",
        "files": [{"file": "Q8_0/tiny.gguf", "size_bytes": 3, "sha256": SHA}],
    }
    return ModelRecord.model_validate(known | fields)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def records(tmp_path: Path, said: list[str]) -> Records:
    return Records(tmp_path / "records", said.append)


def test_a_record_survives_writing_and_reading(records: Records) -> None:
    eyes = RecordedFile(file="mmproj-F16.gguf", size_bytes=4, sha256="b" * 64)
    written = record(mmproj=eyes, commit="c" * 40, trained_ctx=2048)
    records.write(written)
    assert records.get(written.id) == written
    assert records.all() == [written]
    assert written.size_bytes == 7


def test_a_content_that_two_files_share_counts_once() -> None:
    part = {"file": "b.gguf", "size_bytes": 3, "sha256": SHA}
    files = [{"file": "a.gguf", "size_bytes": 3, "sha256": SHA}, part]
    assert record(files=files).size_bytes == 3


def test_a_removed_record_takes_its_stamp_along(records: Records) -> None:
    records.write(record())
    records.touch(record().id, 1_900_000_000_000)
    assert records.used_unix_ms(record().id) == 1_900_000_000_000
    records.remove(record().id)
    assert records.get(record().id) is None
    assert list(records.folder.iterdir()) == []


def test_no_stamp_means_never_used(records: Records) -> None:
    assert records.used_unix_ms("hf:acme/tiny") is None


def damaged(change: dict[str, object]) -> bytes:
    tree = json.loads(record().model_dump_json())
    return json.dumps(tree | change).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 100_000,
        b"\xff\xfe",
        damaged({"files": []}),
        damaged({"unheard": 1}),
        damaged({"id": "hf:acme/other"}),
        damaged({"files": [{"file": "../x", "size_bytes": 1, "sha256": SHA}]}),
        damaged({"files": [{"file": "/etc/passwd", "size_bytes": 1, "sha256": SHA}]}),
        damaged({"files": [{"file": "x.gguf", "size_bytes": 1, "sha256": "../" + "a" * 61}]}),
        damaged({"files": [{"file": "x.gguf", "size_bytes": -1, "sha256": SHA}]}),
        damaged({"id": "two\nlines"}),
        damaged({"schema_version": "1"}),
    ],
)
def test_a_damaged_record_is_set_aside_and_told(
    records: Records, said: list[str], content: bytes
) -> None:
    records.write(record("hf:acme/sound"))
    path = records.folder / f"{slug_of(record().id)}.json"
    path.write_bytes(content)
    assert [it.id for it in records.all()] == ["hf:acme/sound"]
    assert not path.exists()
    assert path.with_suffix(".damaged").read_bytes() == content
    (line,) = said
    assert "is damaged and was set aside" in line
    assert line.isprintable()


def test_a_record_of_a_newer_version_is_left_alone(records: Records, said: list[str]) -> None:
    records.write(record())
    path = records.folder / f"{slug_of(record().id)}.json"
    path.write_bytes(damaged({"schema_version": 2, "unheard": 1}))
    assert records.all() == []
    assert path.exists()
    assert "newer version" in said[0]


def test_a_record_that_is_a_link_is_not_read(
    records: Records, said: list[str], tmp_path: Path
) -> None:
    records.write(record())
    path = records.folder / f"{slug_of(record().id)}.json"
    elsewhere = path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(elsewhere)
    assert records.get(record().id) is None
    assert "it is a link" in said[0]


def test_a_stamp_that_is_a_link_is_not_written_through(records: Records, tmp_path: Path) -> None:
    records.write(record())
    victim = tmp_path / "victim"
    (records.folder / f"{slug_of(record().id)}.used").symlink_to(victim)
    records.touch(record().id, 1)
    assert not victim.exists()


def test_ids_that_differ_only_in_signs_or_case_have_their_own_slugs() -> None:
    ids = ["hf:a/b:Q8_0", "hf:a/b_Q8_0", "hf_a_b_Q8_0", "HF:a/b:Q8_0", "hf:a/b:q8_0"]
    assert len({slug_of(model_id).lower() for model_id in ids}) == len(ids)


@given(st.text(min_size=1, max_size=512))
def test_a_slug_is_always_one_plain_name(model_id: str) -> None:
    slug = slug_of(model_id.encode("utf-8", "replace").decode())
    assert slug == Path(slug).name
    assert slug.isascii()
    assert not slug.startswith((".", "-"))
    assert len(slug) <= 100
