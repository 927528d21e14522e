"""Finds the suite's own wheels: a named folder, a checkout that builds them, or a known place."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import llorch_ctl
from llorch_ctl.settings import CliSettings
from orchestrator_core.errors import Code, Refusal

__all__ = ["find_suite_folder"]

_BUILD_TIMEOUT_S: Final = 600.0


def find_suite_folder(
    settings: CliSettings, given: Path | None, say: Callable[[str], None]
) -> Path | Refusal:
    """Tell where the wheels lie; a checkout builds them anew, so that they are what it holds."""
    if given is not None:
        return given
    checkout = _checkout()
    if checkout is not None:
        say("building the suite's wheels (./dev wheels)")
        return _build(checkout)
    places = (
        Path(sys.prefix) / "share" / "llorch" / "wheels",
        settings.layout.data / "suite-wheels",
    )
    for place in places:
        if (place / "suite.json").is_file():
            return place
    line = (
        f"there are no wheels of the suite in {places[0]} or {places[1]}: make them in a checkout "
        "with ./dev wheels --out DIR, and name the folder with --wheels DIR"
    )
    return Refusal(Code.NOT_FOUND, line)


def _checkout() -> Path | None:
    package = Path(llorch_ctl.__file__).resolve()
    for folder in package.parents:
        if (folder / "dev").is_file() and (folder / "tools" / "wheels.py").is_file():
            return folder
    return None


def _build(checkout: Path) -> Path | Refusal:
    out = checkout / "dist" / "wheels"
    try:
        done = subprocess.run(
            [str(checkout / "dev"), "wheels", "--out", str(out)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_BUILD_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Refusal(Code.INTERNAL, f"./dev wheels could not be run: {error}")
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit code {done.returncode}"
        return Refusal(Code.INTERNAL, f"./dev wheels failed: {reason}")
    return out
