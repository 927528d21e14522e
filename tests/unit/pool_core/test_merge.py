import random

from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.contracts.pool import Backend, DeviceReport
from pool_core.devices.merge import merge
from support.pool_builders import cpu, gpu

GIB = 1 << 30
UUID = "0877374d-04a0-fce6-4ad7-893fa00506c5"
OTHER_UUID = "1877374d-04a0-fce6-4ad7-893fa00506c5"
CUDA, ROCM, VULKAN = Backend.CUDA, Backend.ROCM, Backend.VULKAN


def card(device_id: str, index: int = 0, **changes: object) -> DeviceReport:
    facts: dict[str, object] = {"id": device_id, "vendor": "nvidia", "name": "Card A"}
    return gpu(index).model_copy(update=facts | changes)


def seen(uuid: str = UUID, index: int = 0, **changes: object) -> DeviceReport:
    return card(f"VK-{uuid}", index, **{"backends": [VULKAN], **changes})


def ids(devices: list[DeviceReport]) -> list[str]:
    return [device.id for device in devices]


def test_gpus_come_first_and_the_earlier_word_counts() -> None:
    first, second = gpu(0), gpu(0).model_copy(update={"name": "the same card again"})
    assert merge([[cpu()], [gpu(1), first], [second]]) == [first, gpu(1), cpu()]


def test_two_vendors_never_share_a_number() -> None:
    amd = [card("GPU-amd-0", 0, vendor="amd"), card("GPU-amd-1", 1, vendor="amd")]
    merged = merge([[card("GPU-b", 1), card("GPU-a", 0)], amd, [cpu()]])
    assert [(device.id, device.index) for device in merged] == [
        ("GPU-a", 0), ("GPU-b", 1), ("GPU-amd-0", 2), ("GPU-amd-1", 3), ("cpu", 0),
    ]  # fmt: skip


def test_the_same_place_on_the_bus_is_the_same_card() -> None:
    base = card("GPU-77", vendor="amd", backends=[ROCM], pci_address="0000:03:00.0")
    guest = seen(vendor="amd", name="Card A (RADV NAVI31)", pci_address="0000:03:00.0")
    [merged] = merge([[base], [guest]])
    assert (merged.id, merged.name, merged.backends) == ("GPU-77", "Card A", [ROCM, VULKAN])


def test_a_card_that_we_may_not_use_otherwise_can_still_be_used_through_vulkan() -> None:
    base = card("GPU-77", backends=[], pci_address="0000:03:00.0", fault="no access")
    [merged] = merge([[base], [seen(pci_address="0000:03:00.0")]])
    assert (merged.backends, merged.fault) == ([VULKAN], "no access")


def test_the_same_uuid_is_the_same_card_if_a_place_is_unknown() -> None:
    [merged] = merge([[card(f"GPU-{UUID}", name="one name")], [seen(name="another")]])
    assert (merged.id, merged.backends) == (f"GPU-{UUID}", [CUDA, VULKAN])


def test_different_places_are_different_cards_whatever_else_agrees() -> None:
    base = card(f"GPU-{UUID}", pci_address="0000:03:00.0")
    assert len(merge([[base], [seen(pci_address="0000:04:00.0")]])) == 2


def test_a_name_is_enough_only_if_nothing_else_could_be_meant() -> None:
    one, two = card("GPU-x", 0), card("GPU-y", 1)
    guest, rival = seen(), seen(OTHER_UUID, 1)
    assert ids(merge([[one], [guest]])) == ["GPU-x"]
    assert ids(merge([[one, two], [guest]])) == ["GPU-x", "GPU-y", guest.id]
    assert ids(merge([[one], [guest, rival]])) == ["GPU-x", guest.id, rival.id]
    assert len(merge([[one], [seen(vendor="amd")]])) == 2
    assert len(merge([[one], [seen(name="Card B")]])) == 2
    assert len(merge([[card("GPU-x", vendor=None)], [seen(vendor=None)]])) == 2


def test_of_two_twins_the_one_that_is_known_leaves_the_other_to_its_name() -> None:
    one, two = card("GPU-x", 0, pci_address="0000:03:00.0"), card("GPU-y", 1)
    placed = seen(pci_address="0000:03:00.0")
    merged = merge([[one, two], [placed, seen(OTHER_UUID, 1)]])
    assert ids(merged) == ["GPU-x", "GPU-y"]
    assert all(device.backends == [CUDA, VULKAN] for device in merged)


