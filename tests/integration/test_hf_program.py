"""The hub's own program downloads from the fake hub, and leaves nothing behind that we did not ask."""

import hashlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from orchestrator_core.clock import SystemClock
from orchestrator_core.errors import Code, Refusal
from pool_core.fetch.hf_command import HfOrder
from pool_core.fetch.hf_program import HfProgram
from pool_core.fetch.hub_answers import RemoteFile
from pool_core.fetch.settings import HubSettings, WebSettings
from support.fake_hub import FakeHub, Generated
from support.waiting import until_sync

MODEL = b"GGUF" + bytes(range(256)) * 512
NAME = "UD-Q8_0/tiny-Q8_0.gguf"
TOKEN = "hf_secret"
NEVER = threading.Event()


@pytest.fixture
def server() -> Iterator[FakeHub]:
    with FakeHub(token=TOKEN) as server:
        yield server


def settings(url: str, *, token: str | None = None, offline: bool = False) -> HubSettings:
    web = WebSettings(endpoint=url, is_named=True, token=SecretStr(token) if token else None)
    return HubSettings(web=web, cache_folder=Path("/nowhere"), offline=offline)


def program(server: FakeHub, **more: str) -> HfProgram:
    # A test may itself run with a login of its own, so the program gets only what it needs.
    env = {"PATH": os.environ["PATH"], "HF_HUB_DISABLE_XET": "1"}
    known = settings(server.url, **more)  # type: ignore[arg-type]
    found = HfProgram.find(known, env, SystemClock(), beside=Path(sys.executable))
    assert isinstance(found, HfProgram)
    return found


def order(server: FakeHub, folder: Path, repo: str = "acme/tiny", name: str = NAME) -> HfOrder:
    made = server.repository(repo)
    assert made is not None
    commit = made.branches["main"]
    entry = made.commits[commit][NAME]
    url = server.file_url(repo, name, commit)
    file = RemoteFile(name, entry.content.size_bytes, entry.sha256, url)
    return HfOrder(repo, commit, file, folder / "partial" / "hf")


def refused(answer: object) -> Refusal:
    assert isinstance(answer, Refusal), answer
    return answer


def processes_below(folder: Path) -> list[psutil.Process]:
    def lies_there(process: psutil.Process) -> bool:
        try:
            return process.cwd().startswith(str(folder))
        except psutil.Error:
            return False

    return [process for process in psutil.process_iter() if lies_there(process)]


def test_a_file_is_brought_with_progress_and_nothing_lies_elsewhere(
    server: FakeHub, tmp_path: Path
) -> None:
    server.add("acme/tiny", {NAME: MODEL})
    told: list[int] = []
    wanted = order(server, tmp_path)
    path = program(server).fetch(wanted, tell=told.append, cancel=NEVER)
    assert isinstance(path, Path)
    assert path == wanted.target
    assert path.read_bytes() == MODEL
    assert told == sorted(told)
    assert told[-1] == len(MODEL)
    assert [entry.name for entry in tmp_path.iterdir()] == ["partial"]
    assert {seen.authorization for seen in server.requests} == {None}


def test_the_token_reaches_the_hub_and_neither_the_cdn_nor_the_command_line(
    server: FakeHub, tmp_path: Path
) -> None:
    server.add("acme/hidden", {NAME: MODEL}, private=True)
    gate, cancel, lines = threading.Event(), threading.Event(), list[str]()
    server.faults.hold(gate)
    wanted = order(server, tmp_path, "acme/hidden")
    answers: list[Path | Refusal] = []

    def fetch() -> None:
        found = program(server, token=TOKEN)
        answers.append(found.fetch(wanted, tell=lambda count: None, cancel=cancel))

    thread = threading.Thread(target=fetch)
    thread.start()
    server.wait_for(lambda seen: seen.leg == "cdn" and seen.status == 200)
    for process in processes_below(tmp_path):
        lines += process.cmdline()
    gate.set()
    thread.join()
    assert answers == [wanted.target]
    assert "download" in lines
    assert not any(TOKEN in line for line in lines)
    sent = {seen.authorization for seen in server.requests if seen.leg == "cdn"}
    assert sent == {None}


