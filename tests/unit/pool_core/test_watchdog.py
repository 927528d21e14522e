import pytest

from pool_core.workers.watchdog import Counters, StallWatch, parse_counters

METRICS = """\
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 12
llamacpp:tokens_predicted_total 24
llamacpp:n_decode_total 2.4e+01
llamacpp:prompt_tokens_seconds 18126.9
llamacpp:requests_processing 1
llamacpp:requests_deferred 0
"""


def watch(stall_s: float = 60) -> StallWatch:
    return StallWatch(stall_s, now_s=0)


def busy(step: float, slots: int = 1) -> Counters:
    return Counters(slots, (0.0, 0.0, step))


def test_reads_the_engines_own_metrics() -> None:
    assert parse_counters(METRICS) == Counters(1, (12.0, 24.0, 24.0))


@pytest.mark.parametrize("text", ["", "llamacpp:n_decode_total 3", "<html>", "x" * 1_000_000])
def test_other_texts_are_no_counters(text: str) -> None:
    assert parse_counters(text) is None


def test_a_busy_slot_without_a_step_is_wedged_after_its_time() -> None:
    looked = watch()
    assert looked.observe(busy(7), now_s=1) is None
    assert looked.observe(busy(7), now_s=60) is None
    assert looked.observe(busy(7), now_s=61) == "wedged: 1 busy slots and no progress for 60 s"


def test_each_step_gives_the_whole_time_again() -> None:
    looked = watch()
    for second in range(0, 600, 50):
        assert looked.observe(busy(second), now_s=second) is None


def test_an_idle_worker_is_never_wedged() -> None:
    looked = watch()
    for second in range(0, 6000, 100):
        assert looked.observe(Counters(0, (1.0,)), now_s=second) is None


def test_work_that_begins_after_a_long_rest_has_the_whole_time() -> None:
    looked = watch()
    assert looked.observe(Counters(0, (0.0, 0.0, 7.0)), now_s=500) is None
    assert looked.observe(busy(7), now_s=559) is None
    assert looked.observe(busy(7), now_s=560) is not None


def test_an_engine_that_answers_nothing_is_wedged_too() -> None:
    looked = watch()
    assert looked.observe(Counters(0, ()), now_s=10) is None
    assert looked.observe(None, now_s=69) is None
    assert looked.observe(None, now_s=70) == "wedged: it has not answered for 60 s"
