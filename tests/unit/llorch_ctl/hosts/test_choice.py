"""Which host --host auto chooses: the rules of orchestratord, on what the hosts say themselves."""

from typing import Any

import pytest

from llorch_ctl.hosts.choice import Candidate, ChosenHost, choose_among, record_of
from llorch_ctl.hosts.wishes import BACKENDS, Wish
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.contracts.pool import PoolState
from orchestrator_core.errors import Code, Refusal

CATALOG = Catalog.load()
SPAWN = Wish("tinyllama", ("metal",), brings_model=False)


def status(backend: str, free: int, *models: str, draining: bool = False) -> dict[str, Any]:
    device = {
        "id": "d", "index": 0, "kind": "cpu", "name": "D", "backends": [backend],
        "memory_total_bytes": 64 << 30, "memory_free_bytes": free << 30,
    }  # fmt: skip
    held = [{"id": model, "file": f"{model}.gguf", "size_bytes": 1} for model in models]
    return {"devices": [device], "models": held, "draining": draining, "workers": [{"odd": 1}]}


def candidates(**hosts: dict[str, Any]) -> dict[str, Candidate]:
    return {name: record_of(name, told) for name, told in hosts.items()}


def chosen(found: ChosenHost | Refusal) -> ChosenHost:
    assert isinstance(found, ChosenHost), found
    return found


def test_the_roomiest_host_that_has_model_and_device_is_chosen() -> None:
    found = chosen(
        choose_among(
            candidates(
                mac=status("metal", 16, "tinyllama"),
                big=status("metal", 32),
                workstation=status("cuda", 64, "tinyllama"),
            ),
            SPAWN,
            CATALOG,
        )
    )
    assert (found.name, found.missing) == ("mac", False)
    assert found.reasons == (
        "pool mac has the most free memory: 16 GiB",
        "not big: does not hold model tinyllama",
        "not workstation: has no device for backend metal",
    )


def test_a_model_that_nobody_holds_goes_by_the_devices_and_is_missing() -> None:
    hosts = candidates(mac=status("metal", 8), big=status("metal", 32))
    found = chosen(choose_among(hosts, SPAWN, CATALOG))
    assert (found.name, found.missing) == ("big", True)


def test_a_download_prefers_a_gpu_over_more_memory() -> None:
    hosts = candidates(box=status("cpu", 64), mac=status("metal", 8))
    found = chosen(choose_among(hosts, Wish("tinyllama", BACKENDS, brings_model=True), CATALOG))
    assert (found.name, found.missing) == ("mac", False)


@pytest.mark.parametrize(
    "model", ["hf:Org/Repo-GGUF:Q4_K_M", "my-own", "/data/model.gguf", "file:/data/model.gguf"]
)
def test_models_outside_the_catalogue_are_found_where_they_lie(model: str) -> None:
    hosts = candidates(mac=status("metal", 32), small=status("metal", 8, model))
    found = chosen(choose_among(hosts, Wish(model, ("metal",), brings_model=False), CATALOG))
    is_path = "/data" in model
    assert found.name == ("mac" if is_path else "small")


def test_where_nobody_fits_every_reason_is_told() -> None:
    hosts = candidates(box=status("cpu", 64), old=status("metal", 64, draining=True))
    hosts["off"] = Refusal(Code.UNREACHABLE, "nothing listens")
    found = choose_among(hosts, SPAWN, CATALOG)
    assert isinstance(found, Refusal)
    assert found.code is Code.BACKEND_UNAVAILABLE
    assert found.message == (
        "no host fits: box: has no device for backend metal; old: is draining; off: nothing listens"
    )


def test_a_status_that_cannot_be_read_is_a_reason_too() -> None:
    assert isinstance(record_of("mac", {"devices": [{"id": 3}], "models": []}), Refusal)
    assert isinstance(record_of("mac", {}), Refusal)
    record = record_of("mac", status("cpu", 1, draining=True))
    assert not isinstance(record, Refusal)
    assert record.status is PoolState.DRAINING
