"""Which fetched model a text means."""

import pytest

from orchestrator_core.catalog.held import meant_by
from orchestrator_core.contracts.pool import ModelReport

COMMIT = "c" * 40


def report(model_id: str, file: str, repo: str | None = "o/r") -> ModelReport:
    source = "hub" if repo else "file"
    commit = COMMIT if repo else None
    return ModelReport(
        id=model_id, file=file, size_bytes=1, source=source, repo=repo, commit=commit
    )


HELD = [
    report("hf:o/r:Q4_K_M", "m-Q4_K_M.gguf"),
    report("hf:o/r:FP16", "m-fp16.gguf"),
    report("hf:o/r::file=a.gguf", "a.gguf"),
    report("hf:o/single:Q8_0", "s-Q8_0.gguf", repo="o/single"),
    report("mine", "mine.gguf", repo=None),
]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("mine", ["mine"]),
        ("hf:o/r:Q4_K_M", ["hf:o/r:Q4_K_M"]),
        ("hf:o/r:q4_k_m", ["hf:o/r:Q4_K_M"]),
        ("hf:o/r:F16", ["hf:o/r:FP16"]),
        ("hf:o/r::file=a.gguf", ["hf:o/r::file=a.gguf"]),
        ("hf:o/r::file=m-fp16.gguf", ["hf:o/r:FP16"]),
        ("https://huggingface.co/o/r/blob/main/m-fp16.gguf", ["hf:o/r:FP16"]),
        ("hf:o/single", ["hf:o/single:Q8_0"]),
        (f"hf:o/single@{COMMIT}", ["hf:o/single:Q8_0"]),
        ("hf:o/single@main", ["hf:o/single:Q8_0"]),
        ("hf:o/single@v2", []),
        ("hf:o/single:Q4_0", []),
        ("hf:o/r", ["hf:o/r:Q4_K_M", "hf:o/r:FP16", "hf:o/r::file=a.gguf"]),
        ("hf:o/other", []),
        ("yours", []),
        ("hf:broken", []),
        ("file:/mine.gguf", []),
    ],
)
def test_a_text_means_these_held_models(text: str, ids: list[str]) -> None:
    assert [it.id for it in meant_by(text, HELD)] == ids
