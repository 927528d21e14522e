"""The hub is asked over real sockets, and the cache of its own tools is read as they left it."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from orchestrator_core.catalog.reference import Reference, parse
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.gguf.header import Header
from orchestrator_core.gguf.reading import HeaderReading
from pool_core.catalog.builtin import BuiltinModels
from pool_core.fetch.hub import Hub
from pool_core.fetch.hub_answers import Listing, RemoteFile
from pool_core.fetch.hub_cache import CachedFile, HubCache
from pool_core.fetch.settings import HubSettings, WebSettings
from pool_core.fetch.web import Web
from support.fake_hub import FakeHub, Generated

MODEL = b"GGUF" + bytes(range(256)) * 512
OTHER = MODEL[::-1]
NAME = "tiny-Q4_K_M.gguf"
FILES = {"README.md": b"# A model\n", NAME: MODEL, "UD-Q8_0/big.gguf": OTHER}
TOKEN = "hf_secret"


def reference(text: str) -> Reference:
    read = parse(text)
    assert isinstance(read, Reference)
    return read


@contextmanager
def opened(
    url: str, folder: Path, *, token: str | None = None, offline: bool = False
) -> Iterator[Hub]:
    web = WebSettings(endpoint=url, is_named=True, token=SecretStr(token) if token else None)
    settings = HubSettings(web=web, cache_folder=folder, offline=offline)
    with Web.open(web) as client:
        yield Hub(client, settings, pause=lambda _: None)


@contextmanager
def one_answer(raw: bytes) -> Iterator[str]:
    """The address of somebody who answers the first request with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(65_536)
                client.sendall(raw)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.fixture
def server() -> Iterator[FakeHub]:
    with FakeHub(token=TOKEN) as server:
        yield server


@pytest.fixture
def hub(server: FakeHub, tmp_path: Path) -> Iterator[Hub]:
    with opened(server.url, tmp_path / "cache") as hub:
        yield hub


def listed(hub: Hub, text: str = "hf:acme/tiny") -> Listing:
    listing = hub.listing(reference(text))
    assert isinstance(listing, Listing), listing
    return listing


def refused(answer: object) -> Refusal:
    assert isinstance(answer, Refusal), answer
    return answer


def file_of(listing: Listing, path: str) -> RemoteFile:
    return next(file for file in listing.files if file.path == path)


def test_a_listing_names_its_commit_and_every_file_with_it(server: FakeHub, hub: Hub) -> None:
    server.page_size = 2
    first = server.add("acme/tiny", FILES, license="apache-2.0")
    listing = listed(hub)
    assert (listing.commit, listing.license, listing.gated) == (first, "apache-2.0", False)
    assert {file.path: file.size_bytes for file in listing.files} == {
        path: len(data) for path, data in FILES.items()
    }
    assert file_of(listing, NAME).sha256 == server.sha256("acme/tiny", NAME)
    assert file_of(listing, "README.md").sha256 is None
    assert all(f"/resolve/{first}/" in file.url for file in listing.files)


def test_a_commit_stays_what_it_is_when_the_branch_moves_on(server: FakeHub, hub: Hub) -> None:
    first = server.add("acme/tiny", FILES)
    old = listed(hub)
    later = server.change("acme/tiny", NAME, OTHER)
    assert listed(hub).commit == later
    assert listed(hub, f"hf:acme/tiny@{first}") == old
    assert hub.read_start(file_of(old, NAME), 8) == MODEL[:8]


def test_a_no_of_the_hub_is_told_with_its_next_step(server: FakeHub, hub: Hub) -> None:
    server.add("acme/tiny", FILES)
    server.add("acme/hidden", FILES, private=True)
    server.add("acme/terms", FILES, gated=True)
    for repo in ("acme/nothing", "acme/hidden"):
        refusal = refused(hub.listing(reference(f"hf:{repo}")))
        assert refusal.code is Code.MODEL_NOT_FOUND
        assert "HF_TOKEN" in refusal.message
    assert "no revision v9" in refused(hub.listing(reference("hf:acme/tiny@v9"))).message
    terms = listed(hub, "hf:acme/terms")
    assert terms.gated
    for no in (hub.access(file_of(terms, NAME)), hub.read_start(file_of(terms, NAME), 8)):
        assert refused(no).code is Code.MODEL_GATED
        assert f"{server.url}/acme/terms" in refused(no).message
    assert hub.access(file_of(listed(hub), NAME)) is None
    assert hub.access(file_of(listed(hub), "README.md")) is None


