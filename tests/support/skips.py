"""The option --no-skip: a skipped test fails unless tests/skips.toml names it with a reason.

An entry that no skip used fails the run as well, so the list never outlives its causes. The
allowed skips and their reasons are printed at the end of every run that has some.
"""

import tomllib
from collections.abc import Generator
from pathlib import Path

import pytest

from support.parts import is_in_this_part

__all__ = ["SkipList", "SkipRule"]

_FILTERS = ("keyword", "markexpr", "deselect", "lf", "last_failed", "failedfirst", "maxfail")


class SkipList:
    """The ids that may be skipped, each with the reason that a person wrote down."""

    def __init__(self, reasons: dict[str, str]) -> None:
        self.reasons = reasons

    @classmethod
    def read(cls, path: Path) -> "SkipList":
        """Read the list; a missing file allows nothing."""
        if not path.exists():
            return cls({})
        reasons: dict[str, str] = {}
        for entry in tomllib.loads(path.read_text("utf-8")).get("skip", []):
            identifier, reason = entry.get("id", ""), entry.get("reason", "").strip()
            if set(entry) != {"id", "reason"} or not identifier or not reason:
                raise pytest.UsageError(f"{path.name}: every [[skip]] has an id and a reason")
            if identifier in reasons:
                raise pytest.UsageError(f"{path.name}: {identifier} is listed twice")
            reasons[identifier] = reason
        return cls(reasons)


class SkipRule:
    """Watches every report of a run and decides which skips may stand."""

    def __init__(self, config: pytest.Config) -> None:
        self.enforced = bool(config.getoption("--no-skip"))
        self.allowed = SkipList.read(config.rootpath / "tests" / "skips.toml")
        self.used: set[str] = set()
        self.collected: set[str] = set()
        self.unused: list[str] = []

    def judge(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        """Turn a skip that nobody wrote down into a failure."""
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        if report.nodeid in self.allowed.reasons:
            self.used.add(report.nodeid)
        elif self.enforced:
            cause = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            report.outcome = "failed"
            report.longrepr = (
                f"{report.nodeid} was skipped ({cause}) and tests/skips.toml does not allow it"
            )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self,
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Judge the phases of a test."""
        report = yield
        self.judge(report)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self,
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Judge a module that skips itself as a whole."""
        report = yield
        self.judge(report)
        return report

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Remember which tests this run is about."""
        self.collected = {item.nodeid for item in session.items}

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a run whose list names a test that was not skipped."""
        if not self.enforced or session.config.option.collectonly:
            return
        idle = [name for name in self.allowed.reasons if name not in self.used]
        idle = [name for name in idle if is_in_this_part(session.config, name)]
        if not self._whole(session.config):
            idle = [name for name in idle if name in self.collected]
        self.unused = sorted(idle)
        if self.unused and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _whole(self, config: pytest.Config) -> bool:
        # Only a run of everything can tell that an entry names no test at all.
        filtered = any(getattr(config.option, name, None) for name in _FILTERS)
        wanted = {(config.invocation_params.dir / arg).resolve() for arg in config.args}
        return not filtered and wanted <= {config.rootpath, config.rootpath / "tests"}

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print what was skipped by permission, and what permission nobody needed."""
        if self.used:
            terminalreporter.section("allowed skips")
        for name in sorted(self.used):
            terminalreporter.line(f"{name}: {self.allowed.reasons[name]}")
        for name in self.unused:
            terminalreporter.line(f"FAILED tests/skips.toml names {name}, which was not skipped")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --no-skip."""
    parser.addoption(
        "--no-skip",
        action="store_true",
        help="fail every skipped test that tests/skips.toml does not name",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Set the rule up for this run."""
    config.pluginmanager.register(SkipRule(config), "llorch-skips")
