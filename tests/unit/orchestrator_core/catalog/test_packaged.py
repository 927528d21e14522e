"""The models that the suite knows from the start."""

import pytest

from orchestrator_core.catalog.entries import CatalogEntry, runnable
from orchestrator_core.catalog.gguf_names import is_mmproj, is_model, quant_of, safe_relative
from orchestrator_core.catalog.reference import ReferenceKind, parse
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.errors import Refusal

CATALOG = Catalog.load()
ENTRIES = CATALOG.entries
FIRST_TEN = (
    "tinyllama", "qwen", "qwen-fp16", "phi3", "llama3", "llama32", "llama2", "mistral", "gpt2",
    "granite",
)  # fmt: skip
UNCONFIRMED = {"llama3", "llama2"}


def test_the_built_in_models_and_the_first_ten_are_known() -> None:
    ids = [entry.id for entry in ENTRIES]
    assert ids[:12] == ["tiny-chat", "tiny-story", *FIRST_TEN]
    assert len(ids) >= 24
    assert {CATALOG.origin(entry) for entry in ENTRIES} == {"packaged"}


def test_the_built_in_models_are_as_they_were() -> None:
    for entry in ENTRIES[:2]:
        assert (entry.ctx, entry.parallel, entry.trained_ctx) == (1024, 1, 1024)
        assert entry.file.source == "builtin"
        assert entry.file.model_id == entry.id
        assert entry.file.sha256
        assert entry.file.size_bytes


@pytest.mark.parametrize("entry", ENTRIES[2:], ids=lambda it: it.id)
def test_an_entry_of_the_hub_names_a_file_that_can_be_run(entry: CatalogEntry) -> None:
    file = entry.file
    assert file.source == "hub"
    assert runnable(entry) is None
    assert is_model(file.file)
    assert safe_relative(file.file) == file.file
    assert entry.quant == quant_of(file.file) is not None
    assert entry.license
    assert entry.description
    assert 64 <= entry.ctx <= entry.trained_ctx
    if file.mmproj is not None:
        assert is_mmproj(file.mmproj.file)
        assert file.mmproj.sha256
    reference = parse(f"hf:{file.repo}:{entry.quant}")
    assert not isinstance(reference, Refusal)
    assert reference.kind is ReferenceKind.HUB
    assert CATALOG.find(reference.text) is entry


def test_only_what_could_not_be_confirmed_has_no_hash() -> None:
    unknown = {entry.id for entry in ENTRIES if entry.file.sha256 is None}
    assert unknown == UNCONFIRMED
    assert {entry.id for entry in ENTRIES if entry.total_bytes is None} == UNCONFIRMED
    hashes = [entry.file.sha256 for entry in ENTRIES if entry.file.sha256]
    assert len(set(hashes)) == len(hashes)


def test_two_files_of_one_repository_are_two_models() -> None:
    small, whole = CATALOG.find("qwen"), CATALOG.find("qwen-fp16")
    assert small is not None
    assert whole is not None
    assert small.file.repo == whole.file.repo
    assert small.file.file != whole.file.file
    assert (small.file.model_id, whole.file.model_id) == ("qwen", "qwen-fp16")


# What the publishers of the models say: billions of parameters as they lie in the file (a table of
# tokens that is there twice counts twice), and the length of the texts they were trained on.
PUBLISHED = {
    "tinyllama": (1.10, 2048),
    "qwen": (0.63, 32_768),
    "qwen-fp16": (0.63, 32_768),
    "phi3": (3.82, 4096),
    "llama3": (8.03, 8192),
    "llama32": (3.21, 131_072),
    "llama2": (6.74, 4096),
    "mistral": (7.24, 32_768),
    "gpt2": (0.163, 1024),
    "granite": (3.40, 131_072),
    "qwen3-0.6b": (0.60, 40_960),
    "qwen3-1.7b": (1.72, 40_960),
    "qwen3-4b": (4.02, 40_960),
    "qwen3-8b": (8.19, 40_960),
    "qwen3-30b-a3b": (30.5, 40_960),
    "gemma3-1b": (1.00, 32_768),
    "gemma3-4b": (3.88, 131_072),
    "gemma3-12b": (11.8, 131_072),
    "llama3.2-1b": (1.24, 131_072),
    "llama3.1-8b": (8.03, 131_072),
    "phi4-mini": (3.84, 131_072),
    "smollm2": (1.71, 8192),
    "smollm3": (3.08, 65_536),
    "gpt-oss-20b": (20.9, 131_072),
    "granite4-tiny": (6.94, 131_072),
    "deepseek-r1-1.5b": (1.78, 131_072),
    "nomic-embed": (0.137, 2048),
}
# Bits for each parameter; a small model has more of them, for its tables are kept finer.
BITS = {"Q4_K_M": (4.7, 6.5), "Q4": (4.4, 5.2), "Q8_0": (8.4, 8.8), "FP16": (15.9, 16.2)}
BITS |= {"MXFP4": (4.2, 5.0)}


def test_everything_of_the_hub_is_held_against_what_was_published() -> None:
    assert list(PUBLISHED) == [entry.id for entry in ENTRIES[2:]]


@pytest.mark.parametrize("entry", ENTRIES[2:], ids=lambda it: it.id)
def test_a_size_suits_the_parameters_and_the_quantization(entry: CatalogEntry) -> None:
    billions, trained_ctx = PUBLISHED[entry.id]
    assert entry.trained_ctx == trained_ctx
    if entry.file.size_bytes is not None:
        low, high = BITS[str(entry.quant)]
        assert low <= entry.file.size_bytes * 8 / (billions * 1e9) <= high
    if entry.file.mmproj is not None:
        assert entry.file.mmproj.size_bytes is not None
        # The part that reads the images of this family has 0.42 billion parameters of 16 bits.
        assert 0.84e9 < entry.file.mmproj.size_bytes < 0.86e9


def test_no_name_leads_to_two_models() -> None:
    names = [name for entry in ENTRIES for name in (entry.id, *entry.aliases)]
    assert len(set(names)) == len(names)
    files = [(entry.file.repo, entry.file.file) for entry in ENTRIES]
    assert len(set(files)) == len(files)
