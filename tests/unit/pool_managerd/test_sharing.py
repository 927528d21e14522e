"""What other pools may copy from this one: which contents, to whom, and how many at a time."""

import asyncio
import dataclasses
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from starlette.types import ASGIApp, Message

from orchestrator_core.contracts.pool import Peer
from orchestrator_core.contracts.sharing import SharedModelList
from pool_core.catalog.sharing import OpenContent, SharedModels
from pool_core.catalog.store.records import ModelRecord, RecordedFile
from pool_core.catalog.store.store import Store
from pool_managerd.api.guard import HostGuard
from pool_managerd.app.http import create_app
from pool_managerd.runtime.keyring import Keyring
from pool_managerd.runtime.outgoing import CONTENTS_AT_ONCE, Outgoing
from pool_managerd.runtime.peers import PeerBook
from pool_managerd.runtime.pool import Pool

CONTENT = os.urandom(700_000)
HASH = hashlib.sha256(CONTENT).hexdigest()
PEER = {"authorization": "Bearer the-key-of-the-peers"}


class Watched(SharedModels):
    """The store, with every file that was opened for somebody."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.opened: list[OpenContent] = []

    def open(self, sha256: str) -> OpenContent | None:
        """Remember it."""
        content = super().open(sha256)
        if content is not None:
            self.opened.append(content)
        return content

    def still_open(self) -> int:
        """How many of them nobody has closed."""
        return sum(_is_open(content.descriptor) for content in self.opened)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with one whole model."""
    store = Store(tmp_path / "models")
    put(store, CONTENT)
    keep(store, "hf:acme/tiny-GGUF:Q4_K_M", HASH, len(CONTENT))
    return store


def put(store: Store, content: bytes) -> str:
    store.prepare()
    digest = hashlib.sha256(content).hexdigest()
    store.blobs.path(digest).write_bytes(content)
    return digest


def keep(store: Store, model_id: str, digest: str, size_bytes: int) -> None:
    file = RecordedFile(file="tiny-Q4_K_M.gguf", size_bytes=size_bytes, sha256=digest)
    record = ModelRecord(
        id=model_id, source="hub", repo="acme/tiny-GGUF", commit="c" * 40, files=(file,)
    )
    assert store.keep(record) is None


@pytest.fixture
def shared(store: Store) -> Watched:
    return Watched(store)


@pytest.fixture
def outgoing(shared: Watched) -> Outgoing:
    return Outgoing(shared)


@pytest.fixture
def app(pool: Pool, keyring: Keyring, outgoing: Outgoing) -> ASGIApp:
    keyring.admit_peers("the-key-of-the-peers")
    sharing = dataclasses.replace(pool, outgoing=outgoing)
    return create_app(sharing, keyring, HostGuard("127.0.0.1", "box"))


