"""Only tokens that spell a text, and nothing else, are put behind a prompt as that text."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestratord.serving.attempts.spelling import ANCHOR, Token, read_tokens, spelling_of


def tokens(*pieces: str | bytes) -> list[Token]:
    return [
        Token(number, piece.encode() if isinstance(piece, str) else piece)
        for number, piece in enumerate(pieces)
    ]


@pytest.mark.parametrize(
    ("text", "pieces", "found"),
    [
        ("Hello you", ("Hell", "o", " you"), (0, 1, 2)),
        # The tokeniser has put a space in front.
        (" the", (" ", " the"), (1,)),
        ("the", (" the",), ()),
        ("the", (" ", ANCHOR, "the"), (2,)),
        ("ü", (" ", ANCHOR, b"\xc3", b"\xbc"), (2, 3)),
        # A token that holds the end of what is in front cannot be cut.
        ("\nthe", (" ", "\n\n", "the"), ()),
        ("the", ("a",), ()),
        ("the", (), ()),
        ("the", ("the", "re"), ()),
    ],
)
def test_the_last_tokens_that_spell_the_text_are_taken(
    text: str, pieces: tuple[str | bytes, ...], found: tuple[int, ...]
) -> None:
    assert spelling_of(text, tokens(*pieces)) == found


@given(st.lists(st.text(min_size=1), min_size=1), st.lists(st.text()))
def test_what_is_in_front_never_stays(words: list[str], in_front: list[str]) -> None:
    found = spelling_of("".join(words), tokens(*in_front, *words))
    spelt = b"".join(tokens(*in_front, *words)[number].spells for number in found)
    assert spelt == "".join(words).encode()


def test_an_answer_with_pieces_is_read() -> None:
    told = {"tokens": [{"id": 5, "piece": " a"}, {"id": 0, "piece": [195]}, {"id": 1, "piece": ""}]}
    assert read_tokens(told) == ((5, b" a"), (0, b"\xc3"), (1, b""))


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"tokens": None},
        {"tokens": [1, 2]},
        {"tokens": [{"id": 1}]},
        {"tokens": [{"id": "1", "piece": "a"}]},
        {"tokens": [{"id": True, "piece": "a"}]},
        {"tokens": [{"id": -1, "piece": "a"}]},
        {"tokens": [{"id": 1, "piece": [256]}]},
        {"tokens": [{"id": 1, "piece": ["a"]}]},
        {"tokens": [{"id": 1, "piece": "a"}, 2]},
    ],
)
def test_what_makes_no_sense_is_no_tokens(bad: dict[str, Any]) -> None:
    assert read_tokens(bad) == ()
