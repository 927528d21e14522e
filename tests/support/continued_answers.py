"""A scripted engine's side of an answer that goes on: the two questions before it, and its dialect.

The rest of an answer comes as a raw completion, so its events look otherwise than a chat's.
"""

from orchestrator_core.contracts.pool import WorkerReport
from support.fake_engine import EngineCall, FakeEngine, event, progress, role
from support.orchestrator import ready_worker

__all__ = ["RENDERED", "begin", "completion", "end_rest", "go_on", "render", "spelt", "survivor"]

RENDERED = "<user>Hello<assistant>"
"""What the scripted engine makes of any messages."""

_TOKENS_OF_A_PROMPT = 7


def survivor(other: FakeEngine) -> WorkerReport:
    """The worker that is left: the dead one is in no report any more."""
    return ready_worker(other.port, 2)


async def begin(call: EngineCall, *words: str) -> None:
    """Begin an answer as the engine does."""
    await call.open()
    await call.send(progress(8, 8))
    await call.send(role())
    await call.say(*words)


async def go_on(engine: FakeEngine, *, behind: str, tokens: list[int]) -> EngineCall:
    """Answer what is asked before an answer goes on behind this text; returns the call for it."""
    await render(engine)
    cutting = await engine.next_call()
    assert cutting.request_line.startswith("POST /tokenize ")
    assert cutting.body == {
        "content": behind,
        "add_special": False,
        "parse_special": False,
        "with_pieces": True,
    }
    await cutting.refuse(200, spelt(behind, tokens))
    call = await engine.next_call()
    assert call.request_line.startswith("POST /v1/completions ")
    assert call.body["prompt"] == [RENDERED, *tokens]
    return call


def spelt(text: str, tokens: list[int]) -> dict[str, object]:
    """An engine's answer about the tokens of a text: the last of them takes what is left of it."""
    single = len(tokens) - 1
    pieces = [*text[:single], text[single:]]
    told = zip(tokens, pieces, strict=True)
    return {"tokens": [{"id": number, "piece": piece} for number, piece in told]}


async def render(engine: FakeEngine) -> EngineCall:
    """Answer the question for the rendered messages."""
    rendering = await engine.next_call()
    assert rendering.request_line.startswith("POST /apply-template ")
    await rendering.refuse(200, {"prompt": RENDERED})
    return rendering


def completion(words: str, reason: str | None = None, **more: object) -> bytes:
    """An event of a raw completion."""
    choice = {"text": words, "index": 0, "logprobs": None, "finish_reason": reason}
    return event(
        {
            "choices": [choice],
            "created": 1_700_000_999,
            "model": "tiny-chat",
            "system_fingerprint": "b0-unknown",
            "object": "text_completion",
            "id": "chatcmpl-of-the-other-engine",
            **more,
        }
    )


async def end_rest(call: EngineCall, kept: int, made: int, reason: str = "stop") -> None:
    """End a raw completion whose prompt held this many tokens of the answer."""
    prompt = _TOKENS_OF_A_PROMPT + kept
    usage = {"completion_tokens": made, "prompt_tokens": prompt, "total_tokens": prompt + made}
    details = {"prompt_tokens_details": {"cached_tokens": prompt}}
    timings = {"prompt_n": 1, "prompt_ms": 1.5, "predicted_ms": 2.5}
    await call.send(completion("", reason, usage=usage | details, timings=timings))
    await call.send(b"data: [DONE]\n\n")
    await call.raw(b"0\r\n\r\n")
    call.close()
