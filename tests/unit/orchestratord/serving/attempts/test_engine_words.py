"""Requests as engines want them, and engines' refusals as clients read them."""

import json
from typing import Any

import orjson
import pytest

from orchestrator_core.errors import OUTCOMES, Code, Refusal
from orchestratord.api.request import refusal_reply
from orchestratord.runtime.jobs.live import EngineRequest
from orchestratord.serving.attempts.engine_faults import refused_by_engine
from orchestratord.serving.attempts.engine_request import (
    chat_request,
    rest_request,
    task_request,
    template_request,
)
from orchestratord.serving.dialects import openai_errors
from orchestratord.upstream.chunks import EngineError


def task(submission: dict[str, object], ctx: int = 100, **defaults: object) -> EngineRequest:
    return task_request(submission, ctx=ctx, default_max_tokens=50, defaults=defaults)


def chat(request: dict[str, object], ctx: int = 100, **defaults: object) -> EngineRequest:
    return chat_request(request, model="m", ctx=ctx, default_max_tokens=50, defaults=defaults)


def body(request: EngineRequest) -> dict[str, Any]:
    return json.loads(request.body)


FRAMING = {
    "stream": True,
    "stream_options": {"include_usage": True},
    "return_progress": True,
    "sse_ping_interval": 5,
}


def test_a_prompt_is_one_user_message() -> None:
    request = task({"prompt": "Hi", "seed": 3, "priority": "batch", "metadata": {"a": "b"}})
    assert request.target == "/v1/chat/completions"
    assert body(request) == {
        "messages": [{"role": "user", "content": "Hi"}],
        "seed": 3,
        "max_tokens": 50,
        **FRAMING,
    }


def test_a_raw_prompt_is_completed_as_it_stands() -> None:
    request = task({"prompt": "Once", "raw": True, "repetition_penalty": 1.2, "stop": ["."]})
    assert request.target == "/v1/completions"
    assert body(request)["prompt"] == "Once"
    assert (body(request)["repeat_penalty"], body(request)["stop"]) == (1.2, ["."])
    assert "messages" not in body(request)


def test_messages_go_as_they_are_and_words_win_over_defaults() -> None:
    messages = [{"role": "user", "content": "a"}]
    found = body(task({"messages": messages, "temperature": 0.0}, temperature=0.7, top_k=5))
    assert found["messages"] == messages
    assert (found["temperature"], found["top_k"]) == (0.0, 5)


@pytest.mark.parametrize(
    ("asked", "ctx", "limit"), [(None, 100, 50), (None, 20, 20), (10, 100, 10), (999, 100, 100)]
)
def test_the_length_is_always_said_and_never_beyond_the_context(
    asked: int | None, ctx: int, limit: int
) -> None:
    assert body(task({"prompt": "x", "max_tokens": asked}, ctx))["max_tokens"] == limit
    assert body(chat({"max_tokens": asked}, ctx))["max_tokens"] == limit
    assert body(chat({"max_completion_tokens": asked}, ctx))["max_tokens"] == limit


def test_a_chat_is_always_streamed_and_never_framed_by_its_client() -> None:
    found = body(
        chat(
            {
                "messages": [],
                "stream": False,
                "stream_options": {"include_usage": False},
                "model": "alias",
                "max_completion_tokens": 7,
                "max_tokens": 9,
                "tools": [{"type": "function"}],
            }
        )
    )
    assert found == {
        "messages": [],
        "model": "m",
        "max_tokens": 7,
        "tools": [{"type": "function"}],
        **FRAMING,
    }


@pytest.mark.parametrize(
    ("status", "reply", "code", "message", "retriable"),
    [
        (400, {"error": {"message": "bad"}}, Code.INVALID_REQUEST, "bad", False),
        (404, {}, Code.INVALID_REQUEST, "the engine answered 404", False),
        (501, {"error": "no"}, Code.INVALID_REQUEST, "no", False),
        (500, {"error": {"message": "oops"}}, Code.ENGINE_ERROR, "oops", False),
        (503, {"error": {"message": "Loading"}}, Code.LOADING, "Loading", True),
        (503, None, Code.LOADING, "the worker is not ready", True),
        (401, {"error": {"message": "Invalid key"}}, Code.WORKER_LOST, None, True),
        (403, None, Code.WORKER_LOST, None, True),
        (429, {"error": {"message": "slow down"}}, Code.LOADING, "slow down", True),
        (400, {"object": "error", "message": "bad"}, Code.INVALID_REQUEST, "bad", False),
        (422, {"detail": "bad"}, Code.ENGINE_ERROR, "bad", False),
        (400, {"detail": ["bad"]}, Code.INVALID_REQUEST, "the engine answered 400", False),
        (418, b"<html>", Code.ENGINE_ERROR, "the engine answered 418", False),
        (500, b'{"error":', Code.ENGINE_ERROR, "the engine answered 500", False),
        (500, b"[]", Code.ENGINE_ERROR, "the engine answered 500", False),
    ],
)
def test_an_engines_status_becomes_ours(
    status: int, reply: object, code: Code, message: str | None, retriable: bool
) -> None:
    raw = reply if isinstance(reply, bytes) else b"" if reply is None else orjson.dumps(reply)
    refusal, again = refused_by_engine(EngineError("", "", status), raw)
    assert (refusal.code, again) == (code, retriable)
    assert message in (None, refusal.message)


