"""The rule about skips does what ./dev test --no-skip promises."""

from pathlib import Path

import pytest

from support.checkout import ROOT

SKIPPED = "import pytest\ndef test_needs_more():\n    pytest.skip('no such device')\n"
PASSING = "def test_works():\n    pass\n"


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    pytester.makeini("[pytest]\ntestpaths = tests\n")
    folder = pytester.mkdir("tests")
    (folder / "conftest.py").write_text('pytest_plugins = ["support.skips"]\n')
    return folder


def allow(folder: Path, name: str) -> None:
    (folder / "skips.toml").write_text(
        f'[[skip]]\nid = "tests/test_it.py::{name}"\nreason = "has no device here"\n'
    )


def test_fails_a_skip_that_is_not_on_the_list(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "test_it.py").write_text(SKIPPED)
    result = pytester.runpytest_subprocess("--no-skip")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no such device*tests/skips.toml does not allow it*"])


def test_fails_a_module_that_skips_itself(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "test_it.py").write_text(
        "import pytest\npytest.skip('not here', allow_module_level=True)\n"
    )
    result = pytester.runpytest_subprocess("--no-skip")
    result.assert_outcomes(errors=1)
    assert result.ret != 0


def test_allows_a_listed_skip_and_prints_its_reason(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "test_it.py").write_text(SKIPPED + PASSING)
    allow(suite, "test_needs_more")
    result = pytester.runpytest_subprocess("--no-skip")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*test_it.py::test_needs_more: has no device here"])
    assert result.ret == 0


def test_fails_when_an_entry_of_the_list_was_not_skipped(
    suite: Path, pytester: pytest.Pytester
) -> None:
    (suite / "test_it.py").write_text(PASSING)
    allow(suite, "test_works")
    result = pytester.runpytest_subprocess("--no-skip")
    result.stdout.fnmatch_lines(["FAILED tests/skips.toml names tests/test_it.py::test_works*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_fails_when_an_entry_names_no_test(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "test_it.py").write_text(PASSING)
    allow(suite, "test_that_is_gone")
    assert pytester.runpytest_subprocess("--no-skip").ret == pytest.ExitCode.TESTS_FAILED
    alone = pytester.runpytest_subprocess("--no-skip", "-k", "works")
    assert alone.ret == pytest.ExitCode.OK


def test_leaves_skips_alone_without_the_option(suite: Path, pytester: pytest.Pytester) -> None:
    (suite / "test_it.py").write_text(SKIPPED)
    pytester.runpytest_subprocess().assert_outcomes(skipped=1)
