"""What the daemon and the command must agree on before they supervise workers."""

import stat
import sys
from pathlib import Path

import pytest

from orchestrator_core.config.layout import Layout
from orchestrator_core.errors import Code, Refusal
from pool_core.workers.installation import (
    find_worker_program,
    pool_id_for,
    read_or_draw_instance,
    reserved_ports,
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.from_env({"LLORCH_HOME": str(tmp_path)})


def configure(layout: Layout, name: str, text: str) -> None:
    layout.config.mkdir(parents=True, exist_ok=True)
    layout.config_file(name).write_text(text)


def test_the_pool_is_named_as_configured_else_by_its_host() -> None:
    assert pool_id_for("attic", "host") == "attic"
    assert pool_id_for(None, "my host!") == "my-host"
    assert pool_id_for(None, "...") == "pool"


def test_no_worker_gets_a_port_of_our_own_daemons(layout: Layout) -> None:
    assert reserved_ports(layout, {}) == {8080, 9200}
    env = {"LLORCH_POOL_BIND": "127.0.0.1:0", "LLORCH_ORCHESTRATOR_BIND": "127.0.0.1:8005"}
    assert reserved_ports(layout, env, own=[8010]) == {8005, 8010}
    configure(layout, "orchestrator", 'bind = "127.0.0.1:8100"\nother = 1\n')
    configure(layout, "pool", 'bind = "[::1]:8200"\n')
    assert reserved_ports(layout, {}) == {8100, 8200}


@pytest.mark.parametrize("name", ["orchestrator", "pool"])
def test_a_mistake_in_a_daemons_settings_is_left_for_it_to_report(
    layout: Layout, name: str
) -> None:
    configure(layout, name, "bind = [")
    assert reserved_ports(layout, {}) == {8080, 9200}


def test_the_instance_is_drawn_once_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "instance"
    drawn = read_or_draw_instance(path)
    assert drawn
    assert read_or_draw_instance(path) == drawn
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_worker_program_is_the_configured_one_else_beside_the_interpreter_else_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_worker_program(Path("/opt/worker")) == Path("/opt/worker")
    assert find_worker_program(None) == Path(sys.executable).parent / "llorch-worker"
    program = tmp_path / "llorch-worker"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_worker_program(None, Path("/nowhere/python")) == program
    monkeypatch.setenv("PATH", "")
    missing = find_worker_program(None, Path("/nowhere/python"))
    assert isinstance(missing, Refusal)
    assert missing.code is Code.CONFIG_INVALID
