"""A transfer in a process of its own that is killed, that finds the disk full, or is not alone."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.checkout import ROOT
from support.fake_hub import FakeHub
from support.transfers import File, Site, noise
from support.waiting import until_sync

CONTENT = noise(1_000_000)
SIZE = len(CONTENT)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with FakeHub() as hub, Site(hub, tmp_path) as site:
        yield site


def child(file: File, folder: Path, *more: str) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-m", "support.transfers", file.url, str(file.size_bytes)]
    return subprocess.Popen(
        [*argv, str(file.sha256), str(folder), *more],
        cwd=ROOT / "tests",
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        stdout=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]", code: int = 0) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == code, output
    return output


def test_a_death_at_any_call_leaves_a_beginning_or_the_whole_file(site: Site) -> None:
    content = CONTENT[:300_000]
    file = site.offer(content)
    truth = site.folder / "truth"
    truth.write_bytes(content)
    lines = ended(child(file, site.folder, "--die", str(truth))).splitlines()
    lines = [line for line in lines if line[0].isdecimal()]
    # The last child meets no death of its own: every call that changes the disk had its turn.
    assert lines[-1].endswith(" 0 None 0")
    deaths = [line for line in lines if f" {-signal.SIGKILL} None 0" in line]
    assert len(deaths) == len(lines) - 1
    assert len(deaths) > 20


def test_every_killed_process_leaves_what_it_wrote_to_the_next(site: Site) -> None:
    file = site.offer(CONTENT)
    paths, kept = site.paths(file), 0
    site.hub.faults.hold(threading.Event(), times=4, after_bytes=200_000)
    for _ in range(4):
        site.hub.forget_requests()
        process = child(file, site.folder)
        site.hub.wait_for(lambda seen: seen.sent_bytes >= 200_000, timeout_s=30)
        until_sync(lambda kept=kept: paths.length() > kept, what="bytes on the disk")
        process.kill()
        ended(process, -signal.SIGKILL)
        kept = paths.length()
        assert CONTENT.startswith(paths.part.read_bytes())
    site.hub.forget_requests()
    assert site.fetch(file) == site.into(file)
    assert site.into(file).read_bytes() == CONTENT
    assert site.hub.sent_bytes(file.path) == SIZE - kept


def test_a_full_disk_keeps_what_fits_and_says_what_is_missing(site: Site) -> None:
    file = site.offer(CONTENT)
    output = ended(child(file, site.folder, "--limit", "600000"), 1)
    assert output.startswith(
        "DISK_LOW: the disk is full and 391 KiB of tiny.gguf are still missing"
    )
    assert site.paths(file).part.read_bytes() == CONTENT[:600_000]
    site.hub.forget_requests()
    assert site.fetch(file) == site.into(file)
    assert site.hub.sent_bytes(file.path) == 400_000


def test_two_processes_are_one_transfer(site: Site) -> None:
    file = site.offer(CONTENT)
    first = child(file, site.folder)
    site.hub.wait_for(lambda seen: seen.sent_bytes > 0, timeout_s=30)
    second = child(file, site.folder)
    ended(first)
    ended(second)
    assert site.hub.sent_bytes(file.path) == SIZE
    assert site.into(file).read_bytes() == CONTENT


def test_whoever_waits_names_the_process_and_takes_over_when_it_dies(site: Site) -> None:
    file = site.offer(CONTENT)
    site.hub.faults.hold(threading.Event(), after_bytes=400_000)
    first = child(file, site.folder)
    site.hub.wait_for(lambda seen: seen.sent_bytes >= 400_000, timeout_s=30)
    until_sync(lambda: site.paths(file).length() > 0, what="bytes on the disk")
    site.tell = lambda news: first.kill() if news.note else None
    assert site.fetch(file) == site.into(file)
    ended(first, -signal.SIGKILL)
    assert f"process {first.pid} fetches it already" in site.notes()
    assert site.into(file).read_bytes() == CONTENT
    assert site.content_requests()[-1].range is not None
