"""The catalogue: what is packaged, what is refused, how names are found."""

from pathlib import Path

import pytest

from orchestrator_core.catalog.entries import CatalogEntry, spec_for
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.config.layout import Layout
from orchestrator_core.contracts.pool import Backend
from orchestrator_core.errors import Code, DataError, LlorchError, Refusal, RequestError

COMMIT = "c0ffee" * 6 + "0000"
HUB = 'source = "hub"\nrepo = "o/r"'


def entry_toml(identifier: str, extra: str = "", file: str = 'source = "builtin"') -> str:
    return (
        f'[[models]]\nid = "{identifier}"\nname = "N"\ndescription = "D"\nctx = 512\nparallel = 2\n'
        f'trained_ctx = 1024\n{extra}\n[models.file]\n{file}\nfile = "{identifier}.gguf"\n'
    )


def entry(identifier: str) -> CatalogEntry:
    found = Catalog.from_toml(entry_toml(identifier)).resolve(identifier)
    assert isinstance(found, CatalogEntry)
    return found


def test_alias_and_id_lead_to_the_same_entry() -> None:
    catalog = Catalog.from_toml(entry_toml("big", 'aliases = ["b1", "b2"]'))
    assert catalog.resolve("b2") is catalog.resolve("big")


def test_unknown_model_is_refused_with_the_three_nearest_names() -> None:
    catalog = Catalog.from_toml("".join(entry_toml(name) for name in ("aaa", "aab", "abc", "xyz")))
    refusal = catalog.resolve("aax")
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.MODEL_NOT_FOUND
    nearest = refusal.details["nearest"]
    assert isinstance(nearest, list)
    assert len(nearest) == 3
    assert set(nearest[:2]) == {"aaa", "aab"}
    assert refusal.message == f'there is no model "aax"; nearest: {", ".join(nearest)}'


def test_malformed_reference_stays_a_malformed_reference() -> None:
    refusal = Catalog.load().resolve("hf:nothing")
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.INVALID_REQUEST


def test_reference_to_a_catalogued_file_is_its_entry() -> None:
    hub = f'source = "hub"\nrepo = "o/r"\ncommit = "{COMMIT}"'
    catalog = Catalog.from_toml(entry_toml("m", file=hub))
    found = catalog.resolve("m")
    assert catalog.resolve("hf:o/r") is found
    assert catalog.resolve(f"hf:o/r@{COMMIT}::file=m.gguf") is found
    for other in (
        "hf:o/r@main",
        "hf:o/r:Q4_0",
        "hf:o/other",
        "hf:o/r::file=x.gguf",
        "file:/m.gguf",
    ):
        refusal = catalog.resolve(other)
        assert isinstance(refusal, Refusal)
        assert refusal.code is Code.MODEL_NOT_FOUND


