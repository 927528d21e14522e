"""./dev test runs the suite in parts side by side, and its last line holds for all of them."""

import runpy
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from support.checkout import ROOT, modules
from support.parts import PARTS, part_of
from support.waiting import until_sync

TOOL = ROOT / "tools" / "side_by_side.py"
STARTED: tuple[str, ...] = runpy.run_path(str(TOOL))["PARTS"]
# Three parts show all that seven would, in less time.
FILES = {"pool": "e2e/test_pool.py", "e2e": "e2e/test_it.py", "rest": "unit/test_it.py"}
PASSING = "def test_works():\n    pass\n"
FAILING = "def test_breaks():\n    assert False\n"
SKIPPED = "import pytest\ndef test_needs_more():\n    pytest.skip('no such device')\n"
HARD_END = "import os\ndef test_ends_it_all():\n    os._exit(7)\n"
ENDLESS = """
import pathlib, threading
def test_waits():
    pathlib.Path(__file__).with_suffix(".begun").touch()
    threading.Event().wait(60)
"""
STUBBORN = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + ENDLESS


def repr_of(parts: Iterable[str]) -> str:
    return "(" + ", ".join(f'"{part}"' for part in parts) + ")"


class Suite:
    """A checkout with a test file in each part."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "tools").mkdir()
        self.tool = root / "tools" / "side_by_side.py"
        self.tool.write_text(TOOL.read_text("utf-8").replace(repr_of(STARTED), repr_of(FILES)))
        (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = ['-ra']\n")
        for part in FILES:
            self.path(part).parent.mkdir(parents=True, exist_ok=True)
            self.write(part, PASSING)
        plugins = '["support.parts", "support.skips"]'
        (root / "tests" / "conftest.py").write_text(f"pytest_plugins = {plugins}\n")

    def path(self, part: str) -> Path:
        return self.root / "tests" / FILES[part]

    def write(self, part: str, text: str) -> None:
        self.path(part).write_text(text)

    def allow(self, skip: str) -> None:
        (self.root / "tests" / "skips.toml").write_text(
            f'[[skip]]\nid = "{skip}"\nreason = "has no device here"\n'
        )

    def begin(self, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, self.tool, *options],
            cwd=self.root,
            env={"PYTHONPATH": str(ROOT / "tests")},
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *options: str) -> tuple[int, list[str]]:
        with self.begin(*options) as process:
            out, _ = process.communicate(timeout=60)
        return process.returncode, out.splitlines()


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path)


def test_every_file_belongs_to_one_part() -> None:
    assert part_of("tests/e2e/test_restart.py") == "e2e"
    assert part_of("tests/e2e/test_worker_faults.py::test_one") == "pool"
    assert part_of("tests/unit/test_it.py") == part_of("tests/a-new-folder/test_it.py") == "rest"
    assert part_of("docs/e2e") == "rest"
    assert {part_of(module.shown) for module in modules("tests")} == set(PARTS)


def test_the_one_who_runs_the_parts_knows_them_all() -> None:
    assert set(STARTED) == set(PARTS)


def test_all_parts_are_counted_in_the_last_line(suite: Suite) -> None:
    suite.write("rest", PASSING + SKIPPED)
    code, lines = suite.run()
    assert code == 0
    assert lines[-1].strip("= ").startswith("3 passed, 1 skipped in ")
    shown = [line.strip("= ") for line in lines if line.strip("= ") in FILES]
    assert shown == list(FILES)


@pytest.mark.parametrize("part", ["pool", "rest"])
def test_a_failure_in_any_part_fails_the_whole(suite: Suite, part: str) -> None:
    suite.write(part, FAILING)
    code, lines = suite.run("-q")
    assert code == 1
    assert lines[-1].strip("= ").startswith("1 failed, 2 passed in ")
    end = lines[next(at for at, line in enumerate(lines) if "all parts" in line) :]
    assert any(f"FAILED tests/{FILES[part]}::test_breaks" in line for line in end)


def test_a_part_that_cannot_close_fails_the_whole(suite: Suite) -> None:
    suite.write("e2e", HARD_END)
    code, lines = suite.run()
    assert code == 7
    assert "ERROR e2e ended with 7 before its closing line" in lines
    assert lines[-1].strip("= ").startswith("2 passed, 1 error in ")


def test_a_part_without_tests_is_no_success(suite: Suite) -> None:
    suite.path("e2e").unlink()
    assert suite.run()[0] == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize(
    ("allowed", "code", "said"),
    [
        ("tests/e2e/test_it.py::test_needs_more", 0, "2 passed, 1 skipped in "),
        ("tests/unit/test_it.py::test_works", 1, "1 failed, 2 passed in "),
        ("tests/e2e/test_it.py::test_that_is_gone", 1, "1 failed, 2 passed in "),
        ("tests/gone/test_it.py::test_that_is_gone", 1, "1 failed, 2 passed in "),
    ],
)
def test_the_rule_about_skips_holds_over_all_parts(
    suite: Suite, allowed: str, code: int, said: str
) -> None:
    suite.write("e2e", SKIPPED)
    suite.allow(allowed)
    result, lines = suite.run("--no-skip")
    assert result == code
    assert lines[-1].strip("= ").startswith(said)
    idle = [line for line in lines if line.startswith("FAILED tests/skips.toml names ")]
    # Once by the part that the entry belongs to, and once at the end.
    assert len(idle) == (2 if code else 0)


def test_an_interrupt_ends_all_and_they_say_how_far_they_came(suite: Suite) -> None:
    running = ("pool", "e2e")
    for part in FILES:
        suite.write(part, ENDLESS)
    begun = [suite.path(part).with_suffix(".begun") for part in running]
    with suite.begin() as process:
        until_sync(lambda: all(it.exists() for it in begun), timeout_s=30, what="two parts")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert out.count("KeyboardInterrupt") >= 2
    assert not suite.path("rest").with_suffix(".begun").exists()
    assert "ERROR rest was not started" in out
    assert "1 error in " in out.splitlines()[-1]


def test_a_part_that_does_not_end_when_it_is_interrupted_is_killed(suite: Suite) -> None:
    suite.write("pool", STUBBORN)
    suite.tool.write_text(suite.tool.read_text().replace("PATIENCE_S = 30.0", "PATIENCE_S = 0.1"))
    begun = suite.path("pool").with_suffix(".begun")
    with suite.begin() as process:
        until_sync(begun.exists, timeout_s=30, what="the part")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == signal.SIGKILL
    assert "ERROR pool ended with 9 before its closing line" in out
