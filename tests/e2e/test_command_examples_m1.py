"""The command lines that were promised for hosts with pool-managerd, as they stand.

This machine is no Mac: where a line asks for metal, the refusal is what is expected.
"""

from collections.abc import Iterator

import pytest

from support.fake_hub import FakeHub
from support.quoted_commands import typed, unbroken
from support.quoted_models import add_models, know_models
from support.second_machine import SecondMachine, second_machine
from support.sshd import needs_sshd

pytestmark = [pytest.mark.e2e, needs_sshd]

NO_MAC = "error: metal needs a Mac: this is a Linux host (BACKEND_UNAVAILABLE)\n"


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecondMachine]:
    """A host that has the model."""
    folder = tmp_path_factory.mktemp("m1")
    with FakeHub() as hub:
        add_models(hub)
        env = {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hf")}
        with second_machine(folder / "net", "mac", there_env=env) as machine:
            know_models(machine.there)
            know_models(machine.ours)
            unbroken(machine.there, "llorch-pool models download tinyllama")
            yield machine


@pytest.fixture
def mac(machines: SecondMachine) -> SecondMachine:
    """The host with its daemon running and nothing on it, and its key, which we were handed."""
    there = machines.there
    unbroken(there, "llorch-pool daemon stop --workers", "llorch-pool daemon start")
    key = there.folder / "state" / "pool" / "pool.key"
    machines.write_host(url=there.pool_url, key_file=str(key))
    return machines


def test_llorch_pool_worker_spawn_metal_host_mac_model_tinyllama(mac: SecondMachine) -> None:
    line = "llorch pool worker spawn metal --host mac --model tinyllama"
    done = typed(mac.ours, line).must(1)
    assert (done.out, done.err) == ("", NO_MAC)
    told = typed(mac.ours, f"{line} -v".replace("metal", "cpu")).must()
    assert told.err.splitlines()[0] == f"http {mac.there.pool_url}"
    assert len(mac.there.workers()) == 1


def test_llorch_pool_worker_spawn_metal_model_tinyllama(mac: SecondMachine) -> None:
    line = "llorch-pool worker spawn metal --model tinyllama"
    assert typed(mac.there, line).must(1).err == NO_MAC
    unbroken(mac.there, line.replace("metal", "cpu"), "llorch-pool daemon stop")
    assert typed(mac.there, line).must(1).err == NO_MAC


def test_llorch_pool_daemon_start_status_stop(mac: SecondMachine) -> None:
    assert "already running" in typed(mac.there, "llorch-pool daemon start").must().out
    unbroken(mac.there, "llorch-pool daemon status", "llorch-pool daemon stop")
    typed(mac.there, "llorch-pool daemon status").must(5)
    config = mac.there.folder / "config" / "pool.toml"
    config.write_text("")
    typed(mac.there, f"llorch-pool daemon start --config {config}").must()
