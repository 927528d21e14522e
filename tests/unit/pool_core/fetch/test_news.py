from orchestrator_core.contracts.downloads import DownloadStage
from orchestrator_core.testing.clocks import FakeClock
from pool_core.fetch.news import Teller, TransferNews


def news(done: int, stage: DownloadStage = DownloadStage.TRANSFERRING, note: str | None = None):
    return TransferNews(stage, done, 1000, done, note)


def test_numbers_alone_are_told_at_most_ten_times_a_second() -> None:
    told: list[int] = []
    clock = FakeClock()
    teller = Teller(lambda it: told.append(it.done_bytes), clock)
    for done in range(10):
        teller(news(done))
        clock.advance(0.0625)
    assert told == [0, 2, 4, 6, 8]


def test_a_change_of_stage_or_of_the_note_is_told_at_once() -> None:
    told: list[int] = []
    teller = Teller(lambda it: told.append(it.done_bytes), FakeClock())
    teller(news(1))
    teller(news(2))
    teller(news(3, note="tries again"))
    teller(news(4, note="tries again"))
    teller(news(5))
    teller(news(6, DownloadStage.VERIFYING))
    assert told == [1, 3, 5, 6]


def test_what_was_left_out_is_counted_all_the_same() -> None:
    teller = Teller(lambda _: None, FakeClock())
    teller(news(1))
    teller(news(2))
    assert teller.fetched_bytes == 2
