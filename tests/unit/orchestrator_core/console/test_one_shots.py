"""A daemon's program that runs for one act: its data, its talk, and why it failed."""

import sys
from pathlib import Path

import pytest

from orchestrator_core.console.one_shots import Done, run_once
from orchestrator_core.console.programs import ORCHESTRATORD
from orchestrator_core.errors import Code, HostError


def run(folder: Path, body: str, *args: str) -> Done:
    script = folder / "program"
    script.write_text(f"#!{sys.executable}\nimport os, sys\n{body}\n")
    script.chmod(0o700)
    return run_once(ORCHESTRATORD, args or ("backup",), env={"A": "b"}, find=lambda _: script)


def test_data_is_the_line_on_stdout_and_talk_is_stderr(tmp_path: Path) -> None:
    body = 'print(\'{"arg": "%s", "a": "%s"}\' % (sys.argv[2], os.environ[\'A\']))'
    done = run(tmp_path, body + "\nprint('be careful\\n', file=sys.stderr)", "backup", "x y")
    assert done.data == {"arg": "x y", "a": "b"}
    assert done.talk == ["be careful"]


@pytest.mark.parametrize(
    ("line", "code", "shown", "slug"),
    [
        ("orchestratord: process 7 uses it", 78, "process 7 uses it", "DATA_IN_USE"),
        ("orchestratord: x exists: use --force (CONFLICT)", 1, "x exists: use --force", "CONFLICT"),
        ("it is damaged", 1, "it is damaged", "INTERNAL"),
    ],
)  # fmt: skip
def test_a_failure_is_its_last_line(
    tmp_path: Path, line: str, code: int, shown: str, slug: str
) -> None:
    with pytest.raises(HostError) as caught:
        run(
            tmp_path,
            f"print('talk', file=sys.stderr)\nsys.stderr.write({line!r})\nsys.exit({code})",
        )
    assert (caught.value.refusal.message, caught.value.code) == (shown, Code(slug))


@pytest.mark.parametrize("body", ["", "print('[]')", "print('no json')"])
def test_a_program_that_says_nothing_of_use_is_told(tmp_path: Path, body: str) -> None:
    with pytest.raises(HostError, match="did not say what it did"):
        run(tmp_path, body)


def test_a_silent_failure_still_names_the_act(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="orchestratord backup ended with exit code 9"):
        run(tmp_path, "sys.exit(9)")