def test_a_prompt_that_is_too_long_is_known_by_its_type() -> None:
    reply = {"error": {"message": "long", "type": "exceed_context_size_error", "code": 400}}
    refusal, again = refused_by_engine(EngineError("", "", 400), orjson.dumps(reply))
    assert (refusal.code, again) == (Code.CONTEXT_EXCEEDED, False)
    inband = EngineError("long", "exceed_context_size_error", 500)
    assert refused_by_engine(inband, b"")[0].code is Code.CONTEXT_EXCEEDED


@pytest.mark.parametrize("code", list(Code))
def test_every_code_reads_as_one_of_openais_errors(code: Code) -> None:
    refusal = Refusal(code, "a line", {"param": "model"})
    status = openai_errors.http_status(refusal)
    error = json.loads(openai_errors.error_body(refusal))["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert error["type"].endswith("_error")
    assert (error["message"], error["param"]) == ("a line", "model")
    assert (status >= 500) == (error["type"] == "server_error")
    frame = openai_errors.error_frame(refusal)
    assert json.loads(frame.removeprefix(b"data: "))["error"] == error
    assert frame.endswith(b"\n\n")


@pytest.mark.parametrize(
    ("code", "status", "slug"),
    [
        (Code.CONTEXT_EXCEEDED, 400, "context_length_exceeded"),
        (Code.MODEL_NOT_PULLED, 404, "model_not_found"),
        (Code.MODEL_NOT_FOUND, 404, "model_not_found"),
        (Code.NO_KEY, 401, "invalid_api_key"),
        (Code.BAD_KEY, 401, "invalid_api_key"),
        (Code.QUEUE_FULL, 429, "queue_full"),
        (Code.LOADING, 503, "loading"),
    ],
)
def test_openais_special_words(code: Code, status: int, slug: str) -> None:
    refusal = Refusal(code, "")
    assert openai_errors.http_status(refusal) == status
    assert json.loads(openai_errors.error_body(refusal))["error"]["code"] == slug


@pytest.mark.parametrize("code", list(Code))
def test_every_refusal_that_may_pass_says_when_to_come_back(code: Code) -> None:
    for path, limit in (("/v1/models", 60), ("/v2/tasks", 10**9)):
        for wait_s in (None, 1, 300):
            refusal = Refusal(code, "a line", retry_after_s=wait_s)
            status, raw, headers = refusal_reply(refusal, path, "marker")
            found = dict(headers)
            later = OUTCOMES[code].retry_later
            if later or wait_s is not None:
                assert int(found[b"retry-after"]) == min(wait_s or 5, limit)
            else:
                assert b"retry-after" not in found
            if path.startswith("/v1/"):
                assert (found.get(b"x-should-retry") == b"false") is not later
            else:
                assert status == OUTCOMES[code].http_status
                assert json.loads(raw)["error"]["correlation_id"] == "marker"


def test_the_rest_of_an_answer_is_drawn_as_its_beginning_was() -> None:
    asked = {
        "messages": [{"role": "user", "content": "Hello"}],
        "temperature": 0.5,
        "seed": 3,
        "repetition_penalty": 1.5,
        "stream": True,
        "max_tokens": 50,
        "metadata": {"a": "b"},
    }
    found = rest_request(asked, {"temperature": 1, "top_k": 5}, ("prompt", 7, 8), 48)
    assert found.target == "/v1/completions"
    assert body(found) == {
        "prompt": ["prompt", 7, 8],
        "max_tokens": 48,
        "temperature": 0.5,
        "seed": 3,
        "top_k": 5,
        "repeat_penalty": 1.5,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,
        "sse_ping_interval": 5,
    }


def test_a_template_is_asked_for_with_all_that_shapes_it() -> None:
    asked = {"messages": [1], "chat_template_kwargs": {"a": 1}, "temperature": 1, "model": "m"}
    assert json.loads(template_request(asked)) == {
        "messages": [1],
        "chat_template_kwargs": {"a": 1},
    }
