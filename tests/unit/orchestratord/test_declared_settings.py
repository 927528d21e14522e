"""The [[pools]] tables of orchestrator.toml."""

from pathlib import Path

import pytest

from orchestrator_core.config.loader import load
from orchestrator_core.errors import RequestError
from orchestratord.settings import ENV_PREFIX, OrchestratorSettings

TABLE = """
[[pools]]
name = "mac"
endpoint = "ssh://me@mac"
host_keys = ["ssh-ed25519 AAAA"]
credential_file = "/etc/llorch/mac.key"
"""


def read(folder: Path, text: str) -> OrchestratorSettings:
    path = folder / "orchestrator.toml"
    path.write_text(text)
    loaded = load(OrchestratorSettings, env_prefix=ENV_PREFIX, env={}, file=path, flags={})
    return loaded.settings


def test_each_table_is_a_pool(tmp_path: Path) -> None:
    [mac, box] = read(tmp_path, TABLE + TABLE.replace("mac", "box")).pools
    assert (mac.name, mac.endpoint, mac.daemon_port) == ("mac", "ssh://me@mac", 9200)
    assert mac.credential_file == Path("/etc/llorch/mac.key")
    assert box.name == "box"


def test_without_a_table_there_is_none(tmp_path: Path) -> None:
    assert read(tmp_path, "").pools == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TABLE + TABLE, "the name mac stands there twice"),
        (TABLE.replace('"mac"', '"-mac"'), "pools.0.name"),
        (TABLE + 'enpoint = "x"', "enpoint"),
        (TABLE.replace("name", "daemon_port = 0\nname"), "daemon_port"),
        ("[[pools]]", "is missing"),
    ],
)
def test_a_table_that_makes_no_sense_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(RequestError) as refused:
        read(tmp_path, text)
    message = refused.value.refusal.message
    assert says in message
    assert "\n" not in message
