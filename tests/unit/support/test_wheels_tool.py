"""./dev wheels: what a host of each platform is given, decided without asking an index."""

import importlib.util
import re
import sys
from types import ModuleType

import pytest

from llorch_ctl.enrolment.wheelhouse import HOST_SIDE
from support.checkout import ROOT


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wheels_tool", ROOT / "tools" / "wheels.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by its name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pinned() -> str:
    return (ROOT / "requirements.hash.txt").read_text("utf-8")


def names(text: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE))


def test_a_host_gets_what_its_programs_need_and_nothing_of_the_control_plane(
    tool: ModuleType, pinned: str
) -> None:
    found = names(tool.host_requirements(pinned))
    assert {
        "click",
        "cryptography",
        "fastapi",
        "httpx",
        "psutil",
        "structlog",
        "xllamacpp",
    } <= found
    assert not {"aiosqlite", "asyncssh", "orjson", "pytest"} & found


def test_every_requirement_keeps_its_exact_version_and_its_digests(
    tool: ModuleType, pinned: str
) -> None:
    text = tool.host_requirements(pinned)
    blocks = text.split("\n")
    heads = [line for line in blocks if line and not line.startswith(" ")]
    assert all(re.match(r"[a-z0-9-]+==[^ ]+( ; .+)? \\$", head) for head in heads)
    assert text.count("--hash=sha256:") >= len(heads)
    assert set(text.splitlines()) <= set(pinned.splitlines())


@pytest.mark.parametrize("platform", ["linux-x86_64", "linux-aarch64", "macos-arm64"])
def test_markers_are_judged_for_the_host_and_not_for_this_machine(
    tool: ModuleType, pinned: str, platform: str
) -> None:
    extra = (
        'only-mac==1 ; sys_platform == "darwin" \\\n    --hash=sha256:00\n'
        'psutil==9 ; platform_machine == "aarch64" \\\n    --hash=sha256:00\n'
    )
    text = tool._for_target(pinned + extra, tool.PLATFORMS[platform], "3.11")
    assert ";" not in text
    assert ("psutil==9" in text) == (platform == "linux-aarch64")
    # What nobody needs is not fetched, whatever its marker says.
    assert "only-mac" not in text
    assert "colorama" not in text


def test_no_wheel_is_taken_that_an_older_glibc_could_not_load(tool: ModuleType) -> None:
    tags = tool.PLATFORMS["linux-x86_64"].tags
    assert tags[0] == "manylinux_2_28_x86_64"
    assert "manylinux2014_x86_64" in tags


def test_both_sides_agree_what_runs_on_a_host(tool: ModuleType) -> None:
    needed = {name.replace("-", "_") for name in tool._closure(tool.HOST_SIDE)}
    assert {name for name in needed if name.startswith("llorch_")} == set(HOST_SIDE)


def test_uv_has_the_version_that_dev_pins(tool: ModuleType) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", tool._uv_pin())
