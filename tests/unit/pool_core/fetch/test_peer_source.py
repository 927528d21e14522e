"""One peer as a source, over real TLS: what it is asked, and when it is too slow to be waited for."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from orchestrator_core.errors import PeerError
from orchestrator_core.testing.clocks import FakeClock
from pool_core.fetch.peer import PeerSource
from pool_core.fetch.peers import Peers
from pool_core.fetch.settings import PeerTimes
from support.model_store import Never
from support.scripted_pools import ScriptedPool, scripted_pool

CONTENT = bytes(range(256)) * 4096


@dataclass(frozen=True)
class File:
    """A file as a listing names it."""

    sha256: str | None = sha256(CONTENT).hexdigest()
    path: str = "tiny.gguf"
    size_bytes: int = len(CONTENT)
    url: str = ""


@pytest.fixture
def mac(tmp_path: Path) -> Iterator[ScriptedPool]:
    with scripted_pool(tmp_path) as pool:
        pool.add(CONTENT)
        yield pool


def read(
    pool: ScriptedPool, clock: FakeClock, times: PeerTimes, *, is_only_way: bool = True
) -> bytes:
    """Everything that a peer sends, while half a minute goes by with every piece."""
    source = PeerSource(pool.peer, clock, times, lambda: False)
    source.is_only_way = is_only_way
    taken = bytearray()
    try:
        with source.stream(File(), start=0, if_range=None, stop=lambda: False) as body:
            for piece in body.chunks():
                taken += piece
                clock.advance(31)
    finally:
        source.close()
    return bytes(taken)


def test_a_peer_that_sends_enough_may_take_its_time(mac: ScriptedPool) -> None:
    assert read(mac, FakeClock(), PeerTimes(slow_s=30, slow_bytes=1000)) == CONTENT


def test_a_peer_that_trickles_is_not_waited_for(mac: ScriptedPool) -> None:
    with pytest.raises(PeerError, match="is too slow"):
        read(mac, FakeClock(), PeerTimes(slow_s=30, slow_bytes=10**9))


def test_with_a_hub_in_reach_a_peer_has_to_be_quicker(mac: ScriptedPool) -> None:
    times = PeerTimes(slow_s=30, slow_bytes=1000, slow_beside_hub_bytes=10**9)
    with pytest.raises(PeerError, match="is too slow"):
        read(mac, FakeClock(), times, is_only_way=False)


def test_who_has_it_is_asked_of_all_at_once_and_in_no_time_of_the_others(
    mac: ScriptedPool, tmp_path: Path
) -> None:
    said: list[str] = []
    with scripted_pool(tmp_path, "mute", hesitates_s=30.0) as mute:
        mute.add(CONTENT)
        told = [mute.peer, mac.peer]
        # Only the machine's own time lets a question end.
        times = PeerTimes(answer_s=0.3, read_s=0.3)
        with Peers(lambda: told, FakeClock(), times, Never(), said.append) as peers:
            assert [it.pool_id for it in peers.holders(File())] == ["mac"]
            assert said == ["peer mute sends nothing any more"]
            assert [it.pool_id for it in peers.holders(File())] == ["mac"]
            assert peers.holders(File(sha256="0" * 64)) == []
            assert peers.holders(File(size_bytes=1)) == []
            assert peers.holders(File(sha256=None)) == []
    assert len(mute.asked) == 1


def test_the_key_goes_along_and_nothing_else_of_ours(mac: ScriptedPool) -> None:
    read(mac, FakeClock(), PeerTimes(slow_bytes=0))
    headers = mac.asked[0].headers
    assert headers["authorization"].startswith("Bearer ")
    assert set(headers) <= {"host", "user-agent", "accept-encoding", "authorization", "connection"}
