"""Words a request the way an engine wants it: always streamed, always with explicit limits.

Comes from the stored submission or a client's call; goes to the worker's socket. Pure.
"""

from collections.abc import Mapping
from typing import Final

import orjson

from orchestratord.runtime.live import EngineRequest

__all__ = ["CLIENT_FIELDS", "TASK_FIELDS", "chat_request", "task_request"]

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
    elif submission.get("messages"):
        target, fields["messages"] = _CHAT, submission["messages"]
    else:
        target, fields["messages"] = _CHAT, [{"role": "user", "content": submission["prompt"]}]
    fields["max_tokens"] = _limit(submission.get("max_tokens"), ctx, default_max_tokens)
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
    asked = request.get("max_completion_tokens") or request.get("max_tokens")
    fields["max_tokens"] = _limit(asked, ctx, default_max_tokens)
    fields["model"] = model
    return EngineRequest(_CHAT, orjson.dumps({**defaults, **fields, **_FRAMING}))


def _limit(asked: object, ctx: int | None, default: int) -> int:
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
