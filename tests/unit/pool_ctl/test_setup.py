"""The setup of a fresh host: what it finds, what it does, and that it may be repeated."""

import contextlib
import json
import os
import subprocess
import tomllib
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator_core.config.layout import Layout
from orchestrator_core.contracts.downloads import DownloadOrder
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.findings import Finding, Severity
from pool_core.doctor import findings
from pool_ctl.commands.setup import acts, look
from pool_ctl.commands.setup.plan import Act, Checkout, Situation, State, plan
from pool_ctl.commands.setup.settings_text import SETTINGS_TEXT
from pool_ctl.main import cli
from pool_managerd.settings import PoolSettings
from support.fake_models import FakeHostModels

Setup = Callable[..., Result]
FRESH = Situation(
    folders=(Path("/c"), Path("/m")),
    missing_folders=(Path("/m"),),
    settings_file=Path("/c/pool.toml"),
    has_settings=False,
    model="tinyllama",
    model_bytes=1024,
)
READY = Situation(
    folders=(Path("/c"),),
    missing_folders=(),
    settings_file=Path("/c/pool.toml"),
    has_settings=True,
    checkout=Checkout(Path("/r"), submodules=2),
    hf_program="/bin/hf",
    model="tinyllama",
    is_model_here=True,
)


def test_a_fresh_host_needs_everything_but_what_is_optional() -> None:
    steps = {step.subject: step for step in plan(FRESH)}
    assert [(name, step.state, step.act) for name, step in steps.items()] == [
        ("folders", State.WOULD, Act.MAKE_FOLDERS),
        ("settings", State.WOULD, Act.WRITE_SETTINGS),
        ("submodules", State.SKIPPED, None),
        ("hf program", State.SKIPPED, None),
        ("model", State.WOULD, Act.DOWNLOAD_MODEL),
    ]
    assert steps["folders"].text == "/m"
    assert steps["model"].text == "tinyllama (1 KiB)"


def test_a_ready_host_needs_nothing() -> None:
    steps = plan(READY)
    assert {step.state for step in steps} == {State.ALREADY}
    assert all(step.act is None for step in steps)


@pytest.mark.parametrize(
    ("checkout", "state", "act"),
    [
        (Checkout(Path("/r"), submodules=2, missing=("a",)), State.WOULD, Act.FETCH_SUBMODULES),
        (Checkout(Path("/r"), fault="is in no git checkout"), State.FAILED, None),
        (Checkout(Path("/r")), State.SKIPPED, None),
    ],
)
def test_submodules_in_every_state(checkout: Checkout, state: State, act: Act | None) -> None:
    step = plan(Situation(**{**_fields(READY), "checkout": checkout}))[2]
    assert (step.state, step.act) == (state, act)


def test_no_model_and_an_unknown_model() -> None:
    none = plan(Situation(**{**_fields(READY), "model": None}))[-1]
    assert none.state is State.SKIPPED
    unknown = plan(Situation(**{**_fields(READY), "model_fault": "there is none"}))[-1]
    assert (unknown.state, unknown.act, unknown.text) == (State.FAILED, None, "there is none")


def _fields(situation: Situation) -> dict[str, object]:
    return {name: getattr(situation, name) for name in Situation.__slots__}


def test_the_settings_file_names_every_setting_and_changes_none() -> None:
    assert tomllib.loads(SETTINGS_TEXT) == {}
    bare = "\n".join(_uncommented(SETTINGS_TEXT))
    tree = tomllib.loads(bare)
    assert set(tree) == set(PoolSettings.model_fields)
    settings = PoolSettings.model_validate(tree)
    assert settings.external[0].models == {"big": "org/big-model"}
    external = type(settings.external[0])
    assert set(tree["external"][0]) == set(external.model_fields)
    for name in ("bind", "insecure_lan", "stop_grace_s"):
        assert getattr(settings, name) == PoolSettings.model_fields[name].default


def _uncommented(text: str) -> list[str]:
    lines = (line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))
    return [line for line in lines if " = " in line or line.startswith("[[")]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> FakeHostModels:
    fake = FakeHostModels()

    @contextlib.contextmanager
    def reach(*_args: object) -> Generator[FakeHostModels]:
        yield fake

    monkeypatch.setattr(look, "open_models", reach)
    monkeypatch.setattr(acts, "open_models", reach)
    monkeypatch.setattr(findings, "judge", lambda _facts: [Finding(Severity.OK, "all", "fine")])
    return fake


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def setup(home: Path) -> Setup:
    def run(*argv: str, **env: str) -> Result:
        gone = dict.fromkeys(("LLORCH_API_KEY", "LLORCH_POOL_URL", "LLORCH_POOL_GIT_REPO"))
        place = {"LLORCH_HOME": str(home), "LLORCH_POOL_BIND": "127.0.0.1:0"}
        return CliRunner().invoke(cli, ["dev", "setup", *argv], env={**gone, **place, **env})

    return run


