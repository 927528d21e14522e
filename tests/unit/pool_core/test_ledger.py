import errno
import json
import os
import stat
from pathlib import Path

import pytest

from orchestrator_core.platforms.port import ProcessIdentity
from pool_core.workers.ledger import Ledger, Loaded
from support.pool_builders import record, worker_id


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path / "pool")
    made.prepare()
    return made


def test_remembers_a_worker_and_its_key(ledger: Ledger) -> None:
    known = record(1, pid=7, start_time=8, boot_id="b")
    ledger.write(known)
    ledger.write_key(known.id, "secret")
    assert ledger.load().records == [known]
    assert ledger.read_key(known.id) == "secret"
    assert known.identity() == ProcessIdentity(7, 8, "b")


def test_an_intent_names_no_process() -> None:
    assert record().identity() is None


def test_files_are_for_their_owner_alone(ledger: Ledger) -> None:
    ledger.write(record(1))
    ledger.write_key(worker_id(1), "secret")
    folder = ledger.key_path(worker_id(1)).parent
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_forgotten_worker_leaves_only_its_log(ledger: Ledger) -> None:
    ledger.write(record(1))
    ledger.write_key(worker_id(1), "secret")
    ledger.log_path(worker_id(1)).write_text("words\n")
    ledger.remove(worker_id(1))
    ledger.remove(worker_id(1))
    assert ledger.load().records == []
    assert ledger.read_key(worker_id(1)) is None
    assert ledger.log_path(worker_id(1)).exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"id": "x"}', "\xff\xfe"])
def test_an_unreadable_record_is_set_aside(ledger: Ledger, text: str) -> None:
    ledger.write(record(1))
    broken = ledger.key_path(worker_id(2)).with_suffix(".json")
    broken.write_text(text, "utf-8")
    loaded = ledger.load()
    assert [known.id for known in loaded.records] == [worker_id(1)]
    assert [path.name for path in loaded.set_aside] == [f"{worker_id(2)}.unreadable"]
    assert ledger.load().set_aside == []


def test_a_worker_that_an_earlier_version_started_is_known(ledger: Ledger) -> None:
    known = record(1, pid=7, start_time=8, boot_id="b")
    facts = known.model_dump(mode="json", exclude={"order", "started_unix_ms", "needed_bytes"})
    ledger.key_path(known.id).with_suffix(".json").write_text(json.dumps(facts))
    ledger.write_key(known.id, "secret")
    assert ledger.load().records == [known]
    assert ledger.read_key(known.id) == "secret"


def test_a_record_that_cannot_be_read_now_is_kept_with_its_key(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = record(1)
    ledger.write(known)
    ledger.write_key(known.id, "secret")

    def full(_path: Path) -> bytes:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", full)
        assert ledger.load() == Loaded([], [])
    assert ledger.load().records == [known]
    assert ledger.read_key(known.id) == "secret"


def test_a_record_that_makes_no_sense_leaves_its_key_to_a_person(ledger: Ledger) -> None:
    ledger.write_key(worker_id(2), "secret")
    ledger.key_path(worker_id(2)).with_suffix(".json").write_text("{")
    ledger.load()
    assert ledger.read_key(worker_id(2)) == "secret"


def test_a_disk_that_lets_go_of_nothing_stops_nobody(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.write(record(1))
    ledger.key_path(worker_id(2)).with_suffix(".json").write_text("{")
    ledger.write_key(worker_id(3), "orphan")

    def broken(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", broken)
    monkeypatch.setattr(Path, "replace", broken)
    ledger.remove(worker_id(1))
    assert [known.id for known in ledger.load().records] == [worker_id(1)]


def test_a_record_under_another_workers_name_is_set_aside(ledger: Ledger) -> None:
    path = ledger.key_path(worker_id(9)).with_suffix(".json")
    path.write_text(record(1).model_dump_json())
    assert ledger.load().records == []


def test_a_key_without_a_record_is_removed(ledger: Ledger) -> None:
    ledger.write_key(worker_id(3), "orphan")
    ledger.load()
    assert not ledger.key_path(worker_id(3)).exists()


def test_reads_only_the_words_of_the_newest_start(ledger: Ledger) -> None:
    log = ledger.log_path(worker_id(1))
    assert ledger.log_size(worker_id(1)) == 0
    assert ledger.log_tail(worker_id(1), 0) == []
    log.write_text("old\n")
    offset = ledger.log_size(worker_id(1))
    with log.open("a") as stream:
        stream.write("new\n")
    assert ledger.log_tail(worker_id(1), offset) == ["new"]


def test_a_log_that_was_cut_is_read_from_its_beginning(ledger: Ledger) -> None:
    ledger.log_path(worker_id(1)).write_text("after the cut\n")
    assert ledger.log_tail(worker_id(1), 10_000) == ["after the cut"]


def test_keeps_the_logs_of_the_living_and_of_fifty_dead(ledger: Ledger) -> None:
    for number in range(60):
        ledger.log_path(worker_id(number)).touch()
    ledger.prune_logs({worker_id(0), worker_id(1)})
    left = {path.stem for path in ledger.log_path(worker_id(0)).parent.iterdir()}
    assert len(left) == 52
    assert {worker_id(0), worker_id(1)} <= left
