"""The grammar of model references."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.catalog.reference import Reference, ReferenceKind, canonical_id, parse
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
        "file:/a/../b", "file:/a//b", "file:/", "file:/a\x00b", "hf:a/b::file=-x", "hf:a/b::file=a\\b",
        "hf:a/b@v1/../../x", "hf:a/b@x..y", "https://example.com/m.gguf", "http://example.com/m.gguf",
        "https://huggingface.co", "https://huggingface.co/", "https://huggingface.co/org",
        "https://huggingface.co/o/r/blob/main/..%2f..%2fx", "https://huggingface.co/o/r/blob/main/",
        "https://huggingface.co/o/r/discussions/1", "hf.co/o/r/x", "hf.co/o/r:", "hf.co/../r",
    ],
)  # fmt: skip
def test_refuses_malformed_references_in_one_line(text: str) -> None:
    refusal = parse(text)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.INVALID_REQUEST
    assert "\n" not in refusal.message


@pytest.mark.parametrize(
    ("pasted", "reference"),
    [
        ("hf.co/org/repo:Q4_K_M", "hf:org/repo:Q4_K_M"),
        ("hf.co/org/repo", "hf:org/repo"),
        ("huggingface.co/org/repo", "hf:org/repo"),
        ("https://huggingface.co/org/repo", "hf:org/repo"),
        ("https://huggingface.co/org/repo/", "hf:org/repo"),
        ("https://www.huggingface.co/org/repo?library=x#files", "hf:org/repo"),
        ("HTTPS://HuggingFace.co/Org/Repo", "hf:Org/Repo"),
        ("https://huggingface.co/org/repo/tree/main", "hf:org/repo"),
        ("https://huggingface.co/org/repo/tree/main/Q8_0", "hf:org/repo"),
        ("https://huggingface.co/org/repo/tree/v1.0", "hf:org/repo@v1.0"),
        ("https://huggingface.co/org/repo/blob/main/m.gguf", "hf:org/repo::file=m.gguf"),
        (
            "https://huggingface.co/org/repo/resolve/main/a/m-Q8_0.gguf?download=true",
            "hf:org/repo::file=a/m-Q8_0.gguf",
        ),
        (
            "https://huggingface.co/org/repo/resolve/refs%2Fpr%2F1/m.gguf",
            "hf:org/repo@refs/pr/1::file=m.gguf",
        ),
        (f"https://hf.co/o/r/raw/{'c' * 40}/m.gguf", f"hf:o/r@{'c' * 40}::file=m.gguf"),
    ],
)
def test_an_address_that_was_copied_is_the_reference_it_stands_for(
    pasted: str, reference: str
) -> None:
    assert parse(pasted) == parse(reference)
    assert isinstance(parse(pasted), Reference)


def test_a_quantization_has_one_spelling_after_reading() -> None:
    found = parse("hf:o/r:q4_k_m")
    assert isinstance(found, Reference)
    assert found.quant == "Q4_K_M"


@pytest.mark.parametrize(
    ("text", "quant", "file", "expected"),
    [
        ("hf:o/r", "Q8_0", "m.gguf", "hf:o/r:Q8_0"),
        ("hf:o/r:q8_0", None, None, "hf:o/r:Q8_0"),
        ("hf:o/r", None, "a/m.gguf", "hf:o/r::file=a/m.gguf"),
        ("hf:o/r::file=m-Q8_0.gguf", "q8_0", None, "hf:o/r:Q8_0"),
        ("hf:o/r::file=m.gguf", None, None, "hf:o/r::file=m.gguf"),
        ("hf:o/r@main:Q8_0", None, None, "hf:o/r:Q8_0"),
        ("hf:o/r@v2:Q8_0", None, None, "hf:o/r@v2:Q8_0"),
        ("https://huggingface.co/o/r/blob/main/m.gguf", None, None, "hf:o/r::file=m.gguf"),
        ("hf:o/r", None, None, "hf:o/r"),
    ],
)
def test_a_model_outside_the_catalogue_has_one_id(
    text: str, quant: str | None, file: str | None, expected: str
) -> None:
    reference = parse(text)
    assert isinstance(reference, Reference)
    model_id = canonical_id(reference, quant=quant, file=file)
    assert model_id == expected
    again = parse(model_id)
    assert isinstance(again, Reference)
    assert canonical_id(again) == model_id


@given(
    st.text(max_size=80)
    | st.from_regex(r"(hf|file):[a-z/:@.=]{0,30}")
    | st.from_regex(r"(https://)?(hf\.co|huggingface\.co)/[a-z/:@.=%?]{0,30}", fullmatch=True)
)
def test_never_fails_and_what_it_returns_reads_the_same_again(text: str) -> None:
    found = parse(text)
    if isinstance(found, Refusal):
        assert found.message.isprintable()
        return
    assert parse(found.text) == found
    if found.kind is not HUB:
        assert found.text == text
