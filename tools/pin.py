"""Writes the exact version of everything that a full installation resolves to.

The resolver's lock file names registry addresses, so git keeps what is left without them:
`constraint-dependencies` in pyproject.toml, and requirements.hash.txt with the digests of every
file of every package that the suite needs at run time. Called by `./dev pin`.
"""

import argparse
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = ROOT / "pyproject.toml"
HASHES = ROOT / "requirements.hash.txt"

_ARRAY = re.compile(r"^constraint-dependencies = \[\n(?:    .*\n)*\]\n", re.MULTILINE)
_HEADER = """\
# Written by ./dev pin: what the suite needs at run time, each file by its digest. Usage:
# pip install --require-hashes -r requirements.hash.txt
"""


def main() -> int:
    """Resolve, then rewrite both files; pyproject.toml is put back if the resolver refuses."""
    parser = argparse.ArgumentParser(prog="./dev pin", description=__doc__)
    parser.add_argument(
        "--upgrade",
        nargs="*",
        metavar="NAME",
        help="give up the pins of these packages first, or of all when no name follows",
    )
    options = parser.parse_args()
    before = PYPROJECT.read_text("utf-8")
    kept = _kept(before, options.upgrade)
    try:
        PYPROJECT.write_text(with_pins(before, kept), "utf-8")
        _uv("lock", "--quiet", *(("--upgrade",) if options.upgrade is not None else ()))
        pins = _requirements(_export("--all-groups", "--no-hashes"))
        runtime = _export("--no-dev")
    except subprocess.CalledProcessError as failed:
        PYPROJECT.write_text(before, "utf-8")
        return failed.returncode
    PYPROJECT.write_text(with_pins(before, pins), "utf-8")
    HASHES.write_text(_HEADER + runtime, "utf-8")
    sys.stderr.write(f"pinned {len(pins)} packages\n")
    return 0


def with_pins(pyproject: str, pins: list[str]) -> str:
    """Replace the one array and leave every other byte as it was."""
    lines = "".join(f'    "{pin}",\n' for pin in pins)
    text, count = _ARRAY.subn(
        lambda _match: f"constraint-dependencies = [\n{lines}]\n", pyproject, count=1
    )
    if count != 1:
        raise SystemExit("pyproject.toml has no constraint-dependencies array to write to")
    return text


def _kept(pyproject: str, upgrade: list[str] | None) -> list[str]:
    pins = tomllib.loads(pyproject)["tool"]["uv"]["constraint-dependencies"]
    if upgrade is None:
        return pins
    return [pin for pin in pins if upgrade and pin.split("==")[0] not in upgrade]


def _export(*flags: str) -> str:
    exported = _uv(
        "export", "--quiet", "--frozen", "--all-packages", "--all-extras", "--no-emit-workspace",
        "--no-header", "--no-annotate", "--format", "requirements-txt", *flags,
    )  # fmt: skip
    return "".join(line + "\n" for line in exported.splitlines() if not line.startswith("-"))


def _requirements(exported: str) -> list[str]:
    pins = (line.strip().replace(" ; ", "; ") for line in exported.splitlines())
    found = (pin.replace('"', "'") for pin in pins if pin)
    return sorted(found, key=lambda pin: (pin.split("==")[0], pin))


def _uv(*args: str) -> str:
    program = os.environ.get("LLORCH_DEV_UV", "uv")
    done = subprocess.run([program, *args], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
