"""Git keeps exact versions without a lock file: what is pinned is what is installed."""

import importlib.metadata
import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.checkout import ROOT, packages

OURS = {package.distribution for package in packages()}


def pins() -> list[Requirement]:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return [Requirement(line) for line in config["tool"]["uv"]["constraint-dependencies"]]


def here(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate()


def versions(requirements: list[Requirement]) -> dict[str, str]:
    return {
        canonicalize_name(need.name): str(need.specifier).removeprefix("==")
        for need in requirements
        if here(need)
    }


def installed() -> dict[str, str]:
    return {
        canonicalize_name(found.name): found.version for found in importlib.metadata.distributions()
    }


def needed() -> set[str]:
    """Everything that the workspace and its tools need here, found by walking the metadata."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    waiting = [Requirement(line) for line in config["dependency-groups"]["dev"]]
    waiting += [Requirement(f"{name}[all]" if name == "llorch-ctl" else name) for name in OURS]
    return closure(waiting)


def closure(waiting: list[Requirement]) -> set[str]:
    seen: set[tuple[str, str]] = set()
    while waiting:
        need = waiting.pop()
        name = canonicalize_name(need.name)
        for extra in ("", *need.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for line in importlib.metadata.requires(name) or []:
                inner = Requirement(line)
                if inner.marker is None or inner.marker.evaluate({"extra": extra}):
                    waiting.append(inner)
    return {name for name, _ in seen} - OURS


def hashed() -> dict[Requirement, list[str]]:
    text = (ROOT / "requirements.hash.txt").read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {
        Requirement(line.partition(" --hash=")[0]): re.findall(r"--hash=(\S+)", line)
        for line in lines
    }


def test_everything_that_is_needed_here_is_pinned_and_every_pin_is_needed() -> None:
    assert versions(pins()).keys() == needed()


def test_everything_that_is_pinned_is_installed_in_that_version() -> None:
    found = installed()
    assert {name: found.get(name) for name in versions(pins())} == versions(pins())


def test_nothing_else_is_installed() -> None:
    assert installed().keys() - versions(pins()).keys() - OURS == set()


def test_every_pin_is_exact_and_the_list_is_sorted() -> None:
    assert [need for need in pins() if not re.fullmatch(r"==[^*,]+", str(need.specifier))] == []
    names = [need.name for need in pins()]
    assert names == sorted(names)


def test_the_hash_file_holds_the_pinned_versions_with_digests() -> None:
    pinned = {(need.name, str(need.specifier)) for need in pins()}
    assert {(need.name, str(need.specifier)) for need in hashed()} <= pinned
    for digests in hashed().values():
        assert digests
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in digests)


def test_the_hash_file_holds_everything_that_the_suite_needs_at_run_time() -> None:
    wanted = [Requirement(f"{name}[all]" if name == "llorch-ctl" else name) for name in OURS]
    assert versions(list(hashed())).keys() == closure(wanted)
