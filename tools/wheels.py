"""Builds the suite's wheels, and fetches what a host of another platform needs besides them.

The folder that comes of it is all that `llorch host add --wheels` reads: the wheels, suite.json
with their digests, and requirements.txt with the exact versions and digests of everything else.
Called by `./dev wheels`.
"""

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
HASHES = ROOT / "requirements.hash.txt"

# What was fetched stays here; the folder is nobody's source.
KEPT = ROOT / "dist" / "third-party"

# Where ./dev puts a uv of its own.
_DEV = ROOT / ".dev" / "uv" / "bin"

# What a host runs; its control plane lives elsewhere.
HOST_SIDE = ("llorch-pool-managerd", "llorch-worker", "llorch-pool-ctl")

# The same commit gives the same bytes: zip files know no earlier moment than this one.
_EPOCH = "315532800"


@dataclass(frozen=True)
class Platform:
    """What wheels of one platform are called, and what their markers are told."""

    tags: tuple[str, ...]
    markers: dict[str, str]


def _linux(machine: str) -> Platform:
    # Every older tag is named: pip takes no wheel whose tag it was not told. Hosts with an older
    # glibc than 2.28 are not served: the probe says so.
    tags = tuple(f"manylinux_2_{minor}_{machine}" for minor in range(28, 16, -1))
    named = (f"manylinux2014_{machine}", f"linux_{machine}")
    return Platform(
        (*tags, *named),
        {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": machine},
    )


def _macos() -> Platform:
    tags = tuple(f"macosx_{major}_0_{kind}" for major in range(15, 10, -1) for kind in ("arm64", "universal2"))  # fmt: skip
    old = tuple(f"macosx_10_{minor}_universal2" for minor in range(16, 8, -1))
    return Platform(
        (*tags, *old),
        {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
    )


PLATFORMS = {
    "linux-x86_64": _linux("x86_64"),
    "linux-aarch64": _linux("aarch64"),
    "macos-arm64": _macos(),
}


def main() -> int:
    """Build, then fetch; what was made is printed with its digest."""
    parser = argparse.ArgumentParser(prog="./dev wheels", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=ROOT / "dist" / "wheels", help="default: dist/wheels"
    )
    parser.add_argument(
        "--third-party",
        nargs="+",
        choices=sorted(PLATFORMS),
        default=[],
        metavar="PLATFORM",
        help=f"fill OUT/third-party/PLATFORM as well: {', '.join(sorted(PLATFORMS))}",
    )
    parser.add_argument("--python", default="3.11", help="the Python of those hosts; default: 3.11")
    options = parser.parse_args()
    if not re.fullmatch(r"3\.\d{1,2}", options.python):
        parser.error(f"--python {options.python}: write it like 3.11")
    out = options.out.absolute()
    try:
        build_suite(out)
        for name in options.third_party:
            fetch_third_party(out / "third-party" / name, name, options.python)
    except subprocess.CalledProcessError as failed:
        sys.stderr.write(f"dev: {Path(failed.cmd[0]).name} failed with {failed.returncode}\n")
        return 1
    return 0


def build_suite(out: Path) -> None:
    """Replace the wheels in `out`; what lies beside them stays."""
    fresh = out.with_name(f".{out.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        _run(
            [_uv(), "build", "--quiet", "--all-packages", "--wheel", "--out-dir", str(fresh)],
            SOURCE_DATE_EPOCH=_EPOCH,
        )
        wheels = sorted(fresh.glob("*.whl"))
        out.mkdir(parents=True, exist_ok=True)
        for old in out.glob("*.whl"):
            old.unlink()
        for wheel in wheels:
            shutil.move(wheel, out / wheel.name)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    files = [_described(out / wheel.name) for wheel in wheels]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    (out / "requirements.txt").write_text(host_requirements(HASHES.read_text("utf-8")), "utf-8")
    _write_json(out / "suite.json", {"version": version, "wheels": files})
    _show(out, files)


def fetch_third_party(out: Path, platform: str, python: str) -> None:
    """Fill `out` with the wheels that a host without an index needs, and with uv."""
    wanted = _for_target(HASHES.read_text("utf-8"), PLATFORMS[platform], python)
    # The same pins are the same files: they are fetched once per checkout.
    pins = hashlib.sha256(f"{wanted}uv=={_uv_pin()}".encode()).hexdigest()[:12]
    kept = KEPT / f"{platform}-{python}-{pins}"
    if not _is_whole(kept):
        _fetch(kept, platform, python, wanted)
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.whl"):
        old.unlink()
    for file in sorted(kept.iterdir()):
        shutil.copyfile(file, out / file.name)
    _show(out, json.loads((out / "third-party.json").read_text("utf-8"))["wheels"])


def _fetch(kept: Path, platform: str, python: str, wanted: str) -> None:
    """Ask the index of this machine; the folder has its name only when it is whole."""
    fresh = kept.with_name(f".{kept.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    tags = [part for tag in PLATFORMS[platform].tags for part in ("--platform", tag)]
    version = python.replace(".", "")
    common = [
        *_pip(), "download", "-qq", "--dest", str(fresh), "--no-deps", "--only-binary", ":all:",
        "--implementation", "cp", "--python-version", python, "--abi", f"cp{version}",
        "--abi", "abi3", "--abi", "none", *tags,
    ]  # fmt: skip
    requirements = fresh / "requirements.in"
    try:
        requirements.write_text(wanted, "utf-8")
        _run([*common, "--require-hashes", "--requirement", str(requirements)])
        _run([*common, f"uv=={_uv_pin()}"])
        requirements.unlink()
        files = [_described(wheel) for wheel in sorted(fresh.glob("*.whl"))]
        content = {"platform": platform, "python": python, "wheels": files}
        _write_json(fresh / "third-party.json", content)
        shutil.rmtree(kept, ignore_errors=True)
        # Whoever fetched the same meanwhile has the same files.
        with contextlib.suppress(OSError):
            fresh.rename(kept)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _is_whole(kept: Path) -> bool:
    try:
        listed = json.loads((kept / "third-party.json").read_text("utf-8"))["wheels"]
        return listed == [_described(wheel) for wheel in sorted(kept.glob("*.whl"))]
    except (OSError, ValueError, KeyError):
        return False


def host_requirements(pinned: str) -> str:
    """Those lines of requirements.hash.txt that the host side needs, on any platform."""
    needed = _closure(HOST_SIDE)
    return "".join(block for name, block in _blocks(pinned) if name in needed)


def _for_target(pinned: str, target: Platform, python: str) -> str:
    needed = _closure(HOST_SIDE)
    environment = {
        **target.markers,
        "os_name": "posix",
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    lines: list[str] = []
    for name, block in _blocks(pinned):
        head, _, digests = block.partition(" \\\n")
        requirement = Requirement(head)
        marker = requirement.marker
        if name in needed and (marker is None or marker.evaluate(environment)):
            # pip would judge the marker for the machine that it runs on.
            lines.append(f"{requirement.name}{requirement.specifier} \\\n{digests}")
    return "".join(lines)


def _blocks(pinned: str) -> list[tuple[str, str]]:
    """Each requirement by its name, with the lines that belong to it."""
    blocks: list[tuple[str, str]] = []
    for line in pinned.splitlines(keepends=True):
        if line.startswith("#") or not line.strip():
            continue
        if line[0].isspace():
            name, block = blocks[-1]
            blocks[-1] = (name, block + line)
        else:
            blocks.append((canonicalize_name(Requirement(line.rstrip(" \\\n")).name), line))
    return blocks


def _closure(roots: tuple[str, ...]) -> set[str]:
    """Everything that is needed on some platform; what is not installed here has no needs."""
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(root) for root in roots]
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        if (name, frozenset(one.extras)) in seen:
            continue
        seen.add((name, frozenset(one.extras)))
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for text in needs:
            need = Requirement(text)
            extras = one.extras or {""}
            if "extra" not in str(need.marker) or any(
                need.marker is not None and need.marker.evaluate({"extra": extra})
                for extra in extras
            ):
                waiting.append(need)
    return {name for name, _extras in seen}


def _described(wheel: Path) -> dict[str, object]:
    content = wheel.read_bytes()
    return {
        "file": wheel.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
    }


def _show(out: Path, files: list[dict[str, object]]) -> None:
    for file in files:
        sys.stdout.write(f"{file['sha256']}  {out / str(file['file'])}\n")
    sys.stdout.flush()


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def _uv() -> str:
    """As ./dev has found it; called without ./dev, the one on PATH or the one that it installed."""
    return os.environ.get("LLORCH_DEV_UV") or shutil.which("uv") or str(_DEV / "uv")


def _uv_pin() -> str:
    found = re.search(r"^UV_PIN=(\S+)$", (ROOT / "dev").read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise SystemExit("dev names no UV_PIN")
    return found.group(1)


def _pip() -> list[str]:
    """The pip of this machine, which knows the index it is set up for; else one that uv brings."""
    pythons = (os.environ.get("LLORCH_DEV_PYTHON"), shutil.which("python3"), str(_DEV / "python"))
    for python in pythons:
        if python and _has_pip(python):
            return [python, "-m", "pip", "--disable-pip-version-check"]
    return [_uv(), "tool", "run", "--quiet", "pip", "--disable-pip-version-check"]


def _has_pip(python: str) -> bool:
    try:
        asked = subprocess.run(
            [python, "-m", "pip", "--version"], capture_output=True, check=False, cwd=ROOT
        )
    except OSError:
        return False
    return asked.returncode == 0


def _run(argv: list[str], **env: str) -> None:
    subprocess.run(argv, cwd=ROOT, check=True, env={**os.environ, **env}, stdout=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