def test_wrong_bytes_of_equal_size_are_left_for_the_caller_to_find(
    server: FakeHub, tmp_path: Path
) -> None:
    server.add("acme/tiny", {NAME: MODEL})
    server.faults.wrong_bytes()
    path = program(server).fetch(order(server, tmp_path), tell=lambda count: None, cancel=NEVER)
    assert isinstance(path, Path)
    found = path.read_bytes()
    assert len(found) == len(MODEL)
    assert hashlib.sha256(found).hexdigest() != server.sha256("acme/tiny", NAME)


def test_a_failure_is_the_programs_own_line_without_links(server: FakeHub, tmp_path: Path) -> None:
    server.add("acme/tiny", {NAME: MODEL})
    hf = program(server)
    absent = order(server, tmp_path, name="no.gguf")
    refusal = refused(hf.fetch(absent, tell=lambda count: None, cancel=NEVER))
    assert refusal.code is Code.UNREACHABLE
    assert refusal.message.startswith("hf could not download no.gguf: Error: ")
    server.faults.status(403, times=None, leg="cdn")
    refusal = refused(hf.fetch(order(server, tmp_path), tell=lambda count: None, cancel=NEVER))
    assert "403" in refusal.message
    assert "Signature" not in refusal.message


def test_a_cancelled_download_leaves_no_process(server: FakeHub, tmp_path: Path) -> None:
    server.add("acme/tiny", {NAME: Generated(40_000_000, head=b"GGUF")})
    cancel, gate, answers = threading.Event(), threading.Event(), list[Path | Refusal]()
    told: list[int] = []
    server.faults.hold(gate, after_bytes=25_000_000)
    wanted = order(server, tmp_path)

    def fetch() -> None:
        answers.append(program(server).fetch(wanted, tell=told.append, cancel=cancel))

    thread = threading.Thread(target=fetch)
    thread.start()
    server.wait_for(lambda seen: seen.sent_bytes == 25_000_000)
    # The program writes its file in large pieces, and what has come is told from the file.
    until_sync(lambda: told and 10_000_000 <= told[-1] <= 25_000_000, what="progress")
    assert processes_below(tmp_path)
    cancel.set()
    thread.join()
    assert refused(answers[0]).code is Code.CANCELLED
    until_sync(lambda: not processes_below(tmp_path), what="the end of hf")


def test_an_interrupted_caller_leaves_no_process(server: FakeHub, tmp_path: Path) -> None:
    server.add("acme/tiny", {NAME: MODEL})

    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        program(server).fetch(order(server, tmp_path), tell=interrupt, cancel=NEVER)
    until_sync(lambda: not processes_below(tmp_path), what="the end of hf")


def test_a_program_that_is_missing_or_broken_is_one_clear_line(
    server: FakeHub, tmp_path: Path
) -> None:
    server.add("acme/tiny", {NAME: MODEL})
    known = settings(server.url)
    missing = HfProgram.find(known, {"PATH": str(tmp_path)}, SystemClock(), beside=tmp_path / "py")
    assert refused(missing).code is Code.NOT_FOUND
    assert "pipx install huggingface_hub" in refused(missing).message
    broken = HfProgram(tmp_path / "hf", known, {}, SystemClock())
    refusal = refused(broken.fetch(order(server, tmp_path), tell=lambda c: None, cancel=NEVER))
    assert "cannot be started" in refusal.message


def test_a_program_that_leaves_something_else_is_not_believed(
    server: FakeHub, tmp_path: Path
) -> None:
    server.add("acme/tiny", {NAME: MODEL})
    script = tmp_path / "hf"
    wanted = order(server, tmp_path)
    cases = {
        "true": "left no file",
        f"mkdir -p '{wanted.target.parent}'; echo x > '{wanted.target}'": "hf left 2 bytes of",
        f"rm '{wanted.target}'; ln -s /etc/passwd '{wanted.target}'": "hf left",
        "exit 3": "it ended with code 3",
    }
    for body, reason in cases.items():
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)
        hf = HfProgram(script, settings(server.url), {"PATH": os.environ["PATH"]}, SystemClock())
        assert reason in refused(hf.fetch(wanted, tell=lambda c: None, cancel=NEVER)).message


def test_offline_the_program_is_not_even_started(server: FakeHub, tmp_path: Path) -> None:
    server.add("acme/tiny", {NAME: MODEL})
    hf = HfProgram(tmp_path / "none", settings(server.url, offline=True), {}, SystemClock())
    refusal = refused(hf.fetch(order(server, tmp_path), tell=lambda c: None, cancel=NEVER))
    assert "HF_HUB_OFFLINE" in refusal.message
    assert not (tmp_path / "partial").exists()
