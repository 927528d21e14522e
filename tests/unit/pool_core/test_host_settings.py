"""What of config/pool.toml is read without a daemon."""

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator_core.config.layout import Layout
from orchestrator_core.errors import Code, LlorchError
from pool_core.workers.host_settings import read_settings


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.from_env({"LLORCH_HOME": str(tmp_path)})


def configure(layout: Layout, name: str, text: str) -> None:
    layout.config.mkdir(parents=True, exist_ok=True)
    layout.config_file(name).write_text(text)


def test_the_settings_of_the_host_are_read_and_the_daemons_own_are_left_alone(
    layout: Layout,
) -> None:
    configure(layout, "pool", 'pool_id = "attic"\nstop_grace_s = 3\n[[external]]\nname = "x"\n')
    assert read_settings(layout, {}).pool_id == "attic"
    named = {"LLORCH_POOL_POOL_ID": "cellar", "LLORCH_POOL_WORKER_PROGRAM": "/opt/worker"}
    settings = read_settings(layout, named)
    assert (settings.pool_id, settings.worker_program) == ("cellar", Path("/opt/worker"))


def test_a_wrong_setting_is_refused_by_its_name(layout: Layout) -> None:
    configure(layout, "pool", 'pool_id = "no spaces"\n')
    with pytest.raises(LlorchError, match="pool_id") as caught:
        read_settings(layout, {})
    assert caught.value.code is Code.CONFIG_INVALID


def test_whoever_reads_them_loads_no_supervisor() -> None:
    code = (
        "import sys, pool_core.workers.host_settings; "
        "sys.exit('pool_core.workers.supervisor' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
