"""What --host auto reads from a command line."""

import pytest

from llorch_ctl.hosts.wishes import BACKENDS, Wish, read_wish
from orchestrator_core.contracts.pool import Backend
from orchestrator_core.errors import Refusal


@pytest.mark.parametrize(
    "words",
    [
        "spawn metal --model tinyllama",
        "spawn --model tinyllama metal",
        "spawn --model=tinyllama metal --ctx 4096",
        "spawn --format json --gpu 1 metal --model tinyllama -q",
    ],
)
def test_a_spawn_names_its_backend_and_its_model(words: str) -> None:
    assert read_wish("worker", words.split()) == Wish("tinyllama", ("metal",), brings_model=False)


@pytest.mark.parametrize("words", ["download tinyllama", "download --via hf --force tinyllama x"])
def test_a_download_goes_where_any_backend_is(words: str) -> None:
    assert read_wish("models", words.split()) == Wish("tinyllama", BACKENDS, brings_model=True)


def test_the_model_may_be_called_like_a_backend() -> None:
    assert read_wish("worker", ["spawn", "--model", "cpu", "cuda"]) == Wish(
        "cpu", ("cuda",), brings_model=False
    )


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("worker", "list"),
        ("worker", ""),
        ("git", "pull"),
        ("worker", "spawn --model x"),
        ("worker", "spawn cpu"),
        ("worker", "spawn pizza --model x"),
        ("worker", "spawn cpu --model"),
        ("models", "download"),
    ],
)
def test_nothing_else_can_be_left_to_llorch(verb: str, words: str) -> None:
    assert isinstance(read_wish(verb, words.split()), Refusal)


def test_every_backend_is_known() -> None:
    assert sorted(BACKENDS) == sorted(backend.value for backend in Backend)
