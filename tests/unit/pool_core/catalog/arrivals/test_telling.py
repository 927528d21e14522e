from orchestrator_core.contracts.downloads import DownloadReport, DownloadStage
from pool_core.catalog.arrivals.telling import Telling
from pool_core.fetch.hub_answers import RemoteFile
from pool_core.fetch.news import TransferNews

FILES = [RemoteFile(f"{name}.gguf", 100, None, "http://hub.example") for name in "ab"]


def told_of(*news: tuple[RemoteFile, TransferNews]) -> list[DownloadReport]:
    told: list[DownloadReport] = []
    telling = Telling("tiny", told.append)
    telling.selected("tiny", len(FILES), 200)
    for file, it in news:
        telling.news(file, it)
        if it.stage is DownloadStage.DONE:
            telling.file_done(file)
    return told


def moving(done: int, fetched: int) -> TransferNews:
    return TransferNews(DownloadStage.TRANSFERRING, done, 100, fetched)


def reading(done: int) -> TransferNews:
    return TransferNews(DownloadStage.VERIFYING, done, 100, 0)


def done(fetched: int) -> TransferNews:
    return TransferNews(DownloadStage.DONE, 100, 100, fetched)


def test_what_came_still_counts_while_it_is_read_again() -> None:
    told = told_of((FILES[0], moving(100, 60)), (FILES[0], reading(0)), (FILES[0], reading(100)))
    assert [it.fetched_bytes for it in told] == [0, 60, 60, 60]


def test_what_was_here_before_is_done_and_did_not_come() -> None:
    told = told_of((FILES[0], done(0)), (FILES[1], moving(70, 30)), (FILES[1], done(60)))
    assert [(it.done_bytes, it.fetched_bytes) for it in told if it.file == "b.gguf"] == [
        (170, 30),
        (200, 60),
        (200, 60),
    ]
