"""The grammar of model references."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.catalog.reference import Reference, ReferenceKind, parse
from orchestrator_core.errors import Code, Refusal

HUB = ReferenceKind.HUB


@pytest.mark.parametrize(
    "reference",
    [
        Reference(ReferenceKind.ALIAS, "tiny-chat", name="tiny-chat"),
        Reference(ReferenceKind.ALIAS, "gpt-4o:latest", name="gpt-4o:latest"),
        Reference(HUB, "hf:org/repo", repo="org/repo"),
        Reference(HUB, "hf:org/re.po@main", repo="org/re.po", revision="main"),
        Reference(HUB, "hf:org/repo:Q4_K_M", repo="org/repo", quant="Q4_K_M"),
        Reference(HUB, "hf:o/r@refs/pr/1:Q8_0", repo="o/r", revision="refs/pr/1", quant="Q8_0"),
        Reference(HUB, "hf:o/r::file=a/b.gguf", repo="o/r", file="a/b.gguf"),
        Reference(HUB, "hf:o/r@v1::file=b.gguf", repo="o/r", revision="v1", file="b.gguf"),
        Reference(ReferenceKind.FILE, "file:/m/a.gguf", file="/m/a.gguf"),
    ],
    ids=lambda it: it.text,
)
def test_reads_every_form(reference: Reference) -> None:
    assert parse(reference.text) == reference


@pytest.mark.parametrize(
    "text",
    [
        "", " tiny", "a\nb", "x" * 513, "hf:", "hf:repo", "hf:a/b/c", "hf:a/b@", "hf:a/b:",
        "hf:a/b::file=", "hf:a/b::file=../x", "hf:a/b::file=/x", "hf:../b", "file:", "file:rel",
        "file:/a/../b", "file:/a//b", "file:/", "file:/a\x00b",
    ],
)  # fmt: skip
def test_refuses_malformed_references_in_one_line(text: str) -> None:
    refusal = parse(text)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.INVALID_REQUEST
    assert "\n" not in refusal.message


@given(st.text(max_size=80) | st.from_regex(r"(hf|file):[a-z/:@.=]{0,30}"))
def test_never_fails_and_keeps_the_text(text: str) -> None:
    found = parse(text)
    assert isinstance(found, Refusal) or found.text == text
