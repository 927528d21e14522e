"""Logs stay small under a writer that knows nothing of it, and old ones go."""

import asyncio
import errno
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator_core.units import MIB
from pool_core.workers import log_cutting
from pool_core.workers.log_cutting import (
    Cut,
    How,
    cut_log,
    fallocate,
    keep_logs_small,
    mark_start,
    prune_logs,
    worker_name_of,
)
from pool_core.workers.logs import LogReader, tail

# Writes numbered lines in bursts: as many as the next line on stdin says.
WRITER = """
import sys
number = 0
for order in sys.stdin:
    for _ in range(int(order)):
        print("line", number, "of a worker that writes and writes")
        number += 1
    sys.stdout.flush()
    print("done", file=sys.stderr, flush=True)
"""
BURST, BURSTS = 10_000, 8
COLLAPSE = 8


def without_collapse(fd: int, mode: int, offset: int, length: int) -> None:
    if mode == COLLAPSE:
        raise OSError(errno.EOPNOTSUPP, "not here")
    fallocate(fd, mode, offset, length)


def without_anything(fd: int, mode: int, offset: int, length: int) -> None:
    raise OSError(errno.EOPNOTSUPP, "not here")


@pytest.fixture
def memory_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where heads cannot be collapsed; another one where there is none."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def big(log: Path, size_bytes: int) -> Path:
    line = b"a line of some length, again and again\n"
    log.write_bytes(line * (size_bytes // len(line) + 1))
    return log


class Cutter(threading.Thread):
    """Cuts whenever it can, as fast as it can."""

    def __init__(self, log: Path, allocate: object = fallocate) -> None:
        super().__init__()
        self.log, self.allocate = log, allocate
        self.stopping = threading.Event()
        self.cuts: list[Cut] = []

    def run(self) -> None:
        while not self.stopping.is_set():
            cut = cut_log(
                self.log,
                has_writer=True,
                limit_bytes=MIB,
                kept_bytes=MIB * 3 // 4,
                allocate=self.allocate,
            )
            if cut is not None:
                self.cuts.append(cut)


def follow_under_cuts(log: Path, allocate: object = fallocate) -> tuple[list[str], list[Cut]]:
    """What a follower sees of a live writer whose log is cut all the time."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    out = os.open(log, flags, 0o600)
    argv = [sys.executable, "-c", WRITER]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=out, stderr=pipe, text=True) as writer:
        os.close(out)
        assert writer.stdin is not None
        assert writer.stderr is not None
        reader, seen = LogReader(log, 0), list[str]()
        reader.read()
        cutter = Cutter(log, allocate)
        cutter.start()
        try:
            for burst in range(1, BURSTS + 1):
                writer.stdin.write(f"{BURST}\n")
                writer.stdin.flush()
                while len(seen) < burst * BURST and writer.poll() is None:
                    seen += reader.read()
                assert writer.stderr.readline() == "done\n"
        finally:
            cutter.stopping.set()
            cutter.join()
            writer.stdin.close()
    return seen, cutter.cuts


def check_follower(seen: list[str], cuts: list[Cut]) -> None:
    words = [f"line {number} of a worker that writes and writes" for number in range(len(seen))]
    assert seen == words
    assert len(seen) == BURST * BURSTS
    assert len(cuts) >= 3


def test_a_follower_loses_and_doubles_nothing_while_heads_are_cut(tmp_path: Path) -> None:
    seen, cuts = follow_under_cuts(tmp_path / "wrk_a.log")
    check_follower(seen, cuts)
    assert {cut.how for cut in cuts} <= {How.COLLAPSED, How.PUNCHED}


def test_a_follower_loses_and_doubles_nothing_while_holes_are_punched(tmp_path: Path) -> None:
    seen, cuts = follow_under_cuts(tmp_path / "wrk_a.log", without_collapse)
    check_follower(seen, cuts)
    assert {cut.how for cut in cuts} == {How.PUNCHED}


def test_a_follower_loses_and_doubles_nothing_in_memory(memory_folder: Path) -> None:
    check_follower(*follow_under_cuts(memory_folder / "wrk_a.log"))


def test_a_cut_log_really_is_smaller_and_begins_with_a_whole_line(tmp_path: Path) -> None:
    log = big(tmp_path / "wrk_a.log", 3 * MIB)
    cut = cut_log(log, has_writer=True, limit_bytes=2 * MIB, kept_bytes=MIB)
    assert cut is not None
    assert log.stat().st_blocks * 512 < 1.1 * MIB
    assert set(tail(log, 100_000)) == {"a line of some length, again and again"}
    assert cut_log(log, has_writer=True, limit_bytes=2 * MIB, kept_bytes=MIB) is None


def test_a_punched_log_is_judged_by_what_it_really_takes(tmp_path: Path) -> None:
    log = big(tmp_path / "wrk_a.log", 3 * MIB)
    for _ in range(3):
        cut = cut_log(
            log, has_writer=True, limit_bytes=2 * MIB, kept_bytes=MIB, allocate=without_collapse
        )
        assert cut is not None
        assert cut.how is How.PUNCHED
        assert cut.freed_bytes > MIB
        with log.open("ab") as stream:
            stream.write(b"a line of some length, again and again\n" * 40_000)
    assert log.stat().st_size > 7 * MIB
    assert set(tail(log, 100_000)) == {"a line of some length, again and again"}


def test_where_nothing_works_a_log_is_left_until_its_worker_ends(tmp_path: Path) -> None:
    log = big(tmp_path / "wrk_a.log", 3 * MIB)
    sizes = {"limit_bytes": 2 * MIB, "kept_bytes": MIB, "allocate": without_anything}
    before = log.stat().st_size
    assert cut_log(log, has_writer=True, **sizes) == Cut(How.LEFT)
    assert log.stat().st_size == before
    cut = cut_log(log, has_writer=False, **sizes)
    assert cut is not None
    assert cut.how is How.REWRITTEN
    assert log.stat().st_size <= MIB
    assert set(tail(log, 100_000)) == {"a line of some length, again and again"}


def test_a_full_disk_leaves_the_log_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    log = big(tmp_path / "wrk_a.log", 3 * MIB)
    before = log.stat().st_size
    monkeypatch.setattr(log_cutting, "write_atomically", full)
    sizes = {"limit_bytes": 2 * MIB, "kept_bytes": MIB, "allocate": without_anything}
    assert cut_log(log, has_writer=False, **sizes) == Cut(How.LEFT)
    assert log.stat().st_size == before


def test_where_nothing_works_a_huge_log_is_emptied_and_says_so(tmp_path: Path) -> None:
    log = big(tmp_path / "wrk_a.log", 9 * MIB)
    cut = cut_log(
        log, has_writer=True, limit_bytes=2 * MIB, kept_bytes=MIB, allocate=without_anything
    )
    assert cut is not None
    assert cut.how is How.TRUNCATED
    assert tail(log, 10) == [
        "llorch-pool: 9 MiB were dropped: this filesystem cuts only whole logs"
    ]


def test_small_missing_and_linked_logs_are_left_alone(tmp_path: Path) -> None:
    log = big(tmp_path / "wrk_a.log", MIB)
    assert cut_log(log, has_writer=True) is None
    assert cut_log(tmp_path / "none.log", has_writer=True) is None
    link = tmp_path / "wrk_b.log"
    link.symlink_to(log)
    assert cut_log(link, has_writer=False, limit_bytes=1000, kept_bytes=500) is None
    assert log.stat().st_size > MIB - 100


async def test_every_log_of_a_folder_is_looked_after(tmp_path: Path) -> None:
    logs = [big(tmp_path / f"wrk_{name}.log", 17 * MIB) for name in "ab"]
    asked: list[str] = []

    def is_alive(worker_id: str) -> bool:
        asked.append(worker_id)
        return True

    rounds = asyncio.Event()

    async def wait(_pause_s: float) -> None:
        rounds.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(keep_logs_small(tmp_path, is_alive, wait=wait))
        await rounds.wait()
        keeping.cancel()
    assert asked == ["wrk_a", "wrk_b"]
    assert all(log.stat().st_blocks * 512 < 9 * MIB for log in logs)


async def test_a_daemon_that_never_rests_keeps_few_logs_of_the_ended_too(tmp_path: Path) -> None:
    for age in range(9):
        write_log(tmp_path, f"wrk_{age}", "worker-cpu-0", age)
    rounds = asyncio.Event()

    async def wait(_seconds: float) -> None:
        rounds.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(
            keep_logs_small(tmp_path, lambda worker: worker == "wrk_8", wait=wait)
        )
        await rounds.wait()
        keeping.cancel()
    assert stems(tmp_path) == ["wrk_0", "wrk_1", "wrk_2", "wrk_3", "wrk_4", "wrk_8"]


def test_the_first_line_of_a_log_tells_whose_it_is(tmp_path: Path) -> None:
    log = tmp_path / "wrk_a.log"
    for incarnation in (1, 2):
        at = "2026-01-01T00:00:00.000Z"
        mark_start(log, worker_name="worker-cpu-0", incarnation=incarnation, at=at)
    assert worker_name_of(log) == "worker-cpu-0"
    assert json.loads(tail(log, 1)[0])["incarnation"] == 2
    assert log.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"\xff\0", b"[1]\n", b'{"worker": 4}\n', b"{" * 600])
def test_a_log_without_its_first_line_is_nobodys(tmp_path: Path, content: bytes) -> None:
    log = tmp_path / "wrk_a.log"
    log.write_bytes(content)
    assert worker_name_of(log) is None
    assert worker_name_of(tmp_path / "none.log") is None


def stems(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.iterdir())


def write_log(folder: Path, worker_id: str, name: str | None, age: int) -> None:
    log = folder / f"{worker_id}.log"
    if name is None:
        log.write_text("words\n")
    else:
        mark_start(log, worker_name=name, incarnation=1, at="2026-01-01T00:00:00.000Z")
    os.utime(log, (1_000_000 - age, 1_000_000 - age))


def test_five_logs_of_a_name_are_kept_and_those_of_the_living(tmp_path: Path) -> None:
    for number in range(8):
        write_log(tmp_path, f"wrk_{number}", "worker-cpu-0", age=number)
    write_log(tmp_path, "wrk_other", "worker-cpu-1", age=99)
    removed = prune_logs(tmp_path, {"wrk_7"})
    assert [path.stem for path in removed] == ["wrk_5", "wrk_6"]
    left = {path.stem for path in tmp_path.iterdir()}
    assert left == {"wrk_0", "wrk_1", "wrk_2", "wrk_3", "wrk_4", "wrk_7", "wrk_other"}


def test_fifty_logs_are_kept_in_all(tmp_path: Path) -> None:
    for number in range(60):
        write_log(tmp_path, f"wrk_{number:02d}", None, age=number)
    assert len(prune_logs(tmp_path, set())) == 10
    assert max(path.stem for path in tmp_path.iterdir()) == "wrk_49"
