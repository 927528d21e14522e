"""What an operator may write into an [[external]] table, and what is refused by its name."""

from pathlib import Path

import pytest

from orchestrator_core.contracts.tasks import TaskKind
from orchestrator_core.errors import Code, Refusal
from pool_core.externals.reading import read_externals
from pool_core.externals.settings import ExternalEngine

HEAD = '[[external]]\nname = "vllm"\nurl = "http://127.0.0.1:8000"\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "pool.toml"


def read(config: Path, text: str) -> tuple[ExternalEngine, ...]:
    config.write_text(text, "utf-8")
    found = read_externals(config)
    assert not isinstance(found, Refusal), found.message
    return found


def refused(config: Path, text: str) -> str:
    config.write_text(text, "utf-8")
    found = read_externals(config)
    assert isinstance(found, Refusal)
    assert found.code is Code.CONFIG_INVALID
    assert "\n" not in found.message
    return found.message


def test_a_name_and_an_address_are_enough(config: Path) -> None:
    (engine,) = read(config, HEAD)
    assert (engine.name, engine.url) == ("vllm", "http://127.0.0.1:8000/v1")
    assert (engine.models, engine.max_concurrency, engine.key_file) == ({}, 4, None)
    assert engine.task is TaskKind.GENERATE


def test_everything_can_be_said(config: Path) -> None:
    text = (
        HEAD + 'key_file = "/etc/k"\nmax_concurrency = 9\ntask = "embed"\n'
        '[external.models]\nsmall = "org/Small"\n"org/Big" = "org/Big"\n'
        '[[external]]\nname = "ollama"\nurl = "http://localhost:11434"\nmodels = ["a:7b", "b"]\n'
    )
    first, second = read(config, text)
    assert first.models == {"small": "org/Small", "org/Big": "org/Big"}
    assert (first.key_file, first.max_concurrency, first.task) == (
        Path("/etc/k"), 9, TaskKind.EMBED,
    )  # fmt: skip
    assert second.models == {"a:7b": "a:7b", "b": "b"}


def test_a_file_that_is_not_there_names_no_engine(config: Path) -> None:
    assert read_externals(config) == ()


def test_the_rest_of_the_file_is_the_daemons_affair(config: Path) -> None:
    assert len(read(config, 'pool_id = 7\nnonsense = "x"\n' + HEAD)) == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("colour = 1", 'unknown key "external.0.colour"'),
        ('models = ["a", "a"]', '"a" is named twice'),
        ('models = ["hf:a/b"]', "looks like a reference"),
        ('models = ["a\\u001b[31mb"]', "printable characters"),
        ("models = [1]", "a list of names"),
        ('models = "a"', "external.0.models"),
        ('models = {a = " "}', "names nothing"),
        ("max_concurrency = 0", "external.0.max_concurrency"),
        ("max_concurrency = 257", "external.0.max_concurrency"),
        ('task = "sing"', "external.0.task"),
        ('key_file = "key"', "absolute path"),
        (f"models = {[f'm{n}' for n in range(33)]}", "at most 32"),
        (HEAD, 'two engines are named "vllm"'),
        ('[[external]]\nname = "Ü"\nurl = "http://a:1"', "external.1.name"),
        ('[[external]]\nname = "b"\nurl = "http://me:hush@a:1"', "key_file"),
        ('[[external]]\nname = "b"\nurl = "http://169.254.169.254"', "no engine can be"),
        ('[[external]]\nname = "b"', '"external.1.url" is missing'),
        ("[[external]\n", "pool.toml"),
    ],
)
def test_what_cannot_work_is_refused_by_its_key(config: Path, more: str, words: str) -> None:
    message = refused(config, HEAD + more + "\n")
    assert words in message
    assert "hush" not in message
    assert message.isprintable()


@pytest.mark.parametrize("slip", ['[external]\nname = "a"\n', "external = 3\n"])
def test_a_table_with_too_few_brackets_is_told_how_many_it_needs(config: Path, slip: str) -> None:
    assert "write [[external]]" in refused(config, slip)
