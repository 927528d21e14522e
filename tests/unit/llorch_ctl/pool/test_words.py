"""Which words of a command line are ours, and that all others reach the host untouched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llorch_ctl.commands.pool.words import Words, move_leading, read_words
from llorch_ctl.hosts.plan import Via
from orchestrator_core.errors import Refusal


def read(line: str, *, foreign_via: bool = False) -> Words:
    found = read_words(line.split(), foreign_via=foreign_via)
    assert isinstance(found, Words)
    return found


@pytest.mark.parametrize(
    "line",
    [
        "--host mac spawn metal --model m",
        "spawn --host mac metal --model m",
        "spawn metal --model m --host mac",
        "spawn metal --host=mac --model m",
        "spawn metal --host mac --model m --host mac",
    ],
)
def test_the_host_may_stand_anywhere(line: str) -> None:
    words = read(line)
    assert words == Words("mac", None, verbose=False, rest=("spawn", "metal", "--model", "m"))


def test_way_and_voice_are_ours_too() -> None:
    assert read("list -v --via ssh --host mac") == Words(
        "mac", Via.SSH, verbose=True, rest=("list",)
    )
    assert read("list --verbose --via=http") == Words(None, Via.HTTP, verbose=True, rest=("list",))


def test_behind_two_dashes_nothing_is_ours() -> None:
    assert read("x --host mac -- --host b -v").rest == ("x", "--", "--host", "b", "-v")


def test_help_goes_to_the_host() -> None:
    assert read("spawn --help --host mac").rest == ("spawn", "--help")


def test_a_verb_with_a_via_of_its_own_keeps_it() -> None:
    words = read("download m --via hf --host mac --via ssh", foreign_via=True)
    assert (words.via, words.rest) == (Via.SSH, ("download", "m", "--via", "hf"))


@pytest.mark.parametrize(
    "line",
    ["--host", "--host=", "--via", "--via pigeon", "--host a --host b", "--via ssh --via http"],
)
def test_what_cannot_be_meant_is_refused(line: str) -> None:
    found = read_words(line.split())
    assert isinstance(found, Refusal)
    assert found.message.isprintable()


@pytest.mark.parametrize(
    ("line", "moved"),
    [
        ("--host mac worker list", "worker --host mac list"),
        ("-v --via=ssh --host mac status", "status -v --via=ssh --host mac"),
        ("worker list --host mac", "worker list --host mac"),
        ("--host mac", "--host mac"),
        ("--help", "--help"),
    ],
)
def test_what_stands_before_the_verb_is_moved_behind_it(line: str, moved: str) -> None:
    assert move_leading(line.split()) == moved.split()


OTHERS = st.text(max_size=10).filter(
    lambda word: (
        word not in ("-v", "--verbose", "--") and word.partition("=")[0] not in ("--host", "--via")
    )
)


@given(st.lists(OTHERS, max_size=8), st.integers(0, 8))
def test_every_other_word_passes_as_it_is(words: list[str], place: int) -> None:
    found = read_words([*words[:place], "--host", "mac", *words[place:]])
    assert found == Words("mac", None, verbose=False, rest=tuple(words))
