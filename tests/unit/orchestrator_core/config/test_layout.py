"""Where files lie: under one folder by LLORCH_HOME, else where XDG says."""

from pathlib import Path

import pytest

from orchestrator_core.config.layout import ORCHESTRATORD, POOL_MANAGERD, Layout
from orchestrator_core.errors import RequestError


def test_home_holds_all_four_roots() -> None:
    layout = Layout.from_env({"LLORCH_HOME": "/srv/a", "XDG_STATE_HOME": "/elsewhere"})
    assert layout == Layout(
        *(Path("/srv/a") / name for name in ("config", "data", "state", "cache"))
    )


def test_relative_home_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Layout.from_env({"LLORCH_HOME": "h"}).state == tmp_path / "h" / "state"


def test_xdg_folders_are_used_without_a_home() -> None:
    layout = Layout.from_env({"HOME": "/u", "XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "relative"})
    assert layout.config == Path("/c/llorch")
    assert layout.data == Path("/u/.local/share/llorch")
    assert layout.state == Path("/u/.local/state/llorch")
    assert layout.cache == Path("/u/.cache/llorch")


@pytest.mark.parametrize("home", [{"LLORCH_HOME": "/srv/a"}, {"HOME": "/u"}])
def test_another_catalogue_may_take_the_place_of_the_packaged_one(home: dict[str, str]) -> None:
    assert Layout.from_env(home).catalog is None
    assert Layout.from_env({**home, "LLORCH_CATALOG": "/etc/c.toml"}).catalog == Path("/etc/c.toml")


@pytest.mark.parametrize("name", ["LLORCH_HOME", "LLORCH_CATALOG"])
def test_the_folder_of_a_user_who_does_not_exist_is_a_mistake_of_the_caller(name: str) -> None:
    with pytest.raises(RequestError) as caught:
        Layout.from_env({name: "~nobody-of-that-name/x", "HOME": "/u"})
    assert (
        caught.value.refusal.message
        == f"{name} is ~nobody-of-that-name/x: this machine has no such user"
    )


def test_two_homes_share_no_path() -> None:
    one, two = (Layout.from_env({"LLORCH_HOME": home}) for home in ("/one", "/two"))
    paths_one, paths_two = (
        {
            it.run_folder, it.log_file(ORCHESTRATORD), it.log_file(POOL_MANAGERD), it.admin_key,
            it.config_file("pool"), it.local_pool_key, it.database, it.orchestrator_lock,
            it.pool_lock, it.pool_key, it.worker_records, it.worker_logs, it.pool_folder,
        }
        for it in (one, two)
    )  # fmt: skip
    assert len(paths_one) == 13
    assert not paths_one & paths_two


def test_paths_that_scripts_rely_on() -> None:
    layout = Layout.from_env({"LLORCH_HOME": "/h"})
    assert layout.admin_key == Path("/h/state/admin.key")
    assert layout.local_pool_key == Path("/h/state/local-pool.key")
    assert layout.run_folder / "orchestratord.json" == Path("/h/state/run/orchestratord.json")
    assert layout.log_file("pool-managerd") == Path("/h/state/log/pool-managerd.log")
    assert layout.config_file("orchestrator") == Path("/h/config/orchestrator.toml")
    assert layout.database == Path("/h/data/orchestrator/orchestrator.db")
    assert layout.orchestrator_lock == Path("/h/data/orchestrator/orchestrator.lock")
    assert layout.pool_lock == Path("/h/state/pool/pool.lock")
