"""Whatever lies in a cache, only regular files inside it are told of, and names are only claims."""

import os
from pathlib import Path

import pytest

from pool_core.fetch.hub_cache import CachedFile, HubCache

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHA = "ab" * 32


class Cache:
    """A cache with one repository, laid out by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "hub"
        self.repo = self.folder / "models--acme--tiny"
        self.snapshot = self.repo / "snapshots" / COMMIT
        self.snapshot.mkdir(parents=True)
        (self.repo / "blobs").mkdir()

    def blob(self, name: str = SHA, data: bytes = b"GGUF") -> Path:
        path = self.repo / "blobs" / name
        path.write_bytes(data)
        return path

    def files(self) -> list[CachedFile]:
        return list(HubCache(self.folder).files())

    def claims(self) -> dict[str, str | None]:
        return {file.path: file.sha256 for file in self.files()}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def test_a_link_into_the_blobs_claims_its_name(cache: Cache) -> None:
    cache.blob()
    (cache.snapshot / "sub").mkdir()
    (cache.snapshot / "sub" / "a.gguf").symlink_to(f"../../../blobs/{SHA}")
    assert cache.files() == [
        CachedFile(
            repo="acme/tiny",
            commit=COMMIT,
            path="sub/a.gguf",
            blob=(cache.repo / "blobs" / SHA).resolve(),
            size_bytes=4,
            sha256=SHA,
        )
    ]


def test_a_blob_in_the_shared_store_claims_the_name_of_the_first_step(cache: Cache) -> None:
    shared = cache.folder / "blobs" / "cd" / ("cd" * 32)
    shared.parent.mkdir(parents=True)
    shared.write_bytes(b"GGUF")
    (cache.repo / "blobs" / SHA).symlink_to(os.path.relpath(shared, cache.repo / "blobs"))
    (cache.snapshot / "a.gguf").symlink_to(f"../../blobs/{SHA}")
    (cache.snapshot / "b.gguf").symlink_to(os.path.relpath(shared, cache.snapshot))
    (file, direct) = cache.files()
    assert (file.sha256, file.blob) == (SHA, shared.resolve())
    assert direct.sha256 is None


def test_a_small_file_and_a_file_without_a_link_claim_nothing(cache: Cache) -> None:
    cache.blob("c" * 40)
    (cache.snapshot / "README.md").symlink_to(f"../../blobs/{'c' * 40}")
    (cache.snapshot / SHA).write_bytes(b"GGUF")
    assert cache.claims() == {"README.md": None, SHA: None}


def test_nothing_outside_the_cache_is_told_of(cache: Cache, tmp_path: Path) -> None:
    secret = tmp_path / SHA
    secret.write_bytes(b"secret")
    (cache.snapshot / "a.gguf").symlink_to(secret)
    (cache.repo / "blobs" / SHA).symlink_to(secret)
    (cache.snapshot / "b.gguf").symlink_to(f"../../blobs/{SHA}")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.gguf").write_bytes(b"GGUF")
    (cache.snapshot / "sub").symlink_to(tmp_path / "elsewhere")
    (cache.repo / "snapshots" / ("f" * 40)).symlink_to(tmp_path / "elsewhere")
    (cache.folder / "models--acme--other").symlink_to(cache.repo)
    assert cache.files() == []
    assert list(HubCache(cache.folder).files("acme/other")) == []


def test_only_regular_files_are_told_of(cache: Cache) -> None:
    os.mkfifo(cache.snapshot / "pipe.gguf")
    (cache.snapshot / "gone.gguf").symlink_to("../../blobs/none")
    (cache.snapshot / "loop.gguf").symlink_to("loop.gguf")
    (cache.snapshot / "null.gguf").symlink_to("/dev/null")
    cache.blob(f"{SHA}.0badcafe.incomplete")
    assert cache.files() == []


def test_names_that_no_hub_gives_are_passed_over(cache: Cache) -> None:
    for name in ("datasets--acme--tiny", "models--gpt2", "models--a--b--c--..", "blobs"):
        (cache.folder / name / "snapshots" / COMMIT).mkdir(parents=True)
        (cache.folder / name / "snapshots" / COMMIT / "a.gguf").write_bytes(b"GGUF")
    for name in ("main", COMMIT.upper()):
        (cache.repo / "snapshots" / name).mkdir()
        (cache.repo / "snapshots" / name / "a.gguf").write_bytes(b"GGUF")
    (cache.snapshot / "-rf").write_bytes(b"")
    (cache.snapshot / "back\\slash").write_bytes(b"")
    assert [file.repo for file in cache.files()] == []
    assert list(HubCache(cache.folder).files("acme/..")) == []
    assert list(HubCache(cache.folder).files("../../x")) == []


def test_a_cache_that_is_not_there_is_empty(tmp_path: Path) -> None:
    nowhere = HubCache(tmp_path / "none")
    assert list(nowhere.files()) == []
    assert nowhere.find(SHA) is None
    assert nowhere.commit_of("acme/tiny") is None


def test_a_cache_reached_through_a_link_is_still_the_cache(cache: Cache, tmp_path: Path) -> None:
    cache.blob()
    (cache.snapshot / "a.gguf").symlink_to(f"../../blobs/{SHA}")
    (tmp_path / "link").symlink_to(cache.folder)
    (file,) = HubCache(tmp_path / "link").files()
    assert (file.path, file.sha256) == ("a.gguf", SHA)


def test_a_reference_is_a_short_regular_file_with_a_commit(cache: Cache, tmp_path: Path) -> None:
    refs = cache.repo / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)
    (refs / "bad").write_text("../../../etc")
    (refs / "long").write_text(COMMIT + "0" * 10_000_000)
    (refs / "folder").mkdir()
    os.mkfifo(refs / "pipe")
    (tmp_path / "commit").write_text(COMMIT)
    (refs / "link").symlink_to(tmp_path / "commit")
    known = HubCache(cache.folder)
    assert known.commit_of("acme/tiny") == COMMIT
    for name in ("bad", "long", "folder", "pipe", "link", "none", "../refs/main", "", "/main"):
        assert known.commit_of("acme/tiny", name or "none") is None, name


def test_a_content_is_found_by_its_name_without_reading_any_snapshot(cache: Cache) -> None:
    blob = cache.blob()
    found = HubCache(cache.folder)
    assert found.find(SHA) == found.find(SHA, 4) == blob.resolve()
    assert found.find(SHA, 5) is None
    assert found.find("cd" * 32) is None
    assert found.find("../refs/main") is None


def test_a_content_outside_the_cache_is_not_found(cache: Cache, tmp_path: Path) -> None:
    secret = tmp_path / SHA
    secret.write_bytes(b"secret")
    (cache.repo / "blobs" / SHA).symlink_to(secret)
    (cache.repo / "blobs" / ("cd" * 32)).mkdir()
    os.mkfifo(cache.repo / "blobs" / ("ef" * 32))
    found = HubCache(cache.folder)
    assert [found.find(name * 32) for name in ("ab", "cd", "ef")] == [None, None, None]
