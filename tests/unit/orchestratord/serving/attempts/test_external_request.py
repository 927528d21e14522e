"""Requests as an engine of somebody else wants them: its dialect, its model, nothing of ours."""

import json
from typing import Any

import pytest

from orchestratord.runtime.jobs.live import EngineRequest
from orchestratord.runtime.workerbook import External
from orchestratord.serving.attempts.external_request import external_chat, external_task

ENGINE = External(base_path="/proxy/v1", model="org/m", cold_s=600)
FRAMING = {"model": "org/m", "stream": True, "stream_options": {"include_usage": True}}


def body(request: EngineRequest) -> dict[str, Any]:
    return json.loads(request.body)


def test_a_chat_says_what_its_client_said_and_no_more() -> None:
    asked = {
        "model": "ours",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": False,
        "stream_options": {"include_usage": False},
        "top_k": 3,
        "tools": [{"type": "function"}],
    }
    request = external_chat(asked, ENGINE)
    assert request.target == "/proxy/v1/chat/completions"
    assert body(request) == {
        "messages": asked["messages"], "top_k": 3, "tools": asked["tools"], **FRAMING,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "limit"),
    [
        ({"max_tokens": 9}, 9),
        ({"max_completion_tokens": 7, "max_tokens": 9}, 7),
        ({}, None),
        ({"max_tokens": None}, None),
    ],
)
def test_only_a_limit_that_was_asked_for_is_said(asked: dict[str, object], limit: object) -> None:
    assert body(external_chat(asked, ENGINE)).get("max_tokens") == limit


def test_a_prompt_is_one_user_message() -> None:
    request = external_task({"prompt": "Hi", "seed": 3, "priority": "batch", "pin": {}}, ENGINE)
    assert request.target == "/proxy/v1/chat/completions"
    said = [{"role": "user", "content": "Hi"}]
    assert body(request) == {"messages": said, "seed": 3, **FRAMING}


def test_messages_go_as_they_are() -> None:
    messages = [{"role": "system", "content": "a"}]
    assert body(external_task({"messages": messages}, ENGINE))["messages"] == messages


def test_a_raw_prompt_is_completed_as_it_stands() -> None:
    words = {"prompt": "Once", "raw": True, "repetition_penalty": 1.2, "max_tokens": 4}
    request = external_task(words, ENGINE)
    assert request.target == "/proxy/v1/completions"
    assert body(request) == {
        "prompt": "Once", "repetition_penalty": 1.2, "max_tokens": 4, **FRAMING,
    }  # fmt: skip
