"""A library waits for other pools: how long for a busy one, a restarted one, a lost one."""

import threading
from pathlib import Path

from orchestrator_core.contracts.downloads import DownloadOrder, DownloadReport
from orchestrator_core.errors import Code, Refusal
from support.fake_hub import FakeHub
from support.lan_copies import (
    bring,
    ends_early,
    flips_a_byte,
    is_busy,
    must_be_whole,
)
from support.model_store import Bench, Never, Told
from support.scripted_pools import ScriptedPool, Sending, scripted_pool
from support.tiny_library import REPO, SMALL, SMALL_ID, refused


def test_a_busy_peer_is_waited_for_a_moment_and_then_the_hub_sends(
    bench: Bench, hub: FakeHub, mac: ScriptedPool
) -> None:
    bench.peers, mac.lie = [mac.peer], is_busy
    answer, told = bring(bench)
    must_be_whole(bench, answer)
    assert told.last.source == "hub"
    assert "peer mac serves as many as it can; waits for its turn" in told.notes
    assert "peer mac serves as many as it can; goes on from hub" in told.notes
    # It has done nothing that a person should look at.
    assert (told.last.note, bench.said) == (None, [])


def test_with_no_hub_a_busy_peer_is_waited_for_until_it_is_free(
    cut_off: Bench, mac: ScriptedPool
) -> None:
    def is_busy_at_first(sending: Sending) -> None:
        if len(mac.sent_from()) < 8:
            is_busy(sending)

    cut_off.peers, mac.lie = [mac.peer], is_busy_at_first
    answer, _ = bring(cut_off)
    must_be_whole(cut_off, answer)
    assert mac.sent_from() == [0] * 8


def test_a_busy_peer_does_not_keep_others_from_being_asked(
    cut_off: Bench, mac: ScriptedPool, tmp_path: Path
) -> None:
    mac.lie = is_busy
    with scripted_pool(tmp_path, "attic", hesitates_s=0.3) as attic:
        attic.add(SMALL)
        cut_off.peers = [mac.peer, attic.peer]
        answer, told = bring(cut_off)
    must_be_whole(cut_off, answer)
    assert mac.sent_from() == [0]
    assert "peer mac serves as many as it can; goes on from peer attic" in told.notes


def test_a_wait_for_a_busy_peer_ends_with_a_cancel(cut_off: Bench, mac: ScriptedPool) -> None:
    cancel = threading.Event()
    cut_off.peers, mac.lie = [mac.peer], is_busy

    def stop(report: DownloadReport) -> None:
        if "waits for its turn" in (report.note or ""):
            cancel.set()

    told = Told(on_report=stop)
    answer = cut_off.library.download(DownloadOrder(model=SMALL_ID), tell=told, cancel=cancel)
    assert isinstance(answer, Refusal)
    assert answer.code is Code.CANCELLED


def test_a_peer_that_restarts_in_the_middle_is_known_by_its_next_key(
    cut_off: Bench, mac: ScriptedPool
) -> None:
    def restarts(sending: Sending) -> None:
        ends_early(sending)
        sending.then = take_another_key

    def take_another_key() -> None:
        mac.lie, mac.key = None, "the-key-of-the-next-start"

    def hear(report: DownloadReport) -> None:
        if "does not take our key" in (report.note or ""):
            cut_off.peers = [mac.peer]

    cut_off.peers, mac.lie = [mac.peer], restarts
    told = Told(on_report=hear)
    order = DownloadOrder(model=SMALL_ID)
    must_be_whole(cut_off, cut_off.library.download(order, tell=told, cancel=Never()))
    assert mac.sent_from()[-1] == len(SMALL) // 3


def test_a_peer_that_has_just_restarted_is_asked_again_for_its_word(
    cut_off: Bench, mac: ScriptedPool
) -> None:
    before, mac.key = mac.peer, "the-key-of-the-next-start"
    cut_off.peers = [before]
    cut_off.on_pause = lambda: setattr(cut_off, "peers", [mac.peer])
    answer, _ = bring(cut_off)
    must_be_whole(cut_off, answer)


def test_where_no_peer_has_it_or_answers_a_person_is_told_so(
    cut_off: Bench, mac: ScriptedPool
) -> None:
    cut_off.peers = [mac.peer]
    refusal = refused(cut_off, f"hf:{REPO}:Q8_0")
    assert refusal.message.endswith("; no other pool has it")
    cut_off.peers = [mac.peer.model_copy(update={"url": "https://127.0.0.1:1"})]
    assert refused(cut_off, SMALL_ID).message.endswith("; peer mac does not answer")


def test_a_peer_that_does_not_come_back_is_given_up(cut_off: Bench, mac: ScriptedPool) -> None:
    def leaves(sending: Sending) -> None:
        ends_early(sending)
        sending.then = lambda: setattr(mac, "key", "a-key-that-nobody-is-told")

    cut_off.peers, mac.lie = [mac.peer], leaves
    refusal = refused(cut_off, SMALL_ID)
    assert refusal.code is Code.UNREACHABLE
    assert "the last one" not in refusal.message
    assert "peer mac does not take our key; start it again to go on" in refusal.message


def test_a_liar_that_takes_another_key_is_a_liar_still(cut_off: Bench, mac: ScriptedPool) -> None:
    def lies_and_changes(sending: Sending) -> None:
        flips_a_byte(sending)
        sending.then = change

    def change() -> None:
        mac.key = f"another-key-after-{len(mac.asked)}"
        cut_off.peers = [mac.peer]

    cut_off.peers, mac.lie = [mac.peer], lies_and_changes
    assert "served wrong bytes" in refused(cut_off, SMALL_ID).message
    assert mac.sent_from() == [0]
