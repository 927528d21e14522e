"""A library that asks other pools before the hub: who sends what, and who is left out."""

import threading
from pathlib import Path

import pytest

from orchestrator_core.contracts.downloads import DownloadOrder
from orchestrator_core.errors import Code, Refusal
from support.certificates import SELF_SIGNED
from support.fake_hub import FakeHub
from support.lan_copies import (
    HALF,
    HASH,
    bring,
    ends_early,
    falls_silent,
    flips_a_byte,
    has_another_content,
    is_gone,
    must_be_whole,
    packs,
    sends_elsewhere,
    sends_without_end,
    tells_less,
    tells_more,
    tells_two_sizes,
)
from support.model_store import Bench, Told
from support.scripted_pools import Lie, ScriptedPool, Sending, scripted_pool
from support.tiny_library import SMALL, SMALL_ID, download, fetched_bytes, refused

LIES = [
    (flips_a_byte, "peer mac served wrong bytes"),
    (ends_early, "peer mac"),
    (tells_less, "peer mac offered another number of bytes"),
    (tells_more, "peer mac offered another number of bytes"),
    (sends_without_end, "peer mac offered another number of bytes"),
    (tells_two_sizes, "peer mac answered 206 instead of 200"),
    (falls_silent, "peer mac sends nothing any more"),
    (packs, "peer mac packed what it sent"),
    (has_another_content, "peer mac offered another content"),
    (is_gone, "peer mac does not have it any more"),
    (sends_elsewhere, "peer mac wanted to send us elsewhere"),
]


def test_a_peer_sends_what_the_hub_has_listed(
    bench: Bench, hub: FakeHub, mac: ScriptedPool
) -> None:
    bench.peers = [mac.peer]
    answer, told = bring(bench)
    must_be_whole(bench, answer)
    assert fetched_bytes(hub) == 0
    assert "from peer mac" in told.notes
    assert told.last.source == "peer mac"
    assert told.last.fetched_bytes == len(SMALL)


def test_without_peers_the_hub_sends_as_ever(bench: Bench, hub: FakeHub) -> None:
    answer, told = bring(bench)
    must_be_whole(bench, answer)
    assert fetched_bytes(hub) == len(SMALL)
    assert told.last.source == "hub"
    assert not any("peer" in note for note in told.notes)


@pytest.mark.parametrize(("lie", "reason"), LIES, ids=lambda it: getattr(it, "__name__", ""))
def test_a_peer_that_lies_is_left_out_and_the_hub_sends(
    bench: Bench, hub: FakeHub, mac: ScriptedPool, lie: Lie, reason: str
) -> None:
    bench.peers, mac.lie = [mac.peer], lie
    answer, told = bring(bench)
    must_be_whole(bench, answer)
    assert any(note.startswith(reason) and "goes on from hub" in note for note in told.notes)
    assert told.last.source == "hub"
    assert (told.last.note or "").startswith(reason)
    assert any(line.startswith(reason) for line in bench.said)


def test_after_a_lie_the_next_peer_is_asked_before_the_hub(
    bench: Bench, hub: FakeHub, mac: ScriptedPool, tmp_path: Path
) -> None:
    mac.lie = flips_a_byte
    with scripted_pool(tmp_path, "attic") as attic:
        attic.add(SMALL)
        # Whoever answers first is asked first.
        attic.hesitates_s = 0.3
        bench.peers = [attic.peer, mac.peer]
        answer, told = bring(bench)
    must_be_whole(bench, answer)
    assert fetched_bytes(hub) == 0
    assert "peer mac served wrong bytes; goes on from peer attic" in told.notes
    assert told.last.source == "peer attic"


def test_what_a_peer_sent_before_it_broke_is_kept_and_continued(
    bench: Bench, hub: FakeHub, mac: ScriptedPool
) -> None:
    bench.peers, mac.lie = [mac.peer], falls_silent
    answer, _ = bring(bench)
    must_be_whole(bench, answer)
    assert fetched_bytes(hub) == len(SMALL) - HALF


