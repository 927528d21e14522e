"""The buffer between an engine and one client: valve, budget, patience, and its bad ends."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.errors import Code, Refusal
from orchestratord.serving.answers.outflow import FlowBudget, OutFlow

NO = Refusal(Code.WORKER_LOST, "it died")


class Valve:
    def __init__(self) -> None:
        self.moves: list[str] = []

    def pause(self) -> None:
        self.moves.append("pause")

    def resume(self) -> None:
        self.moves.append("resume")


def flow(limit_bytes: int = 100, budget: FlowBudget | None = None) -> OutFlow:
    return OutFlow(budget or FlowBudget(), 0.0, limit_bytes)


def drain(out: OutFlow) -> bytes:
    whole = b""
    while data := out.take(0.0):
        out.sent(0.0)
        whole += data
    return whole


def test_bytes_come_out_as_they_went_in_and_as_one_piece() -> None:
    out = flow()
    out.push(b"a", 1.0)
    out.push(b"", 2.0)
    out.push(b"b", 3.0)
    assert (out.waiting_bytes, out.touched_at) == (2, 3.0)
    assert out.take(4.0) == b"ab"
    assert (out.waiting_bytes, out.take(5.0)) == (0, b"")


@given(st.lists(st.binary(max_size=100_000), max_size=20))
def test_however_much_waits_nothing_is_lost_and_no_piece_is_much_too_large(
    parts: list[bytes],
) -> None:
    budget = FlowBudget()
    out = OutFlow(budget, 0.0, 1 << 30)
    for part in parts:
        out.push(part, 0.0)
    assert budget.used_bytes == out.waiting_bytes == sum(map(len, parts))
    whole, largest = b"", max(map(len, parts), default=0)
    while data := out.take(0.0):
        assert len(data) <= 65536 + largest
        whole += data
    assert whole == b"".join(parts)
    assert budget.used_bytes == out.waiting_bytes == 0


def test_a_full_buffer_closes_the_valve_until_the_client_has_read() -> None:
    out, valve = flow(limit_bytes=10), Valve()
    out.push(b"x" * 10, 0.0, valve)
    assert valve.moves == []
    out.push(b"x", 0.0, valve)
    assert valve.moves == ["pause"]
    out.push(b"x", 0.0, valve)
    out.take(0.0)
    assert valve.moves == ["pause", "pause", "resume"]
    out.take(0.0)
    assert valve.moves[-1] == "resume"
    assert len(valve.moves) == 3


def test_the_valve_opens_at_half_the_limit_and_not_before() -> None:
    out, valve = flow(limit_bytes=4 * 65536), Valve()
    for _ in range(5):
        out.push(b"x" * 65536, 0.0, valve)
    assert valve.moves == ["pause"]
    out.take(0.0)
    out.take(0.0)
    assert valve.moves == ["pause"]
    out.take(0.0)
    assert valve.moves == ["pause", "resume"]


def test_a_spent_budget_closes_the_valve_of_whoever_pushes_next() -> None:
    budget = FlowBudget(limit_bytes=10)
    hog, other, valve = flow(budget=budget), flow(budget=budget), Valve()
    hog.push(b"x" * 11, 0.0)
    other.push(b"x", 0.0, valve)
    assert (budget.spent, valve.moves) == (True, ["pause"])
    hog.discard()
    assert (budget.spent, budget.used_bytes) == (False, 1)
    other.take(0.0)
    assert (budget.used_bytes, valve.moves) == (0, ["pause", "resume"])


def test_a_refusal_before_the_head_drops_what_waits_and_leaves_a_status() -> None:
    budget = FlowBudget()
    out = flow(budget=budget)
    out.push(b"half", 0.0)
    out.refuse(NO, b"frame", 0.0)
    assert (out.ended, out.refusal, out.waiting_bytes, budget.used_bytes) == (True, NO, 0, 0)
    assert out.take(0.0) == b""


def test_a_refusal_after_the_head_is_the_last_frame() -> None:
    out = flow()
    out.head_sent = True
    out.push(b"half", 0.0)
    out.refuse(NO, b"|frame", 0.0)
    out.refuse(NO, b"|again", 0.0)
    out.push(b"|late", 0.0)
    assert drain(out) == b"half|frame"
    assert out.refusal is NO


def test_the_first_end_counts() -> None:
    out = flow()
    out.end()
    out.end(NO)
    out.refuse(NO, b"frame", 0.0)
    assert (out.refusal, out.waiting_bytes) == (None, 0)


def test_what_is_discarded_is_given_back_and_wakes_the_reader() -> None:
    budget = FlowBudget()
    out = flow(budget=budget)
    out.push(b"abc", 0.0)
    out.discard()
    out.discard()
    assert (out.ended, budget.used_bytes, out.take(0.0)) == (True, 0, b"")
    out.push(b"late", 0.0)
    assert budget.used_bytes == 0


def test_the_clients_time_runs_only_while_bytes_wait_for_it() -> None:
    out = flow()
    assert out.stuck_s(1000.0) == 0.0
    out.push(b"a", 1000.0)
    assert out.stuck_s(1005.0) == 5.0
    out.push(b"b", 1010.0)
    assert out.stuck_s(1010.0) == 10.0
    out.take(1011.0)
    # Sent is when the client's side has taken it, not when we began.
    assert out.stuck_s(1031.0) == 20.0
    out.push(b"c", 1031.0)
    assert out.stuck_s(1032.0) == 21.0
    out.sent(1033.0)
    assert out.stuck_s(1034.0) == 1.0
    out.take(1035.0)
    out.sent(1036.0)
    assert out.stuck_s(9999.0) == 0.0
    out.end()
    assert out.take(9999.0) == b""
    assert out.stuck_s(10030.0) == 31.0


async def test_a_wait_ends_with_bytes_or_the_end_and_not_before() -> None:
    for wake in (lambda out: out.push(b"x", 0.0), lambda out: out.end(), lambda out: out.discard()):
        out = flow()
        waiting = asyncio.create_task(out.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        wake(out)
        await waiting
        await out.wait()


async def test_a_wait_that_is_given_up_leaves_the_flow_whole() -> None:
    out = flow()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await out.wait()
    out.push(b"x", 0.0)
    await out.wait()
    assert out.take(0.0) == b"x"
