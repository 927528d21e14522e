"""The ledger holds every bound to the last job and byte, and gives back what has left."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.testing.facts import job_id, key_id
from orchestratord.serving.admission.ledger import Ledger, QueueBounds

WIDE = QueueBounds(jobs=100, size_bytes=1000, jobs_of_key=100, jobs_of_model=100)


def bounds(**narrow: int) -> QueueBounds:
    return QueueBounds(
        jobs=narrow.get("jobs", WIDE.jobs),
        size_bytes=narrow.get("size_bytes", WIDE.size_bytes),
        jobs_of_key=narrow.get("jobs_of_key", WIDE.jobs_of_key),
        jobs_of_model=narrow.get("jobs_of_model", WIDE.jobs_of_model),
    )


def fill(ledger: Ledger, count: int, *, key: int = 1, model: str = "a", size: int = 1) -> int:
    """Enter jobs until one is refused; returns how many went in."""
    base = len(ledger)
    for number in range(count):
        if ledger.enter(job_id(base + number + 1), key_id(key), model, size) is not None:
            return number
    return count


def refusal_of(ledger: Ledger, *, key: int = 1, model: str = "a", size: int = 1) -> Refusal:
    refused = ledger.enter(job_id(999), key_id(key), model, size)
    assert refused is not None
    assert "\n" not in refused.message
    return refused


def test_the_bound_of_all_jobs_holds_across_keys_and_models() -> None:
    ledger = Ledger(bounds(jobs=5))
    assert fill(ledger, 3, key=1, model="a") == 3
    assert fill(ledger, 9, key=2, model="b") == 2
    refused = refusal_of(ledger, key=3, model="c")
    assert (refused.code, refused.details["bound"]) == (Code.QUEUE_FULL, "queue_limit")
    assert "5 jobs" in refused.message


def test_one_key_cannot_take_the_places_of_others() -> None:
    ledger = Ledger(bounds(jobs_of_key=2))
    assert fill(ledger, 9, key=1) == 2
    assert refusal_of(ledger, key=1).details["bound"] == "key_queue_limit"
    assert fill(ledger, 9, key=2) == 2
    assert (ledger.jobs_of_key(key_id(1)), ledger.jobs_of_key(key_id(3))) == (2, 0)


def test_one_model_cannot_take_the_places_of_others() -> None:
    ledger = Ledger(bounds(jobs_of_model=2))
    assert fill(ledger, 9, model="a") == 2
    assert refusal_of(ledger, model="a").details["bound"] == "model_queue_limit"
    assert "for a " in refusal_of(ledger, model="a").message
    assert fill(ledger, 1, model="b") == 1


def test_bytes_are_counted_to_the_last_one() -> None:
    ledger = Ledger(bounds(size_bytes=100))
    assert fill(ledger, 1, size=60) == 1
    assert refusal_of(ledger, size=41).details["bound"] == "queue_bytes_limit"
    assert fill(ledger, 1, size=40) == 1
    assert ledger.size_bytes == 100


def test_a_request_that_never_fits_is_not_told_to_come_back() -> None:
    refused = refusal_of(Ledger(bounds(size_bytes=100)), size=101)
    assert (refused.code, refused.outcome.retry_later) == (Code.TOO_LARGE, False)


def test_a_refused_job_takes_no_place() -> None:
    ledger = Ledger(bounds(jobs_of_key=1))
    fill(ledger, 2)
    assert (len(ledger), ledger.size_bytes, ledger.jobs_of_model("a")) == (1, 1, 1)


def test_restored_jobs_count_but_are_never_refused() -> None:
    ledger = Ledger(bounds(jobs=1))
    for number in (1, 2, 3):
        ledger.restore(job_id(number), key_id(), "a", 10)
    assert (len(ledger), ledger.size_bytes) == (3, 30)
    assert refusal_of(ledger).code is Code.QUEUE_FULL
    for number in (1, 2, 3):
        ledger.leave(job_id(number))
    assert fill(ledger, 9) == 1


@given(st.lists(st.tuples(st.integers(1, 20), st.booleans()), max_size=60))
def test_what_leaves_gives_back_exactly_what_it_took(steps: list[tuple[int, bool]]) -> None:
    ledger, model = Ledger(WIDE), dict[int, int]()
    for number, comes in steps:
        if comes and number not in model:
            ledger.restore(job_id(number), key_id(number % 3), f"m{number % 2}", number)
            model[number] = number
        elif not comes:
            # Also those that are not there: a job may be dropped before it was entered.
            ledger.leave(job_id(number))
            model.pop(number, None)
    assert (len(ledger), ledger.size_bytes) == (len(model), sum(model.values()))
    for key in range(3):
        assert ledger.jobs_of_key(key_id(key)) == sum(number % 3 == key for number in model)
    for name in range(2):
        assert ledger.jobs_of_model(f"m{name}") == sum(number % 2 == name for number in model)
