"""--host auto with a running orchestrator: what it knows of hosts, devices and models decides."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from llorch_ctl.main import cli
from support.fake_orchestrator import fake_orchestrator


def pool(name: str, free_gib: int, *models: str, status: str = "online") -> dict[str, Any]:
    device = {
        "id": "cpu", "index": 0, "kind": "cpu", "name": "C", "backends": ["cpu"],
        "memory_total_bytes": 64 << 30, "memory_free_bytes": free_gib << 30,
    }  # fmt: skip
    held = [{"id": model, "file": f"{model}.gguf", "size_bytes": 1} for model in models]
    return {
        "pool_id": name, "status": status, "endpoint": "", "version": "0.1.0", "last_seen_s": 1.0,
        "devices": [device], "workers": [], "models": held,
    }  # fmt: skip


def choice(tmp_path: Path, *pools: dict[str, Any]) -> str:
    """What is said first; that nothing listens for SSH at these hosts comes after it."""
    config = tmp_path / "config" / "llorch.toml"
    config.parent.mkdir()
    config.write_text("".join(f'[hosts.{name}]\nssh = "127.0.0.1:1"\n' for name in ("big", "mac")))
    args = ["pool", "worker", "spawn", "cpu", "--model", "tinyllama", "--host", "auto"]
    with fake_orchestrator(pools=list(pools)) as fake:
        env = {
            "LLORCH_HOME": str(tmp_path),
            "HOME": str(tmp_path),
            "LLORCH_ORCHESTRATOR_URL": fake.url,
        }
        return CliRunner().invoke(cli, args, env=env).stderr


def test_a_host_that_holds_the_model_is_chosen_over_a_roomier_one(tmp_path: Path) -> None:
    said = choice(tmp_path, pool("big", 32), pool("mac", 16, "tinyllama"))
    assert said.startswith("mac: pool mac has the most free memory: 16 GiB; not big: does not hold")
    assert "has to be downloaded" not in said


def test_where_nobody_holds_it_the_download_is_named(tmp_path: Path) -> None:
    said = choice(tmp_path, pool("big", 32), pool("mac", 16))
    assert "no host has tinyllama: it has to be downloaded first: llorch pool models dow" in said
    assert said.startswith("big: ")


@pytest.mark.parametrize("status", ["lost", "draining"])
def test_a_host_that_takes_no_work_is_passed_over(tmp_path: Path, status: str) -> None:
    big = pool("big", 32, "tinyllama", status=status)
    said = choice(tmp_path, big, pool("mac", 16, "tinyllama"))
    assert said.startswith("mac: ")
