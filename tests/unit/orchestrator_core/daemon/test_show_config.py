"""A daemon that is only asked for its settings checks them all, and makes, locks and opens nothing."""

import json
from pathlib import Path

import pytest

from orchestrator_core.daemon.flags import daemon_parser, given_flags
from orchestratord.main import run as run_orchestratord
from pool_managerd.main import run as run_pool


@pytest.mark.parametrize("run", [run_orchestratord, run_pool], ids=["orchestratord", "pool"])
def test_settings_are_one_line_of_json_and_nothing_is_made(
    run: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(run)
    home = tmp_path / "home"
    code = run(["--show-config", "--bind", "127.0.0.1:0"], {"LLORCH_HOME": str(home)})
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert (code, told["settings"]["bind"], told["origins"]["bind"]) == (0, "127.0.0.1:0", "flag")
    assert told["origins"].keys() >= told["descriptions"].keys()
    assert not home.exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--bind", "nonsense"], "nonsense"),
        (["--bind", "0.0.0.0:1"], "can be reached by other hosts"),
        (["--config", "/none.toml"], "there is no such file"),
    ],
)
def test_what_would_keep_it_from_starting_is_told(
    argv: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_orchestratord(["--show-config", *argv], {"LLORCH_HOME": str(tmp_path / "home")})
    told = capsys.readouterr()
    assert (code, told.out) == (78, "")
    assert words in told.err


def test_showing_is_no_setting() -> None:
    parser = daemon_parser(
        "x", description="", epilog="", version="1", default_bind="", config_file=""
    )
    assert "show_config" not in given_flags(parser.parse_args(["--show-config"]))
