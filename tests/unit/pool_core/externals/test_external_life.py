"""What becomes of an engine's models after each look at it."""

from dataclasses import replace
from typing import Any

import pytest

from orchestrator_core.contracts.pool import WorkerStatus
from orchestrator_core.errors import Code
from orchestrator_core.ids import PREFIX_WORKER, is_id
from pool_core.externals.life import (
    EngineState,
    Fault,
    Found,
    Pace,
    begin,
    fold,
    pause_s,
    worker_id,
)
from pool_core.externals.settings import ExternalEngine

NOW_MS = 1_700_000_000_000
AWAY = Fault(Code.UNREACHABLE, "away")
SLOW = Fault(Code.UNREACHABLE, "slow", slow=True)
READY, FAILED, STARTING = WorkerStatus.READY, WorkerStatus.FAILED, WorkerStatus.STARTING


def engine(**more: Any) -> ExternalEngine:
    facts: dict[str, Any] = {"name": "vllm", "url": "http://127.0.0.1:1", **more}
    return ExternalEngine.model_validate(facts)


def after(
    it: ExternalEngine, *looks: Found, state: EngineState | None = None, now_ms: int = NOW_MS
) -> EngineState:
    state = begin(it, now_ms, ()) if state is None else state
    for look in looks:
        now_ms += 1000
        state = fold(it, state, look, now_ms, ())
    return state


def told(state: EngineState) -> list[tuple[str, WorkerStatus]]:
    return [(member.model, member.status) for member in state.members]


def test_named_models_are_there_before_the_first_look() -> None:
    state = begin(engine(models={"ours": "theirs"}), NOW_MS, ())
    assert told(state) == [("ours", STARTING)]
    assert begin(engine(), NOW_MS, ()).members == ()


def test_a_listed_model_is_ready_and_one_that_is_not_says_so() -> None:
    it = engine(models={"ours": "theirs", "other": "gone"})
    state = after(it, Found(("theirs", "more")))
    assert told(state) == [("ours", READY), ("other", FAILED)]
    fault = state.members[1].fault
    assert fault is not None
    assert (fault.code, "does not list the model gone" in fault.message) == (
        Code.MODEL_NOT_FOUND, True,
    )  # fmt: skip
    assert state.misses == 0


def test_without_named_models_the_list_is_what_there_is() -> None:
    state = after(engine(), Found(("a", "b", "a", " bad", "hf:x/y")))
    assert told(state) == [("a", READY), ("b", READY)]
    state = after(engine(), Found(("b", "c")), state=state)
    assert told(state) == [("b", READY), ("c", READY)]
    state = after(engine(), Found(()), state=state)
    assert (state.members, state.misses) == ((), 1)
    assert state.fault is not None


def test_no_more_than_32_models_are_taken_from_a_list() -> None:
    assert len(after(engine(), Found(tuple(f"m{n}" for n in range(50)))).members) == 32


def test_ollamas_default_tag_need_not_be_written() -> None:
    assert told(after(engine(models=["qwen"]), Found(("qwen:latest",)))) == [("qwen", READY)]


def test_what_goes_and_comes_back_is_a_new_incarnation() -> None:
    it = engine(models=["m"])
    up = after(it, Found(("m",)))
    down = after(it, Found(fault=AWAY), Found(fault=AWAY), state=up)
    again = after(it, Found(("m",)), state=down)
    assert [state.members[0].status for state in (up, down, again)] == [READY, FAILED, READY]
    assert down.members[0].incarnation == up.members[0].incarnation
    assert again.members[0].incarnation > down.members[0].incarnation
    assert (down.members[0].fault, again.members[0].fault) == (AWAY, None)
    assert after(it, Found(("m",)), state=again) == again


def test_a_restart_of_the_pool_never_counts_backwards() -> None:
    it = engine(models=["m"])
    state = after(it, *([Found(fault=AWAY), Found(("m",))] * 3))
    restarted = begin(it, NOW_MS + 10_000, ())
    assert restarted.members[0].incarnation > state.members[0].incarnation


def test_a_clock_that_goes_back_does_not_take_the_count_with_it() -> None:
    it = engine(models=["m"])
    down = after(it, Found(("m",)), Found(fault=AWAY))
    again = fold(it, down, Found(("m",)), 0, ())
    assert again.members[0].incarnation == down.members[0].incarnation + 1


def test_a_server_that_is_only_busy_keeps_its_models_for_a_while() -> None:
    it = engine(models=["m"])
    state = after(it, Found(("m",)), *[Found(fault=SLOW)] * 5)
    assert (told(state), state.misses) == ([("m", READY)], 5)
    assert told(after(it, Found(fault=SLOW), state=state)) == [("m", FAILED)]
    back = after(it, Found(("m",)), state=state)
    assert (back.misses, back.members) == (0, state.members)


def test_a_server_that_never_answered_is_not_busy() -> None:
    assert told(after(engine(models=["m"]), Found(fault=SLOW))) == [("m", FAILED)]


def test_a_model_that_does_not_prove_itself_shows_its_own_reason() -> None:
    it = engine(models=["good", "bad"])
    state = after(it, Found(("good",), {"bad": AWAY}))
    assert [member.fault for member in state.members] == [None, AWAY]


def test_names_are_unique_also_beside_other_engines() -> None:
    it = engine(models=["a", "b", "c"])
    state = begin(it, NOW_MS, {"worker-openai-vllm-2"})
    names = [member.name for member in state.members]
    assert names == ["worker-openai-vllm", "worker-openai-vllm-3", "worker-openai-vllm-4"]
    kept = fold(engine(), after(engine(), Found(("x", "y"))), Found(("y", "z")), NOW_MS, ())
    assert [(it.model, it.name) for it in kept.members] == [
        ("y", "worker-openai-vllm-2"), ("z", "worker-openai-vllm"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("misses", "roll", "expected_s"),
    [
        (0, 0.0, 8.0), (0, 1.0, 12.0), (1, 1.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 2.0),
        (7, 1.0, 60.0), (5000, 1.0, 60.0), (5000, 0.0, 30.0),
    ],
)  # fmt: skip
def test_looks_come_steadily_while_all_is_well_and_ever_more_rarely_else(
    misses: int, roll: float, expected_s: float
) -> None:
    state = replace(EngineState(), misses=misses)
    assert pause_s(state, Pace(), lambda: roll) == pytest.approx(expected_s)


def test_ids_survive_restarts_and_differ_by_everything_that_makes_a_worker() -> None:
    first = worker_id("i", "vllm", "m")
    assert is_id(PREFIX_WORKER, first)
    assert first == worker_id("i", "vllm", "m")
    others = {worker_id("j", "vllm", "m"), worker_id("i", "x", "m"), worker_id("i", "vllm", "n")}
    assert len(others | {first}) == 4
