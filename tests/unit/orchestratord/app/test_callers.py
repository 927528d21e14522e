"""Who may keep the server waiting for how long, and who must go when there is no room left."""

from orchestrator_core.testing.clocks import FakeClock
from orchestrator_core.units import MIB
from orchestratord.app.callers import Callers


class Client:
    """A connection that only knows whether we hung up."""

    def __init__(self, callers: Callers) -> None:
        self.callers = callers
        self.is_heard = False
        self.is_gone = False
        callers.enter(self)

    def hang_up(self) -> None:
        self.is_gone = True
        self.callers.leave(self)


def begun(limit: int = 10) -> tuple[FakeClock, Callers]:
    clock = FakeClock()
    return clock, Callers(now=clock.monotonic_s, limit=limit)


def later(clock: FakeClock, callers: Callers, *steps_s: float) -> int:
    crowded_out = 0
    for step_s in steps_s:
        clock.advance(step_s)
        crowded_out += callers.sweep()
    return crowded_out


def test_who_says_nothing_for_a_minute_has_to_go() -> None:
    clock, callers = begun()
    silent = Client(callers)
    later(clock, callers, 59, 1)
    assert not silent.is_gone
    later(clock, callers, 1)
    assert (silent.is_gone, len(callers)) == (True, 0)


def test_who_waits_for_an_answer_may_wait_for_ever() -> None:
    clock, callers = begun()
    asks = Client(callers)
    callers.head_came(asks)
    callers.body_came(asks)
    later(clock, callers, 10_000, 10_000)
    assert not asks.is_gone
    callers.answered(asks)
    later(clock, callers, 60, 1)
    assert asks.is_gone


def test_a_body_that_trickles_is_cut_and_one_that_flows_is_not() -> None:
    clock, callers = begun()
    trickles, flows = Client(callers), Client(callers)
    for client in (trickles, flows):
        callers.head_came(client)
    for _ in range(60):
        callers.body_goes_on(trickles, 1)
        callers.body_goes_on(flows, 8192)
        later(clock, callers, 1)
    assert (trickles.is_gone, flows.is_gone) == (True, False)
    later(clock, callers, 200)
    assert flows.is_gone


def test_what_flows_for_ever_and_never_becomes_a_body_is_cut() -> None:
    _, callers = begun()
    client = Client(callers)
    callers.head_came(client)
    for _ in range(300):
        callers.body_goes_on(client, MIB)
        if client.is_gone:
            break
    assert client.is_gone


def test_whose_answer_has_begun_may_keep_the_rest_of_its_body() -> None:
    clock, callers = begun()
    reader = Client(callers)
    callers.head_came(reader)
    callers.body_goes_on(reader, 1)
    reader.is_heard = True
    later(clock, callers, 10_000)
    assert not reader.is_gone


def test_a_body_that_was_left_behind_is_not_held_against_the_next_one() -> None:
    clock, callers = begun()
    client = Client(callers)
    callers.head_came(client)
    callers.body_goes_on(client, 1)
    client.is_heard = True
    callers.answered(client)
    later(clock, callers, 50)
    client.is_heard = False
    callers.head_came(client)
    callers.body_goes_on(client, 1)
    later(clock, callers, 1)
    assert not client.is_gone


def test_without_room_the_longest_silent_one_goes_and_nobody_who_has_asked() -> None:
    clock, callers = begun(limit=3)
    asks, first, second = (Client(callers) for _ in range(3))
    callers.head_came(asks)
    third = Client(callers)
    assert [it.is_gone for it in (asks, first, second, third)] == [False, True, False, False]
    assert (later(clock, callers, 1), later(clock, callers, 1)) == (1, 0)
    for client in (second, third):
        callers.head_came(client)
    late = Client(callers)
    assert (late.is_gone, second.is_gone, len(callers)) == (True, False, 3)