def test_a_token_opens_what_is_private_and_never_leaves_the_hub(
    server: FakeHub, tmp_path: Path
) -> None:
    server.add("acme/hidden", FILES, private=True)
    server.add("acme/terms", FILES, gated=True)
    server.add("acme/unsigned", FILES, gated=True, accepted=False)
    with opened(server.url, tmp_path, token=TOKEN) as hub:
        for repo in ("hidden", "terms"):
            file = file_of(listed(hub, f"hf:acme/{repo}"), NAME)
            assert hub.access(file) is None
            assert hub.read_start(file, 8) == MODEL[:8]
        refusal = refused(hub.access(file_of(listed(hub, "hf:acme/unsigned"), NAME)))
        assert "with the account of HF_TOKEN" in refusal.message
    seen = server.requests
    assert {one.authorization for one in seen if one.leg == "cdn"} == {None}
    assert {one.authorization for one in seen if one.leg == "hub"} == {f"Bearer {TOKEN}"}
    with opened(server.url, tmp_path, token="hf_wrong") as hub:
        refusal = refused(hub.listing(reference("hf:acme/hidden")))
        assert refusal.code is Code.BAD_KEY
        assert "hf_wrong" not in refusal.message


def test_a_busy_hub_and_a_broken_one_are_told_apart(server: FakeHub, hub: Hub) -> None:
    server.add("acme/tiny", FILES)
    server.faults.status(429, retry_after=60)
    refusal = refused(hub.listing(reference("hf:acme/tiny")))
    assert (refusal.code, refusal.retry_after_s) == (Code.RATE, 60)
    assert len(server.requests) == 1
    server.faults.status(503, times=4)
    assert refused(hub.listing(reference("hf:acme/tiny"))).code is Code.UNREACHABLE
    assert len(server.requests) == 5
    listed(hub)


def test_a_listing_survives_a_fault_a_cut_and_a_wish_to_wait(server: FakeHub, hub: Hub) -> None:
    server.add("acme/tiny", FILES)
    server.faults.status(503)
    server.faults.status(429, retry_after=7)
    assert len(listed(hub).files) == len(FILES)
    file = file_of(listed(hub), NAME)
    server.faults.status(502)
    assert hub.access(file) is None


def test_a_page_for_people_in_place_of_a_listing_is_told_as_one(tmp_path: Path) -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\nLog in"
    with one_answer(page) as url, opened(url, tmp_path) as hub:
        refusal = refused(hub.listing(reference("hf:acme/tiny")))
    assert refusal.code is Code.UNREACHABLE
    assert "want a login" in refusal.message


def test_a_repository_with_a_new_name_is_found_by_its_old_one(server: FakeHub, hub: Hub) -> None:
    server.add("acme/tiny", FILES)
    server.rename("acme/tiny", "newer/small")
    listing = listed(hub)
    assert listing.repo == "acme/tiny"
    assert hub.read_start(file_of(listing, NAME), 8) == MODEL[:8]


def test_an_unreachable_hub_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with opened(f"http://127.0.0.1:{port}", tmp_path) as hub:
        refusal = refused(hub.listing(reference("hf:acme/tiny")))
    assert refusal.code is Code.UNREACHABLE
    assert f"127.0.0.1:{port}" in refusal.message
    assert "HF_ENDPOINT" in refusal.message
    assert "HF_HUB_OFFLINE=1" in refusal.message


