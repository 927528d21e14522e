"""Settings come from flag, environment, file, default, in this order, and know from where."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from orchestrator_core.config.loader import Loaded, load
from orchestrator_core.errors import Code, RequestError


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Queue(Strict):
    depth: Annotated[int, Field(ge=1)] = 10
    names: tuple[str, ...] = ()


class Settings(Strict):
    bind: str = "127.0.0.1:8080"
    debug: bool = False
    mode: Literal["fast", "safe"] | None = None
    folder: Path | None = None
    tags: dict[str, int] = {}
    secret: SecretStr | None = None
    queue: Queue = Queue()

    @field_validator("bind")
    @classmethod
    def _has_port(cls, text: str) -> str:
        if ":" not in text:
            raise ValueError("Needs a port")
        return text


def read(
    tmp_path: Path,
    toml: str = "",
    env: dict[str, str] | None = None,
    flags: dict[str, object] | None = None,
) -> Loaded[Settings]:
    file = tmp_path / "orchestrator.toml"
    file.write_text(toml)
    return load(Settings, env_prefix="APP_", env=env or {}, file=file, flags=flags or {})


def refusal_of(tmp_path: Path, toml: str = "", env: dict[str, str] | None = None) -> str:
    with pytest.raises(RequestError) as caught:
        read(tmp_path, toml, env)
    assert caught.value.code is Code.CONFIG_INVALID
    assert "\n" not in caught.value.refusal.message
    return caught.value.refusal.message


def test_defaults_need_no_file(tmp_path: Path) -> None:
    loaded = load(Settings, env_prefix="APP_", env={}, file=tmp_path / "none.toml", flags={})
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {"default"}
    assert "queue.depth" in loaded.origins


def test_flag_wins_over_environment_over_file_over_default(tmp_path: Path) -> None:
    toml = 'bind = "file:1"\ndebug = true\n[queue]\ndepth = 2\nnames = ["a"]\n'
    env = {"APP_BIND": "env:1", "APP_QUEUE__DEPTH": "3", "APP_UNRELATED": "x", "OTHER": "y"}
    flags: dict[str, object] = {"bind": "flag:1", "queue.depth": None}
    loaded = read(tmp_path, toml, env, flags)
    settings = loaded.settings
    assert (settings.bind, settings.debug) == ("flag:1", True)
    assert (settings.queue.depth, settings.queue.names) == (3, ("a",))
    file = tmp_path / "orchestrator.toml"
    assert loaded.origins == {
        "bind": "flag",
        "debug": f"file {file}",
        "mode": "default",
        "folder": "default",
        "tags": "default",
        "secret": "default",
        "queue.depth": "env APP_QUEUE__DEPTH",
        "queue.names": f"file {file}",
    }


def test_environment_speaks_lists_tables_and_truth(tmp_path: Path) -> None:
    env = {
        "APP_DEBUG": "true",
        "APP_QUEUE__NAMES": "a, b",
        "APP_TAGS": '{"x": 1}',
        "APP_FOLDER": "/srv",
        "APP_MODE": "",
    }
    settings = read(tmp_path, env=env).settings
    assert settings.debug
    assert settings.queue.names == ("a", "b")
    assert settings.tags == {"x": 1}
    assert settings.folder == Path("/srv")
    assert settings.mode is None
    again = read(tmp_path, env={"APP_QUEUE__NAMES": '["c"]'}).settings
    assert again.queue.names == ("c",)


def test_unknown_key_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    assert refusal_of(tmp_path, 'bnid = "x"') == (
        'orchestrator.toml: unknown key "bnid" (did you mean "bind"?)'
    )
    assert refusal_of(tmp_path, "[queue]\ndpth = 1") == (
        'orchestrator.toml: unknown key "queue.dpth" (did you mean "queue.depth"?)'
    )
    assert refusal_of(tmp_path, "zzz = 1") == 'orchestrator.toml: unknown key "zzz"'


@pytest.mark.parametrize(
    ("toml", "env", "start"),
    [
        ("[queue]\ndepth = 0", {}, 'orchestrator.toml: key "queue.depth": '),
        ("queue = 3", {}, 'orchestrator.toml: key "queue": '),
        ("", {"APP_QUEUE__DEPTH": "many"}, 'APP_QUEUE__DEPTH: key "queue.depth": '),
        ("", {"APP_TAGS": "{broken"}, 'APP_TAGS: key "tags": '),
        ('bind = "x"', {}, 'orchestrator.toml: key "bind": needs a port'),
        ("bind = ", {}, "orchestrator.toml: "),
        ("bind = 1\ndebug = 7", {}, 'orchestrator.toml: key "bind": '),
    ],
)
def test_wrong_value_names_its_key_and_origin(
    tmp_path: Path, toml: str, env: dict[str, str], start: str
) -> None:
    assert refusal_of(tmp_path, toml, env).startswith(start)


def test_wrong_flag_is_named_as_one() -> None:
    with pytest.raises(RequestError, match='flag: key "bind": needs a port'):
        load(Settings, env_prefix="APP_", env={}, file=None, flags={"bind": "x"})


def test_values_are_not_repeated_in_errors(tmp_path: Path) -> None:
    assert "hunter2" not in refusal_of(tmp_path, env={"APP_DEBUG": "hunter2"})


def test_several_mistakes_are_counted(tmp_path: Path) -> None:
    assert refusal_of(tmp_path, "debug = 7\n[queue]\ndepth = 0").endswith("(and 1 more)")


def test_required_file_must_exist_and_be_readable(tmp_path: Path) -> None:
    for file in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(RequestError, match=file.name):
            load(Settings, env_prefix="A_", env={}, file=file, flags={}, file_required=True)


def test_missing_key_is_named() -> None:
    class Needy(Strict):
        token: str

    with pytest.raises(RequestError, match='key "token" is missing'):
        load(Needy, env_prefix="A_", env={}, file=None, flags={})
