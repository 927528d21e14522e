"""What NVIDIA's answers mean: every trap of the library, decided without a library."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.contracts.pool import Backend, DeviceProcess, DeviceReport
from pool_core.devices.merge import merge
from pool_core.devices.nvml_answer import Answer, parse
from pool_core.devices.nvml_reading import Condition, Host, Reading, read, sysfs_address

MIB = 1 << 20
HOST = Host(
    memory_total_bytes=128 << 30,
    memory_free_bytes=100 << 30,
    has_nvidia_card=False,
    living_pids=None,
)
LOST = {"code": 15, "text": "GPU is lost"}


def card(index: int = 0, **changes: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "index": index,
        "uuid": f"GPU-{index}",
        "name": "NVIDIA Test",
        "bus_id": f"00000000:{index + 10:02X}:00.0",
        "capability": [8, 9],
        "memory": {"total": 1000 * MIB, "free": 600 * MIB, "used": 300 * MIB},
        "utilization": 7,
        "temperature_c": 41,
        "power_mw": 30_500,
        "power_limit_mw": 450_000,
        "processes": [],
        "parts": None,
    }
    return facts | changes


def answer(*gpus: dict[str, Any], **facts: Any) -> Answer:
    parsed = parse(json.dumps({"driver": "570.1", "gpus": gpus, **facts}).encode())
    assert isinstance(parsed, Answer)
    return parsed


def look(*gpus: dict[str, Any], last: tuple[DeviceReport, ...] = (), host: Host = HOST) -> Reading:
    return read(answer(*gpus), last, host)


def only(reading: Reading) -> DeviceReport:
    (device,) = reading.devices
    return device


def test_a_card_is_described_with_all_its_facts() -> None:
    reading = look(card())
    assert reading.condition is Condition.WORKING
    assert only(reading) == DeviceReport(
        id="GPU-0",
        index=0,
        kind="gpu",
        name="NVIDIA Test",
        backends=[Backend.CUDA],
        memory_total_bytes=1000 * MIB,
        memory_free_bytes=600 * MIB,
        memory_used_bytes=300 * MIB,
        vendor="nvidia",
        architecture="8.9",
        driver="570.1",
        pci_address="0000:0a:00.0",
        utilization_percent=7,
        temperature_c=41,
        power_w=30.5,
        power_limit_w=450,
    )


def test_what_the_driver_does_not_tell_is_left_out() -> None:
    bare = {"index": 0, "uuid": "GPU-0", "name": "", "memory": card()["memory"]}
    device = only(look(bare))
    assert device.name == "NVIDIA GPU"
    assert (device.utilization_percent, device.temperature_c, device.power_w) == (None, None, None)
    assert (device.architecture, device.pci_address) == (None, None)


@pytest.mark.parametrize(
    "memory",
    [
        {"memory": None, "memory_error": {"code": 3, "text": "Not Supported"}},
        {"memory": {"total": 0, "free": 0, "used": 0}},
    ],
    ids=["not supported", "zeros"],
)
def test_a_card_without_memory_of_its_own_shares_that_of_the_host(memory: dict[str, Any]) -> None:
    device = only(look(card(**memory)))
    assert device.unified_memory
    assert device.memory_total_bytes == 128 << 30
    assert device.memory_free_bytes == 100 << 30
    assert device.memory_used_bytes is None


def test_another_error_of_the_memory_is_no_sign_of_shared_memory() -> None:
    seen = look(card()).devices
    broken = card(memory=None, memory_error={"code": 999, "text": "Unknown Error"})
    device = only(look(broken, last=seen))
    assert device == seen[0].model_copy(update={"stale": True, "fault": "Unknown Error"})


def test_a_lost_card_stays_as_it_was_and_hides_no_other() -> None:
    seen = look(card(0), card(1)).devices
    lost = {"index": 0, "uuid": "GPU-0", "error": LOST}
    reading = look(lost, card(1, utilization=50), last=seen)
    assert reading.condition is Condition.WORKING
    assert reading.fault is None
    first, second = reading.devices
    assert first == seen[0].model_copy(update={"stale": True, "fault": "lost: GPU is lost"})
    assert (second.stale, second.utilization_percent) == (False, 50)


def test_a_fresh_helper_knows_a_lost_card_by_its_index() -> None:
    seen = look(card(0), card(1)).devices
    first, _ = look({"index": 0, "error": LOST}, card(1), last=seen).devices
    assert (first.id, first.stale) == ("GPU-0", True)


def test_an_index_that_another_card_has_now_is_not_taken_for_the_lost_one() -> None:
    seen = look(card(0)).devices
    reading = look({"index": 0, "error": LOST}, card(1, uuid="GPU-0"), last=seen)
    assert [(it.id, it.stale) for it in reading.devices] == [("GPU-0", False)]
    assert reading.fault == "NVIDIA GPU 0: lost: GPU is lost"


def test_a_broken_card_that_was_never_seen_is_told_but_not_invented() -> None:
    reading = look({"index": 0, "error": {"code": 4, "text": "Insufficient Permissions"}}, card(1))
    assert [device.id for device in reading.devices] == ["GPU-1"]
    assert reading.fault == (
        "NVIDIA GPU 0: Insufficient Permissions: this user may not use the card"
    )


def test_no_working_card_at_all_means_that_the_library_is_to_be_loaded_anew() -> None:
    seen = look(card()).devices
    reading = look({"index": 0, "uuid": "GPU-0", "error": {"code": 999}}, last=seen)
    assert reading.condition is Condition.BROKEN
    assert only(reading).fault == "error 999"


def test_a_recovered_card_is_not_stale_any_more() -> None:
    seen = look(card()).devices
    stale = look({"index": 0, "uuid": "GPU-0", "error": LOST}, last=seen).devices
    assert look(card(), last=stale).devices == seen


def test_no_card_is_no_fault() -> None:
    assert look() == Reading(Condition.WORKING)


def test_a_card_that_the_driver_forgot_but_still_owns_is_lost() -> None:
    seen = look(card(0), card(1)).devices
    owner = Host(1, 1, has_nvidia_card=True, living_pids=None, driven={"0000:0a:00.0"})
    reading = read(answer(card(1)), seen, owner)
    assert [(it.id, it.stale) for it in reading.devices] == [("GPU-1", False), ("GPU-0", True)]
    assert reading.condition is Condition.WORKING
    assert not reading.is_whole
    alone = read(answer(), seen, owner)
    assert [it.fault for it in alone.devices] == [
        "lost: the driver does not name the card any more"
    ]
    assert alone.condition is Condition.BROKEN


def test_a_card_that_was_taken_from_the_driver_is_gone() -> None:
    seen = look(card(0), card(1)).devices
    reading = look(card(1), last=seen)
    assert [it.id for it in reading.devices] == ["GPU-1"]
    assert reading.is_whole


@pytest.mark.parametrize(
    ("code", "has_card", "condition", "word"),
    [
        (12, True, Condition.ABSENT, None),
        (9, False, Condition.ABSENT, None),
        (9, True, Condition.BROKEN, "modprobe nvidia"),
        (18, True, Condition.BROKEN, "reboot"),
        (999, True, Condition.BROKEN, "Some words"),
    ],
)
def test_a_library_without_cards_is_judged_by_its_error(
    code: int, has_card: bool, condition: Condition, word: str | None
) -> None:
    host = Host(1, 1, has_card, None)
    reading = read(answer(error={"code": code, "text": "Some\nwords".title()}), (), host)
    assert reading.condition is condition
    assert (reading.fault is None) if word is None else word.lower() in str(reading.fault).lower()
    assert reading.devices == ()


def test_processes_are_merged_by_pid_and_what_cannot_be_true_is_dropped() -> None:
    entries = [
        (101, 200 * MIB),
        (102, None),
        (103, 5 * MIB),
        (104, 2000 * MIB),
        (1 << 31, 1),
        (0, 1),
        (101, 150 * MIB),
        (102, 3),
    ]
    host = Host(1, 1, has_nvidia_card=True, living_pids={101, 102, 104})
    device = only(look(card(processes=entries), host=host))
    assert device.processes == (
        DeviceProcess(pid=101, memory_bytes=200 * MIB),
        DeviceProcess(pid=102, memory_bytes=3),
    )


def test_foreign_process_ids_are_not_compared_with_ours() -> None:
    device = only(look(card(processes=[(7, 1)])))
    assert device.processes == (DeviceProcess(pid=7, memory_bytes=1),)


def test_a_split_card_computes_only_through_its_parts() -> None:
    memory = {"total": 100 * MIB, "free": 90 * MIB, "used": 10 * MIB}
    parts = [
        {"index": at, "uuid": f"MIG-{at}", "name": "NVIDIA Test MIG 1g", "memory": memory}
        for at in (0, 1)
    ]
    reading = look(card(0, parts=parts, utilization=None), card(1))
    whole, first, second, other = reading.devices
    assert (whole.id, whole.backends, whole.parent_id) == ("GPU-0", [], None)
    assert (first.id, first.backends, first.parent_id) == ("MIG-0", [Backend.CUDA], "GPU-0")
    assert (first.memory_total_bytes, first.architecture) == (100 * MIB, "8.9")
    assert first.pci_address is None
    assert [it.index for it in (whole, first, second, other)] == [0, 2, 3, 1]


def test_the_parts_of_a_lost_card_are_lost_with_it() -> None:
    memory = card()["memory"]
    seen = look(card(parts=[{"index": 0, "uuid": "MIG-0", "memory": memory}])).devices
    reading = look({"index": 0, "uuid": "GPU-0", "error": LOST}, last=seen)
    assert [(it.id, it.stale) for it in reading.devices] == [("GPU-0", True), ("MIG-0", True)]


@pytest.mark.parametrize(
    ("bus_id", "expected"),
    [
        ("00000000:01:00.0", "0000:01:00.0"),
        ("00010000:E1:00.0", "10000:e1:00.0"),
        ("nonsense", None),
        ("zz:01:00.0", None),
        (None, None),
    ],
)
def test_a_pci_address_is_spelled_as_the_system_spells_it(
    bus_id: str | None, expected: str | None
) -> None:
    assert sysfs_address(bus_id) == expected


def test_a_driver_that_talks_too_much_is_cut_short() -> None:
    reading = read(answer(error={"code": 999, "text": "x\n" * 5000}), (), HOST)
    assert reading.fault is not None
    assert len(reading.fault) < 300
    assert "\n" not in reading.fault


@pytest.mark.parametrize(
    ("told", "total", "free", "used"),
    [
        ({"total": 10, "free": 11, "used": -1}, 10, 10, 0),
        ({"total": 10, "free": -5, "used": 2**64 - 1}, 10, 0, 10),
        ({"total": 2**64 - 1, "free": 5, "used": 5}, 1 << 50, 5, 5),
    ],
)
def test_amounts_that_cannot_be_true_are_cut(
    told: dict[str, int], total: int, free: int, used: int
) -> None:
    device = only(look(card(memory=told)))
    amounts = (device.memory_total_bytes, device.memory_free_bytes, device.memory_used_bytes)
    assert amounts == (total, free, used)


@pytest.mark.parametrize("value", [-1, 101, 2**32 - 1, pytest.param(10**400, id="absurd")])
def test_readings_that_cannot_be_true_are_left_out(value: int) -> None:
    odd = {"utilization": value, "temperature_c": value * 2, "power_mw": value * 10**6}
    device = only(look(card(**odd, power_limit_mw=-1)))
    assert (device.utilization_percent, device.temperature_c) == (None, None)
    assert (device.power_w, device.power_limit_w) == (None, None)


def test_of_many_processes_the_largest_are_named() -> None:
    many = [[pid, pid * MIB if pid < 1000 else None] for pid in range(1, 1301)]
    processes = only(look(card(processes=many))).processes
    assert len(processes) == 256
    assert [it.pid for it in processes] == list(range(744, 1000))


NUMBERS = st.none() | st.integers() | st.sampled_from([2**32 - 1, 2**64 - 1, 10**400])
AMOUNTS = st.none() | st.fixed_dictionaries({it: st.integers() for it in ("total", "free", "used")})
PART = {
    "index": st.integers(0, 3),
    "uuid": st.none() | st.sampled_from(["GPU-a", "GPU-b", ""]),
    "bus_id": st.none() | st.sampled_from(["00000000:0A:00.0", "zz", ":"]),
    "memory": AMOUNTS,
    "memory_error": st.none() | st.fixed_dictionaries({"code": st.integers()}),
    "utilization": NUMBERS,
    "temperature_c": NUMBERS,
    "power_mw": NUMBERS,
    "power_limit_mw": NUMBERS,
    "processes": st.lists(st.tuples(st.integers(-5, 2**40), NUMBERS), max_size=3),
    "error": st.none() | st.just(LOST),
}
CARD = st.fixed_dictionaries(
    {**PART, "parts": st.none() | st.lists(st.fixed_dictionaries(PART), max_size=2)}
)


@given(st.lists(CARD, max_size=4), st.lists(CARD, max_size=4))
def test_whatever_a_driver_says_no_report_is_impossible(
    first: list[dict[str, Any]], second: list[dict[str, Any]]
) -> None:
    before = look(*first).devices
    devices = merge([look(*second, last=before).devices])
    assert len({it.id for it in devices}) == len(devices)
    for device in devices:
        assert 0 <= device.memory_free_bytes <= device.memory_total_bytes
        assert 0 <= (device.memory_used_bytes or 0) <= device.memory_total_bytes
        assert 0 <= (device.utilization_percent or 0) <= 100
        assert (device.temperature_c or 0) >= 0
        assert (device.power_w or 0) >= 0
        assert (device.power_limit_w or 0) >= 0
