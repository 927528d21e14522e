"""One file from a hub that fails in every way that hubs and networks do, over real sockets."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator_core.contracts.downloads import DownloadStage
from orchestrator_core.errors import Code, Refusal
from pool_core.fetch.room import Reserve
from support.fake_hub import FakeHub
from support.transfers import REPO, Site, noise

CONTENT = noise(1_000_000)
SIZE = len(CONTENT)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with FakeHub() as hub, Site(hub, tmp_path) as site:
        yield site


def refused(result: Path | Refusal) -> Refusal:
    assert isinstance(result, Refusal)
    assert "\n" not in result.message
    return result


def test_a_file_gets_its_name_once_its_bytes_are_proven(site: Site) -> None:
    file = site.offer(CONTENT)
    assert site.fetch(file) == site.into(file)
    assert site.into(file).read_bytes() == CONTENT
    assert site.into(file).stat().st_mode & 0o777 == 0o444
    assert site.stages() == [
        DownloadStage.TRANSFERRING,
        DownloadStage.VERIFYING,
        DownloadStage.DONE,
    ]
    assert site.news[-1].fetched_bytes == site.news[-1].done_bytes == SIZE
    assert not site.paths(file).part.exists()
    assert not site.paths(file).facts.exists()


def test_what_has_its_name_already_is_not_fetched(site: Site) -> None:
    file = site.offer(CONTENT)
    site.fetch(file)
    site.hub.forget_requests()
    assert site.fetch(file) == site.into(file)
    assert site.hub.requests == []


@pytest.mark.parametrize("text", ["../" * 20 + "etc", "A" * 64, "a" * 63, "a" * 64 + "\n", ""])
def test_only_a_hash_becomes_the_name_of_a_part(site: Site, text: str) -> None:
    file = site.offer(CONTENT)
    with pytest.raises(ValueError, match="is no SHA-256"):
        site.fetch(type(file)(file.path, SIZE, text, file.url))
    assert site.hub.requests == []


def test_an_empty_file_is_a_file(site: Site) -> None:
    file = site.offer(b"")
    assert site.fetch(file) == site.into(file)
    assert site.into(file).read_bytes() == b""


@pytest.mark.parametrize("tenth", range(1, 10))
def test_a_cut_connection_continues_where_it_stopped(site: Site, tenth: int) -> None:
    file = site.offer(CONTENT)
    site.hub.faults.cut_after(SIZE * tenth // 10)
    assert site.fetch(file) == site.into(file)
    assert site.into(file).read_bytes() == CONTENT
    assert [seen.range for seen in site.content_requests()] == [
        None,
        f"bytes={SIZE * tenth // 10}-",
    ]
    assert site.hub.sent_bytes(file.path) == SIZE
    assert "closed the connection in mid-answer; tries again in 1 s" in site.notes()


def test_many_cuts_cost_no_patience_while_bytes_come(site: Site) -> None:
    file = site.offer(CONTENT)
    site.hub.faults.cut_after(SIZE // 50, times=40)
    assert site.fetch(file) == site.into(file)
    assert site.hub.sent_bytes(file.path) == SIZE


def test_the_rest_of_an_earlier_run_is_all_that_is_asked_for(site: Site) -> None:
    file = site.offer(CONTENT)
    site.begun(file, CONTENT[:700_000])
    assert site.fetch(file) == site.into(file)
    assert site.stages()[0] is DownloadStage.VERIFYING
    assert site.hub.sent_bytes(file.path) == 300_000
    assert site.news[-1].fetched_bytes == 300_000


def test_a_part_that_lacks_nothing_is_only_verified(site: Site) -> None:
    file = site.offer(CONTENT)
    site.begun(file, CONTENT)
    assert site.fetch(file) == site.into(file)
    assert site.hub.requests == []


def test_a_part_that_is_too_long_is_not_believed(site: Site) -> None:
    file = site.offer(CONTENT)
    site.begun(file, CONTENT + b"more")
    assert site.fetch(file) == site.into(file)
    assert site.hub.sent_bytes(file.path) == SIZE


def test_a_damaged_part_is_found_by_the_hash_and_fetched_anew_once(site: Site) -> None:
    file = site.offer(CONTENT)
    site.begun(file, b"\0" * 500_000)
    assert site.fetch(file) == site.into(file)
    assert site.into(file).read_bytes() == CONTENT
    assert [seen.range for seen in site.content_requests()] == ["bytes=500000-", None]
    assert "begins anew" in site.notes()


def test_wrong_bytes_of_equal_size_never_get_the_name(site: Site) -> None:
    file = site.offer(CONTENT)
    site.hub.faults.wrong_bytes(times=None)
    refusal = refused(site.fetch(file))
    assert refusal.code is Code.DATA_CORRUPT
    assert str(file.sha256) in refusal.message
    assert str(refusal.details["actual"]) in refusal.message
    assert len(site.content_requests()) == 2
    assert not site.into(file).exists()
    assert not site.paths(file).part.exists()


def test_wrong_bytes_once_are_only_a_detour(site: Site) -> None:
    file = site.offer(CONTENT)
    site.hub.faults.wrong_bytes()
    assert site.fetch(file) == site.into(file)
    assert site.into(file).read_bytes() == CONTENT


def test_an_ignored_range_begins_anew_within_the_same_answer(site: Site) -> None:
    file = site.offer(CONTENT)
    site.begun(file, CONTENT[:700_000])
    site.hub.faults.ignore_range()
    assert site.fetch(file) == site.into(file)
    assert site.into(file).read_bytes() == CONTENT
    assert len(site.content_requests()) == 1


def test_a_server_that_never_sends_the_end_is_not_asked_for_ever(site: Site) -> None:
    file = site.offer(CONTENT)
    site.hub.faults.cut_after(SIZE // 2, times=None)
    site.hub.faults.ignore_range(times=None)
    assert refused(site.fetch(file)).code is Code.UNREACHABLE
    assert len(site.content_requests()) == 9


def test_a_page_for_people_is_never_stored_as_the_model(site: Site) -> None:
    file = site.offer(CONTENT)
    site.hub.faults.html(times=None, leg="cdn")
    refusal = refused(site.fetch(file))
    assert refusal.code is Code.UNREACHABLE
    assert "a page for people" in refusal.message
    assert site.paths(file).length() == 0


def test_a_page_for_people_that_goes_away_is_waited_out(site: Site) -> None:
    file = site.offer(CONTENT)
    site.begun(file, CONTENT[:1000])
    site.hub.faults.html(times=2, leg="cdn")
    assert site.fetch(file) == site.into(file)
    assert site.hub.sent_bytes(file.path) < SIZE


def test_an_expired_link_is_renewed_at_once(site: Site) -> None:
    file = site.offer(CONTENT)
    site.hub.faults.cut_after(400_000)
    site.hub.faults.expire_links(when=lambda seen: seen.range is not None)
    assert site.fetch(file) == site.into(file)
    assert [seen.status for seen in site.content_requests()] == [200, 403, 206]
    assert site.hub.sent_bytes(file.path) == SIZE


def test_links_that_never_work_end_with_one_clear_line(site: Site) -> None:
    file = site.offer(CONTENT)
    site.hub.faults.expire_links(times=None)
    refusal = refused(site.fetch(file))
    assert refusal.code is Code.UNREACHABLE
    assert "not valid any more (403)" in refusal.message


def test_a_hub_that_wants_us_to_slow_down_is_given_its_time(site: Site) -> None:
    file = site.offer(CONTENT)
    site.hub.faults.status(429, retry_after=20)
    assert site.fetch(file) == site.into(file)
    assert 20 <= sum(site.rests_s) <= 24


def test_a_hub_that_wants_us_back_in_an_hour_is_believed(site: Site) -> None:
    file = site.offer(CONTENT)
    site.hub.faults.status(429, retry_after=3600)
    refusal = refused(site.fetch(file))
    assert (refusal.code, refusal.retry_after_s) == (Code.RATE, 3600)
    assert site.rests_s == []


def test_a_storm_of_faults_ends_after_a_bounded_number_of_requests(site: Site) -> None:
    file = site.offer(CONTENT)
    site.begun(file, CONTENT[:300_000])
    site.hub.faults.status(503, times=None)
    refusal = refused(site.fetch(file))
    assert refusal.code is Code.UNREACHABLE
    assert "293 KiB of 977 KiB are kept: start it again to go on" in refusal.message
    assert len(site.hub.requests) == 9
    site.hub.faults.let_go()
    assert site.fetch(file) == site.into(file)
    assert site.hub.sent_bytes(file.path) == 700_000


def test_a_content_that_changed_under_the_same_name_is_not_mixed(site: Site) -> None:
    site.offer(CONTENT)
    file = site.offer(CONTENT)
    moving = type(file)(file.path, SIZE, file.sha256, site.hub.file_url(REPO, file.path))
    site.begun(file, CONTENT[:500_000])
    site.hub.change(REPO, file.path, noise(SIZE, "other"))
    refusal = refused(site.fetch(moving))
    assert refusal.code is Code.CONFLICT
    assert "another content" in refusal.message
    assert site.paths(file).part.read_bytes() == CONTENT[:500_000]


def test_a_file_of_another_size_is_not_taken(site: Site) -> None:
    file = site.offer(CONTENT)
    longer = type(file)(file.path, SIZE + 1, file.sha256, file.url)
    refusal = refused(site.fetch(longer))
    assert refusal.code is Code.DATA_CORRUPT
    assert "not the one that it listed" in refusal.message


def test_a_file_without_a_hash_continues_only_within_one_version(site: Site) -> None:
    path = "notes.txt"
    plain = site.offer(CONTENT, path)
    file = type(plain)(path, SIZE, None, site.hub.file_url(REPO, path))
    site.hub.faults.cut_after(400_000)
    site.tell = lambda news: site.cancel.set() if "tries again" in (news.note or "") else None
    assert refused(site.fetch(file)).code is Code.CANCELLED
    site.cancel.clear()
    site.hub.change(REPO, path, noise(SIZE, "other"))
    assert site.fetch(file) == site.into(file)
    assert site.into(file).read_bytes() == noise(SIZE, "other")


def test_a_hub_that_keeps_a_file_closed_says_what_to_do(site: Site) -> None:
    file = site.offer(CONTENT, gated=True)
    refusal = refused(site.fetch(file))
    assert refusal.code is Code.MODEL_GATED
    assert "HF_TOKEN" in refusal.message
    assert site.rests_s == []


def test_a_file_that_is_gone_is_not_asked_for_again(site: Site) -> None:
    file = site.offer(CONTENT)
    gone = type(file)(file.path, SIZE, file.sha256, file.url.replace(".gguf", "-2.gguf"))
    assert refused(site.fetch(gone)).code is Code.MODEL_NOT_FOUND
    assert len(site.hub.requests) == 1


def test_a_stop_between_two_bytes_keeps_what_is_here(site: Site) -> None:
    file = site.offer(CONTENT)
    gate = threading.Event()
    site.hub.faults.hold(gate, after_bytes=300_000)
    results: list[Path | Refusal] = []
    fetching = threading.Thread(target=lambda: results.append(site.fetch(file)))
    fetching.start()
    site.hub.wait_for(lambda seen: seen.sent_bytes >= 300_000)
    site.cancel.set()
    # The hub sends nothing more: only an eye on the cancel ends this before the read times out.
    fetching.join(20)
    assert not fetching.is_alive()
    gate.set()
    assert refused(results[0]).code is Code.CANCELLED
    kept = site.paths(file).part.read_bytes()
    assert kept
    assert CONTENT.startswith(kept)
    site.cancel.clear()
    site.hub.forget_requests()
    assert site.fetch(file) == site.into(file)
    assert site.hub.sent_bytes(file.path) == SIZE - len(kept)


def test_a_stop_ends_a_rest_too(site: Site) -> None:
    file = site.offer(CONTENT)
    site.hub.faults.status(503, times=None)
    site.tell = lambda _: site.cancel.set()
    assert refused(site.fetch(file)).code is Code.CANCELLED
    assert site.rests_s == []


def test_a_slow_drip_is_followed_to_its_end(site: Site) -> None:
    file = site.offer(CONTENT)
    site.hub.faults.drip(100_000)
    assert site.fetch(file) == site.into(file)
    assert site.into(file).read_bytes() == CONTENT


def test_a_disk_without_room_is_told_before_anything_is_fetched(site: Site) -> None:
    file = site.offer(CONTENT)
    site.options = {"reserve": Reserve(min_bytes=50_000), "free_bytes": lambda _: SIZE}
    refusal = refused(site.fetch(file))
    assert (refusal.code, refusal.details["lacking_bytes"]) == (Code.DISK_LOW, 50_000)
    assert site.hub.requests == []


def test_only_what_is_still_missing_needs_room(site: Site) -> None:
    file = site.offer(CONTENT)
    site.begun(file, CONTENT[:900_000])
    site.options = {"free_bytes": lambda _: 100_000}
    assert site.fetch(file) == site.into(file)


def test_a_disk_that_others_fill_meanwhile_stops_the_transfer(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = site.offer(CONTENT)
    monkeypatch.setattr("pool_core.fetch.filling._LOOK_AT_ROOM_BYTES", 100_000)
    answers = iter([SIZE, SIZE, 0])
    site.options = {"free_bytes": lambda _: next(answers)}
    assert refused(site.fetch(file)).code is Code.DISK_LOW
    assert site.paths(file).length() > 0


def test_a_link_in_the_place_of_the_part_is_not_followed(site: Site) -> None:
    file = site.offer(CONTENT)
    victim = site.folder / "precious"
    victim.write_bytes(b"precious")
    site.begun(file, b"")
    site.paths(file).part.unlink()
    site.paths(file).part.symlink_to(victim)
    assert refused(site.fetch(file)).code is Code.INTERNAL
    assert victim.read_bytes() == b"precious"


def test_a_pipe_in_the_place_of_the_part_is_refused(site: Site) -> None:
    file = site.offer(CONTENT)
    site.begun(file, b"")
    site.paths(file).part.unlink()
    os.mkfifo(site.paths(file).part)
    assert "no plain file" in refused(site.fetch(file)).message


def test_a_part_that_was_left_read_only_is_taken_up_again(site: Site) -> None:
    file = site.offer(CONTENT)
    site.begun(file, CONTENT)
    site.paths(file).part.chmod(0o444)
    assert site.fetch(file) == site.into(file)


def test_two_downloads_of_one_program_are_one_transfer(site: Site) -> None:
    file = site.offer(CONTENT)
    gate = threading.Event()
    site.hub.faults.hold(gate, after_bytes=100_000)
    results: list[Path | Refusal] = []
    with Site(site.hub, site.folder) as second:
        second.tell = lambda _: gate.set()
        first_thread = threading.Thread(target=lambda: results.append(site.fetch(file)))
        first_thread.start()
        site.hub.wait_for(lambda seen: seen.sent_bytes >= 100_000)
        assert second.fetch(file) == second.into(file)
        first_thread.join()
    assert results == [site.into(file)]
    assert second.stages() == [DownloadStage.WAITING, DownloadStage.DONE]
    assert "another download of this program fetches it already" in second.notes()
    assert site.hub.sent_bytes(file.path) == SIZE


def test_whoever_waits_takes_over_when_the_first_gives_up(site: Site) -> None:
    file = site.offer(CONTENT)
    gate = threading.Event()
    site.hub.faults.hold(gate, after_bytes=300_000)
    results: list[Path | Refusal] = []
    with Site(site.hub, site.folder) as second:
        second.tell = lambda _: site.cancel.set()
        first_thread = threading.Thread(target=lambda: results.append(site.fetch(file)))
        first_thread.start()
        site.hub.wait_for(lambda seen: seen.sent_bytes >= 300_000)
        assert second.fetch(file) == second.into(file)
        gate.set()
        first_thread.join()
    assert refused(results[0]).code is Code.CANCELLED
    assert second.into(file).read_bytes() == CONTENT
    assert second.news[-1].fetched_bytes < SIZE


def test_news_come_at_each_change_and_not_for_every_byte(site: Site) -> None:
    file = site.offer(CONTENT)
    site.fetch(file)
    assert len(site.news) == 3