@pytest.mark.parametrize(
    ("toml", "reason"),
    [
        (entry_toml("a") + entry_toml("a"), '"a" is given twice'),
        (entry_toml("a", 'aliases = ["b"]') + entry_toml("b"), '"b" is given twice'),
        (entry_toml("a", "contxt = 1"), 'key "contxt"'),
        (entry_toml("a", file="source = 'builtin'\nsha = 'x'"), 'key "file.sha"'),
        (entry_toml("a").replace("ctx = 512", "ctx = 1", 1), 'key "ctx"'),
        ("model = 1", "nothing else"),
        ("models = 1", "nothing else"),
        ("models = [1]", "nothing else"),
        ("models = ", "catalogue: "),
    ],
)
def test_broken_catalogue_is_refused(toml: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        Catalog.from_toml(toml)


def test_the_files_of_one_repository_are_told_apart_by_quantization() -> None:
    small = entry_toml("small", file=HUB).replace("small.gguf", "m-q4_k_m.gguf")
    whole = entry_toml("whole", file=HUB).replace("whole.gguf", "m-fp16.gguf")
    catalog = Catalog.from_toml(whole + small)
    expected = {
        "hf:o/r": "small",
        "hf:o/r:Q4_K_M": "small",
        "hf:o/r:q4_k_m": "small",
        "hf:o/r@main:F16": "whole",
        "hf:o/r::file=m-fp16.gguf": "whole",
        "https://huggingface.co/o/r/resolve/main/m-fp16.gguf?download=true": "whole",
        "hf.co/o/r:FP16": "whole",
    }
    found = {text: catalog.find(text) for text in expected}
    assert {text: it.id if it else None for text, it in found.items()} == expected
    # Which file these would mean only the hub can tell.
    assert Catalog.from_toml(whole).find("hf:o/r") is None
    assert catalog.find("hf:o/r:Q8_0") is None


def test_spec_takes_what_is_not_given_from_the_entry() -> None:
    spec = spec_for(entry("m"))
    assert (spec.ctx, spec.parallel, spec.backend) == (512, 2, Backend.CPU)
    assert spec.model.model_id == "m"
    other = spec_for(entry("m"), ctx=128, parallel=1, threads=3, device_ids=("cpu",))
    assert (other.ctx, other.parallel, other.threads, other.device_ids) == (128, 1, 3, ("cpu",))


def test_what_the_user_adds_comes_after_and_what_he_replaces_keeps_its_place() -> None:
    packaged = entry_toml("aaa") + entry_toml("bbb") + entry_toml("ccc", 'aliases = ["c1", "c2"]')
    own = entry_toml("bbb", "license = 'x'", HUB)
    own += entry_toml("ddd", 'aliases = ["c1"]')
    catalog = Catalog.from_toml(packaged, own)
    assert [it.id for it in catalog.entries] == ["aaa", "bbb", "ccc", "ddd"]
    origins = [catalog.origin(it) for it in catalog.entries]
    assert origins == ["packaged", "user", "packaged", "user"]
    replaced, given, left = (catalog.find(name) for name in ("bbb", "c1", "c2"))
    assert replaced is catalog.entries[1]
    assert replaced.file.repo == "o/r"
    assert (given, left) == (catalog.entries[3], catalog.entries[2])
    assert catalog.entries[2].aliases == ("c2",)


def test_an_alias_of_the_user_may_not_hide_a_packaged_id() -> None:
    with pytest.raises(RequestError, match='alias "aaa" is the id of a packaged model'):
        Catalog.from_toml(entry_toml("aaa"), entry_toml("zzz", 'aliases = ["aaa"]'))


def test_files_named_by_the_caller_are_read(tmp_path: Path) -> None:
    packaged, own = tmp_path / "models.toml", tmp_path / "own.toml"
    packaged.write_text(entry_toml("aaa"))
    own.write_text(entry_toml("bbb"))
    assert [it.id for it in Catalog.load(own, packaged).entries] == ["aaa", "bbb"]
    assert Catalog.load(own).find("tiny-chat") is not None
    assert Catalog.load(own).find("bbb") is not None
    assert Catalog.load(tmp_path / "none.toml").entries == Catalog.load().entries


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (entry_toml("a", "contxt = 1").encode(), "model 'a', key \"contxt\""),
        (entry_toml("a", file=HUB + "\ncommit = 'main'").encode(), 'key "file.commit"'),
        (entry_toml("a", file=HUB).replace("a.gguf", "../a.gguf").encode(), 'key "file": '),
        ((entry_toml("a") + entry_toml("a")).encode(), 'the name "a" is given twice'),
        (b"models = x", "line 1"),
        (b"\xff", "not text in UTF-8"),
        (b"#" * (4 << 20) + b"#", "larger than 4 MiB"),
    ],
)
def test_a_broken_file_of_a_person_is_named_with_entry_and_key(
    content: bytes, words: str, tmp_path: Path
) -> None:
    own = tmp_path / "catalog.toml"
    own.write_bytes(content)
    with pytest.raises(RequestError) as caught:
        Catalog.load(own)
    refusal = caught.value.refusal
    assert refusal.code is Code.CONFIG_INVALID
    assert refusal.message.startswith(f"catalogue {own}: ")
    assert words in refusal.message
    assert "\n" not in refusal.message


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot be read: Is a directory"):
        Catalog.load(tmp_path)
    with pytest.raises(RequestError, match="there is no such file"):
        Catalog.load(packaged=tmp_path / "none.toml")


