"""The window on a job's newest events, and how readers wait for more."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.contracts.tasks import EventKind
from orchestrator_core.stream.sse import SseDecoder
from orchestrator_core.units import KIB, MIB
from orchestratord.runtime.jobs.joblog import JobLog, LogBudget, event_frame, is_terminal


def log_with(count: int, first: int = 1) -> JobLog:
    log = JobLog(first - 1)
    for seq in range(first, first + count):
        log.commit(seq, EventKind.TOKEN, f'{{"t":"{seq}"}}')
    return log


def test_a_reader_gets_exactly_what_is_behind_its_cursor() -> None:
    log = log_with(3)
    assert [len(log.after(seq) or ()) for seq in range(4)] == [3, 2, 1, 0]
    assert log.after(1) == [event_frame(2, EventKind.TOKEN, '{"t":"2"}'),
                            event_frame(3, EventKind.TOKEN, '{"t":"3"}')]  # fmt: skip
    assert log.last_seq == 3


def test_a_cursor_before_the_window_belongs_to_the_store() -> None:
    log = log_with(2, first=5)
    assert log.after(3) is None
    assert len(log.after(4) or ()) == 2
    assert JobLog(7).after(6) is None
    assert JobLog(7).after(7) == []


def test_a_cursor_from_the_future_gets_nothing_yet() -> None:
    assert log_with(2).after(9) == []


def test_old_events_leave_the_window_and_the_newest_always_stays() -> None:
    log = JobLog(0)
    for seq in range(1, 6):
        log.commit(seq, EventKind.TOKEN, "x" * (MIB // 2))
    assert log.after(0) is None
    newest = log.after(4)
    assert newest is not None
    assert len(newest) == 1
    log.commit(6, EventKind.TOKEN, "x" * (2 * MIB))
    assert len(log.after(5) or ()) == 1


@given(st.lists(st.integers(min_value=1, max_value=600_000), min_size=1, max_size=12))
def test_the_window_is_one_piece_that_ends_with_the_last_event(sizes: list[int]) -> None:
    log = JobLog(10)
    for number, size in enumerate(sizes):
        log.commit(11 + number, EventKind.TOKEN, "x" * size)
    first = next(seq for seq in range(10, 11 + len(sizes)) if log.after(seq) is not None)
    frames = log.after(first)
    assert frames is not None
    ids = [event.id for event in SseDecoder(2 * MIB).feed(b"".join(frames))]
    assert ids == [str(seq) for seq in range(first + 1, 11 + len(sizes))]
    assert len(frames) == 1 or sum(map(len, frames)) <= MIB


def test_all_windows_together_are_bounded_and_an_ended_job_takes_no_part() -> None:
    budget = LogBudget(4 * MIB)
    logs = [JobLog(0, budget) for _ in range(100)]
    for seq in range(1, 200):
        for log in logs:
            log.commit(seq, EventKind.TOKEN, "x" * 8 * KIB)
    assert budget.used_bytes <= 4 * MIB + 100 * 17 * KIB
    # Whoever is only a moment behind still reads the log.
    assert all(log.after(198) for log in logs)
    for log in logs:
        log.commit(200, EventKind.END, "{}")
        log.release()
        assert [len(frame) for frame in log.after(199) or ()] == [
            len(event_frame(200, EventKind.END, "{}"))
        ]
    assert budget.used_bytes == 0


def test_only_the_terminal_event_ends_the_log() -> None:
    log = log_with(1)
    assert not log.ended
    log.commit(2, EventKind.ERROR, "{}")
    assert log.ended
    assert [kind for kind in EventKind if is_terminal(kind)] == [EventKind.END, EventKind.ERROR]


async def test_all_waiting_readers_wake_at_a_commit_and_leave_nothing_behind() -> None:
    log = JobLog(0)
    waiting = [asyncio.create_task(log.woken()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    log.commit(1, EventKind.QUEUED, "{}")
    log.wake()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert [task.cancelled() for task in waiting] == [True, False, False]
    assert log._waiters == set()


async def test_finished_returns_at_the_terminal_event_only() -> None:
    log = JobLog(0)
    done = asyncio.create_task(log.finished())
    await asyncio.sleep(0)
    log.commit(1, EventKind.QUEUED, "{}")
    await asyncio.sleep(0)
    assert not done.done()
    log.commit(2, EventKind.END, "{}")
    await done
