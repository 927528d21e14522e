"""Choices and their reasons."""

from orchestrator_core.cluster.pools import PoolRecord
from orchestrator_core.cluster.slots import SlotLedger
from orchestrator_core.cluster.workers import ServiceKey, WorkerRecord
from orchestrator_core.contracts.pool import Backend, Owner, PoolState, WorkerStatus
from orchestrator_core.contracts.tasks import TaskKind
from orchestrator_core.ids import JobId, PoolId, WorkerId
from orchestrator_core.placement.choose import choose_home, choose_worker
from orchestrator_core.placement.filters import HomeNeed, WorkNeed
from orchestrator_core.testing.facts import session_id
from orchestrator_core.testing.reports import (
    device_report,
    model_file,
    model_report,
    worker_spec,
)
from orchestrator_core.units import GIB


def worker(name: str, *, used: int = 0, total: int = 4, **facts: object) -> WorkerRecord:
    fields: dict[str, object] = {"status": WorkerStatus.READY, "usable": True, "open": True}
    record = WorkerRecord(
        worker_id=WorkerId(f"wrk_{name}"),
        pool_id=PoolId("home"),
        key=ServiceKey("tiny-chat", TaskKind.GENERATE),
        owner=Owner.ORCHESTRATOR,
        spec=worker_spec(),
        slots=SlotLedger().of(WorkerId(f"wrk_{name}")),
        slots_total=total,
    )
    for key, value in (fields | facts).items():
        setattr(record, key, value)
    for number in range(used):
        record.slots.take(JobId(f"job_{number}"), 1, 1)
    return record


def pool(name: str, *, free: int = 8, backend: Backend = Backend.CPU, **facts: object):
    device = device_report(backends=(backend,), memory_free_bytes=free * GIB)
    record = PoolRecord(
        pool_id=PoolId(name), session_id=session_id(), last_seen_at=0.0, devices=(device,)
    )
    for key, value in facts.items():
        setattr(record, key, value)
    return record


def test_least_busy_worker_runs_the_job():
    choice = choose_worker([worker("a", used=2), worker("b", used=1)], WorkNeed())
    assert choice.chosen is not None
    assert choice.chosen.worker_id == "wrk_b"
    assert choice.reasons == ("worker wrk_b on pool home is least busy: 1 of 4 slots in use",)


def test_smaller_id_breaks_the_tie():
    choice = choose_worker([worker("b"), worker("a")], WorkNeed())
    assert choice.chosen is not None
    assert choice.chosen.worker_id == "wrk_a"


def test_each_refused_worker_has_its_reason():
    refused = [
        worker("a", used=4),
        worker("b", status=WorkerStatus.LOADING),
        worker("c", open=False),
        worker("d", blocked_at=1.0),
        worker("e", stop_ordered=True),
        worker("f", usable=False),
    ]
    assert choose_worker(refused, WorkNeed()).reasons == (
        "worker wrk_a has 0 of 4 slots free",
        "worker wrk_b is loading",
        "worker wrk_c is on pool home, which has gone silent",
        "worker wrk_d lost a connection; its pool has not confirmed it since",
        "worker wrk_e was ordered to stop",
        "worker wrk_f is not wanted",
    )


def test_pinned_job_stays_on_its_pool():
    choice = choose_worker([worker("a")], WorkNeed(pool_id=PoolId("barn")))
    assert choice.chosen is None
    assert choice.reasons == ("worker wrk_a is on pool home, the job is pinned to barn",)


def test_wide_job_takes_all_of_a_narrow_worker():
    assert choose_worker([worker("a", total=2)], WorkNeed(slots=8)).chosen is not None
    assert choose_worker([worker("a", total=2, used=1)], WorkNeed(slots=8)).chosen is None


def test_no_worker_at_all_is_a_reason():
    assert choose_worker([], WorkNeed()).reasons == ("no worker serves this model",)


def test_roomiest_pool_gets_the_worker():
    choice = choose_home([pool("attic", free=4), pool("barn", free=9)], HomeNeed(worker_spec()))
    assert choice.chosen is not None
    assert choice.chosen.pool_id == "barn"
    assert choice.reasons == ("pool barn has the most free memory: 9 GiB",)


