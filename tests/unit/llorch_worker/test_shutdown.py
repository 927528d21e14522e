import os
import signal
import threading
from collections.abc import Iterator

import pytest

from llorch_worker.engine.embedded import busy
from llorch_worker.serving.shutdown import StopSignals, drain, wait_until_idle


@pytest.fixture
def signals() -> Iterator[StopSignals]:
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    made = StopSignals()
    yield made
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)
    made.close()


def test_waits_until_idle_was_seen_twice_in_a_row() -> None:
    readings = iter([True, False, True, False, False])
    wait_until_idle(lambda: next(readings), lambda _pause_s: False)
    assert list(readings) == []


def test_stops_asking_when_nobody_waits_any_more() -> None:
    readings = iter([True, True])
    wait_until_idle(lambda: next(readings), lambda _pause_s: True)
    assert list(readings) == [True]


def test_a_signal_wakes_the_waiting_thread(signals: StopSignals) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    signals.wait()


def test_leaves_with_0_once_idle(signals: StopSignals) -> None:
    assert drain(signals, lambda: False, grace_s=60) == 0


def test_leaves_with_0_when_the_grace_is_over(signals: StopSignals) -> None:
    assert drain(signals, lambda: True, grace_s=0.01) == 0


def test_leaves_with_1_at_a_second_signal(signals: StopSignals) -> None:
    asked = threading.Event()

    def never_idle() -> bool:
        if not asked.is_set():
            asked.set()
            os.kill(os.getpid(), signal.SIGINT)
        return True

    assert drain(signals, never_idle, grace_s=60) == 1


def test_reads_from_the_metrics_whether_a_request_is_alive() -> None:
    idle = "# HELP x\nllamacpp:requests_processing 0\nllamacpp:requests_deferred 0\n"
    assert not busy(idle)
    assert busy(idle.replace("processing 0", "processing 2"))
    assert busy(idle.replace("deferred 0", "deferred 1"))
    assert not busy("")
