"""What is whole in a store is looked up anew only when something has come or gone."""

import os
from hashlib import sha256
from pathlib import Path

import pytest

from orchestrator_core.errors import Refusal
from pool_core.catalog.store.blobs import Blobs
from pool_core.catalog.store.records import ModelRecord, RecordedFile, Records
from pool_core.catalog.store.sound import SoundModels

CONTENT = b"weights"
HASH = sha256(CONTENT).hexdigest()
LONG_AGO_S = 1_700_000_000


class Shop:
    """Two folders and how often each record was looked at."""

    def __init__(self, folder: Path) -> None:
        self.records = Records(folder / "records", lambda line: None)
        self.blobs = Blobs(folder / "blobs")
        self.blobs.prepare()
        self.looks = 0
        self.models = SoundModels(self.records, self.blobs, self.fault_of)

    def fault_of(self, record: ModelRecord) -> Refusal | None:
        self.looks += 1
        return None

    def add(self, model_id: str) -> None:
        self.blobs.path(HASH).write_bytes(CONTENT)
        file = RecordedFile(file="a.gguf", size_bytes=len(CONTENT), sha256=HASH)
        self.records.write(ModelRecord(id=model_id, source="file", files=(file,)))

    def settle(self, at_s: int = LONG_AGO_S) -> None:
        """Let the folders look as if nothing had changed since then."""
        for folder in (self.records.folder, self.blobs.folder):
            os.utime(folder, (at_s, at_s))

    def ids(self) -> list[str]:
        return [record.id for record in self.models.now().records]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.add("one")
    return shop


def test_what_does_not_change_is_read_once(shop: Shop) -> None:
    shop.settle()
    assert [shop.ids() for _ in range(3)] == [["one"]] * 3
    assert shop.looks == 1
    assert shop.models.now().sizes == {HASH: len(CONTENT)}
    assert [report.id for report in shop.models.now().reports] == ["one"]


def test_a_model_that_comes_is_seen(shop: Shop) -> None:
    shop.settle()
    shop.ids()
    shop.add("two")
    assert shop.ids() == ["one", "two"]


def test_a_content_that_is_marked_is_looked_at_again(shop: Shop) -> None:
    shop.settle()
    shop.ids()
    shop.blobs.mark_damaged(HASH)
    shop.ids()
    assert shop.looks == 2


def test_a_folder_that_has_just_changed_is_not_trusted_yet(shop: Shop) -> None:
    # The next change could bear the same time stamp.
    assert shop.ids() == shop.ids() == ["one"]
    assert shop.looks == 2