def test_names_that_are_known_elsewhere_are_offered_too() -> None:
    refusal = Catalog.from_toml(entry_toml("aaa")).resolve("zzy", {"zzz"})
    assert isinstance(refusal, Refusal)
    assert refusal.details["nearest"] == ["zzz", "aaa"]


def test_finding_is_resolving_without_a_reason() -> None:
    catalog = Catalog.from_toml(
        entry_toml("big", 'aliases = ["b1"]', 'source = "hub"\nrepo = "org/repo"')
    )
    big = catalog.resolve("big")
    assert [catalog.find(name) for name in ("big", "b1", "hf:org/repo")] == [big] * 3
    assert [catalog.find(name) for name in ("gib", "hf:org/other", "hf:", "")] == [None] * 4


def test_an_installation_may_name_another_catalogue_and_add_to_it(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(ENTRY.format(id="alpha"))
    layout = Layout.from_env({"LLORCH_HOME": str(tmp_path), "LLORCH_CATALOG": str(own)})
    assert [entry.id for entry in Catalog.of(layout).entries] == ["alpha"]
    layout.config.mkdir()
    layout.user_catalog.write_text(ENTRY.format(id="beta"))
    assert [entry.id for entry in Catalog.of(layout).entries] == ["alpha", "beta"]
    own.unlink()
    with pytest.raises(LlorchError) as caught:
        Catalog.of(layout)
    assert caught.value.code is Code.CONFIG_INVALID
    assert str(own) in caught.value.refusal.message


ENTRY = """
[[models]]
id = "{id}"
trained_ctx = 1024

[models.file]
source = "hub"
repo = "o/r"
file = "m-Q4_K_M.gguf"
"""


def test_a_reference_is_found_among_very_many_entries() -> None:
    names = [f"m{number}" for number in range(400)]
    files = [f'source = "hub"\nrepo = "o{number}/r"' for number in range(400)]
    pairs = zip(names, files, strict=True)
    catalog = Catalog.from_toml("".join(entry_toml(name, file=file) for name, file in pairs))
    assert catalog.find("hf:o399/r") is catalog.find("m399")
    assert catalog.find("hf:o399/r::file=m399.gguf") is catalog.find("m399")
    assert catalog.find("hf:o400/r") is None
    refusal = catalog.resolve("n399")
    assert isinstance(refusal, Refusal)
    assert refusal.details["nearest"]


def test_of_very_many_names_those_that_look_alike_are_offered() -> None:
    names = [f"a-very-long-name-of-a-model-{number}" for number in range(1000)]
    refusal = Catalog.from_toml(entry_toml("tinyllama")).resolve("tinylama", names)
    assert isinstance(refusal, Refusal)
    nearest = refusal.details["nearest"]
    assert isinstance(nearest, list)
    assert nearest[0] == "tinyllama"


def test_a_file_of_the_host_in_the_catalogue_of_the_user_is_found_by_its_path() -> None:
    mine = entry_toml("mine", file='source = "file"').replace("mine.gguf", "/models/mine.gguf")
    catalog = Catalog.from_toml(entry_toml("a"), mine)
    assert catalog.find("file:/models/mine.gguf") is catalog.find("mine")


@pytest.mark.parametrize(
    ("toml", "reason"),
    [
        ("x = " + "9" * 5000, "a number that is far too long"),
        ("x = " + "[" * 100_000, "nested too deeply"),
        (entry_toml("a").replace('"a"', '"' + "a" * 100_000 + '"', 1), "String should match"),
        (entry_toml("a", '"x\\ny" = 1'), 'key "x\\ny"'),
        (entry_toml("a", file=HUB + "\nsize_bytes = -5"), "size_bytes is below 0"),
        (entry_toml("a").replace("ctx = 512", "ctx = 1025", 1), "ctx is above trained_ctx"),
        (entry_toml("a", file=HUB + '\nparts = [{file = "a.gguf"}]'), "same file is named twice"),
    ],
)
def test_whatever_stands_in_a_catalogue_is_told_in_one_short_line(toml: str, reason: str) -> None:
    with pytest.raises(LlorchError) as caught:
        Catalog.from_toml(toml)
    assert reason in caught.value.refusal.message
    assert caught.value.refusal.message.isprintable()
    assert len(caught.value.refusal.message) < 300
