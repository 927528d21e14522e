"""Whether a prompt fits into a context, told from its bytes wherever they prove it.

Reads the words of a request, a native submission or a chat; a worker is asked only between the two
bounds. Pure.
"""

from collections.abc import Iterable, Sequence
from typing import Final, cast

import orjson

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.units import KIB
from orchestratord.upstream.loose import Json, as_objects, as_text

__all__ = ["context_refusal", "tokens_at_least", "tokens_at_most"]

# Chat templates open with words of their own, a day's date or a line about who speaks: the longest
# that known templates add has 60 tokens.
_TEMPLATE_TOKENS: Final = 128
# Marks around a turn: in every known template fewer than ten.
_TURN_TOKENS: Final = 16
# With tools a template adds a page that says how to call them.
_TOOLS_TOKENS: Final = 2048
# The longest tokens of known vocabularies are runs of 128 blanks: twice that is beyond all of them.
_TOKEN_BYTES_MAX: Final = 256
_SLICE: Final = 64 * KIB

# A lone surrogate may come out of JSON; it is refused elsewhere, here it must only not raise.
_UTF8: Final = ("utf-8", "surrogatepass")

# A turn that has nothing but its role and its content.
_PLAIN_FIELDS: Final = 2


def tokens_at_most(words: Json) -> int | None:
    """A bound from above: no token is shorter than a byte of text, but what is no text has its own.

    None: bytes tell nothing. The usual request, short turns of text, costs a fraction of a
    microsecond.
    """
    messages = cast("list[Json] | None", words.get("messages"))
    if messages is None:
        return _utf8_size(as_text(words.get("prompt"))) + _TEMPLATE_TOKENS + _TURN_TOKENS
    size_bytes = 0
    for message in messages:
        content = message.get("content")
        if type(content) is not str or len(message) > _PLAIN_FIELDS:
            return _rich_at_most(words, messages)
        size_bytes += len(content) if content.isascii() else len(content.encode(*_UTF8))
    if "tools" in words or "chat_template_kwargs" in words:
        return _rich_at_most(words, messages)
    return size_bytes + _TEMPLATE_TOKENS + _TURN_TOKENS * len(messages)


def _rich_at_most(words: Json, messages: Sequence[Json]) -> int | None:
    if any(_has_media(message) for message in messages):
        return None
    return _json_size(words) + _TEMPLATE_TOKENS + _TOOLS_TOKENS + _TURN_TOKENS * len(messages)


def _has_media(message: Json) -> bool:
    parts = as_objects(message.get("content"))
    return any(part.get("type") != "text" for part in parts)


def tokens_at_least(words: Json, enough: int) -> int:
    """A bound from below, counted no further than enough: no token is longer than the longest.

    Only what users say counts, and of that no blanks: templates leave out thoughts of older turns
    and blanks, some tokenizers fold blanks into one, but the words of a user always stay.
    """
    raw = bool(words.get("raw"))
    size_bytes, stop_bytes = 0, enough * _TOKEN_BYTES_MAX
    for text in _said_by_users(words):
        for start in range(0, len(text), _SLICE):
            piece = text[start : start + _SLICE]
            size_bytes += _utf8_size(piece if raw else "".join(piece.split()))
            if size_bytes >= stop_bytes:
                return enough
    return size_bytes // _TOKEN_BYTES_MAX


def context_refusal(ctx: int, tokens: int, *, exact: bool) -> Refusal:
    """Say it in the words that clients of OpenAI's dialect look for."""
    has = f"{tokens}" if exact else f"at least {tokens}"
    message = (
        f"This model's maximum context length is {ctx} tokens, but the prompt has {has}: "
        "shorten it or name a model with a longer context"
    )
    details = {"context_length": ctx, "prompt_tokens": tokens, "exact": exact}
    return Refusal(Code.CONTEXT_EXCEEDED, message, details)


def _utf8_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(*_UTF8))


def _json_size(value: object) -> int:
    try:
        return len(orjson.dumps(value))
    except orjson.JSONEncodeError:
        # Not text that an engine could be sent: the largest bound keeps it out of every proof.
        return 2**31


def _said_by_users(words: Json) -> Iterable[str]:
    yield as_text(words.get("prompt"))
    for message in as_objects(words.get("messages")):
        if message.get("role") == "user":
            yield as_text(message.get("content"))
            for part in as_objects(message.get("content")):
                yield as_text(part.get("text"))