@pytest.fixture
async def peer(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """Another pool."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:9200", headers=PEER
    ) as caller:
        yield caller


async def test_a_content_is_sent_with_its_size_and_its_hash(
    peer: httpx.AsyncClient, shared: Watched
) -> None:
    response = await peer.get(f"/blobs/{HASH}")
    assert response.status_code == 200
    assert response.content == CONTENT
    assert response.headers["content-length"] == str(len(CONTENT))
    assert response.headers["etag"] == f'"{HASH}"'
    assert shared.still_open() == 0


async def test_the_question_is_answered_without_a_byte(
    peer: httpx.AsyncClient, shared: Watched
) -> None:
    response = await peer.head(f"/blobs/{HASH}")
    assert response.status_code == 200
    assert response.headers["content-length"] == str(len(CONTENT))
    assert shared.still_open() == 0


@pytest.mark.parametrize("start", [1, 300_000, len(CONTENT) - 1])
async def test_the_rest_is_sent_from_where_it_is_wanted(
    peer: httpx.AsyncClient, start: int
) -> None:
    response = await peer.get(f"/blobs/{HASH}", headers={"range": f"bytes={start}-"})
    assert response.status_code == 206
    assert response.content == CONTENT[start:]
    last = len(CONTENT) - 1
    assert response.headers["content-range"] == f"bytes {start}-{last}/{len(CONTENT)}"


async def test_what_lies_behind_the_end_cannot_be_sent(
    peer: httpx.AsyncClient, shared: Watched
) -> None:
    response = await peer.get(f"/blobs/{HASH}", headers={"range": f"bytes={len(CONTENT)}-"})
    assert response.status_code == 416
    assert response.headers["content-range"] == f"bytes */{len(CONTENT)}"
    assert shared.still_open() == 0


async def test_what_is_not_here_and_what_is_not_shared_look_alike(
    peer: httpx.AsyncClient, store: Store
) -> None:
    orphan = put(store, b"no record names it")
    short = put(store, b"shorter than its record says")
    keep(store, "hf:acme/tiny-GGUF:Q8_0", short, 28)
    store.blobs.path(short).chmod(0o600)
    store.blobs.path(short).write_bytes(b"short")
    asked = ["0" * 64, orphan, short, HASH.upper(), HASH[:-1], f"{HASH}0", "..%2Fstore.lock"]
    bodies = set[str]()
    for name in asked:
        response = await peer.get(f"/blobs/{name}")
        assert response.status_code == 404
        bodies.add(response.json()["error"]["message"].replace(name, "NAME"))
    assert bodies <= {"nothing of that name is shared here", "there is no /blobs/../store.lock"}


async def test_a_content_that_was_found_damaged_is_not_shared(
    peer: httpx.AsyncClient, store: Store
) -> None:
    store.blobs.mark_damaged(HASH)
    assert (await peer.get(f"/blobs/{HASH}")).status_code == 404
    listed = SharedModelList.model_validate_json((await peer.get("/peer/models")).content)
    assert listed.items == []


async def test_models_are_listed_without_a_path(peer: httpx.AsyncClient, store: Store) -> None:
    response = await peer.get("/peer/models")
    (model,) = SharedModelList.model_validate_json(response.content).items
    assert (model.id, model.repo, model.commit) == (
        "hf:acme/tiny-GGUF:Q4_K_M",
        "acme/tiny-GGUF",
        "c" * 40,
    )
    assert [(it.file, it.sha256) for it in model.all_files] == [("tiny-Q4_K_M.gguf", HASH)]
    assert str(store.folder) not in response.text


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("hf:acme/tiny-GGUF:Q4_K_M", 1),
        ("hf:acme/tiny-GGUF::file=tiny-Q4_K_M.gguf", 1),
        ("hf:acme/tiny-GGUF:Q8_0", 0),
        ("other", 0),
        ("/etc/passwd", 0),
        ("file:/etc/passwd", 0),
        ("x" * 512, 0),
    ],
)
async def test_a_name_stands_for_one_model_or_none(
    peer: httpx.AsyncClient, name: str, count: int
) -> None:
    response = await peer.get("/peer/models", params={"model": name})
    assert len(SharedModelList.model_validate_json(response.content).items) == count


async def test_a_name_that_is_too_long_is_refused(peer: httpx.AsyncClient) -> None:
    assert (await peer.get("/peer/models", params={"model": "x" * 513})).status_code == 400


@pytest.mark.parametrize("path", ["/peer/models", f"/blobs/{HASH}"])
async def test_who_does_not_share_has_nothing_for_anybody(
    api: httpx.AsyncClient, operator: dict[str, str], keyring: Keyring, path: str
) -> None:
    assert (await api.get(path, headers=operator)).status_code == 404
    assert (await api.get(path, headers=PEER)).status_code == 401
    keyring.admit_peers("the-key-of-the-peers")
    assert (await api.get(path, headers=PEER)).status_code == 404


async def test_the_key_of_the_peers_opens_nothing_else(peer: httpx.AsyncClient) -> None:
    for path in ("/status", "/models", "/workers", "/metrics", "/models/disk-usage"):
        assert (await peer.get(path)).status_code == 403


class Reader:
    """A pool that takes as much as a test lets it."""

    def __init__(self, app: ASGIApp) -> None:
        self.status = 0
        self.taken = 0
        self.begun = asyncio.Event()
        self.may_take = asyncio.Event()
        self.left = asyncio.Event()
        self._task = asyncio.create_task(self._call(app))

    async def _call(self, app: ASGIApp) -> None:
        headers = [(b"host", b"127.0.0.1"), (b"authorization", PEER["authorization"].encode())]
        path = f"/blobs/{HASH}"
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": headers,
            "scheme": "https",
            "client": ("127.0.0.9", 1),
            "server": ("127.0.0.1", 9200),
        }
        await app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.begun.set()
            if self.status == 200:
                await self.may_take.wait()
        else:
            self.taken += len(message.get("body", b""))

    async def ended(self) -> None:
        """Wait until the answer is over."""
        await self._task


async def test_only_so_many_copy_at_a_time_and_a_place_comes_back(
    app: ASGIApp, shared: Watched
) -> None:
    readers = [Reader(app) for _ in range(CONTENTS_AT_ONCE)]
    for reader in readers:
        await reader.begun.wait()
    refused = Reader(app)
    await refused.ended()
    assert refused.status == 503
    for reader in readers:
        reader.may_take.set()
        await reader.ended()
        assert (reader.status, reader.taken) == (200, len(CONTENT))
    again = Reader(app)
    again.may_take.set()
    await again.ended()
    assert again.status == 200
    assert shared.still_open() == 0


async def test_a_reader_that_leaves_gives_its_place_back(app: ASGIApp, shared: Watched) -> None:
    for _ in range(2 * CONTENTS_AT_ONCE):
        reader = Reader(app)
        await reader.begun.wait()
        assert reader.status == 200
        reader.left.set()
        await reader.ended()
    assert shared.still_open() == 0


async def test_a_stop_breaks_off_what_is_being_sent(
    app: ASGIApp, pool: Pool, outgoing: Outgoing, shared: Watched
) -> None:
    reader = Reader(app)
    await reader.begun.wait()
    dataclasses.replace(pool, outgoing=outgoing).begin_stop()
    reader.may_take.set()
    await reader.ended()
    assert reader.status == 200
    assert reader.taken < len(CONTENT)
    assert shared.still_open() == 0


async def test_a_refusal_for_lack_of_places_says_when_to_come_again(
    app: ASGIApp, peer: httpx.AsyncClient, shared: Watched
) -> None:
    readers = [Reader(app) for _ in range(CONTENTS_AT_ONCE)]
    for reader in readers:
        await reader.begun.wait()
    response = await peer.get(f"/blobs/{HASH}")
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    for reader in readers:
        reader.left.set()
        await reader.ended()
    assert shared.still_open() == 0


def test_a_pool_never_counts_itself_among_its_peers() -> None:
    book = PeerBook("attic")
    peers = [Peer(pool_id=name, url="https://x", key=SecretStr("k")) for name in ("attic", "mac")]
    book.learn(peers)
    assert [it.pool_id for it in book.known()] == ["mac"]
    book.learn([])
    assert book.known() == ()