def steps_of(result: Result) -> dict[str, str]:
    return {step["subject"]: step["state"] for step in json.loads(result.stdout)["steps"]}


def test_a_setup_makes_what_is_missing_and_a_second_one_changes_nothing(
    setup: Setup, here: FakeHostModels, home: Path
) -> None:
    first = setup("--model", "own", "--format", "json")
    assert first.exit_code == 0
    states = steps_of(first)
    assert (states["folders"], states["settings"], states["model"]) == ("done", "done", "done")
    assert here.orders == [DownloadOrder(model="own")]
    layout = Layout.from_env({"LLORCH_HOME": str(home)})
    settings = layout.config_file("pool")
    assert settings.read_text() == SETTINGS_TEXT
    assert oct(layout.models_folder.stat().st_mode & 0o777) == "0o700"
    settings.write_text("# mine\n")
    second = setup("--model", "small", "--format", "json")
    states = steps_of(second)
    assert (states["folders"], states["settings"], states["model"]) == ("already so",) * 3
    assert settings.read_text() == "# mine\n"
    assert len(here.orders) == 1


def test_a_dry_run_changes_nothing(setup: Setup, here: FakeHostModels, home: Path) -> None:
    result = setup("--dry-run", "--model", "own")
    assert result.exit_code == 0
    assert "folders     would be done" in result.stdout
    assert "model       would be done  own (10 MiB)" in result.stdout
    assert not home.exists()
    assert here.orders == []


def test_without_models_none_is_asked_for(setup: Setup, here: FakeHostModels) -> None:
    result = setup("--no-models", "--format", "json")
    assert (result.exit_code, steps_of(result)["model"]) == (0, "skipped")
    assert here.orders == []


def test_a_failed_step_does_not_end_the_others_and_the_setup_says_so(
    setup: Setup, here: FakeHostModels, home: Path
) -> None:
    here.refusal = Refusal(Code.UNREACHABLE, "the hub is not there")
    result = setup("--model", "own")
    assert result.exit_code == 1
    assert "model       failed         the hub is not there" in result.stdout
    assert (home / "config" / "pool.toml").exists()
    assert "fine" in result.stdout


def test_a_model_that_nobody_knows_is_told_before_anything_is_fetched(
    setup: Setup, here: FakeHostModels
) -> None:
    result = setup("--model", "nosuch")
    assert result.exit_code == 1
    assert "there is no model nosuch: llorch-pool models catalog" in result.stdout
    assert here.orders == []


def test_an_error_of_the_doctor_is_a_failure_of_the_setup(
    setup: Setup, here: FakeHostModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [Finding(Severity.ERROR, "cellar", "is flooded", "pump it dry")]
    monkeypatch.setattr(findings, "judge", lambda _facts: found)
    result = setup("--no-models")
    assert result.exit_code == 1
    assert "pump it dry" in result.stdout


def test_a_folder_that_cannot_be_made_is_one_line(
    setup: Setup, here: FakeHostModels, home: Path
) -> None:
    home.mkdir()
    (home / "data").write_text("in the way")
    result = setup("--no-models")
    assert result.exit_code == 1
    assert "folders     failed" in result.stdout
    assert "Traceback" not in result.output


def test_submodules_of_the_configured_checkout_are_fetched_once(
    setup: Setup, here: FakeHostModels, tmp_path: Path
) -> None:
    env = {
        "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"),
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    (tmp_path / "gitconfig").write_text(
        '[user]\nname = A\nemail = a@example.com\n[protocol "file"]\nallow = always\n'
    )

    def git(*words: str) -> None:
        whole = {**os.environ, **env}
        subprocess.run(["git", *words], env=whole, check=True, capture_output=True)

    inner, outer, clone = (str(tmp_path / name) for name in ("inner", "outer", "clone"))
    for repo in (inner, outer):
        git("init", "-q", repo)
        git("-C", repo, "commit", "-q", "--allow-empty", "-m", "one")
    git("-C", outer, "submodule", "add", inner, "engine")
    git("-C", outer, "commit", "-q", "-m", "two")
    git("clone", "-q", outer, clone)
    env["LLORCH_POOL_GIT_REPO"] = clone
    first = setup("--no-models", "--format", "json", **env)
    assert steps_of(first)["submodules"] == "done", first.output
    assert (tmp_path / "clone" / "engine" / ".git").exists()
    assert steps_of(setup("--no-models", "--format", "json", **env))["submodules"] == "already so"
    broken = setup("--no-models", "--format", "json", LLORCH_POOL_GIT_REPO=str(tmp_path / "no"))
    assert (broken.exit_code, steps_of(broken)["submodules"]) == (1, "failed")
