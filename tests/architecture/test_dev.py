"""./dev lists what it can do, refuses what it cannot, and keeps the folder of its caller."""

import subprocess
from pathlib import Path

from support.checkout import ROOT

DEV = ROOT / "dev"


def dev(*args: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([DEV, *args], cwd=cwd, capture_output=True, text=True, check=False)


def commands() -> set[str]:
    lines = dev().stdout.splitlines()
    return {line.split()[0] for line in lines if line.startswith("  ")}


def test_lists_its_commands_when_called_bare() -> None:
    assert dev().returncode == 0
    assert commands() == {
        "up", "down", "test", "check", "fix", "bench", "hosts", "faults", "fuzz", "pin", "golden", "wheels",
        "llorch", "llorch-pool",
    }  # fmt: skip


def test_refuses_an_unknown_command_in_one_line() -> None:
    refused = dev("dance")
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr.count("\n") == 1


def test_scripts_are_plain_shell_and_executable() -> None:
    for script, shell in ((DEV, "sh"), (ROOT / ".ci" / "run", "bash")):
        assert script.stat().st_mode & 0o111
        assert script.read_text("utf-8").splitlines()[0].endswith(shell)
        subprocess.run([shell, "-n", script], check=True)


def test_runs_tests_from_the_folder_of_the_caller(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("def test_here():\n    pass\n")
    done = dev("test", "--collect-only", "-q", "test_mine.py", cwd=tmp_path)
    assert "1 test collected" in done.stdout
