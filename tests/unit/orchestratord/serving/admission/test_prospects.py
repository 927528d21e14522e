"""Who comes for a model that loads, or with a deadline, is told at once what he may expect."""

import pytest

from orchestrator_core.contracts.tasks import Priority
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.scheduler.outlook import Forecast, Supply
from orchestratord.serving.admission.classes import class_of, read_class
from orchestratord.serving.admission.prospects import deadline_refusal, later, waiters_refusal

LOADS = Supply(slots_open=0, coming=True, waiting=3)
BATCH, INTERACTIVE = Priority.BATCH, Priority.INTERACTIVE


@pytest.mark.parametrize(
    ("wait_s", "told_s"), [(None, 60), (0.0, 1), (0.2, 1), (4.1, 5), (60.0, 60), (3600.0, 60)]
)
def test_a_time_to_come_back_is_a_second_to_a_minute(wait_s: float | None, told_s: int) -> None:
    assert later(Refusal(Code.QUEUE_FULL, "x"), wait_s).retry_after_s == told_s


def test_so_many_wait_for_a_load_and_no_more() -> None:
    assert waiters_refusal("m", LOADS, live=9, limit=10) is None
    refused = waiters_refusal("m", LOADS, live=10, limit=10)
    assert refused is not None
    assert (refused.code, refused.outcome.http_status) == (Code.LOADING, 503)


@pytest.mark.parametrize(
    "supply",
    [
        Supply(slots_open=1, coming=True, waiting=99),
        Supply(slots_open=0, coming=False, waiting=99),
    ],
)
def test_a_model_that_is_there_or_has_no_pool_has_no_load_to_wait_for(supply: Supply) -> None:
    assert waiters_refusal("m", supply, live=99, limit=10) is None


def test_a_deadline_before_the_start_is_refused_with_the_forecast() -> None:
    refused = deadline_refusal(2.5, Forecast(start_in_s=40.4, run_s=1.0))
    assert refused is not None
    assert refused.code is Code.DEADLINE
    assert "in about 40 s" in refused.message
    assert "in 2.5 s" in refused.message


@pytest.mark.parametrize("start_in_s", [None, 0.0, 2.5])
def test_a_deadline_that_may_be_met_is_let_in(start_in_s: float | None) -> None:
    assert deadline_refusal(2.5, Forecast(start_in_s=start_in_s, run_s=None)) is None


def test_a_class_can_only_be_lowered() -> None:
    assert class_of(INTERACTIVE, INTERACTIVE, None) is INTERACTIVE
    assert class_of(BATCH, INTERACTIVE, None) is BATCH
    assert class_of(INTERACTIVE, BATCH, None) is BATCH
    assert class_of(INTERACTIVE, None, BATCH) is BATCH


def test_the_header_asks_for_batch_or_for_nothing() -> None:
    assert read_class(None) is None
    assert read_class("batch") is BATCH
    for other in ("", "interactive", "high", "batch,batch"):
        refused = read_class(other)
        assert isinstance(refused, Refusal)
        assert refused.code is Code.INVALID_REQUEST
