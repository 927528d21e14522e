"""The part of OpenAI's chat dialect that reaches an engine: an allow-list with ranges.

Fields outside the list are dropped; those that name a path, a URL, a slot, an adapter or the
framing of the stream are refused by `REFUSED_FIELDS`, because no caller may set them.
"""

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, field_validator

from orchestrator_core.contracts.base import Fact

__all__ = [
    "REFUSED_FIELDS",
    "ChatMessage",
    "ChatRequest",
    "ModelCard",
    "ModelCards",
    "StreamOptions",
]

REFUSED_FIELDS: Final = frozenset(
    {
        "id_slot",
        "lora",
        "slot_save_path",
        "sse_ping_interval",
        "return_progress",
        "n_predict",
        "timings_per_token",
        "post_sampling_probs",
        "return_tokens",
        "cache_prompt",
        "functions",
        "function_call",
    }
)

Penalty = Annotated[float, Field(ge=-2, le=2)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Strength = Annotated[float, Field(ge=0, le=10)]
Tokens = Annotated[int, Field(ge=1, le=1_000_000)]
Stop = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class ChatMessage(Fact):
    """One turn; content may be parts, which the engine reads itself."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, object]] | None = None
    name: str | None = None
    tool_calls: list[dict[str, object]] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None


class StreamOptions(Fact):
    """What a streaming client wants besides text."""

    include_usage: bool = False


class ChatRequest(Fact):
    """The body of POST /v1/chat/completions."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=4096)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    temperature: Annotated[float, Field(ge=0, le=5)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    min_p: Fraction | None = None
    typical_p: Fraction | None = None
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: list[Stop] | None = None
    n: Annotated[int, Field(ge=1, le=256)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repeat_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    repeat_last_n: Annotated[int, Field(ge=-1, le=1_000_000)] | None = None
    dry_multiplier: Strength | None = None
    dry_base: Strength | None = None
    dry_allowed_length: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    dry_penalty_last_n: Annotated[int, Field(ge=-1, le=1_000_000)] | None = None
    xtc_probability: Fraction | None = None
    xtc_threshold: Fraction | None = None
    mirostat: Annotated[int, Field(ge=0, le=2)] | None = None
    mirostat_tau: Strength | None = None
    mirostat_eta: Strength | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: dict[str, object] | None = None
    grammar: str | None = None
    json_schema: dict[str, object] | None = None
    tools: Annotated[list[dict[str, object]], Field(max_length=512)] | None = None
    tool_choice: str | dict[str, object] | None = None
    parallel_tool_calls: bool | None = None
    chat_template_kwargs: dict[str, object] | None = None
    reasoning_format: str | None = None
    reasoning_effort: str | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value


class ModelCard(Fact):
    """One entry of /v1/models; an external engine keeps the length of its context to itself."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "llama-orch"
    context_length: int | None = None
    max_model_len: int | None = None


class ModelCards(Fact):
    """The body of GET /v1/models."""

    object: Literal["list"] = "list"
    data: list[ModelCard]
