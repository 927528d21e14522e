"""How often a hub is asked again for a small answer, in time that passes only while one rests."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from orchestrator_core.errors import Code, PeerError
from pool_core.fetch.faults import Cause, peer_error
from pool_core.fetch.patience import Patience
from pool_core.fetch.web import Reply

GOOD = Reply(200, {}, b"{}", "http://hub.example/")


def answer(status: int, **headers: str) -> Reply:
    return Reply(status, headers, b"", "http://hub.example/")


@dataclass
class Hub:
    """What it does, one request after the other, and how long somebody rested in between."""

    script: list[Reply | Cause]
    stops_after_s: float = float("inf")
    asked: int = 0
    rests_s: list[float] = field(default_factory=list)

    def ask(self) -> Reply:
        self.asked += 1
        found = self.script.pop(0)
        if isinstance(found, Cause):
            raise peer_error(Code.UNREACHABLE, "it broke", found)
        return found

    def reply(self) -> Reply:
        stop: Callable[[], bool] = lambda: sum(self.rests_s) >= self.stops_after_s  # noqa: E731
        return Patience(self.rests_s.append, lambda: 0.5, stop).reply(self.ask)


@pytest.mark.parametrize("first", [answer(503), answer(500), answer(408), answer(429), Cause.CUT])
def test_what_may_work_a_moment_later_is_asked_again(first: Reply | Cause) -> None:
    hub = Hub([first, GOOD])
    assert hub.reply() is GOOD
    assert sum(hub.rests_s) == pytest.approx(1.0)


@pytest.mark.parametrize("status", [200, 301, 401, 403, 404])
def test_an_answer_is_an_answer(status: int) -> None:
    hub = Hub([answer(status)])
    assert hub.reply().status == status
    assert hub.rests_s == []


@pytest.mark.parametrize("cause", [Cause.NAME, Cause.CONNECT, Cause.SILENCE, Cause.TRUST])
def test_who_does_not_answer_at_all_is_not_asked_again(cause: Cause) -> None:
    hub = Hub([cause])
    with pytest.raises(PeerError):
        hub.reply()
    assert hub.rests_s == []


def test_a_hub_that_stays_in_trouble_is_asked_four_times() -> None:
    hub = Hub([answer(503)] * 9)
    assert hub.reply().status == 503
    assert hub.asked == 4
    assert sum(hub.rests_s) == pytest.approx(7.0)


def test_a_short_wish_to_wait_is_heeded_and_a_long_one_is_told() -> None:
    hub = Hub([answer(429, **{"retry-after": "20"}), GOOD])
    assert hub.reply() is GOOD
    assert sum(hub.rests_s) >= 20
    hub = Hub([answer(429, **{"retry-after": "31"})])
    assert hub.reply().status == 429
    assert hub.rests_s == []


def test_whoever_does_not_want_to_wait_any_more_gets_the_answer_that_is_there() -> None:
    hub = Hub([answer(503), answer(503)], stops_after_s=0.3)
    assert hub.reply().status == 503
    assert sum(hub.rests_s) < 0.5
