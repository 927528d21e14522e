"""Words a request the way an engine wants it: always streamed, always with explicit limits.

Comes from the stored submission or a client's call; goes to the worker's socket. Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from orchestratord.runtime.jobs.live import EngineRequest

__all__ = [
    "CLIENT_FIELDS",
    "TASK_FIELDS",
    "asked_tokens",
    "chat_request",
    "rest_request",
    "task_messages",
    "task_request",
    "template_request",
    "token_limit",
]

_CHAT: Final = "/v1/chat/completions"
_COMPLETIONS: Final = "/v1/completions"

# Streaming with progress is the only way an engine notices a closed connection in every phase.
_FRAMING: Final[Mapping[str, object]] = {
    "stream": True,
    "stream_options": {"include_usage": True},
    "return_progress": True,
    "sse_ping_interval": 5,
}


def task_request(
    submission: Mapping[str, object],
    *,
    ctx: int | None,
    default_max_tokens: int,
    defaults: Mapping[str, object],
) -> EngineRequest:
    """Word a native job: a prompt is one user message unless it is raw."""
    fields = {key: value for key, value in submission.items() if key in TASK_FIELDS}
    if "repetition_penalty" in fields:
        fields["repeat_penalty"] = fields.pop("repetition_penalty")
    if submission.get("raw"):
        target, fields["prompt"] = _COMPLETIONS, submission["prompt"]
    else:
        target, fields["messages"] = _CHAT, task_messages(submission)
    fields["max_tokens"] = token_limit(asked_tokens(submission), ctx, default_max_tokens)
    return EngineRequest(target, orjson.dumps({**defaults, **fields, **_FRAMING}))


def chat_request(
    request: Mapping[str, object],
    *,
    model: str,
    ctx: int | None,
    default_max_tokens: int,
    defaults: Mapping[str, object],
) -> EngineRequest:
    """Word an OpenAI chat; max_completion_tokens wins over max_tokens as at OpenAI."""
    fields = {key: value for key, value in request.items() if key not in CLIENT_FIELDS}
    fields["max_tokens"] = token_limit(asked_tokens(request), ctx, default_max_tokens)
    fields["model"] = model
    return EngineRequest(_CHAT, orjson.dumps({**defaults, **fields, **_FRAMING}))


def template_request(request: Mapping[str, object]) -> bytes:
    """Word the request for the prompt that an engine makes of these messages."""
    fields = {key: value for key, value in request.items() if key in _TEMPLATE_FIELDS}
    return orjson.dumps(fields)


def rest_request(
    request: Mapping[str, object],
    defaults: Mapping[str, object],
    prompt: Sequence[str | int],
    max_tokens: int,
) -> EngineRequest:
    """Word a raw completion that goes on where the prompt ends, drawn as the answer was so far."""
    fields = {key: value for key, value in request.items() if key in _SAMPLING_FIELDS}
    if "repetition_penalty" in request:
        fields["repeat_penalty"] = request["repetition_penalty"]
    fields |= {"prompt": prompt, "max_tokens": max_tokens}
    return EngineRequest(_COMPLETIONS, orjson.dumps({**defaults, **fields, **_FRAMING}))


def task_messages(submission: Mapping[str, object]) -> object:
    """The turns of a native job."""
    return submission.get("messages") or [{"role": "user", "content": submission["prompt"]}]


def asked_tokens(request: Mapping[str, object]) -> object:
    """How long an answer the client wants."""
    return request.get("max_completion_tokens") or request.get("max_tokens")


def token_limit(asked: object, ctx: int | None, default: int) -> int:
    """How many tokens an answer may have."""
    wanted = asked if isinstance(asked, int) else default
    # A foreign engine keeps its context to itself; then only the request limits the answer.
    return wanted if ctx is None else min(wanted, ctx)


TASK_FIELDS: Final = frozenset(
    {
        "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "stop", "seed",
        "response_format",
    }
)  # fmt: skip
CLIENT_FIELDS: Final = frozenset(
    {"stream", "stream_options", "max_tokens", "max_completion_tokens", "model"}
)
_TEMPLATE_FIELDS: Final = frozenset(
    {"messages", "chat_template_kwargs", "reasoning_format", "reasoning_effort"}
)
_SAMPLING_FIELDS: Final = frozenset(
    {
        "temperature", "top_p", "top_k", "min_p", "typical_p", "seed", "presence_penalty",
        "frequency_penalty", "repeat_penalty", "repeat_last_n", "dry_multiplier", "dry_base",
        "dry_allowed_length", "dry_penalty_last_n", "xtc_probability", "xtc_threshold",
        "mirostat", "mirostat_tau", "mirostat_eta",
    }
)  # fmt: skip
