"""Reads the tokens that a worker makes of a text, and proves that they spell it and nothing else.

Some tokenisers put a space in front of whatever they are given. What goes on behind a kept
beginning must not have one more space in it, so only tokens that are the text itself are used. Pure.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, cast

from orchestratord.upstream.loose import Json, as_object

__all__ = ["ANCHOR", "Token", "read_tokens", "spelling_of"]

# Put in front of a text it takes the added space upon itself, and no tokeniser that adds one joins
# a line's end with what follows.
ANCHOR: Final = "\n"


class Token(NamedTuple):
    """A token and the bytes that it stands for."""

    number: int
    spells: bytes


def read_tokens(told: Json) -> tuple[Token, ...]:
    """Read the answer to /tokenize with pieces; empty when it makes no sense."""
    listed = told.get("tokens")
    found = cast("list[object]", listed) if isinstance(listed, list) else []
    tokens = [_read(item) for item in found]
    whole = [token for token in tokens if token is not None]
    return tuple(whole) if len(whole) == len(tokens) else ()


def spelling_of(text: str, tokens: Sequence[Token]) -> tuple[int, ...]:
    """The last of these tokens, as many as spell the text; empty when none do."""
    wanted = text.encode()
    whole = b"".join([token.spells for token in tokens])
    if not whole.endswith(wanted):
        return ()
    in_front, first = len(whole) - len(wanted), 0
    while in_front > 0:
        in_front -= len(tokens[first].spells)
        first += 1
    return tuple([token.number for token in tokens[first:]]) if in_front == 0 else ()


def _read(item: object) -> Token | None:
    told = as_object(item) or {}
    number, spells = told.get("id"), _bytes_of(told.get("piece"))
    if type(number) is not int or number < 0 or spells is None:
        return None
    return Token(number, spells)


def _bytes_of(piece: object) -> bytes | None:
    """A piece is text, or the numbers of its bytes where they are a part of a character."""
    if isinstance(piece, str):
        return piece.encode()
    if not isinstance(piece, list):
        return None
    numbers = cast("list[object]", piece)
    found = [number for number in numbers if isinstance(number, int) and 0 <= number <= 255]
    return bytes(found) if len(found) == len(numbers) else None
