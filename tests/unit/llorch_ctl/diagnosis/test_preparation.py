"""A setup plans one step for each thing, leaves alone what is there, and can be repeated."""

import tomllib
from pathlib import Path

import pytest

from llorch_ctl.diagnosis import preparing
from llorch_ctl.diagnosis.daemon_settings import DaemonConfig
from llorch_ctl.diagnosis.preparation import Act, Situation, State, plan
from llorch_ctl.diagnosis.preparing import look, perform
from llorch_ctl.diagnosis.settings_text import HOSTS_TEXT, settings_text
from llorch_ctl.settings import CliSettings
from orchestrator_core.errors import Code, Refusal

EMPTY = Situation(
    folders=(Path("/c"), Path("/s")),
    missing_folders=(Path("/c"),),
    hosts_file=Path("/c/llorch.toml"),
    settings_file=Path("/c/orchestrator.toml"),
)


def states(found: Situation) -> dict[str, State]:
    return {step.subject: step.state for step in plan(found)}


def test_an_empty_machine_gets_folders_and_files() -> None:
    assert states(EMPTY) == {
        "folders": State.WOULD, "hosts": State.WOULD, "settings": State.WOULD,
        "ssh": State.SKIPPED, "completion": State.SKIPPED,
    }  # fmt: skip
    assert [step.act for step in plan(EMPTY) if step.act] == list(Act)


def test_what_is_there_stays() -> None:
    found = Situation(
        folders=EMPTY.folders, hosts_file=EMPTY.hosts_file, settings_file=EMPTY.settings_file,
        has_hosts=True, has_settings=True, has_login=True,
    )  # fmt: skip
    assert all(step.act is None for step in plan(found))
    assert states(found)["ssh"] is State.ALREADY


@pytest.mark.parametrize(
    ("shell", "words"),
    [("bash", "~/.bashrc"), ("zsh", "~/.zshrc"), ("fish", "config.fish"), ("", "~/.bashrc")],
)
def test_the_line_for_the_shell_fits_the_shell(shell: str, words: str) -> None:
    found = Situation(
        folders=(), hosts_file=EMPTY.hosts_file, settings_file=EMPTY.settings_file, shell=shell
    )
    (step,) = [step for step in plan(found) if step.subject == "completion"]
    assert words in step.text
    assert f"llorch completion {shell or 'bash'}" in step.text


def test_every_setting_stands_in_the_file_as_a_comment() -> None:
    defaults = {"bind": "127.0.0.1:8080", "limit": 3, "names": [], "cert": None, "on": True}
    text = settings_text("orchestratord", "LLORCH_ORCHESTRATOR_", defaults, {"bind": "Where"})
    assert tomllib.loads(text) == {}
    lines = [line.removeprefix("# ") for line in text.splitlines() if " = " in line]
    assert tomllib.loads("\n".join(lines)) == {
        "bind": "127.0.0.1:8080", "limit": 3, "names": [], "on": True,
    }  # fmt: skip
    assert "# Where." in text


def test_the_example_of_a_host_can_be_used_as_it_is() -> None:
    assert tomllib.loads(HOSTS_TEXT) == {}
    lines = [line.removeprefix("# ") for line in HOSTS_TEXT.splitlines()]
    wanted = [line for line in lines if line.startswith("[") or " = " in line]
    assert set(tomllib.loads("\n".join(wanted))["hosts"]["mac"]) == {
        "ssh", "url", "key_file", "ca", "command",
    }  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliSettings:
    monkeypatch.setenv("LLORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    told = DaemonConfig(
        program="orchestratord", version="1", file=Path("/x"), settings={"bind": "a"},
        origins={"bind": "default"}, descriptions={"bind": "Where it listens"},
    )  # fmt: skip
    monkeypatch.setattr(preparing, "read_daemon_settings", lambda *_: told)
    return CliSettings.from_environment()


def test_a_setup_is_done_once_and_changes_nothing_the_second_time(settings: CliSettings) -> None:
    found = look(settings)
    ended = [perform(settings, found, step) for step in plan(found)]
    assert [step.state for step in ended[:3]] == [State.DONE] * 3
    file = settings.layout.config_file("orchestrator")
    assert "# Where it listens." in file.read_text()
    file.write_text("# mine\n")
    again = look(settings)
    assert all(step.act is None for step in plan(again))
    assert file.read_text() == "# mine\n"


def test_a_step_that_fails_says_so_and_ends_no_other(settings: CliSettings) -> None:
    settings.layout.config.parent.mkdir(parents=True)
    settings.layout.config.write_text("a file, not a folder")
    found = look(settings)
    ended = {step.subject: perform(settings, found, step) for step in plan(found)}
    assert ended["folders"].state is State.FAILED
    assert ended["hosts"].state is State.FAILED
    assert ended["ssh"].state is State.SKIPPED


def test_a_machine_without_the_daemon_gets_no_file_for_it(
    settings: CliSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = Refusal(Code.INTERNAL, "orchestratord is not installed")
    monkeypatch.setattr(preparing, "read_daemon_settings", lambda *_: missing)
    (step,) = [step for step in plan(look(settings)) if step.subject == "settings"]
    assert (step.state, step.text) == (State.SKIPPED, "orchestratord is not installed")
