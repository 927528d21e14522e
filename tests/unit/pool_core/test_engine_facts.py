import sys
from importlib import metadata
from pathlib import Path

import pytest

from pool_core.workers import engine_facts
from pool_core.workers.engine_facts import (
    EngineFacts,
    engine_build,
    find_libraries,
    read_engine_facts,
    unknown_names,
)

PLENTY = 1 << 20


def library(folder: Path, content: bytes, name: str = "engine.abi3.so") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def unknown(folder: Path, *names: str) -> frozenset[str]:
    return unknown_names(find_libraries([folder]), names)


@pytest.mark.parametrize(
    ("version", "build"),
    [
        ("2026.10.11549", "b11549"),
        ("2026.9.11300.post1", "b11300"),
        ("0.4.1", "0.4.1"),
        ("", ""),
    ],
)
def test_the_build_stands_in_the_packages_version(version: str, build: str) -> None:
    assert engine_build(version) == build


@pytest.mark.parametrize(
    "name",
    ["llama", "qwen2", "qwen3moe", "gemma3", "bert", "nomic-bert", "gpt-oss", "phi3", "bitnet"],
)
def test_the_installed_engine_knows_the_architectures_of_its_time(name: str) -> None:
    facts = read_engine_facts(name, "zzz9")
    assert facts == EngineFacts("b11549", frozenset({"zzz9"}))
    assert facts.knows(name)
    assert not facts.knows("zzz9")


@pytest.mark.parametrize(
    "name", ["zzz9", "qwe", "qwen99", "llama-99", "", "a b", "lla\0ma", "l" * 99]
)
def test_the_installed_engine_does_not_know_what_it_never_heard_of(name: str) -> None:
    facts = read_engine_facts(name)
    assert facts is not None
    assert not facts.knows(name)


def test_what_was_not_asked_for_counts_as_known() -> None:
    facts = read_engine_facts()
    assert facts is not None
    assert facts.knows("zzz9")


def test_the_engine_is_never_loaded() -> None:
    before = "xllamacpp" in sys.modules
    read_engine_facts("zzz9")
    assert ("xllamacpp" in sys.modules) == before


def test_a_name_must_end_where_the_string_ends(tmp_path: Path) -> None:
    library(tmp_path, b"\0llama\0qwen2moe\0gemma")
    assert unknown(tmp_path, "qwen2", "qwen2moe", "gemma") == {"qwen2", "gemma"}


def test_a_name_may_be_the_shared_tail_of_a_longer_string(tmp_path: Path) -> None:
    library(tmp_path, b"\0llama\0rwkv6qwen2\0")
    assert unknown(tmp_path, "qwen2", "rwkv6qwen2") == frozenset()


@pytest.mark.parametrize("cut", range(7))
def test_a_name_is_found_across_the_border_of_two_pieces(cut: int, tmp_path: Path) -> None:
    library(tmp_path, b"\0llama\0".ljust(PLENTY - cut, b"x") + b"gemma3\0" + b"y" * PLENTY)
    assert unknown(tmp_path, "gemma3") == frozenset()


def test_every_library_counts(tmp_path: Path) -> None:
    library(tmp_path, b"\0llama\0", "module.abi3.so")
    library(tmp_path, b"many more bytes\0gemma3\0", "libllama.dylib")
    assert unknown(tmp_path, "gemma3", "zzz9") == {"zzz9"}


def test_a_new_version_of_the_library_is_searched_again(tmp_path: Path) -> None:
    library(tmp_path, b"\0llama\0")
    assert unknown(tmp_path, "zzz9") == {"zzz9"}
    library(tmp_path, b"\0llama\0zzz9\0")
    assert unknown(tmp_path, "zzz9") == frozenset()


def test_a_library_that_hides_its_names_refuses_nobody(tmp_path: Path) -> None:
    library(tmp_path, b"packed and encrypted")
    assert unknown(tmp_path, "zzz9") == frozenset()


def test_without_a_library_nobody_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.so").mkdir()
    (tmp_path / "dangling.so").symlink_to(tmp_path / "nothing")
    assert find_libraries([tmp_path, tmp_path / "missing"]) == ()
    assert unknown(tmp_path, "zzz9") == frozenset()


def test_a_library_that_vanishes_refuses_nobody(tmp_path: Path) -> None:
    path = library(tmp_path, b"\0llama\0")
    found = find_libraries([tmp_path])
    path.unlink()
    assert unknown_names(found, ["zzz9"]) == frozenset()


def test_without_an_engine_there_are_no_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(engine_facts.metadata, "version", nothing)
    assert read_engine_facts("llama") is None


def test_an_engine_without_a_package_folder_refuses_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_facts, "_PACKAGE", "llorch_no_such_package")
    monkeypatch.setattr(engine_facts.metadata, "version", lambda _: "2026.10.11549")
    facts = read_engine_facts("zzz9")
    assert facts == EngineFacts("b11549")
