"""What the command sees and does by itself, as far as no worker need run."""

import os
from pathlib import Path

import pytest

from orchestrator_core.config.layout import Layout
from orchestrator_core.console.endings import Pace
from orchestrator_core.contracts.pool import SpawnRequest, StopRequest
from orchestrator_core.errors import Code, LlorchError
from orchestrator_core.platforms import select
from pool_core.workers.ledger import Ledger
from pool_ctl.pools.direct import DirectPool
from pool_ctl.settings import CliSettings
from support.pool_builders import record, worker_id
from support.pool_fakes import SPEC, make_worker


@pytest.fixture
def settings(tmp_path: Path) -> CliSettings:
    env = {"LLORCH_HOME": str(tmp_path), "LLORCH_POOL_POOL_ID": "attic"}
    return CliSettings(env, Layout.from_env(env))


@pytest.fixture
def pool(settings: CliSettings) -> DirectPool:
    return DirectPool(settings, print)


def write_log(settings: CliSettings, text: str) -> Path:
    Ledger(settings.layout.pool_folder).prepare()
    path = settings.layout.worker_logs / f"{worker_id(1)}.log"
    path.write_text(text)
    return path


def test_an_empty_home_is_a_pool_without_workers(pool: DirectPool) -> None:
    view = pool.status()
    assert (view.pool_id, view.workers, view.orchestrator_url) == ("attic", [], None)
    assert [device.id for device in view.devices if device.kind == "cpu"] == ["cpu"]
    assert {model.id for model in view.models} >= {"tiny-chat", "tiny-story"}
    assert not view.draining
    assert pool.stop_all(0.1) == 0


def test_a_pool_that_a_person_drained_stays_so_without_its_daemon(
    pool: DirectPool, settings: CliSettings
) -> None:
    settings.layout.pool_folder.mkdir(parents=True)
    (settings.layout.pool_folder / "drain.json").write_text("{}")
    assert pool.status().draining


def test_nothing_is_started_without_a_worker_program(
    settings: CliSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LlorchError, match="llorch-worker is neither in /nowhere") as caught:
        DirectPool(settings, print).spawn(SpawnRequest(spec=SPEC))
    assert caught.value.code is Code.CONFIG_INVALID


def test_a_worker_that_nobody_knows_is_not_found(pool: DirectPool) -> None:
    with pytest.raises(LlorchError, match="named nobody") as caught:
        pool.stop("nobody", StopRequest())
    assert caught.value.code is Code.WORKER_NOT_FOUND
    with pytest.raises(LlorchError, match="named nobody"):
        pool.logs("nobody", tail=1, follow=False)
    assert pool.look(make_worker()) is None


def test_the_log_of_a_worker_is_found_by_name_and_after_its_end_by_id(
    pool: DirectPool, settings: CliSettings
) -> None:
    write_log(settings, "one\ntwo\nthree\n")
    Ledger(settings.layout.pool_folder).write(record(1))
    assert list(pool.logs("worker-cpu-0", tail=2, follow=False)) == ["two", "three"]
    Ledger(settings.layout.pool_folder).remove(worker_id(1))
    assert pool.log_path("worker-cpu-0") is None
    assert list(pool.logs(worker_id(1), tail=1, follow=False)) == ["three"]


def test_following_a_log_ends_with_the_worker_and_misses_no_last_word(
    settings: CliSettings,
) -> None:
    log = write_log(settings, "one\n")
    ledger = Ledger(settings.layout.pool_folder)

    def end(_seconds: float) -> None:
        assert "last words" not in log.read_text(), "the worker has ended, yet its log is followed"
        with log.open("a") as stream:
            stream.write("two\nlast words")
        ledger.remove(worker_id(1))
        # Its name is given away at once, and what lives on under it is another worker.
        ledger.write(record(2, **facts))

    pool = DirectPool(settings, print, Pace(pause=end))
    # A live process of the record: this test's own.
    me = select.current().identify(os.getpid())
    assert me is not None
    facts = {"pid": me.pid, "start_time": me.start_time, "boot_id": me.boot_id}
    ledger.write(record(1, **facts))
    assert list(pool.logs("worker-cpu-0", tail=10, follow=True)) == ["one", "two", "last words"]