def test_smaller_pool_id_breaks_the_tie():
    choice = choose_home([pool("barn"), pool("attic")], HomeNeed(worker_spec()))
    assert choice.chosen is not None
    assert choice.chosen.pool_id == "attic"


def test_pool_where_starts_failed_comes_last():
    need = HomeNeed(worker_spec(), strikes={PoolId("barn"): 1})
    choice = choose_home([pool("attic", free=4), pool("barn", free=9)], need)
    assert choice.chosen is not None
    assert choice.chosen.pool_id == "attic"


def test_each_refused_pool_has_its_reason():
    hub = worker_spec(model=model_file("big", source="hub"), backend=Backend.CUDA)
    pools = [
        pool("attic", status=PoolState.SUSPECT),
        pool("barn"),
        pool("cellar", backend=Backend.CUDA),
    ]
    assert choose_home(pools, HomeNeed(hub)).reasons == (
        "pool attic is suspect",
        "pool barn has no device for backend cuda",
        "pool cellar does not hold model big",
    )
    holder = pool("den", backend=Backend.CUDA, models=(model_report("big"),))
    assert choose_home([*pools, holder], HomeNeed(hub)).chosen is holder


def test_a_pool_that_holds_other_content_under_the_name_does_not_hold_the_model():
    wanted = model_file("big", source="hub").model_copy(update={"sha256": "a" * 64})
    need = HomeNeed(worker_spec(model=wanted))
    other = pool("barn", models=(model_report("big").model_copy(update={"sha256": "b" * 64}),))
    assert choose_home([other], need).reasons == ("pool barn holds another version of model big",)
    untold = pool("attic", models=(model_report("big"),))
    assert choose_home([other, untold], need).chosen is untold


def test_nothing_is_placed_on_a_device_that_is_stale_or_broken():
    lost = pool("attic", free=9)
    [device] = lost.devices
    lost.devices = (device.model_copy(update={"stale": True, "fault": "lost: it fell off"}),)
    choice = choose_home([lost, pool("barn", free=4)], HomeNeed(worker_spec()))
    assert choice.chosen is not None
    assert choice.chosen.pool_id == "barn"
    alone = choose_home([lost], HomeNeed(worker_spec()))
    line = f"pool attic has no sound device for backend cpu: {device.name}: lost: it fell off"
    assert alone.reasons == (line,)


def test_only_sound_devices_count_for_the_free_memory():
    mixed = pool("attic", free=9)
    [device] = mixed.devices
    mixed.devices = (
        device.model_copy(update={"stale": True}),
        device.model_copy(update={"id": "second", "memory_free_bytes": 3 << 30}),
    )
    choice = choose_home([mixed, pool("barn", free=4)], HomeNeed(worker_spec()))
    assert choice.reasons == ("pool barn has the most free memory: 4 GiB",)


def test_pin_wins_over_memory():
    pools = [pool("attic", free=4), pool("barn", free=9)]
    choice = choose_home(pools, HomeNeed(worker_spec(), PoolId("attic")))
    assert choice.chosen is pools[0]


def test_pin_on_an_unknown_pool_is_told():
    choice = choose_home([pool("attic")], HomeNeed(worker_spec(), PoolId("moon")))
    assert choice.reasons == (
        "pool attic is not the pool moon that the job is pinned to",
        "pool moon is not known: it never registered, or was removed",
    )


def test_no_pool_at_all_is_a_reason():
    assert choose_home([], HomeNeed(worker_spec())).reasons == ("no pool has registered",)


def test_no_pool_starts_a_worker_for_an_engine_of_somebody_else():
    spec = worker_spec(model=model_file("big").model_copy(update={"source": "external"}))
    choice = choose_home([pool("home", models=(model_report("big"),))], HomeNeed(spec))
    assert choice.chosen is None
    assert choice.reasons == (
        "pool home starts no worker for big: somebody else runs the engine that has it",
    )