def test_wrong_bytes_that_an_earlier_pull_left_cost_the_honest_peer_nothing_but_time(
    cut_off: Bench, mac: ScriptedPool
) -> None:
    cut_off.peers = [mac.peer]
    part = cut_off.store / "partial" / f"{HASH}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * HALF)
    answer, told = bring(cut_off)
    must_be_whole(cut_off, answer)
    assert mac.sent_from() == [HALF, 0]
    assert any("begins anew" in note for note in told.notes)


def test_a_part_is_continued_by_a_peer_where_it_stopped(cut_off: Bench, mac: ScriptedPool) -> None:
    cut_off.peers = [mac.peer]
    part = cut_off.store / "partial" / f"{HASH}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(SMALL[:HALF])
    answer, told = bring(cut_off)
    must_be_whole(cut_off, answer)
    assert mac.sent_from() == [HALF]
    assert told.last.fetched_bytes == len(SMALL) - HALF


def test_the_whole_instead_of_the_rest_is_refused_and_loses_nothing(
    bench: Bench, hub: FakeHub, mac: ScriptedPool
) -> None:
    def sends_all(sending: Sending) -> None:
        sending.status, sending.body = 200, sending.content
        sending.headers["content-length"] = str(len(sending.content))

    bench.peers, mac.lie = [mac.peer], sends_all
    part = bench.store / "partial" / f"{HASH}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(SMALL[:HALF])
    answer, told = bring(bench)
    must_be_whole(bench, answer)
    assert any("answered 200 instead of 206" in note for note in told.notes)
    assert fetched_bytes(hub) == len(SMALL) - HALF


def test_where_nobody_can_send_it_whole_the_reasons_are_one_line(
    cut_off: Bench, mac: ScriptedPool
) -> None:
    cut_off.peers, mac.lie = [mac.peer], flips_a_byte
    refusal = refused(cut_off, SMALL_ID)
    assert refusal.code is Code.UNREACHABLE
    assert "no peer could send tiny-Q4_K_M.gguf whole" in refusal.message
    assert "served wrong bytes" in refusal.message
    assert not cut_off.blob(HASH).exists()


def test_no_token_of_the_hub_ever_reaches_a_peer(
    tmp_path: Path, hub: FakeHub, mac: ScriptedPool
) -> None:
    bench = Bench(tmp_path / "token", hub, env={"HF_TOKEN": "hf_canary"})
    bench.peers = [mac.peer]
    download(bench, SMALL_ID)
    assert mac.asked
    assert all("hf_canary" not in str(asked.headers) for asked in mac.asked)


@pytest.mark.parametrize(
    "changes",
    [
        {"certificate": SELF_SIGNED},
        {"certificate": None},
        {"certificate": "none at all"},
        {"url": "http://127.0.0.1:1"},
        {"url": "https://127.0.0.1:1"},
        {"url": "https://127.0.0.1:99999"},
        {"url": "https://user@127.0.0.1:1/x"},
    ],
    ids=str,
)
def test_a_peer_that_cannot_prove_itself_is_asked_for_nothing(
    bench: Bench, hub: FakeHub, mac: ScriptedPool, changes: dict[str, object]
) -> None:
    bench.peers = [mac.peer.model_copy(update=changes)]
    answer, _ = bring(bench)
    must_be_whole(bench, answer)
    assert mac.asked == []
    assert fetched_bytes(hub) == len(SMALL)


def test_a_cancel_ends_a_transfer_from_a_peer(cut_off: Bench, mac: ScriptedPool) -> None:
    cancel = threading.Event()

    def stop_and_wait() -> None:
        cancel.set()
        mac.let_go.wait(10)

    def half(sending: Sending) -> None:
        sending.body = sending.body[:HALF]
        sending.then = stop_and_wait

    cut_off.peers, mac.lie = [mac.peer], half
    answer = cut_off.library.download(DownloadOrder(model=SMALL_ID), tell=Told(), cancel=cancel)
    assert isinstance(answer, Refusal)
    assert answer.code is Code.CANCELLED