@pytest.mark.parametrize(
    "lie",
    [
        lambda told: "<html>",
        lambda told: [{**entry, "path": 5} for entry in told],
        lambda told: [{**entry, "size": -1} for entry in told],
        lambda told: told + told,
    ],
)
def test_a_hub_that_lists_nonsense_is_refused(server: FakeHub, hub: Hub, lie: Any) -> None:
    server.add("acme/tiny", FILES)
    server.rewrite = lambda path, told: lie(told) if "/tree/" in path else told
    refusal = refused(hub.listing(reference("hf:acme/tiny")))
    assert refusal.code is Code.INTERNAL
    assert refusal.message.startswith("the hub does not answer like a hub")


def test_a_list_without_an_end_is_given_up(server: FakeHub, hub: Hub) -> None:
    server.add("acme/tiny", FILES)
    server.page_size = 1
    number = count()

    def lie(path: str, told: Any) -> Any:
        entry = {"type": "file", "size": 1, "oid": "0" * 40}
        many = [{**entry, "path": f"{next(number)}.bin"} for _ in range(5001)]
        return many if "/tree/" in path else told

    server.rewrite = lie
    refusal = refused(hub.listing(reference("hf:acme/tiny")))
    assert refusal.code is Code.TOO_LARGE
    assert "more than the 10,000 files" in refusal.message
    assert len(server.requests) == 3


def test_an_answer_of_any_length_is_read_only_so_far(server: FakeHub, hub: Hub) -> None:
    server.add("acme/tiny", FILES)
    huge = b"[" + b" " * (33 << 20) + b"]"
    server.rewrite = lambda path, told: huge if "/tree/" in path else told
    refusal = refused(hub.listing(reference("hf:acme/tiny")))
    assert refusal.code is Code.INTERNAL
    assert "with more than the" in refusal.message


def test_a_header_is_read_without_the_rest_of_the_file(
    server: FakeHub, hub: Hub, tmp_path: Path
) -> None:
    start = (BuiltinModels(entries=()).folder / "tiny-chat.gguf").read_bytes()
    server.add("acme/tiny", {NAME: start})
    file = file_of(listed(hub), NAME)
    server.forget_requests()
    reading, header = HeaderReading(file.size_bytes), None
    while header is None:
        data = hub.read_range(file, reading.read_bytes, reading.wanted_bytes)
        assert isinstance(data, bytes)
        header = reading.add(data)
    assert isinstance(header, Header)
    assert server.sent_bytes(NAME) == reading.read_bytes < len(start)


def test_ranges_ask_the_hub_once_and_follow_the_link_until_it_expires(
    server: FakeHub, hub: Hub
) -> None:
    server.add("acme/tiny", FILES)
    file = file_of(listed(hub), NAME)
    server.forget_requests()
    assert hub.read_start(file, 100) == MODEL[:100]
    assert hub.read_range(file, 100, 300) == MODEL[100:300]
    assert hub.read_range(file, len(MODEL) - 5, len(MODEL) + 50) == MODEL[-5:]
    assert hub.read_range(file, len(MODEL), len(MODEL) + 50) == b""
    assert [seen.leg for seen in server.requests] == ["hub", "cdn", "cdn", "cdn"]
    server.expire_issued_links()
    assert hub.read_range(file, 300, 400) == MODEL[300:400]
    assert [seen.leg for seen in server.requests[4:]] == ["cdn", "hub", "cdn"]
    server.faults.expire_links(times=None)
    refusal = refused(hub.read_range(file, 300, 400))
    assert refusal.code is Code.UNREACHABLE
    assert NAME in refusal.message


def test_a_range_that_is_ignored_costs_no_more_than_was_asked_for(
    server: FakeHub, hub: Hub
) -> None:
    server.add("acme/tiny", {NAME: Generated(64 << 20, head=MODEL)})
    file = file_of(listed(hub), NAME)
    server.faults.ignore_range(times=2)
    assert hub.read_start(file, 1000) == MODEL[:1000]
    assert hub.read_range(file, 1000, 2000) == MODEL[1000:2000]
    assert server.sent_bytes(NAME) < 64 << 20


