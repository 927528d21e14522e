"""What the last words of a worker make of its attempt."""

import json

import pytest

from orchestrator_core.errors import Code
from orchestratord.serving.attempts.closing import Closing
from orchestratord.upstream.exchange import Fault, FaultKind

RESET = Fault(FaultKind.RESET, "reset", begun=True)
TOO_LONG = b'{"error": {"code": 400, "message": "x", "type": "exceed_context_size_error"}}'


def closing(*told: object) -> Closing:
    """A worker that answered and said this."""
    found = Closing()
    found.status = 200
    for body in told:
        found.read(f"data: {json.dumps(body)}\n\n".encode())
    return found


def ended(index: int = 0) -> dict[str, object]:
    return {"choices": [{"index": index, "delta": {}, "finish_reason": "stop"}]}


def test_behind_the_last_word_of_an_only_choice_nothing_is_missing() -> None:
    assert closing(ended()).verdict(RESET, ends_with_its_reason=True) is None


def test_the_end_of_one_of_several_choices_is_not_the_end() -> None:
    found = closing(ended(1)).verdict(RESET, ends_with_its_reason=False)
    assert found is not None
    assert (found.refusal.code, found.retriable) == (Code.WORKER_LOST, True)


@pytest.mark.parametrize("kind", FaultKind)
def test_a_worker_that_we_cut_off_may_still_compute(kind: FaultKind) -> None:
    found = closing().verdict(Fault(kind, "why", begun=True), ends_with_its_reason=True)
    assert found is not None
    ours = {FaultKind.TIMEOUT, FaultKind.PROTOCOL, FaultKind.ABORTED, FaultKind.LOST}
    assert found.computing is (kind in ours)


@pytest.mark.parametrize("kind", FaultKind)
def test_a_way_that_broke_has_not_cost_a_worker(kind: FaultKind) -> None:
    found = closing().verdict(Fault(kind, "why", begun=True), ends_with_its_reason=True)
    assert found is not None
    on_the_way = kind in (FaultKind.ROAD, FaultKind.LOST)
    assert found.refusal.code is (Code.UNREACHABLE if on_the_way else Code.WORKER_LOST)
    assert found.retriable


@pytest.mark.parametrize(
    ("goes_on", "code", "retriable"),
    [(False, Code.CONTEXT_EXCEEDED, False), (True, Code.UNREACHABLE, True)],
)
def test_only_an_answer_that_goes_on_may_find_more_room_elsewhere(
    goes_on: bool, code: Code, retriable: bool
) -> None:
    found = Closing()
    found.status = 400
    if goes_on:
        found.go_on(3, 3)
    found.take_error(TOO_LONG)
    verdict = found.verdict(None, ends_with_its_reason=True)
    assert verdict is not None
    assert (verdict.refusal.code, verdict.retriable) == (code, retriable)


def test_usage_counts_what_was_made_before() -> None:
    rest = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    found = Closing()
    found.go_on(kept_tokens=2, made_tokens=3)
    found.read(f"data: {json.dumps({'choices': [], 'usage': rest})}\n\n".encode())
    usage = found.usage(None, 4)
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 7, 14)


def test_tokens_are_counted_here_where_the_engine_did_not_come_to_it() -> None:
    found = Closing()
    found.go_on(kept_tokens=2, made_tokens=3)
    usage = found.usage(7, 4)
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (7, 7)
    assert Closing().usage(None, 4) is None
