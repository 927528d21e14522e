"""Models go from host to host: real pool-managerd processes over TLS, on addresses of loopback."""

import os
import signal
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from orchestrator_core.contracts.sharing import SharedFile, SharedModel
from support.fake_hub import FakeHub
from support.home import Home
from support.model_store import small_model
from support.peer_exchange import PeerExchange, peer_exchange
from support.scripted_pools import Sending, scripted_pool
from support.waiting import until_sync

pytestmark = [pytest.mark.e2e, pytest.mark.drill]

REPO = "acme/tiny-GGUF"
MODEL = f"hf:{REPO}:Q4_K_M"
FILE = "tiny-Q4_K_M.gguf"
CONTENT = small_model("Travels", extra_bytes=24_000_000)
HASH = sha256(CONTENT).hexdigest()
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def exchange() -> Iterator[PeerExchange]:
    with peer_exchange() as exchange:
        yield exchange


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.add(REPO, {FILE: CONTENT})
        yield hub


@contextmanager
def host(
    folder: Path,
    exchange: PeerExchange,
    name: str,
    address: str,
    *,
    hub_url: str = NOWHERE,
    share: bool = True,
) -> Generator[Home]:
    """One host: its own folder, its own address, a pool-managerd that speaks HTTPS."""
    home = Home(folder / name)
    home.folder.mkdir()
    key_file = home.folder / "orchestrator.key"
    key_file.write_text("llo_pool_any\n")
    home.env |= {
        "LLORCH_POOL_BIND": f"{address}:0",
        "LLORCH_POOL_TLS": "true",
        "LLORCH_POOL_POOL_ID": name,
        "LLORCH_POOL_SHARE_MODELS": str(share).lower(),
        "LLORCH_POOL_ORCHESTRATOR_URL": exchange.url,
        "LLORCH_POOL_ORCHESTRATOR_KEY_FILE": str(key_file),
        "HF_ENDPOINT": hub_url,
        "HF_HOME": str(home.folder / "hf"),
        "HF_TOKEN": "",
    }
    exchange.certificates[name] = home.state / "pool" / "tls.crt"
    try:
        home.pool("daemon", "start").must()
        yield home
    finally:
        home.close()


def blob(home: Home) -> Path:
    return home.folder / "data/models/blobs" / HASH


def must_have_it(home: Home) -> None:
    assert sha256(blob(home).read_bytes()).hexdigest() == HASH
    assert "ok" in home.pool("models", "verify", MODEL).must().out


def test_a_model_reaches_a_host_whose_way_to_the_hub_is_cut(
    tmp_path: Path, exchange: PeerExchange, hub: FakeHub
) -> None:
    with (
        host(tmp_path, exchange, "mac", "127.0.0.2", hub_url=hub.url) as mac,
        host(tmp_path, exchange, "attic", "127.0.0.3") as attic,
    ):
        mac.pool("models", "download", MODEL).must()
        exchange.wait_until_heard("attic", "mac")
        sent = hub.sent_bytes(FILE)
        done = attic.pool("models", "download", MODEL).must()
        assert "from peer mac" in done.err
        must_have_it(attic)
        assert hub.sent_bytes(FILE) == sent
        # What came from a peer is what a third host gets from either.
        with host(tmp_path, exchange, "cellar", "127.0.0.4") as cellar:
            exchange.wait_until_heard("cellar", "mac", "attic")
            cellar.pool("models", "download", MODEL).must()
            must_have_it(cellar)


def test_a_host_that_does_not_share_gives_nothing_and_may_take(
    tmp_path: Path, exchange: PeerExchange, hub: FakeHub
) -> None:
    with (
        host(tmp_path, exchange, "mac", "127.0.0.2", hub_url=hub.url, share=False) as mac,
        host(tmp_path, exchange, "attic", "127.0.0.3", share=False) as attic,
    ):
        mac.pool("models", "download", MODEL).must()
        until_sync(lambda: {"mac", "attic"} <= set(exchange.beats), what="their beats")
        assert all(it.peer_key is None for it in exchange.registered.values())
        done = attic.pool("models", "download", MODEL).must(5)
        assert "peer" not in done.err