def test_a_part_of_a_card_is_never_taken_for_the_card() -> None:
    part = card(f"MIG-{UUID}", 1, parent_id="GPU-x", pci_address="0000:03:00.0")
    whole = card("GPU-x", 0, pci_address="0000:03:00.0")
    merged = merge([[part, whole], [seen(pci_address="0000:03:00.0")]])
    assert [(device.id, device.backends) for device in merged] == [
        ("GPU-x", [CUDA, VULKAN]),
        (f"MIG-{UUID}", [CUDA]),
    ]


def test_a_fold_fills_gaps_and_overwrites_nothing() -> None:
    base = card("GPU-x", pci_address="0000:03:00.0", driver="560.1", memory_used_bytes=None)
    guest = seen(
        pci_address="0000:03:00.0",
        driver="another",
        architecture="8.9",
        memory_total_bytes=GIB,
        memory_used_bytes=GIB,
        unified_memory=True,
    )
    [merged] = merge([[base], [guest]])
    assert (merged.driver, merged.architecture) == ("560.1", "8.9")
    amounts = (merged.memory_total_bytes, merged.memory_used_bytes, merged.unified_memory)
    assert amounts == (base.memory_total_bytes, None, False)
    silent = base.model_copy(update={"memory_total_bytes": 0, "memory_free_bytes": 0})
    [filled] = merge([[silent], [guest]])
    assert (filled.memory_total_bytes, filled.unified_memory) == (GIB, True)


def test_a_fold_can_make_a_further_card_known() -> None:
    base = card(f"GPU-{UUID}", name="one name")
    place = "0000:03:00.0"
    merged = merge([[base], [seen(pci_address=place), seen(OTHER_UUID, 1, pci_address=place)]])
    assert ids(merged) == [base.id]
    assert merged[0].pci_address == place


def test_unmatched_cards_of_vulkan_stay() -> None:
    guest = seen(vendor="intel")
    assert ids(merge([[card("GPU-x")], [guest], [cpu()]])) == ["GPU-x", guest.id, "cpu"]


UUIDS = st.sampled_from([UUID, OTHER_UUID, UUID.replace("0", "2")])
PLACES = st.sampled_from([None, "0000:01:00.0", "0000:02:00.0"])
NAMES = st.sampled_from(["Card A", "Card B", "card a (RADV X)"])
VENDORS = st.sampled_from([None, "nvidia", "amd"])
CARDS = st.builds(
    card,
    st.builds("{}-{}".format, st.sampled_from(["GPU", "MIG", "PCI"]), UUIDS),
    st.integers(0, 3),
    name=NAMES,
    vendor=VENDORS,
    pci_address=PLACES,
    parent_id=st.sampled_from([None, None, "GPU-whole"]),
    backends=st.sampled_from([[], [CUDA], [VULKAN]]),
    driver=st.sampled_from([None, "1"]),
    memory_total_bytes=st.sampled_from([0, GIB]),
)
GUESTS = st.builds(
    seen,
    UUIDS,
    st.integers(0, 3),
    name=NAMES,
    vendor=VENDORS,
    pci_address=PLACES,
    driver=st.sampled_from([None, "2"]),
)
CPUS = st.builds(cpu, index=st.integers(0, 2), id=st.sampled_from(["cpu", "cpu-1"]))
GROUPS = st.tuples(
    st.lists(CARDS, max_size=4),
    st.lists(CARDS, max_size=3),
    st.lists(GUESTS, max_size=4),
    st.lists(CPUS, max_size=2),
)


@given(GROUPS)
def test_merging_a_merged_list_changes_nothing(groups: tuple[list[DeviceReport], ...]) -> None:
    once = merge(groups)
    assert merge([once]) == once


@given(GROUPS)
def test_no_device_is_lost_or_doubled(groups: tuple[list[DeviceReport], ...]) -> None:
    merged = ids(merge(groups))
    given_ids = {device.id for group in groups for device in group}
    assert len(merged) == len(set(merged))
    assert set(merged) <= given_ids
    lost = given_ids - set(merged)
    assert all(device_id.startswith("VK-") for device_id in lost), "only what Vulkan saw is folded"
    assert not lost or any(VULKAN in device.backends for device in merge(groups))


@given(GROUPS)
def test_numbers_have_no_gaps(groups: tuple[list[DeviceReport], ...]) -> None:
    merged = merge(groups)
    for kind in ("gpu", "cpu"):
        numbers = [device.index for device in merged if device.kind == kind]
        assert numbers == list(range(len(numbers)))
    assert [device.kind for device in merged] == sorted(
        (device.kind for device in merged), reverse=True
    )


@given(GROUPS, st.randoms(use_true_random=False))
def test_the_order_inside_a_group_means_nothing(
    groups: tuple[list[DeviceReport], ...], dice: random.Random
) -> None:
    mixed = [dice.sample(group, len(group)) for group in groups]
    assert merge(mixed) == merge(groups)
