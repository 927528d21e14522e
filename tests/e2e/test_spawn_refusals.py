"""What cannot run is refused by name and reason before anything starts, with and without a daemon."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pool_core.catalog import builtin
from support.home import Finished, Home
from support.stub_gpus import StubGpus, build_stub

pytestmark = pytest.mark.e2e

TINY = Path(builtin.__file__).parent / "models" / "tiny-chat.gguf"

MODES = ["direct", "daemon"]


@pytest.fixture(params=MODES)
def home(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Home]:
    """A pool without a daemon, then one with it."""
    home = Home(tmp_path / "home")
    home.folder.mkdir()
    if request.param == "daemon":
        home.pool("daemon", "start").must()
    yield home
    # Whatever was refused, nothing was started and nothing was left behind.
    assert home.workers() == []
    assert list((home.state / "pool" / "workers").glob("*.json")) == []
    assert home.pool("worker", "list", "--format", "json").must().json() == []
    home.pool("daemon", "stop", "--workers").must()


@pytest.fixture(params=MODES)
def cuda_home(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Home]:
    """The same on a host with two NVIDIA cards."""
    gpus = StubGpus(build_stub(tmp_path_factory), tmp_path / "gpus.txt")
    home = Home(tmp_path / "home", gpus.env)
    home.folder.mkdir()
    if request.param == "daemon":
        home.pool("daemon", "start").must()
    yield home
    assert home.workers() == []
    home.pool("daemon", "stop", "--workers").must()


def spawn(home: Home, *words: str, backend: str = "cpu") -> Finished:
    return home.pool("worker", "spawn", backend, *words)


def refused(done: Finished, *words: str, code: int = 1) -> None:
    """One line on stderr that says all of this, nothing on stdout."""
    assert (done.code, done.out) == (code, ""), (done.code, done.out, done.err)
    (line,) = done.err.strip().splitlines()
    for word in words:
        assert word in line, line


def test_a_backend_that_this_host_cannot_have(home: Home) -> None:
    done = spawn(home, "--model", "tiny-chat", backend="metal")
    refused(done, "metal needs a Mac", "BACKEND_UNAVAILABLE")


def test_a_backend_without_a_card(home: Home) -> None:
    done = spawn(home, "--model", "tiny-chat", backend="cuda")
    refused(done, "cuda", "NVIDIA", "BACKEND_UNAVAILABLE")


def test_a_card_without_an_engine_for_it(cuda_home: Home) -> None:
    done = spawn(cuda_home, "--model", "tiny-chat", backend="cuda")
    refused(done, "no engine build for cuda is installed on this host", "BACKEND_UNAVAILABLE")


def test_a_card_that_is_not_there(cuda_home: Home) -> None:
    done = spawn(cuda_home, "--model", "tiny-chat", "--gpu", "7", backend="cuda")
    refused(done, "7", "0", "1", "BACKEND_UNAVAILABLE")


def test_an_unknown_model(home: Home) -> None:
    done = spawn(home, "--model", "tiny-chta")
    refused(done, "tiny-chta", "nearest: tiny-chat", "MODEL_NOT_FOUND", code=3)


def test_a_file_that_is_not_there(home: Home) -> None:
    refused(spawn(home, "--model", "/nowhere/a.gguf"), "/nowhere/a.gguf", "MODEL_NOT_FOUND", code=3)


def test_a_device_is_no_model(home: Home) -> None:
    done = spawn(home, "--model", "/dev/zero")
    refused(done, "/dev/zero", "a device, not a file", "INVALID_REQUEST")


def test_a_folder_is_no_model(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "folder.gguf"
    folder.mkdir()
    refused(spawn(home, "--model", str(folder)), "a folder, not a file", "INVALID_REQUEST")


def test_a_pipe_is_no_model_and_does_not_hang(home: Home, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.gguf"
    os.mkfifo(pipe)
    refused(spawn(home, "--model", str(pipe)), "a named pipe, not a file", "INVALID_REQUEST")


def test_a_web_page_is_no_model(home: Home, tmp_path: Path) -> None:
    page = tmp_path / "page.gguf"
    page.write_text("<!DOCTYPE html><html><body>404</body></html>")
    refused(spawn(home, "--model", str(page)), "web page", "MODEL_INCOMPATIBLE")


@pytest.mark.parametrize("kept", [12, 4000, 500_000])
def test_half_a_model_is_no_model(home: Home, tmp_path: Path, kept: int) -> None:
    half = tmp_path / "half.gguf"
    half.write_bytes(TINY.read_bytes()[:kept])
    refused(spawn(home, "--model", str(half)), "incomplete", "MODEL_INCOMPATIBLE")


def test_a_model_from_the_future(home: Home, tmp_path: Path) -> None:
    strange = tmp_path / "strange.gguf"
    strange.write_bytes(TINY.read_bytes().replace(b"llama", b"zzz99"))
    done = spawn(home, "--model", str(strange))
    refused(done, "unknown model architecture zzz99; engine b", "MODEL_INCOMPATIBLE")


def test_more_context_than_the_model_was_trained_for(home: Home) -> None:
    done = spawn(home, "--model", "tiny-chat", "--ctx", "4096")
    refused(done, "ctx", "1024", "INVALID_REQUEST")


def test_more_threads_than_there_are_processors(home: Home) -> None:
    done = spawn(home, "--model", "tiny-chat", "--threads", "1000")
    refused(done, "threads", "INVALID_REQUEST")
