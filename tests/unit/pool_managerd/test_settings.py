"""Settings: what scripts rely on, and how a mistake in the file is told."""

from pathlib import Path

import pytest

from orchestrator_core.config.loader import load
from orchestrator_core.errors import RequestError
from pool_managerd.settings import (
    ENV_PREFIX,
    PoolSettings,
)


def read(**env: str) -> PoolSettings:
    return load(PoolSettings, env_prefix=ENV_PREFIX, env=env, file=None, flags={}).settings


def test_reads_the_environment_that_scripts_rely_on() -> None:
    settings = read(
        LLORCH_POOL_BIND="127.0.0.1:0",
        LLORCH_POOL_ORCHESTRATOR_URL="http://127.0.0.1:8080/",
        LLORCH_POOL_ORCHESTRATOR_KEY_FILE="/keys/pool",
        LLORCH_POOL_URL="http://127.0.0.1:9200",
    )
    assert settings.bind == "127.0.0.1:0"
    assert settings.orchestrator_url == "http://127.0.0.1:8080"
    assert settings.orchestrator_key_file == Path("/keys/pool")


@pytest.mark.parametrize("url", ["localhost:8080", "http://host/v2", "ftp://host", "http://a@b"])
def test_refuses_an_orchestrator_url_that_is_none(url: str) -> None:
    with pytest.raises(RequestError, match="http://HOST:PORT"):
        read(LLORCH_POOL_ORCHESTRATOR_URL=url)


def test_an_unknown_key_of_an_engine_is_told_without_a_wrong_guess(tmp_path: Path) -> None:
    file = tmp_path / "pool.toml"
    file.write_text('[[external]]\nname = "a"\nurl = "http://127.0.0.1:1"\nkey = "secret"\n')
    with pytest.raises(RequestError) as caught:
        load(PoolSettings, env_prefix=ENV_PREFIX, env={}, file=file, flags={})
    assert caught.value.refusal.message == 'pool.toml: unknown key "external.0.key"'
