"""Every act on a store is killed at each call that changes the disk: no model is ever harmed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.checkout import ROOT
from support.store_deaths import ACTS


@pytest.mark.parametrize("act", sorted(ACTS))
def test_no_death_harms_a_model_or_leaves_anything_behind(act: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "support.store_deaths", act, str(tmp_path)],
        cwd=ROOT / "tests",
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *deaths, last = done.stdout.splitlines()
    assert last.endswith(" 0 None")
    assert [line for line in deaths if not line.endswith(f" {-signal.SIGKILL} None")] == []
    assert len(deaths) > 8
