import pytest

from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.errors import Code, Refusal
from pool_core.catalog.store.naming import stored_id
from pool_core.catalog.store.records import ModelRecord, RecordedFile

REPO = "acme/tiny-GGUF"
CATALOG = Catalog.from_toml(
    f"""
    [[models]]
    id = "tiny"
    aliases = ["t"]
    trained_ctx = 2048
    file = {{source = "hub", repo = "{REPO}", file = "tiny-Q2_K.gguf"}}
    """
)


def record(model_id: str, file: str, **fields: object) -> ModelRecord:
    files = (RecordedFile(file=file, size_bytes=1, sha256="a" * 64),)
    known: dict[str, object] = {"id": model_id, "source": "hub", "repo": REPO, "files": files}
    return ModelRecord.model_validate(known | fields)


Q4 = record(f"hf:{REPO}:Q4_K_M", "tiny-Q4_K_M.gguf")
Q8 = record(f"hf:{REPO}:Q8_0", "tiny-Q8_0.gguf", commit="c" * 40)
OLD = record(f"hf:{REPO}@v1:Q8_0", "tiny-Q8_0.gguf", commit="d" * 40)
MINE = record("mine", "mine.gguf", repo=None, source="file")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mine", "mine"),
        ("tiny-chat", "tiny-chat"),
        (Q8.id, Q8.id),
        (f"hf:{REPO}:q4_k_m", Q4.id),
        (f"hf:{REPO}::file=tiny-Q8_0.gguf", Q8.id),
        (f"hf:{REPO}", Q4.id),
        (f"hf:{REPO}@{'c' * 40}:Q8_0", Q8.id),
        (f"https://huggingface.co/{REPO}/blob/main/tiny-Q8_0.gguf", Q8.id),
    ],
)
def test_a_model_is_found_by_every_name_it_has(text: str, expected: str) -> None:
    assert stored_id(text, CATALOG, [MINE, Q8, Q4], ["tiny-chat"]) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("tiny", Code.MODEL_NOT_PULLED),
        ("t", Code.MODEL_NOT_PULLED),
        (f"hf:{REPO}:Q6_K", Code.MODEL_NOT_PULLED),
        ("hf:acme/other:Q8_0", Code.MODEL_NOT_PULLED),
        ("nothing", Code.MODEL_NOT_FOUND),
        ("file:/mine.gguf", Code.INVALID_REQUEST),
        ("../records", Code.MODEL_NOT_FOUND),
        ("hf:x", Code.INVALID_REQUEST),
    ],
)
def test_what_is_not_here_is_refused_with_the_next_step(text: str, code: Code) -> None:
    answer = stored_id(text, CATALOG, [MINE, Q4, Q8], ["tiny-chat"])
    assert isinstance(answer, Refusal)
    assert answer.code is code


def test_an_alias_leads_to_the_download_by_its_id() -> None:
    answer = stored_id("t", CATALOG, [], [])
    assert isinstance(answer, Refusal)
    assert "llorch-pool models download tiny" in answer.message


def test_the_only_model_of_a_repository_needs_no_quantization() -> None:
    assert stored_id(f"hf:{REPO}", CATALOG, [OLD], []) == OLD.id
