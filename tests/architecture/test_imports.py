"""The floors hold: who may import whom is written in pyproject.toml and checked by a tool."""

import subprocess
import sys
from pathlib import Path

from support.checkout import ROOT


def test_every_import_contract_is_kept() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    argv = [program, "--no-logo", "--no-cache"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
