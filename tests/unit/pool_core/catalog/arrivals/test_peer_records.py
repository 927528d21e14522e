"""Which records of other pools are taken where the hub says nothing, and which are not."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_core.catalog.gguf_names import safe_relative
from orchestrator_core.catalog.reference import Reference, parse
from orchestrator_core.contracts.sharing import SharedFile, SharedModel
from orchestrator_core.errors import Refusal
from pool_core.catalog.arrivals.peer_records import (
    Resolved,
    chosen_record,
    question_for,
    resolved_by,
)
from pool_core.catalog.arrivals.selection import Wish

REPO = "acme/tiny-GGUF"
ID = f"hf:{REPO}:Q4_K_M"
COMMIT = "c" * 40


def file(name: str = "tiny-Q4_K_M.gguf", sha256: str = "a" * 64) -> SharedFile:
    return SharedFile(file=name, size_bytes=10, sha256=sha256)


def told(**changes: object) -> SharedModel:
    model = SharedModel(id=ID, source="hub", repo=REPO, commit=COMMIT, files=(file(),))
    return model.model_copy(update=changes)


def wish(text: str) -> Wish:
    reference = parse(text)
    assert isinstance(reference, Reference)
    return Wish(reference)


def resolve(model: SharedModel, text: str = ID, *, mmproj: bool = True) -> Resolved | None:
    return resolved_by(model, text, wish(text), mmproj=mmproj, endpoint="https://hub")


@pytest.mark.parametrize(
    "text",
    [
        ID,
        f"hf:{REPO}",
        f"hf:{REPO}@main",
        f"hf:{REPO}::file=tiny-Q4_K_M.gguf",
    ],
)
def test_the_model_that_was_asked_for_is_taken(text: str) -> None:
    found = resolve(told(), text)
    assert found is not None
    assert found.chosen.id == ID
    assert [it.sha256 for it in found.chosen.all_files] == ["a" * 64]
    assert found.listing.commit == COMMIT


@pytest.mark.parametrize(
    "model",
    [
        told(source="file"),
        told(repo="evil/tiny-GGUF"),
        told(repo=None),
        told(commit=None),
        told(id="hf:evil/other:Q4_K_M"),
        told(id="tiny"),
        told(id="/etc/passwd"),
        told(files=(file("../../tiny-Q4_K_M.gguf"),)),
        told(files=(file("/tiny-Q4_K_M.gguf"),)),
        told(files=(file("tiny-Q8_0.gguf"),)),
        told(files=(file("notes.txt"),)),
        told(files=(file(), file())),
        told(files=(file(), file("TINY-q4_k_m.gguf"))),
        told(files=(file(), file("deeper/tiny-Q4_K_M.gguf"))),
        told(files=(file("\u00e9-Q4_K_M.gguf"), file("e\u0301-Q4_K_M.gguf"))),
        told(id=f"hf:{REPO}:Q8_0"),
        told(id=f"hf:{REPO}::file=other-Q4_K_M.gguf"),
    ],
    ids=lambda it: f"{it.id} {it.files[0].file}",
)
def test_anything_else_is_not(model: SharedModel) -> None:
    assert resolve(model) is None


def test_without_a_quantization_only_the_usual_one_is_taken() -> None:
    other = told(id=f"hf:{REPO}:Q8_0", files=(file("tiny-Q8_0.gguf"),))
    assert question_for(wish(f"hf:{REPO}")) == ID
    assert resolve(other, f"hf:{REPO}") is None
    assert resolve(other, f"hf:{REPO}:Q8_0") is not None


def test_a_model_keeps_the_name_that_the_hub_would_have_led_to() -> None:
    exact = resolve(told(), f"hf:{REPO}@{COMMIT}:Q4_K_M")
    assert exact is not None
    # The name without a commit may stand for another one here.
    assert exact.chosen.id == f"hf:{REPO}@{COMMIT}:Q4_K_M"
    one_of_two = resolve(told(id=f"hf:{REPO}::file=tiny-Q4_K_M.gguf"))
    assert one_of_two is not None
    assert one_of_two.chosen.id == f"hf:{REPO}::file=tiny-Q4_K_M.gguf"


WORDS = st.text(max_size=40) | st.sampled_from(
    [
        *(
            "..",
            "../x.gguf",
            "/x.gguf",
            "a/../../x-Q4_K_M.gguf",
            "C:\\x.gguf",
            "-x.gguf",
            "x\0.gguf",
        ),
        *("tiny-Q4_K_M.gguf", "a/tiny-Q4_K_M.gguf", "mmproj-tiny.gguf", "mine", "tiny-Q8_0.gguf"),
        *("tiny-Q4_K_M-00001-of-00002.gguf", "tiny-Q4_K_M-00002-of-00002.gguf", "x.gguf\n"),
        *(ID, f"hf:{REPO}:Q8_0", f"hf:{REPO}@dev:Q4_K_M", f"hf:{REPO}::file=../x.gguf", REPO),
    ]
)
FILES = st.builds(
    SharedFile,
    file=WORDS.filter(bool),
    size_bytes=st.integers(0, 1 << 53),
    sha256=st.sampled_from(["a" * 64, "b" * 64]),
)
RECORDS = st.builds(
    SharedModel,
    id=WORDS.filter(bool),
    source=st.sampled_from(["hub", "file"]),
    repo=st.sampled_from([REPO, "evil/x", None]) | WORDS,
    commit=st.sampled_from([COMMIT, None]),
    files=st.lists(FILES, min_size=1, max_size=4).map(tuple),
    mmproj=st.none() | FILES,
)
QUESTIONS = [ID, f"hf:{REPO}", f"hf:{REPO}@{COMMIT}:Q4_K_M", f"hf:{REPO}::file=tiny-Q4_K_M.gguf"]


@given(record=RECORDS, text=st.sampled_from(QUESTIONS))
@settings(max_examples=300)
def test_whatever_a_peer_tells_only_the_wanted_name_and_plain_files_come_of_it(
    record: SharedModel, text: str
) -> None:
    found = resolve(record, text)
    if found is not None:
        reference = wish(text).reference
        own = parse(found.chosen.id)
        assert isinstance(own, Reference)
        assert (own.repo, own.revision) == (reference.repo, reference.revision)
        assert "Q4_K_M" in found.chosen.id
        must_be_plain(found)


@given(record=RECORDS)
@settings(max_examples=300)
def test_whatever_a_peer_tells_of_an_import_only_plain_files_come_of_it(
    record: SharedModel,
) -> None:
    found = resolved_by(record, "mine", None, mmproj=True, endpoint="")
    if found is not None:
        assert found.chosen.id == "mine"
        must_be_plain(found)


def must_be_plain(found: Resolved) -> None:
    for it in found.chosen.all_files:
        assert (Path("/store") / it.path).resolve().is_relative_to("/store")
        assert it.path == safe_relative(it.path)
    assert len({Path(it.path).name for it in found.chosen.files}) == len(found.chosen.files)


def test_another_commit_than_the_wanted_one_is_not_taken() -> None:
    assert resolve(told(), f"hf:{REPO}@{'d' * 40}:Q4_K_M") is None


def test_a_branch_is_not_the_default_one() -> None:
    assert resolve(told(), f"hf:{REPO}@dev:Q4_K_M") is None
    assert resolve(told(id=f"hf:{REPO}@dev:Q4_K_M")) is None


def test_the_part_that_reads_images_comes_along_unless_it_is_not_wanted() -> None:
    model = told(mmproj=file("mmproj-tiny-F16.gguf", "b" * 64))
    whole, without = resolve(model), resolve(model, mmproj=False)
    assert whole is not None
    assert without is not None
    assert [it.sha256 for it in whole.chosen.all_files] == ["a" * 64, "b" * 64]
    assert (without.chosen.mmproj, without.chosen.mmproj_left_out) == (None, True)


def test_what_a_peer_has_left_out_is_known_to_be_missing() -> None:
    found = resolve(told(mmproj_left_out=True))
    assert found is not None
    assert found.chosen.mmproj_left_out


def test_an_imported_model_is_meant_by_its_very_id_alone() -> None:
    mine = told(id="mine", source="file", repo=None, commit=None)
    assert resolved_by(mine, "mine", None, mmproj=True, endpoint="") is not None
    assert resolved_by(mine, "yours", None, mmproj=True, endpoint="") is None
    assert resolved_by(told(id="mine"), "mine", None, mmproj=True, endpoint="") is None


def test_most_peers_decide_and_of_equals_the_first_name() -> None:
    common, rare = resolve(told()), resolve(told(files=(file(sha256="f" * 64),)))
    assert common is not None
    assert rare is not None
    assert chosen_record([("a", rare), ("b", common), ("c", common)]) == ("b", common)
    assert chosen_record([("z", common), ("y", rare)]) == ("y", rare)
    assert chosen_record([]) is None


def test_a_question_is_exact() -> None:
    assert question_for(wish(f"hf:{REPO}:q8_0")) == f"hf:{REPO}:Q8_0"
    assert question_for(wish(f"hf:{REPO}@main")) == ID
    assert not isinstance(parse(question_for(wish(f"hf:{REPO}@dev"))), Refusal)
