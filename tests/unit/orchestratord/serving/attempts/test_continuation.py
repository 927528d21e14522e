"""Which answers may go on behind what their client holds, and how their usage adds up."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestratord.serving.attempts.continuation import obstacles, whole_usage

HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}

FREE: dict[str, dict[str, Any]] = {
    "a chat": HELLO,
    "a prompt": {"prompt": "Hello", "seed": 1},
    "a raw prompt": {"prompt": "Hello", "raw": True},
    "one choice": {**HELLO, "n": 1},
    "sampling": {**HELLO, "temperature": 1.5, "top_p": 0.5, "top_k": 5, "seed": 3},
    "penalties": {**HELLO, "repeat_penalty": 1.1, "presence_penalty": 1},
    "text as a format": {**HELLO, "response_format": {"type": "text"}},
    "text in parts": {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
    },
    "nothing to stop at": {**HELLO, "stop": []},
    "no tools": {**HELLO, "tools": []},
    "no log probabilities": {**HELLO, "logprobs": False},
    "no thoughts": {
        **HELLO,
        "reasoning_effort": "none",
        "reasoning_format": "none",
        "chat_template_kwargs": {"enable_thinking": False},
    },
}
BOUND: dict[str, tuple[dict[str, Any], str]] = {
    "n": ({**HELLO, "n": 2}, "several choices"),
    "tools": ({**HELLO, "tools": [{"type": "function"}]}, "tools"),
    "a tool's turn": ({"messages": [{"role": "tool", "content": "5"}]}, "tools"),
    "a call of a tool": ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "tools"),
    "grammar": ({**HELLO, "grammar": 'root ::= "a"'}, "a grammar"),
    "json_schema": ({**HELLO, "json_schema": {"type": "object"}}, "a JSON schema"),
    "json_object": ({**HELLO, "response_format": {"type": "json_object"}}, "a response format"),
    "a format without a type": ({**HELLO, "response_format": {"x": 1}}, "a response format"),
    "logprobs": ({**HELLO, "logprobs": True}, "log probabilities"),
    "top_logprobs": ({**HELLO, "top_logprobs": 2}, "log probabilities"),
    "logit_bias": ({**HELLO, "logit_bias": {"5": 1}}, "a logit bias"),
    "stop": ({**HELLO, "stop": ["x"]}, "stop words"),
    "reasoning_effort": ({**HELLO, "reasoning_effort": "low"}, "reasoning"),
    "reasoning_format": ({**HELLO, "reasoning_format": "deepseek"}, "reasoning"),
    "thinking": ({**HELLO, "chat_template_kwargs": {"enable_thinking": True}}, "reasoning"),
    "an image": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        "parts that are not text",
    ),
    "a part without a type": (
        {"messages": [{"role": "user", "content": [{}]}]},
        "parts that are not text",
    ),
}


@pytest.mark.parametrize("words", FREE.values(), ids=FREE)
def test_what_has_no_state_but_its_text_may_go_on(words: dict[str, Any]) -> None:
    assert obstacles(words) == ()


@pytest.mark.parametrize(("words", "reason"), BOUND.values(), ids=BOUND)
def test_what_carries_more_than_its_text_may_not(words: dict[str, Any], reason: str) -> None:
    assert obstacles(words) == (reason,)


def test_an_engine_that_is_not_ours_is_never_followed() -> None:
    assert obstacles(HELLO, external=True) == ("an engine that is not ours",)
    assert len(obstacles({**HELLO, "n": 2}, external=True)) == 2


@given(
    st.dictionaries(
        st.sampled_from([*BOUND, "messages", "response_format", "chat_template_kwargs"]),
        st.one_of(st.none(), st.integers(), st.text(), st.lists(st.integers())),
    )
)
def test_nonsense_is_judged_without_a_fault(words: dict[str, Any]) -> None:
    assert all(isinstance(reason, str) for reason in obstacles(words))


def test_the_usage_of_two_workers_is_that_of_one_answer() -> None:
    rest = {"prompt_tokens": 17, "completion_tokens": 8, "total_tokens": 25}
    assert whole_usage(rest, kept_tokens=5, made_tokens=5) == {
        "prompt_tokens": 12,
        "completion_tokens": 13,
        "total_tokens": 25,
    }


@pytest.mark.parametrize("bad", [{}, {"prompt_tokens": "x"}, {"prompt_tokens": -1}])
def test_a_count_that_makes_no_sense_never_gets_negative(bad: dict[str, Any]) -> None:
    assert whole_usage(bad, kept_tokens=5, made_tokens=6) == {
        "prompt_tokens": 0,
        "completion_tokens": 6,
        "total_tokens": 6,
    }
