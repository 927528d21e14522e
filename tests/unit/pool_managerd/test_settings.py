"""Settings: names and the worker's program."""

from pathlib import Path

import pytest

from orchestrator_core.config.loader import load
from orchestrator_core.errors import Refusal, RequestError
from pool_managerd.settings import (
    ENV_PREFIX,
    PoolSettings,
    find_worker_program,
    pool_id_for,
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


@pytest.mark.parametrize(
    ("hostname", "pool_id"),
    [("box", "box"), ("büro pc", "b-ro-pc"), ("_x", "x"), ("ü", "pool"), ("a" * 80, "a" * 64)],
)
def test_makes_a_pool_name_from_any_hostname(hostname: str, pool_id: str) -> None:
    assert pool_id_for(PoolSettings(), hostname) == pool_id
    assert PoolSettings(pool_id=pool_id).pool_id == pool_id


def test_the_configured_name_wins() -> None:
    assert pool_id_for(PoolSettings(pool_id="attic"), "box") == "attic"


def test_finds_the_worker_beside_the_interpreter_then_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, elsewhere = tmp_path / "venv", tmp_path / "path"
    for folder in (beside, elsewhere):
        folder.mkdir()
        (folder / "llorch-worker").write_text("#!/bin/sh\n")
        (folder / "llorch-worker").chmod(0o755)
    monkeypatch.setenv("PATH", str(elsewhere))
    found = find_worker_program(PoolSettings(), beside / "python")
    assert found == beside / "llorch-worker"
    found = find_worker_program(PoolSettings(), tmp_path / "python")
    assert found == elsewhere / "llorch-worker"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert isinstance(find_worker_program(PoolSettings(), tmp_path / "python"), Refusal)
