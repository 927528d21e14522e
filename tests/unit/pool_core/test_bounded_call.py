import threading

import pytest

from pool_core.devices.bounded_call import BoundedCall, StillPending
from support.waiting import until_sync


def test_an_answer_and_an_error_both_come_back() -> None:
    def broken() -> int:
        raise TimeoutError("no")

    assert BoundedCall(lambda: 7, 10).ask() == 7
    failing = BoundedCall(broken, 10)
    for _ in range(2):
        with pytest.raises(TimeoutError, match="no"):
            failing.ask()


def test_a_call_that_hangs_is_left_alone_until_it_comes_back() -> None:
    started, released, calls = threading.Event(), threading.Event(), list[int]()

    def hang() -> int:
        calls.append(len(calls))
        started.set()
        released.wait(60)
        return calls[-1]

    call = BoundedCall(hang, 0.05)
    for _ in range(3):
        with pytest.raises(StillPending):
            call.ask()
    assert started.wait(60)
    assert calls == [0]
    released.set()

    def answered() -> bool:
        try:
            return call.ask() >= 1
        except StillPending:
            return False

    until_sync(answered, what="a fresh answer instead of the late one")


def test_a_thread_that_could_not_be_started_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError(f"can't start new thread {thread.name}")

    call = BoundedCall(lambda: 7, 10)
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            call.ask()
    assert call.ask() == 7
