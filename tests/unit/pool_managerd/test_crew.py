"""A bounded number of threads with a bounded line before them, and what their work comes to."""

import asyncio
import errno
import threading
from collections.abc import AsyncIterator

import pytest

from orchestrator_core.errors import Code, PeerError, Refusal
from pool_managerd.runtime.crew import Crew, outcome_of


class Work:
    """Something that goes on in a thread until the test lets it end."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.may_end = threading.Event()

    def __call__(self) -> str:
        self.began.set()
        assert self.may_end.wait(20)
        return threading.current_thread().name


@pytest.fixture
async def work() -> AsyncIterator[Work]:
    work = Work()
    yield work
    work.may_end.set()


def begin(crew: Crew, work: Work) -> asyncio.Future[str]:
    future = crew.start(work)
    assert not isinstance(future, Refusal)
    return future


async def test_work_is_done_in_a_thread_of_the_crew(work: Work) -> None:
    work.may_end.set()
    assert await begin(Crew("diggers", size=1, waiting_max=0), work) == "diggers"


async def test_only_so_many_work_at_once_and_the_others_follow_in_turn(work: Work) -> None:
    crew, second, third = Crew("diggers", size=1, waiting_max=2), Work(), Work()
    turns: list[str] = []
    first = begin(crew, work)
    crew.start(second, on_turn=lambda: turns.append("second"))
    last = crew.start(third, on_turn=lambda: turns.append("third"))
    assert not isinstance(last, Refusal)
    assert (turns, second.began.is_set()) == ([], False)
    work.may_end.set()
    await first
    assert (turns, third.began.is_set()) == (["second"], False)
    second.may_end.set()
    third.may_end.set()
    await last
    assert turns == ["second", "third"]


async def test_a_full_line_is_refused_until_somebody_leaves_it(work: Work) -> None:
    crew, other = Crew("diggers", size=1, waiting_max=1), Work()
    first, second = begin(crew, work), begin(crew, other)
    refused = crew.start(other)
    assert isinstance(refused, Refusal)
    assert (refused.code, "too many diggers" in refused.message) == (Code.RATE, True)
    second.cancel()
    third = begin(crew, other)
    work.may_end.set()
    other.may_end.set()
    assert await asyncio.gather(first, third) == ["diggers", "diggers"]


async def test_what_is_cancelled_before_its_turn_is_never_done(work: Work) -> None:
    crew, never = Crew("diggers", size=1, waiting_max=1), Work()
    first, second = begin(crew, work), begin(crew, never)
    second.cancel()
    work.may_end.set()
    await first
    assert await crew.rest(20)
    assert not never.began.is_set()


async def test_a_thread_that_hangs_is_not_waited_for_beyond_the_time(work: Work) -> None:
    crew = Crew("diggers", size=1, waiting_max=0)
    assert await crew.rest(0)
    future = begin(crew, work)
    assert not await crew.rest(0)
    work.may_end.set()
    await future
    assert await crew.rest(20)


async def test_no_thread_keeps_the_process_alive(work: Work) -> None:
    begin(Crew("diggers", size=1, waiting_max=0), work)
    assert all(it.daemon for it in threading.enumerate() if it.name == "diggers")


async def test_a_host_without_threads_says_so(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    crew = Crew("diggers", size=1, waiting_max=0)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        future = begin(crew, work)
    refused = outcome_of(future, "digging")
    assert isinstance(refused, Refusal)
    assert refused.code is Code.NO_CAPACITY
    work.may_end.set()
    assert await begin(crew, work) == "diggers"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (PeerError(Refusal(Code.UNREACHABLE, "the hub is away")), Code.UNREACHABLE, "the hub is away"),
        (OSError(errno.ENOSPC, "No space left"), Code.DISK_LOW, "digging failed: No space left"),
        (OSError(errno.EACCES, "Denied", "/m"), Code.INTERNAL, "digging failed: /m: Denied"),
        (ValueError("secret"), Code.INTERNAL, "digging failed; the log of pool-managerd says why"),
    ],
)  # fmt: skip
async def test_a_failure_becomes_one_line(error: Exception, code: Code, line: str) -> None:
    def fail() -> None:
        raise error

    future = Crew("diggers", size=1, waiting_max=0).start(fail)
    assert not isinstance(future, Refusal)
    await asyncio.wait({future})
    assert outcome_of(future, "digging") == Refusal(code, line)


async def test_what_nobody_foresaw_is_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    future: asyncio.Future[int | Refusal] = asyncio.get_running_loop().create_future()
    future.set_exception(ValueError("the secret inside"))
    assert isinstance(outcome_of(future, "digging"), Refusal)
    assert "the secret inside" in capsys.readouterr().out


async def test_cancelled_work_says_so() -> None:
    future: asyncio.Future[int | Refusal] = asyncio.get_running_loop().create_future()
    future.cancel()
    assert outcome_of(future, "digging") == Refusal(Code.CANCELLED, "digging was cancelled")


def test_work_that_outlives_its_loop_ends_in_silence() -> None:
    work = Work()

    async def begin_only() -> threading.Thread:
        begin(Crew("diggers", size=1, waiting_max=0), work)
        return next(it for it in threading.enumerate() if it.name == "diggers")

    thread = asyncio.run(begin_only())
    work.may_end.set()
    thread.join(20)
    assert not thread.is_alive()
