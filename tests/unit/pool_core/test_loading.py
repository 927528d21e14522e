from dataclasses import replace

from pool_core.workers.loading import LoadPatience, LoadWatch, Signs

MIB = 1 << 20
PATIENCE = LoadPatience(quiet_s=120, computing_s=600, total_s=1800, slowest_bytes_per_s=MIB)


class Load:
    """One load, looked at once a second."""

    def __init__(self, model_bytes: int = 0) -> None:
        self.now_s = 1000.0
        self.signs = Signs()
        self.watch = LoadWatch(PATIENCE, model_bytes=model_bytes, now_s=self.now_s)

    def passes(self, seconds: int, **per_second: float) -> str | None:
        """Let time pass while some signs grow; the first verdict ends it."""
        for _ in range(seconds):
            self.now_s += 1
            grown = {name: getattr(self.signs, name) + by for name, by in per_second.items()}
            self.signs = replace(self.signs, **grown)
            verdict = self.watch.observe(self.signs, now_s=self.now_s)
            if verdict is not None:
                return verdict
        return None


def test_a_loader_that_does_nothing_has_two_minutes() -> None:
    load = Load()
    assert load.passes(119) is None
    assert load.passes(1) == "stuck: nothing has moved for 2 min 0 s"


def test_one_that_reads_slowly_has_all_the_time_it_needs() -> None:
    assert Load(model_bytes=8000 * MIB).passes(7999, read_bytes=MIB) is None


def test_one_that_fills_its_memory_slowly_has_it_too() -> None:
    assert Load().passes(1700, resident_bytes=MIB / 4) is None


def test_one_that_writes_a_line_every_minute_has_it_too() -> None:
    load = Load()
    for _ in range(25):
        assert load.passes(60) is None
        assert load.passes(1, log_bytes=80) is None


def test_progress_starts_the_patience_anew() -> None:
    load = Load()
    assert load.passes(119) is None
    assert load.passes(1, log_bytes=1) is None
    assert load.passes(119) is None
    assert load.passes(1) is not None


def test_one_that_only_computes_has_ten_minutes() -> None:
    load = Load()
    assert load.passes(599, cpu_s=0.9) is None
    verdict = load.passes(1, cpu_s=0.9)
    assert verdict == "stuck: it computes, but nothing has come of it for 10 min 0 s"


def test_answering_our_questions_is_no_computing() -> None:
    assert Load().passes(120, cpu_s=0.01) is not None


def test_a_small_model_is_given_up_after_half_an_hour_of_progress() -> None:
    load = Load(model_bytes=MIB)
    assert load.passes(1799, read_bytes=MIB) is None
    assert load.passes(1, read_bytes=MIB) == "still not ready after 30 min 0 s"