def test_a_peer_that_serves_wrong_bytes_is_refused_and_the_hub_sends(
    tmp_path: Path, exchange: PeerExchange, hub: FakeHub
) -> None:
    def flip(sending: Sending) -> None:
        sending.body = sending.body[:-1] + bytes([sending.body[-1] ^ 1])

    with ExitStack() as stack:
        liar = stack.enter_context(scripted_pool(tmp_path, "liar", lie=flip))
        liar.add(CONTENT)
        exchange.extra.append(liar.peer)
        attic = stack.enter_context(host(tmp_path, exchange, "attic", "127.0.0.3", hub_url=hub.url))
        exchange.wait_until_heard("attic", "liar")
        attic.pool("models", "download", MODEL).must()
        # It is too soon over to be seen on its way; the log keeps it.
        assert "peer liar served wrong bytes" in attic.log("pool-managerd")
        assert hub.sent_bytes(FILE) == len(CONTENT)
        must_have_it(attic)


def test_a_copy_goes_on_after_a_kill_in_its_middle(tmp_path: Path, exchange: PeerExchange) -> None:
    half = len(CONTENT) // 2

    def stop_half_way(sending: Sending) -> None:
        if sending.asked.start == 0:
            sending.body = sending.body[:half]
            sending.then = lambda: slow.let_go.wait(30)

    with ExitStack() as stack:
        slow = stack.enter_context(scripted_pool(tmp_path, "slow", lie=stop_half_way))
        slow.add(CONTENT)
        slow.models.append(record())
        exchange.extra.append(slow.peer)
        attic = stack.enter_context(host(tmp_path, exchange, "attic", "127.0.0.3"))
        exchange.wait_until_heard("attic", "slow")
        part = attic.folder / "data/models/partial" / f"{HASH}.part"
        with attic.running("models", "download", MODEL, program="llorch-pool"):
            until_sync(
                lambda: part.exists() and part.stat().st_size > half // 2,
                what="a good part of the bytes",
            )
            os.kill(attic.pid("pool-managerd"), signal.SIGKILL)
        until_sync(lambda: not attic.processes(), what="the end of the daemon")
        here = part.stat().st_size
        slow.asked.clear()
        attic.pool("daemon", "start").must()
        exchange.beats.clear()
        exchange.wait_until_heard("attic", "slow")
        attic.pool("models", "download", MODEL).must()
        assert 0 < here <= half
        assert slow.sent_from() == [here]
        must_have_it(attic)


def test_a_peer_that_dies_in_the_middle_is_made_up_for_by_the_hub(
    tmp_path: Path, exchange: PeerExchange, hub: FakeHub
) -> None:
    def die(sending: Sending) -> None:
        sending.body = sending.body[: len(sending.body) // 2]
        doomed.contents.clear()

    with ExitStack() as stack:
        doomed = stack.enter_context(scripted_pool(tmp_path, "doomed", lie=die))
        doomed.add(CONTENT)
        exchange.extra.append(doomed.peer)
        attic = stack.enter_context(host(tmp_path, exchange, "attic", "127.0.0.3", hub_url=hub.url))
        exchange.wait_until_heard("attic", "doomed")
        attic.pool("models", "download", MODEL).must()
        assert "peer doomed does not have it any more" in attic.log("pool-managerd")
        assert hub.sent_bytes(FILE) == len(CONTENT) - len(CONTENT) // 2
        must_have_it(attic)


def record() -> SharedModel:
    """The model as a pool tells it."""
    file = SharedFile(file=FILE, size_bytes=len(CONTENT), sha256=HASH)
    return SharedModel(id=MODEL, source="hub", repo=REPO, commit="c" * 40, files=(file,))
