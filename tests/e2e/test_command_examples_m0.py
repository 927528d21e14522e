"""The command lines that were promised for a network of machines without any daemon, as they stand.

This machine is no Mac: where a line asks for metal, the refusal is what is expected.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.fake_hub import FakeHub
from support.git_repos import GitWorld
from support.home import Home
from support.quoted_commands import typed
from support.quoted_models import add_models, know_models
from support.second_machine import SecondMachine, second_machine
from support.sshd import needs_sshd

pytestmark = [pytest.mark.e2e, needs_sshd]

NO_MAC = "error: metal needs a Mac: this is a Linux host (BACKEND_UNAVAILABLE)\n"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        add_models(hub)
        yield hub


@pytest.fixture
def mac(tmp_path: Path, hub: FakeHub) -> Iterator[SecondMachine]:
    env = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
    with second_machine(tmp_path / "net", "mac", there_env=env) as machine:
        know_models(machine.there)
        yield machine


def models_of(home: Home) -> list[str]:
    listed: Any = home.pool("models", "list", "--format", "json").must().json()
    return sorted(it["id"] for it in listed if it["source"] == "hub")


def test_llorch_pool_models_download_tinyllama_host_mac(mac: SecondMachine) -> None:
    typed(mac.ours, "llorch pool models download tinyllama --host mac").must()
    assert models_of(mac.there) == ["tinyllama"]
    assert not (mac.ours.folder / "data").exists()


def test_llorch_pool_worker_spawn_metal_host_mac_model_tinyllama(mac: SecondMachine) -> None:
    typed(mac.ours, "llorch pool models download tinyllama --host mac").must()
    line = "llorch pool worker spawn metal --host mac --model tinyllama"
    done = typed(mac.ours, line).must(1)
    assert (done.out, done.err) == ("", NO_MAC)
    typed(mac.ours, line.replace("metal", "cpu")).must()
    (worker,) = mac.there.workers()
    assert Path(worker.cmdline()[1]).name == "llorch-worker"


def test_llorch_pool_worker_spawn_metal_host_mac_wants_a_model(mac: SecondMachine) -> None:
    done = typed(mac.ours, "llorch pool worker spawn metal --host mac").must(2)
    assert "Missing option '--model'" in done.err


def test_llorch_pool_models_download_tinyllama(mac: SecondMachine) -> None:
    typed(mac.there, "llorch-pool models download tinyllama").must()
    assert models_of(mac.there) == ["tinyllama"]


@pytest.mark.parametrize(
    "line",
    [
        "llorch-pool worker spawn metal --model tinyllama",
        "llorch-pool worker spawn metal --model tinyllama --gpu 0",
    ],
)
def test_llorch_pool_worker_spawn_metal_model_tinyllama(mac: SecondMachine, line: str) -> None:
    typed(mac.there, "llorch-pool models download tinyllama").must()
    done = typed(mac.there, line).must(1)
    assert done.out == ""
    assert "BACKEND_UNAVAILABLE" in done.err
    assert typed(mac.there, "llorch-pool worker list").must().out == ""


def test_llorch_pool_worker_stop_worker_metal_0(mac: SecondMachine) -> None:
    done = typed(mac.there, "llorch-pool worker stop worker-metal-0").must(3)
    assert "worker-metal-0" in done.err


def test_llorch_pool_status_host_mac(mac: SecondMachine) -> None:
    done = typed(mac.ours, "llorch pool status --host mac").must()
    assert done.out.splitlines()[0].split()[0] == "Pool"


def test_llorch_pool_git_pull_host_workstation(tmp_path: Path) -> None:
    world = GitWorld(tmp_path)
    remote = world.remote("suite")
    checkout = tmp_path / "checkout"
    world.git(tmp_path, "clone", "--quiet", str(remote), str(checkout))
    commit = world.publish(remote, "NEWS", "new\n")
    told = {"GIT_CONFIG_GLOBAL": str(world.settings), "GIT_CONFIG_NOSYSTEM": "1"}
    with second_machine(tmp_path / "net", "workstation", there_env=told) as workstation:
        config = workstation.there.folder / "config"
        config.mkdir()
        (config / "pool.toml").write_text(f'git_repo = "{checkout}"\n')
        typed(workstation.ours, "llorch pool git pull --host workstation").must()
        typed(workstation.there, "llorch-pool git pull").must()
    assert world.git(checkout, "rev-parse", "HEAD") == commit
    assert (checkout / "NEWS").read_text() == "new\n"


@pytest.mark.parametrize("program", ["llorch", "llorch-pool"])
def test_there_is_no_conversation_on_the_command_line(mac: SecondMachine, program: str) -> None:
    for word in ("chat", "repl", "interactive"):
        assert f"No such command '{word}'" in typed(mac.ours, f"{program} {word}").must(2).err
    assert typed(mac.ours, program).must().out.startswith(f"Usage: {program} ")
