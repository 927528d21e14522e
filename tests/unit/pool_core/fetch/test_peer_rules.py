"""What a peer's answer is worth: a table, and what no answer can talk its way around."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from orchestrator_core.contracts.pool import Peer
from orchestrator_core.errors import Code, Refusal
from pool_core.fetch.peer_rules import (
    PEERS_MAX,
    Absence,
    absence_of,
    fault_of_answer,
    is_busy,
    may_go_on,
    patience_s,
    reason_of,
    usable_peers,
)
from pool_core.fetch.settings import PeerTimes

SHA = "a" * 64
SIZE = 100


def peer(pool_id: str = "mac", **changes: object) -> Peer:
    told = Peer(
        pool_id=pool_id, url="https://10.0.0.2:9200", certificate="PEM", key=SecretStr("k" * 32)
    )
    return told.model_copy(update=changes)


def fault(status: int, headers: dict[str, str], start: int = 0) -> str | None:
    return fault_of_answer(status, headers, start=start, size_bytes=SIZE, sha256=SHA)


def honest(start: int) -> tuple[int, dict[str, str]]:
    headers = {"content-length": str(SIZE - start), "etag": f'"{SHA}"'}
    if start:
        headers["content-range"] = f"bytes {start}-{SIZE - 1}/{SIZE}"
    return (206 if start else 200), headers


@given(start=st.integers(0, SIZE - 1))
def test_an_honest_answer_has_no_fault(start: int) -> None:
    assert fault(*honest(start), start) is None


@given(start=st.integers(0, SIZE - 1), told=st.integers(0, 2 * SIZE))
def test_no_other_length_passes(start: int, told: int) -> None:
    status, headers = honest(start)
    headers["content-length"] = str(told)
    assert (fault(status, headers, start) is None) is (told == SIZE - start)


@given(start=st.integers(1, SIZE - 1), first=st.integers(0, SIZE), total=st.integers(0, 2 * SIZE))
def test_no_other_part_passes(start: int, first: int, total: int) -> None:
    status, headers = honest(start)
    headers["content-range"] = f"bytes {first}-{SIZE - 1}/{total}"
    assert (fault(status, headers, start) is None) is ((first, total) == (start, SIZE))


@given(status=st.integers(100, 599), start=st.integers(0, SIZE - 1))
def test_only_the_one_status_passes(status: int, start: int) -> None:
    right, headers = honest(start)
    assert (fault(status, headers, start) is None) is (status == right)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"content-length": ""}, "another number of bytes"),
        ({"content-encoding": "gzip"}, "packed"),
        ({"etag": '"' + "b" * 64 + '"'}, "another content"),
    ],
    ids=str,
)
def test_a_head_that_does_not_fit_is_named(changes: dict[str, str], words: str) -> None:
    status, headers = honest(0)
    assert words in (fault(status, headers | changes) or "")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_named(status: int) -> None:
    assert fault(status, {"location": "https://elsewhere"}) == "wanted to send us elsewhere"


def test_a_busy_peer_is_no_liar() -> None:
    assert is_busy(503)
    assert is_busy(429)
    assert not is_busy(404)


def test_only_a_cancel_and_a_full_disk_end_it_all() -> None:
    ending = {code for code in Code if not may_go_on(Refusal(code, "no"))}
    assert ending == {Code.CANCELLED, Code.DISK_LOW}


BUSY = Refusal(Code.NO_CAPACITY, "serves as many as it can", {"cause": "answer"}, 2)
CUT = Refusal(Code.UNREACHABLE, "the answer ended too early; start it again")
OTHER_KEY = Refusal(Code.UNREACHABLE, "does not take our key", {"cause": "key"})


@pytest.mark.parametrize(
    ("refusal", "absence"),
    [
        (BUSY, Absence.BUSY),
        (CUT, Absence.AWAY),
        (OTHER_KEY, Absence.AWAY),
        (Refusal(Code.UNREACHABLE, "nothing answers", {"cause": "connect"}), Absence.AWAY),
        (Refusal(Code.TIMEOUT, "is too slow", {"cause": "answer"}), Absence.AWAY),
        (Refusal(Code.DATA_CORRUPT, "is damaged"), Absence.OUT),
        (Refusal(Code.UNREACHABLE, "offered another content", {"cause": "answer"}), Absence.OUT),
        (Refusal(Code.UNREACHABLE, "cannot prove who it is", {"cause": "trust"}), Absence.OUT),
    ],
    ids=lambda it: it.message if isinstance(it, Refusal) else it.name,
)
def test_who_may_come_back_is_told_from_who_may_not(refusal: Refusal, absence: Absence) -> None:
    assert absence_of(refusal) is absence


def test_only_where_nobody_else_has_it_those_who_are_away_are_waited_for() -> None:
    times = PeerTimes(away_s=30, busy_s=3600, busy_beside_hub_s=6)
    waits = {
        absence: [patience_s(absence, times, is_only_way=only) for only in (True, False)]
        for absence in Absence
    }
    assert waits == {Absence.OUT: [0, 0], Absence.AWAY: [30, 0], Absence.BUSY: [3600, 6]}


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (Refusal(Code.DATA_CORRUPT, "x"), " served wrong bytes"),
        (Refusal(Code.UNREACHABLE, "x", {"cause": "connect"}), " does not answer"),
        (Refusal(Code.UNREACHABLE, "is too slow", {"cause": "answer"}), " is too slow"),
        (Refusal(Code.UNREACHABLE, "it broke; start it again"), ": it broke"),
    ],
    ids=str,
)
def test_the_reason_reads_behind_a_name(refusal: Refusal, reason: str) -> None:
    assert reason_of(refusal) == reason


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "http://10.0.0.2:9200"},
        {"url": "https://10.0.0.2:70000"},
        {"url": "https://10.0.0.2:9200/path"},
        {"url": "https://user@10.0.0.2"},
        {"url": "https://-x"},
        {"url": "https://a b"},
        {"url": "file:///etc/passwd"},
        {"url": ""},
        {"certificate": None},
        {"certificate": "x" * 100_000},
        {"key": SecretStr("")},
        {"key": SecretStr("short")},
        {"key": SecretStr("k" * 32 + "\r\nx: y")},
    ],
    ids=str,
)
def test_a_peer_that_could_not_be_asked_safely_is_none(changes: dict[str, object]) -> None:
    assert usable_peers([peer().model_copy(update=changes)]) == ()


@pytest.mark.parametrize(
    "url", ["https://10.0.0.2:9200", "https://[fd00::2]:9200/", "https://mac.lan", "https://[::1]"]
)
def test_a_peer_over_tls_is_usable(url: str) -> None:
    assert len(usable_peers([peer(url=url)])) == 1


def test_each_peer_counts_once_and_only_so_many() -> None:
    twice = usable_peers([peer(), peer(url="https://10.0.0.3")])
    assert [it.url for it in twice] == ["https://10.0.0.2:9200"]
    assert len(usable_peers(peer(f"p{n}") for n in range(PEERS_MAX + 9))) == PEERS_MAX
