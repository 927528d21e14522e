import os
from pathlib import Path

import pytest

from llorch_worker.engine.facts import FileError, read_keys, read_model
from orchestrator_core.gguf.facts import ModelFacts
from support.gguf_files import write_gguf
from support.worker_process import MODELS


def why_not(path: Path) -> str:
    with pytest.raises(FileError) as refused:
        read_model(path)
    text = str(refused.value)
    assert text.startswith(f"--model {path}: ")
    assert "\n" not in text
    return text


def test_reads_the_facts_of_a_real_model() -> None:
    facts = read_model(MODELS / "tiny-chat.gguf")
    assert isinstance(facts, ModelFacts)
    assert (facts.architecture, facts.trained_ctx, facts.blocks) == ("llama", 1024, 4)


def test_reads_on_where_a_vocabulary_is_long(tmp_path: Path) -> None:
    words = [f"a word with the number {number}" for number in range(20_000)]
    path = write_gguf(tmp_path / "m.gguf", values={"tokenizer.ggml.tokens": words})
    assert read_model(path).vocab_size == 20_000


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.touch()
    assert "the file is empty" in why_not(path)


def test_another_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"PK\3\4 this is an archive")
    assert "it is not a GGUF file" in why_not(path)


def test_a_file_cut_inside_its_header_is_incomplete(tmp_path: Path) -> None:
    assert "it is incomplete" in why_not(write_gguf(tmp_path / "m.gguf", truncate_to=300))


def test_a_file_cut_inside_its_tensors_is_incomplete(tmp_path: Path) -> None:
    size = write_gguf(tmp_path / "m.gguf").stat().st_size
    path = write_gguf(tmp_path / "m.gguf", truncate_to=size - 1000)
    assert "the file is incomplete" in why_not(path)


def test_a_model_without_an_architecture_is_named(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", values={"general.architecture": None})
    assert "names no model architecture" in why_not(path)


@pytest.mark.parametrize("blocks", [0, 2**31])
def test_a_forged_number_of_layers_is_damage(blocks: int, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", values={"llama.block_count": blocks})
    assert f"{blocks} as llama.block_count: it is damaged" in why_not(path)


def test_a_pipe_is_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    os.mkfifo(path)
    assert "not a regular file" in why_not(path)


def test_an_empty_file_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.gguf"
    path.touch()

    def opened(where: Path, mode: str) -> None:
        raise AssertionError(f"{where} was opened for {mode}")

    monkeypatch.setattr(Path, "open", opened)
    assert "the file is empty" in why_not(path)


def test_a_key_file_longer_than_it_says_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    path.write_text("k" * 65_537, "utf-8")
    path.chmod(0o600)

    def told(where: Path) -> os.stat_result:
        assert where == path
        return os.stat_result((0o100600, *(0,) * 9))

    monkeypatch.setattr(Path, "stat", told)
    with pytest.raises(FileError, match="too large"):
        read_keys(path)
