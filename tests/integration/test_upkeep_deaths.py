"""Backups, restores and key resets that are killed at any moment: nothing is lost, again works."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from support.upkeep_deaths import ACTS

_TESTS: Final = Path(__file__).parents[1]
_DEATHS_MIN: Final = 5


@pytest.mark.parametrize("act", sorted(ACTS))
def test_a_command_that_is_killed_anywhere_loses_nothing_and_works_again(
    act: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "support.upkeep_deaths", act, str(tmp_path)],
        cwd=_TESTS,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *deaths, last = done.stdout.splitlines()
    assert len(deaths) > _DEATHS_MIN
    assert [line for line in (*deaths, last) if not line.endswith(" None")] == []
