from orchestrator_core.contracts.pool import DeviceProcess, DeviceReport
from pool_core.workers.host_picture import left_over
from pool_core.workers.memory import Promise, has_come_back, pending_bytes, without_promised
from support.pool_builders import cpu, gpu

GIB = 1 << 30


def card(free_gib: float, *pids: int) -> list[DeviceReport]:
    processes = tuple(DeviceProcess(pid=pid) for pid in pids)
    return [
        gpu(0).model_copy(update={"memory_free_bytes": int(free_gib * GIB), "processes": processes})
    ]


def test_what_has_not_loaded_yet_is_pending() -> None:
    promises = [Promise({"cpu": 2, "a": 1}, loaded=False), Promise({"cpu": 3}, loaded=False)]
    assert pending_bytes([*promises, Promise({"cpu": 100}, loaded=True)]) == {"cpu": 5, "a": 1}


def test_mapped_weights_are_not_free_although_the_system_says_so() -> None:
    [left] = without_promised([cpu(memory_free_bytes=7 * GIB)], [Promise({"cpu": 6 * GIB}, True)])
    assert left.memory_free_bytes == 2 * GIB


def test_what_others_use_is_not_free_either() -> None:
    [left] = without_promised([cpu(memory_free_bytes=GIB)], [Promise({"cpu": 2 * GIB}, True)])
    assert left.memory_free_bytes == GIB


def test_memory_is_never_less_than_nothing() -> None:
    [left] = without_promised([cpu()], [Promise({"cpu": 90 * GIB}, True)])
    assert left.memory_free_bytes == 0


def test_a_card_that_still_names_the_process_has_not_let_go() -> None:
    assert not has_come_back(card(8, 41), card(8, 41), ids={"GPU-0"}, pid=41)
    assert has_come_back(card(8, 7), card(8, 7), ids={"GPU-0"}, pid=41)


def test_memory_that_still_comes_back_has_not_settled() -> None:
    assert not has_come_back(card(2), card(6), ids={"GPU-0"}, pid=41)
    assert has_come_back(card(8), card(8.01), ids={"GPU-0"}, pid=41)


def test_a_card_that_was_not_there_before_proves_nothing() -> None:
    assert not has_come_back([], card(8), ids={"GPU-0"}, pid=41)


def test_the_memory_of_the_host_is_back_with_the_process() -> None:
    assert has_come_back([cpu(memory_free_bytes=0)], [cpu()], ids={"cpu"}, pid=41)


def test_a_new_worker_finds_what_neither_loaded_nor_loading_ones_were_promised() -> None:
    promises = [Promise({"cpu": 2 * GIB}, loaded=True), Promise({"cpu": GIB}, loaded=False)]
    [left] = left_over([cpu(memory_free_bytes=7 * GIB)], promises)
    assert left.memory_free_bytes == 5 * GIB
    assert left_over([cpu()], []) == [cpu()]


def test_devices_of_one_memory_share_what_was_promised() -> None:
    apple = cpu(id="A", index=1, kind="gpu", unified_memory=True, memory_free_bytes=6 * GIB)
    devices = [cpu(memory_free_bytes=6 * GIB), apple, gpu(0)]
    left = left_over(devices, [Promise({"A": 4 * GIB}, loaded=False)])
    assert [it.memory_free_bytes for it in left[:2]] == [2 * GIB, 2 * GIB]
    assert left[2] == gpu(0)


def test_what_is_left_is_never_less_than_nothing() -> None:
    [left] = left_over([cpu()], [Promise({"cpu": 90 * GIB}, loaded=False)])
    assert left.memory_free_bytes == 0
