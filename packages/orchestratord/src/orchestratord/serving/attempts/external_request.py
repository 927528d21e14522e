"""Words a request for an engine that is not ours: OpenAI's dialect and what the client has said.

Nothing of llama-server's own is added, and no default of ours: such an engine knows its model, its
context and its limits best. Comes from the gate; goes to the engine's socket. Pure.
"""

from collections.abc import Mapping
from typing import Final

import orjson

from orchestratord.runtime.jobs.live import EngineRequest
from orchestratord.runtime.workerbook import External
from orchestratord.serving.attempts.engine_request import CLIENT_FIELDS, TASK_FIELDS

__all__ = ["external_chat", "external_task"]

_CHAT: Final = "/chat/completions"
_COMPLETIONS: Final = "/completions"


def external_chat(request: Mapping[str, object], engine: External) -> EngineRequest:
    """Word an OpenAI chat; max_completion_tokens wins over max_tokens as at OpenAI."""
    fields = {key: value for key, value in request.items() if key not in CLIENT_FIELDS}
    asked = request.get("max_completion_tokens") or request.get("max_tokens")
    return _worded(_CHAT, fields, asked, engine)


def external_task(submission: Mapping[str, object], engine: External) -> EngineRequest:
    """Word a native job: a prompt is one user message unless it is raw."""
    fields = {key: value for key, value in submission.items() if key in TASK_FIELDS}
    route = _CHAT
    if submission.get("raw"):
        route, fields["prompt"] = _COMPLETIONS, submission["prompt"]
    elif submission.get("messages"):
        fields["messages"] = submission["messages"]
    else:
        fields["messages"] = [{"role": "user", "content": submission["prompt"]}]
    return _worded(route, fields, submission.get("max_tokens"), engine)


def _worded(
    route: str, fields: dict[str, object], asked: object, engine: External
) -> EngineRequest:
    if isinstance(asked, int):
        # Several engines refuse a limit that does not fit into what the prompt leaves of their
        # context, which we do not know: a limit that nobody asked for would break the call.
        fields["max_tokens"] = asked
    fields["model"] = engine.model
    fields["stream"] = True
    fields["stream_options"] = {"include_usage": True}
    return EngineRequest(engine.base_path + route, orjson.dumps(fields))
