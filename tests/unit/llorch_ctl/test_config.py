"""llorch config show: every setting with its origin, and never a key."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from llorch_ctl.main import cli


def run(tmp_path: Path, *args: str, **env: str) -> Result:
    clean = {"LLORCH_API_KEY": None, "LLORCH_ORCHESTRATOR_URL": None, "LLORCH_DEBUG": None}
    given = {**clean, "LLORCH_HOME": str(tmp_path), **env}
    return CliRunner().invoke(cli, ["config", "show", *args], env=given)


def rows(result: Result) -> dict[tuple[str, str], tuple[object, str]]:
    assert result.exit_code == 0, result.output
    listed = json.loads(result.stdout)
    return {(it["program"], it["key"]): (it["value"], it["origin"]) for it in listed}


def test_each_setting_says_where_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    file = tmp_path / "config" / "orchestrator.toml"
    file.write_text("queue_limit = 7\n")
    found = rows(
        run(
            tmp_path, "--format", "json", "--url", "http://far.example:1",
            LLORCH_API_KEY="llo_user_secret", LLORCH_ORCHESTRATOR_RETENTION_H="3",
        )
    )  # fmt: skip
    assert found["llorch", "config_folder"] == (str(tmp_path / "config"), "env LLORCH_HOME")
    assert found["llorch", "orchestrator_url"] == ("http://far.example:1", "flag")
    assert found["llorch", "api_key"] == ("set", "env LLORCH_API_KEY")
    assert found["orchestratord", "queue_limit"] == (7, f"file {file}")
    assert found["orchestratord", "retention_h"] == (
        3.0, "env LLORCH_ORCHESTRATOR_RETENTION_H",
    )  # fmt: skip
    assert found["pool-managerd", "bind"][1] == "default"


def test_a_table_leaves_origins_and_defaults_to_flags(tmp_path: Path) -> None:
    plain = run(tmp_path).stdout.splitlines()
    assert plain[0].split() == ["PROGRAM", "KEY", "VALUE"]
    changed = run(tmp_path, "--origin", "--changed", LLORCH_DEBUG="1").stdout.splitlines()
    assert changed[0].split() == ["PROGRAM", "KEY", "VALUE", "ORIGIN"]
    assert len(changed) < len(plain)
    assert not any(line.endswith("default") for line in changed)
    assert any(line.endswith("env LLORCH_DEBUG") for line in changed)


def test_no_key_is_ever_shown(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "admin.key").write_text("llo_admin_secret")
    for env in ({}, {"LLORCH_API_KEY": "llo_user_secret"}):
        assert "secret" not in run(tmp_path, "--format", "json", **env).output


@pytest.mark.parametrize("name", ["orchestrator", "pool"])
def test_a_wrong_settings_file_is_told_and_the_rest_is_shown(tmp_path: Path, name: str) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / f"{name}.toml").write_text("bnd = 3\n")
    result = run(tmp_path)
    assert result.exit_code == 1
    assert (
        f'{name}.toml: unknown key "bnd" (did you mean "bind"?) (CONFIG_INVALID)' in result.stderr
    )
    assert "config_folder" in result.stdout
