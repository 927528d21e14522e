"""Nothing in the repository tells where, when or in which mood it was made."""

import ast
import re
from collections.abc import Iterator

import pytest

from support.checkout import ROOT, Module, modules, texts

# The words are put together here so that this file does not contain what it looks for.
REGISTRY_HOSTS = ("py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "deb." + "debian.org")
HOME_FOLDERS = ("/" + "root/", "/" + "work/", "/" + "Users/", "/" + "home/")
PROMISES = re.compile("|".join(("TO" + "DO", "FIX" + "ME", r"\bX" + r"XX\b", r"\bHA" + r"CK\b")))


def places(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number} {line.strip()[:100]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize("host", REGISTRY_HOSTS)
def test_no_file_names_a_package_registry(host: str) -> None:
    assert places(re.compile(re.escape(host))) == []


def test_the_lock_file_with_its_addresses_stays_local() -> None:
    assert "uv.lock" not in dict(texts())
    assert "/uv.lock" in (ROOT / ".gitignore").read_text("utf-8").splitlines()


@pytest.mark.parametrize("folder", HOME_FOLDERS)
def test_no_file_names_a_folder_of_one_machine(folder: str) -> None:
    assert places(re.compile(rf"(?<![\w.}}]){folder}\w")) == []


def test_no_file_promises_to_be_finished_later() -> None:
    assert places(PROMISES) == []


def naps(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner = node.func.value
        if node.func.attr != "sleep" or not isinstance(owner, ast.Name):
            continue
        duration = node.args[0] if node.args else None
        # asyncio.sleep(0) gives way to other tasks and waits for no time at all.
        gives_way = isinstance(duration, ast.Constant) and duration.value == 0
        if owner.id == "time" or (owner.id == "asyncio" and not gives_way):
            yield f"{module.shown}:{node.lineno}"


def test_no_test_sleeps() -> None:
    # Benchmarks measure for a while on purpose; they assert nothing.
    spared = {ROOT / "tests" / "support" / "waiting.py", *(ROOT / "tests" / "bench").rglob("*.py")}
    awake = (module for module in modules("tests") if module.path not in spared)
    assert [nap for module in awake for nap in naps(module)] == []
