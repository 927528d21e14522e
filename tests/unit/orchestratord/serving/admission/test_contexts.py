"""Bytes bound tokens from both sides; only what lies between needs a worker's word."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.errors import Code
from orchestratord.serving.admission.contexts import (
    context_refusal,
    tokens_at_least,
    tokens_at_most,
)

ENOUGH = 10_000


def chat(*contents: object, role: str = "user", **more: object) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": it} for it in contents], **more}


def at_most(words: dict[str, Any]) -> int:
    tokens = tokens_at_most(words)
    assert tokens is not None
    return tokens


def at_least(words: dict[str, Any]) -> int:
    return tokens_at_least(words, ENOUGH)


@given(st.lists(st.text(max_size=40), min_size=1, max_size=8))
def test_no_text_has_more_tokens_than_bytes(texts: list[str]) -> None:
    size_bytes = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    assert at_most(chat(*texts)) > size_bytes
    assert at_least(chat(*texts)) <= size_bytes
    prompt = {"prompt": texts[0]}
    assert at_least(prompt) <= len(texts[0].encode("utf-8", "surrogatepass")) < at_most(prompt)


def test_letters_of_several_bytes_count_as_what_they_are() -> None:
    for several, single in (("é", "aa"), ("€", "aaa"), ("😀", "aaaa")):
        assert at_most({"prompt": several}) == at_most({"prompt": single})
        assert at_most(chat(several)) == at_most(chat(single))


def test_a_short_request_is_proven_to_fit_the_smallest_model() -> None:
    assert at_most(chat("Hello, how are you today?")) < 256


@pytest.mark.parametrize(
    "words",
    [
        chat("x", tools=[{"type": "function", "function": {"name": "y" * 500}}]),
        chat("x", chat_template_kwargs={"letters": "y" * 500}),
        {"messages": [{"role": "assistant", "content": "x", "reasoning_content": "y" * 500}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "y" * 500}]}]},
        chat([{"type": "text", "text": "y" * 500}]),
    ],
)
def test_everything_that_a_template_may_write_out_counts(words: dict[str, Any]) -> None:
    assert at_most(words) > 500 + 2048


def test_the_bytes_of_a_picture_say_nothing_of_its_tokens() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5000}}
    assert tokens_at_most(chat("look", [picture])) is None


def test_what_cannot_be_put_to_an_engine_is_no_proof_of_anything() -> None:
    assert at_most(chat([{"type": "text", "text": "\ud800"}])) > 2**30
    assert at_most(chat("\ud800")) == at_most(chat("aaa"))


def test_so_many_letters_are_certainly_so_many_tokens() -> None:
    assert at_least({"prompt": "a" * 2560}) == 10
    assert at_least(chat("a" * 2560, "b" * 255)) == 10
    assert at_least(chat([{"type": "text", "text": "a" * 2560}])) == 10


def test_counting_stops_where_it_is_enough() -> None:
    assert tokens_at_least({"prompt": "a" * 10_000_000}, 7) == 7


def test_blanks_may_come_to_nothing_unless_the_prompt_is_raw() -> None:
    blanks = " \n" * 5000
    assert at_least({"prompt": blanks + "x"}) == 0
    assert at_least({"prompt": blanks, "raw": True}) == 10_000 // 256


@pytest.mark.parametrize("role", ["assistant", "system", "tool"])
def test_what_a_template_may_leave_out_is_not_certain(role: str) -> None:
    assert at_least(chat("a" * 5000, role=role)) == 0


def test_the_refusal_has_the_words_that_clients_look_for() -> None:
    exact = context_refusal(1024, 15_010, exact=True)
    assert exact.code is Code.CONTEXT_EXCEEDED
    assert "maximum context length is 1024 tokens" in exact.message
    assert "the prompt has 15010:" in exact.message
    assert "at least 1024" in context_refusal(1024, 1024, exact=False).message
    assert "\n" not in exact.message
