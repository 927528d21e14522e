import shutil
from pathlib import Path

import pytest

from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.contracts.pool import ModelFile
from orchestrator_core.errors import Code, Refusal
from pool_core.catalog.builtin import BuiltinModels

TINY = next(entry.file for entry in Catalog.load().entries if entry.id == "tiny-chat")


def refused(models: BuiltinModels, model: ModelFile) -> Code:
    answer = models.locate(model)
    assert isinstance(answer, Refusal)
    return answer.code


def test_both_models_come_with_the_package() -> None:
    reports = {report.id: report for report in BuiltinModels().reports()}
    assert set(reports) == {"tiny-chat", "tiny-story"}
    assert reports["tiny-chat"].size_bytes == TINY.size_bytes == 924_160


@pytest.mark.parametrize("model_id", ["tiny-chat", "tiny-story"])
def test_their_content_is_what_the_catalogue_says(model_id: str) -> None:
    entry = next(entry for entry in Catalog.load().entries if entry.id == model_id)
    path = BuiltinModels().locate(entry.file)
    assert isinstance(path, Path)
    assert path.name == entry.file.file


def test_other_sources_are_not_here() -> None:
    hub = TINY.model_copy(update={"source": "hub"})
    assert refused(BuiltinModels(), hub) is Code.MODEL_NOT_PULLED


@pytest.mark.parametrize("file", ["../tiny-chat.gguf", "/etc/passwd", "tiny-story.gguf"])
def test_a_file_that_is_not_the_models_own_is_unknown(file: str) -> None:
    assert refused(BuiltinModels(), TINY.model_copy(update={"file": file})) is Code.MODEL_NOT_FOUND


def test_another_version_is_not_here() -> None:
    other = TINY.model_copy(update={"sha256": "0" * 64})
    assert refused(BuiltinModels(), other) is Code.MODEL_NOT_PULLED


def test_a_damaged_file_is_never_served(tmp_path: Path) -> None:
    models = BuiltinModels(tmp_path)
    assert refused(models, TINY) is Code.MODEL_NOT_PULLED
    (tmp_path / TINY.file).write_bytes(b"GGUF")
    assert refused(models, TINY) is Code.DATA_CORRUPT


def test_the_content_is_read_once(tmp_path: Path) -> None:
    source = BuiltinModels().locate(TINY)
    assert isinstance(source, Path)
    shutil.copy(source, tmp_path / TINY.file)
    models = BuiltinModels(tmp_path)
    assert models.locate(TINY) == tmp_path / TINY.file
    (tmp_path / TINY.file).write_bytes(b"changed afterwards")
    assert models.locate(TINY) == tmp_path / TINY.file
