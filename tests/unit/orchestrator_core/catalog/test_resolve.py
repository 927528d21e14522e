"""The catalogue: what is packaged, what is refused, how names are found."""

import pytest

from orchestrator_core.catalog.entries import CatalogEntry, spec_for
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.contracts.pool import Backend
from orchestrator_core.errors import Code, DataError, Refusal


def entry_toml(identifier: str, extra: str = "", file: str = 'source = "builtin"') -> str:
    return (
        f'[[models]]\nid = "{identifier}"\nname = "N"\ndescription = "D"\nctx = 512\nparallel = 2\n'
        f'trained_ctx = 1024\n{extra}\n[models.file]\n{file}\nfile = "{identifier}.gguf"\n'
    )


def entry(identifier: str) -> CatalogEntry:
    found = Catalog.from_toml(entry_toml(identifier)).resolve(identifier)
    assert isinstance(found, CatalogEntry)
    return found


def test_packaged_catalogue_holds_the_two_built_in_models() -> None:
    catalog = Catalog.load()
    assert [entry.id for entry in catalog.entries] == ["tiny-chat", "tiny-story"]
    for model in catalog.entries:
        assert (model.ctx, model.parallel, model.trained_ctx) == (1024, 1, 1024)
        assert model.file.source == "builtin"
        assert model.file.model_id == model.id
        assert model.file.sha256
        assert model.file.size_bytes


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
    hub = 'source = "hub"\nrepo = "o/r"\ncommit = "c0ffee"'
    catalog = Catalog.from_toml(entry_toml("m", file=hub))
    found = catalog.resolve("m")
    assert catalog.resolve("hf:o/r") is found
    assert catalog.resolve("hf:o/r@c0ffee::file=m.gguf") is found
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


def test_spec_takes_what_is_not_given_from_the_entry() -> None:
    spec = spec_for(entry("m"))
    assert (spec.ctx, spec.parallel, spec.backend) == (512, 2, Backend.CPU)
    assert spec.model.model_id == "m"
    other = spec_for(entry("m"), ctx=128, parallel=1, threads=3, device_ids=("cpu",))
    assert (other.ctx, other.parallel, other.threads, other.device_ids) == (128, 1, 3, ("cpu",))


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
