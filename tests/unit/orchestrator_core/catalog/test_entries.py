"""What an entry of the catalogue may say, and what it need not."""

import pytest
from pydantic import ValidationError

from orchestrator_core.catalog.entries import CatalogEntry, runnable
from orchestrator_core.errors import Code

FILE: dict[str, object] = {"source": "hub", "repo": "org/model", "file": "model-Q8_0.gguf"}


def entry(file: dict[str, object] | None = None, **said: object) -> CatalogEntry:
    tree = {"id": "m", "trained_ctx": 4096, "file": FILE | (file or {})} | said
    return CatalogEntry.model_validate(tree)


def test_little_has_to_be_said() -> None:
    short = entry()
    assert (short.name, short.description, short.aliases) == ("m", "", ())
    assert (short.ctx, short.parallel, short.quant) == (4096, 2, "Q8_0")
    assert short.file.model_id == "m"
    assert entry(trained_ctx=131_072).ctx == 8192
    assert entry(quant="MINE").quant == "MINE"


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ({"file": "../x.gguf"}, "empty, . or .. part"),
        ({"parts": [{"file": "/etc/passwd"}]}, "empty, . or .. part"),
        ({"mmproj": {"file": "a\\b"}}, "parted by slashes"),
        ({"repo": None}, 'repo goes with source = "hub"'),
        ({"source": "builtin"}, 'repo goes with source = "hub"'),
        ({"repo": "nothing"}, "'nothing' is not ORG/REPO"),
        ({"repo": "a/b:Q8_0"}, "is not ORG/REPO"),
        ({"source": "external"}, "named in pool.toml"),
        ({"source": "file", "file": "relative.gguf"}, "file:/ABSOLUTE/PATH"),
        ({"model_id": "other"}, "leave it out"),
        ({"commit": "main"}, "pattern"),
        ({"sha256": "A" * 64}, "pattern"),
        ({"size_byte": 1}, "Extra inputs"),
    ],
)
def test_a_file_that_leads_elsewhere_is_refused(file: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words.replace("(", r"\(")):
        entry(file)


def test_the_size_of_a_model_is_that_of_all_its_files() -> None:
    parts = [{"file": "b.gguf", "size_bytes": 20}]
    whole = entry({"size_bytes": 10, "parts": parts, "mmproj": {"file": "c", "size_bytes": 5}})
    assert whole.total_bytes == 35
    assert entry({"size_bytes": 10, "parts": [{"file": "b.gguf"}]}).total_bytes is None
    assert entry().total_bytes is None


def test_an_entry_that_requires_conversion_is_refused_with_the_command() -> None:
    assert runnable(entry()) is None
    refusal = runnable(entry({"file": "model-f16.gguf"}, requires_conversion=True))
    assert refusal is not None
    assert refusal.code is Code.CONVERSION_REQUIRED
    assert refusal.details["command"] == (
        "hf download org/model --local-dir model"
        " && python convert_hf_to_gguf.py model --outfile model-f16.gguf"
        " && llorch-pool models import model-f16.gguf --id m"
    )
    assert str(refusal.details["command"]) in refusal.message
    assert refusal.message.isprintable()


def test_a_command_of_its_own_is_told_instead() -> None:
    refusal = runnable(entry(requires_conversion=True, conversion="make model"))
    assert refusal is not None
    assert refusal.message.endswith(": make model")


@pytest.mark.parametrize(
    ("file", "said", "words"),
    [
        ({}, {"conversion": "make model"}, "goes with requires_conversion"),
        ({"source": "builtin", "repo": None}, {"requires_conversion": True}, "only a model of the hub"),
    ],
)  # fmt: skip
def test_a_conversion_that_makes_no_sense_is_refused(
    file: dict[str, object], said: dict[str, object], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        entry(file, **said)
