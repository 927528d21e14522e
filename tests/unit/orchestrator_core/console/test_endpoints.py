"""A daemon's address and key: who names them, and who must never get the key."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator_core.config.layout import Layout
from orchestrator_core.console.endpoints import find_url, key_for
from orchestrator_core.console.programs import ORCHESTRATORD, POOL_MANAGERD
from orchestrator_core.errors import Code, RequestError
from orchestrator_core.platforms import runfiles
from support.run_files import announce


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.from_env({"LLORCH_HOME": str(tmp_path)})


def find(layout: Layout, env: Mapping[str, str] | None = None, flag: str | None = None) -> str:
    return find_url(ORCHESTRATORD, flag=flag, env=env or {}, layout=layout)


def test_address_comes_from_flag_variable_run_file_bind_default(layout: Layout) -> None:
    env = {
        "LLORCH_ORCHESTRATOR_URL": "http://127.0.0.1:3/",
        "LLORCH_ORCHESTRATOR_BIND": "0.0.0.0:5",
    }
    announce(layout, "orchestratord", "http://127.0.0.1:4")
    assert find(layout, env, "https://h:2/") == "https://h:2"
    assert find(layout, env) == "http://127.0.0.1:3"
    del env["LLORCH_ORCHESTRATOR_URL"]
    assert find(layout, env) == "http://127.0.0.1:4"
    runfiles.remove(layout.run_folder, "orchestratord", os.getpid())
    assert find(layout, env) == "http://127.0.0.1:5"
    assert find(layout) == "http://127.0.0.1:8080"
    assert find_url(POOL_MANAGERD, flag=None, env={}, layout=layout) == "http://127.0.0.1:9200"


@pytest.mark.parametrize(
    ("bind", "url"),
    [
        ("127.0.0.1:0", "http://127.0.0.1:8080"),
        ("nonsense", "http://127.0.0.1:8080"),
        ("[::]:7", "http://[::1]:7"),
        ("box:7", "http://box:7"),
    ],
)
def test_bind_variable_is_an_address_to_call(layout: Layout, bind: str, url: str) -> None:
    assert find(layout, {"LLORCH_ORCHESTRATOR_BIND": bind}) == url


@pytest.mark.parametrize(
    "url",
    ["localhost:8080", "ftp://x", "http://", "8080", "http://[::1", "http://a:b", "http://a:99999"],
)
def test_address_that_is_no_url_is_refused_with_its_source(layout: Layout, url: str) -> None:
    with pytest.raises(RequestError, match="--url: "):
        find(layout, flag=url)
    with pytest.raises(RequestError, match="LLORCH_ORCHESTRATOR_URL: "):
        find(layout, {"LLORCH_ORCHESTRATOR_URL": url})


def test_key_comes_from_the_variable_else_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "admin.key"
    assert key_for("http://127.0.0.1:1", env={}, key_file=file) is None
    file.write_text("from-file\n")
    assert key_for("http://127.0.0.1:1", env={}, key_file=file) == "from-file"
    env = {"LLORCH_API_KEY": "from-env\n"}
    assert key_for("http://127.0.0.1:1", env=env, key_file=file) == "from-env"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://localhost:1", True),
        ("http://[::1]:1", True),
        ("http://127.0.0.9:1", True),
        ("http://10.0.0.2:1", False),
        ("https://example.org", False),
        ("http://127.0.0.1.example.org", False),
        ("http://localhost@evil.example", False),
    ],
)
def test_key_of_this_installation_is_told_only_to_this_machine(
    tmp_path: Path, url: str, *, told: bool
) -> None:
    file = tmp_path / "admin.key"
    file.write_text("secret")
    assert (key_for(url, env={}, key_file=file) == "secret") is told


def test_unreadable_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError) as caught:
        key_for("http://127.0.0.1:1", env={}, key_file=tmp_path)
    assert caught.value.code is Code.NO_KEY
    assert str(tmp_path) in caught.value.refusal.message
