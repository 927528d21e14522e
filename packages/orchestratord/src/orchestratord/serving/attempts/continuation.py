"""Says whether an answer that lost its worker may go on behind what its client already holds.

Comes from the words of a request and the engine that answered it; goes to the wording of a live
job and to recovery. Also adds up the usage of an answer that several workers made. Pure.
"""

from collections.abc import Callable, Mapping
from typing import Final

from orchestratord.upstream.loose import Json, as_count, as_object, as_objects, as_text

__all__ = ["obstacles", "whole_usage"]


def obstacles(words: Json, *, external: bool = False) -> tuple[str, ...]:
    """Why the answer to these words cannot be continued by another worker; empty when it can."""
    found = tuple(reason for reason, stands in _RULES.items() if stands(words))
    return ("an engine that is not ours", *found) if external else found


def whole_usage(rest: Json, kept_tokens: int, made_tokens: int) -> Json:
    """The usage of the whole answer, from the last engine's count of the rest.

    That engine was handed kept_tokens behind the prompt; made_tokens is how many it took to make
    them, which is more where tokens without text of their own are among them.
    """
    prompt = max(0, as_count(rest.get("prompt_tokens")) - kept_tokens)
    completion = made_tokens + as_count(rest.get("completion_tokens"))
    return {
        "completion_tokens": completion,
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
    }


def _several_choices(words: Json) -> bool:
    return words.get("n") not in (None, 1)


def _tools(words: Json) -> bool:
    turns = as_objects(words.get("messages"))
    return bool(words.get("tools")) or any(
        turn.get("tool_calls") or turn.get("role") == "tool" for turn in turns
    )


def _response_format(words: Json) -> bool:
    wanted = words.get("response_format")
    return bool(wanted) and (as_object(wanted) or {}).get("type") != "text"


def _logprobs(words: Json) -> bool:
    return bool(words.get("logprobs") or words.get("top_logprobs"))


def _reasoning(words: Json) -> bool:
    asked = words.get("reasoning_effort") not in (None, "none")
    read_out = words.get("reasoning_format") not in (None, "auto", "none")
    template = as_object(words.get("chat_template_kwargs")) or {}
    return asked or read_out or bool(template.get("enable_thinking"))


def _parts(words: Json) -> bool:
    """True when a message holds something that is not text."""
    return any(
        as_text(part.get("type")) != "text"
        for turn in as_objects(words.get("messages"))
        for part in as_objects(turn.get("content"))
    )


def _given(name: str) -> Callable[[Json], bool]:
    return lambda words: bool(words.get(name))


# A second engine knows nothing of the state that these have built up in the first one, or what it
# would say is told apart from text only by the whole of the answer.
_RULES: Final[Mapping[str, Callable[[Json], bool]]] = {
    "several choices": _several_choices,
    "tools": _tools,
    "a grammar": _given("grammar"),
    "a JSON schema": _given("json_schema"),
    "a response format": _response_format,
    "log probabilities": _logprobs,
    "a logit bias": _given("logit_bias"),
    "stop words": _given("stop"),
    "reasoning": _reasoning,
    "parts that are not text": _parts,
}
