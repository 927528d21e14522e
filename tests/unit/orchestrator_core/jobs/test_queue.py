"""The order of a lane: classes, ageing between them, fairness inside them, old places kept."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_core.ids import JobId, KeyId
from orchestrator_core.jobs.fairness import FairOrder
from orchestrator_core.jobs.queue import FairQueue
from orchestrator_core.jobs.ranked_line import Ticket

PATIENCE_S = 300.0


class Desk:
    """A lane and short words for who comes and who is next."""

    def __init__(self) -> None:
        self.order = FairOrder(PATIENCE_S)
        self.queue = FairQueue(self.order)

    def come(
        self,
        name: str,
        key: str = "ann",
        *,
        at: float = 0.0,
        batch: bool = False,
        slots: int = 1,
        weight: int = 1,
    ) -> Ticket:
        ticket = self.order.draw(
            JobId(name), KeyId(key), queued_at=at, is_batch=batch, slots=slots, weight=weight
        )
        self.queue.enqueue(ticket)
        return ticket

    def serve(self) -> Ticket:
        ticket = self.queue.head()
        assert ticket is not None
        self.queue.serve(ticket)
        return ticket

    def drain(self) -> list[str]:
        return [self.serve().job_id for _ in range(len(self.queue))]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_empty_lane_has_no_head(desk: Desk):
    assert desk.queue.head() is None
    assert desk.queue.peek() is None
    assert desk.queue.first_of(is_batch=True) is None


def test_lone_key_is_served_first_come_first_served(desk: Desk):
    for name in "cab":
        desk.come(name)
    assert desk.drain() == ["c", "a", "b"]


def test_keys_take_turns(desk: Desk):
    for number in range(3):
        desk.come(f"a{number}", "ann")
    for number in range(3):
        desk.come(f"b{number}", "bob", at=1.0)
    assert desk.drain() == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_weight_gives_a_larger_share(desk: Desk):
    for number in range(4):
        desk.come(f"a{number}", "ann", weight=2)
    for number in range(2):
        desk.come(f"b{number}", "bob", at=1.0)
    assert desk.drain() == ["a0", "b0", "a1", "a2", "b1", "a3"]


def test_wide_job_costs_its_key_more(desk: Desk):
    desk.come("wide", "ann", slots=3)
    desk.come("a1", "ann")
    for number in range(3):
        desk.come(f"b{number}", "bob", at=1.0)
    assert desk.drain() == ["wide", "b0", "b1", "b2", "a1"]


def test_key_that_was_away_is_not_paid_for_it(desk: Desk):
    for number in range(10):
        desk.come(f"a{number}", "ann")
    for _ in range(5):
        desk.serve()
    for number in range(2):
        desk.come(f"b{number}", "bob", at=1.0)
    assert desk.drain() == ["b0", "a5", "b1", "a6", "a7", "a8", "a9"]


def test_job_that_comes_back_has_its_old_place(desk: Desk):
    for name in "abc":
        desk.come(name)
    first = desk.serve()
    second = desk.serve()
    desk.queue.enqueue(second)
    desk.queue.enqueue(first)
    assert desk.drain() == ["a", "b", "c"]


def test_job_that_is_in_already_is_refused(desk: Desk):
    ticket = desk.come("a")
    with pytest.raises(ValueError, match="is queued already"):
        desk.queue.enqueue(ticket)


def test_job_whose_turn_it_is_not_is_refused(desk: Desk):
    desk.come("a")
    with pytest.raises(LookupError, match="not the turn of b"):
        desk.queue.serve(desk.come("b"))


def test_withdrawn_flood_is_forgiven(desk: Desk):
    flood = [desk.come(f"a{number}", "ann") for number in range(100)]
    for number in range(4):
        desk.come(f"b{number}", "bob", at=1.0)
    for ticket in flood:
        assert desk.queue.remove(ticket)
    assert not desk.queue.remove(flood[0])
    desk.come("again", "ann", at=2.0)
    assert desk.drain() == ["b0", "again", "b1", "b2", "b3"]


def test_key_that_submits_and_cancels_gets_no_more_than_its_share(desk: Desk):
    for number in range(10):
        desk.come(f"bob {number}", "bob")
    served = 0
    for number in range(5):
        desk.queue.remove(desk.come(f"decoy {number}", "eve", at=1))
        own = desk.come(f"eve {number}", "eve", at=1)
        while desk.serve() is not own:
            served += 1
    assert served == 5


def test_key_that_takes_back_its_last_jobs_is_as_if_it_had_not_sent_them(desk: Desk):
    tickets = [desk.come(f"eve {number}", "eve", at=number) for number in range(50)]
    desk.come("bob 1", "bob", at=51)
    desk.come("bob 2", "bob", at=52)
    for ticket in reversed(tickets[1:]):
        desk.queue.remove(ticket)
    desk.come("eve again", "eve", at=53)
    assert desk.drain() == ["eve 0", "bob 1", "bob 2", "eve again"]


def test_accounts_of_keys_that_are_gone_do_not_pile_up(desk: Desk):
    desk.come("bob 0", "bob")
    for number in range(5000):
        desk.come(f"guest {number}", f"guest {number}")
        desk.come(f"bob {number + 1}", "bob")
        desk.serve()
        desk.serve()
    assert desk.order.accounts < 200


def test_interactive_goes_before_batch(desk: Desk):
    desk.come("batch", batch=True)
    desk.come("person", at=PATIENCE_S)
    assert desk.drain() == ["person", "batch"]


def test_batch_that_has_waited_its_patience_longer_goes_first(desk: Desk):
    desk.come("batch", batch=True)
    desk.come("person", at=PATIENCE_S + 1)
    assert desk.drain() == ["batch", "person"]


def test_aged_backlog_takes_every_other_turn_only(desk: Desk):
    for number in range(4):
        desk.come(f"old{number}", batch=True)
    for number in range(3):
        desk.come(f"new{number}", at=1000.0)
    assert desk.drain() == ["old0", "new0", "old1", "new1", "old2", "new2", "old3"]


def test_places_count_one_class(desk: Desk):
    desk.come("batch", batch=True)
    tickets = [desk.come(name) for name in "abc"]
    assert [desk.queue.count_before(ticket) for ticket in tickets] == [0, 1, 2]
    assert desk.queue.count(is_batch=True) == 1
    assert tickets[2] in desk.queue


ARRIVALS = st.lists(
    st.tuples(st.integers(1, 3), st.booleans(), st.integers(1, 3)), min_size=1, max_size=60
)


@given(ARRIVALS, st.data())
def test_every_key_is_served_in_its_own_order(arrivals: list, data: st.DataObject):
    desk = Desk()
    served: list[Ticket] = []
    for number, (key, batch, slots) in enumerate(arrivals):
        desk.come(f"{number:03}", str(key), at=number, batch=batch, slots=slots, weight=key)
        if data.draw(st.booleans()):
            served.append(desk.serve())
    served += [desk.serve() for _ in range(len(desk.queue))]
    assert len(served) == len(arrivals)
    for lane in {(ticket.key_id, ticket.is_batch) for ticket in served}:
        own = [it.job_id for it in served if (it.key_id, it.is_batch) == lane]
        assert own == sorted(own)


@given(st.lists(st.integers(1, 4), min_size=2, max_size=4), st.integers(1, 3))
def test_backlogged_keys_get_their_weights_within_one_job(weights: list[int], slots: int):
    desk = Desk()
    for key, weight in enumerate(weights):
        for number in range(60):
            name = f"{key}-{number:02}"
            desk.come(name, str(key), at=number, slots=slots, weight=weight)
    got = [0] * len(weights)
    for _ in range(40):
        got[int(desk.serve().key_id)] += slots
        shares = [Fraction(count, weight) for count, weight in zip(got, weights, strict=True)]
        largest_job = max(Fraction(slots, weight) for weight in weights)
        assert max(shares) - min(shares) <= largest_job


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 20))
def test_batch_never_starves(people_a_minute: int, backlog: int):
    desk = Desk()
    for number in range(backlog):
        desk.come(f"batch{number:02}", batch=True)
    people, minute = 0, 0
    while desk.queue.count(is_batch=True):
        # There is always somebody: more come than are served.
        for number in range(people_a_minute + 1):
            desk.come(f"{minute:04}-{number:02}", at=minute * 60.0)
        people += not desk.serve().is_batch
        minute += 1
    # Those who came within its patience go first, and every other turn is the batch's own then.
    assert people <= (people_a_minute + 1) * 6 + backlog