def test_a_wrong_answer_to_a_range_is_never_taken_for_the_file(server: FakeHub, hub: Hub) -> None:
    server.add("acme/tiny", FILES)
    file = file_of(listed(hub), NAME)
    server.faults.html()
    assert "want a login" in refused(hub.read_start(file, 100)).message
    server.faults.cut_after(50)
    assert refused(hub.read_start(file, 100)).code is Code.UNREACHABLE
    longer = RemoteFile(file.path, file.size_bytes + 1, file.sha256, file.url)
    assert "not as it was listed" in refused(hub.read_start(longer, 100)).message
    assert hub.read_start(file, 100) == MODEL[:100]


def test_offline_nothing_is_asked_and_the_cache_is_told(server: FakeHub, tmp_path: Path) -> None:
    server.add("acme/tiny", FILES)
    cache = download_as_the_client(server, tmp_path, "acme/tiny")
    server.forget_requests()
    with opened(server.url, cache, offline=True) as hub:
        refusal = refused(hub.listing(reference("hf:acme/tiny")))
        assert refusal.code is Code.UNREACHABLE
        assert f"README.md, UD-Q8_0/big.gguf, {NAME}" in refusal.message
        assert "nothing" in refused(hub.listing(reference("hf:acme/other"))).message
        file = RemoteFile(NAME, 5, None, server.file_url("acme/tiny", NAME))
        assert "UD-Q8_0/big.gguf" in refused(hub.access(file)).message
        assert "UD-Q8_0/big.gguf" in refused(hub.read_start(file, 5)).message
    assert server.requests == []


def download_as_the_client(server: FakeHub, home: Path, repo: str, **more: str) -> Path:
    """Fill a cache by the hub's own client."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_ENDPOINT": server.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **more,
    }
    program = "import sys, huggingface_hub as h; h.snapshot_download(sys.argv[1])"
    argv = [sys.executable, "-c", program, repo]
    subprocess.run(argv, env=env, check=True, capture_output=True, timeout=120)
    return home / "hf" / "hub"


def content(files: Iterator[CachedFile]) -> dict[str, tuple[bytes, str | None]]:
    return {file.path: (file.blob.read_bytes(), file.sha256) for file in files}


def test_the_cache_of_the_hubs_own_client_is_read_with_what_its_names_claim(
    server: FakeHub, tmp_path: Path
) -> None:
    first = server.add("acme/tiny", FILES)
    cache = HubCache(download_as_the_client(server, tmp_path, "acme/tiny"))
    later = server.change("acme/tiny", NAME, OTHER)
    download_as_the_client(server, tmp_path, "acme/tiny")
    before, now = server.sha256("acme/tiny", "UD-Q8_0/big.gguf"), server.sha256("acme/tiny", NAME)
    large = content(cache.files("acme/tiny", first))
    assert {path: data for path, (data, _) in large.items()} == FILES
    assert large["README.md"][1] is None
    assert large["UD-Q8_0/big.gguf"][1] == before
    assert {file.commit for file in cache.files()} == {first, later}
    assert cache.commit_of("acme/tiny") == cache.commit_of("acme/tiny", later) == later
    assert cache.commit_of("acme/tiny", "v9") is None
    assert cache.commit_of("acme/tiny", "../../x") is None
    assert cache.commit_of("acme/other") is None
    found = cache.find(now, len(OTHER))
    assert found is not None
    assert found.read_bytes() == OTHER
    assert cache.find(now, 1) is None
    assert cache.find("0" * 64) is None


def test_a_cache_without_links_has_whole_files_and_claims_nothing(
    server: FakeHub, tmp_path: Path
) -> None:
    server.add("acme/tiny", FILES)
    folder = download_as_the_client(server, tmp_path, "acme/tiny", HF_HUB_DISABLE_SYMLINKS="1")
    files = content(HubCache(folder).files())
    assert files == {path: (data, None) for path, data in FILES.items()}
