import threading
from pathlib import Path

import pytest

from orchestrator_core.errors import Code, RequestError
from pool_core.catalog.store.claims import Claims, hold_store


def test_a_claim_is_seen_while_it_is_held(tmp_path: Path) -> None:
    claims, others = Claims(tmp_path / "claims"), Claims(tmp_path / "claims")
    assert not others.is_held("m")
    assert not others.any_held()
    with claims.hold("m"):
        assert others.is_held("m")
        assert others.any_held()
        assert not others.is_held("n")
    assert not others.is_held("m")


def test_two_may_bring_one_model_and_the_last_one_frees_it(tmp_path: Path) -> None:
    claims, others = Claims(tmp_path), Claims(tmp_path)
    with claims.hold("m"):
        with others.hold("m"):
            pass
        assert claims.is_held("m")
    assert not claims.is_held("m")


def test_the_store_has_one_holder_at_a_time(tmp_path: Path) -> None:
    lock = tmp_path / "store.lock"
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with hold_store(lock):
            entered.set()
            leave.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    assert entered.wait(10)
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        leave.set()
        holder.join()

    with hold_store(lock, nap=nap):
        assert len(naps) == 1


def test_a_holder_that_does_not_end_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "store.lock"
    moments = iter([0.0, 10.0, 40.0])
    with (
        hold_store(lock),
        pytest.raises(RequestError, match="process") as caught,
        hold_store(lock, now_s=lambda: next(moments), nap=lambda _: None),
    ):
        raise AssertionError("two held one store")
    assert caught.value.code is Code.CONFLICT
