"""llorch host add, check, upgrade and remove against one host with a real sshd, as a person does it.

The hub runs the orchestrator; the host has nothing but a python3 and port 22.
"""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from support.fleet import Fleet
from support.home import Finished
from support.host_lab import host_lab
from support.lab_host import LabHost
from support.lab_kernel import children, signal_if_there
from support.wheels import changed_suite, file_index, make_wheel

LLORCH = str(Path(sys.executable).with_name("llorch"))
MARK = "\n# This is another release.\n"
BROKEN = "\nraise SystemExit('this release cannot serve')\n"


@dataclass
class Site:
    """One host and the hub that enrols it."""

    fleet: Fleet

    @property
    def host(self) -> LabHost:
        return self.fleet.lab["mac"]

    @property
    def root(self) -> Path:
        return self.host.home / ".local/share/llorch"

    @property
    def keys(self) -> str:
        return (self.host.home / ".ssh/authorized_keys").read_text("ascii")

    def add(self, *more: str) -> Finished:
        return self.fleet.enrol("mac", *more)

    def upgrade(self, wheels: Path) -> Finished:
        third = self.fleet.wheels / "third-party"
        return self.fleet.llorch(
            "host", "upgrade", "mac", "--offline", "--wheels", str(wheels),
            "--third-party", str(third), timeout_s=120,
        )  # fmt: skip

    def remove(self, *more: str) -> Finished:
        return self.fleet.llorch("host", "remove", "mac", *more, timeout_s=60)

    def check(self, *, code: int = 0) -> dict[str, dict[str, Any]]:
        done = self.fleet.llorch("host", "check", "mac", "--format", "json").must(code)
        rows = cast("list[dict[str, Any]]", done.json())
        return {str(row["subject"]): row for row in rows}

    def releases(self) -> list[str]:
        return sorted(path.name for path in (self.root / "releases").iterdir())

    def current(self) -> str:
        return (self.root / "current").readlink().name

    def left(self) -> list[str]:
        """What an enrolment has made and nobody has removed."""
        found = (str(path.relative_to(self.host.home)) for path in self.host.home.rglob("*"))
        return [
            path for path in found if "llorch" in path or path.startswith((".config", ".local"))
        ]

    def add_until_killed(self, step: str) -> None:
        """Kill llorch as soon as it says that it begins a step."""
        hub = self.fleet.lab.hub
        argv = ("add", "mac", "--offline", "--wheels", str(self.fleet.wheels), "--yes")
        with subprocess.Popen(
            hub.argv(LLORCH, "host", *argv),
            env=hub.environment(),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as command:
            assert command.stderr is not None
            assert any(f"] {step}" in line for line in command.stderr)
            # nsenter would go alone and leave what it started.
            for child in children(command.pid):
                signal_if_there(child, signal.SIGKILL)

    def daemon_pids(self) -> list[int]:
        return sorted(process.pid for process in self.host.named("pool-managerd"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Iterator[Fleet]:
    with host_lab(tmp_path_factory.mktemp("lab"), names=("mac",)) as lab:
        fleet = Fleet(lab, wheels)
        fleet.llorch("orchestrator", "start").must()
        yield fleet
        fleet.llorch("orchestrator", "stop").must()


@pytest.fixture(scope="module")
def site(lab: Fleet) -> Site:
    return Site(lab)


@pytest.fixture
def bare(site: Site) -> Site:
    """The host as it was before anybody enrolled it."""
    if (site.host.home / ".local").exists():
        site.remove("--force", "--yes")
    for name in (".local", ".config", ".cache"):
        shutil.rmtree(site.host.home / name, ignore_errors=True)
    return site


@pytest.fixture
def enrolled(site: Site) -> Site:
    """The host as a pool; a test that leaves it so saves the next one an enrolment."""
    if not (site.root / "current").exists():
        site.fleet.trust("mac")
        site.add().must()
    return site


def test_a_host_whose_key_nobody_has_accepted_is_left_alone(bare: Site) -> None:
    site = bare
    known = site.fleet.lab.hub.home / ".local/state/llorch/known_hosts"
    known.unlink(missing_ok=True)
    done = site.add().must(4)
    assert "run: llorch host trust mac" in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (site.host.home / ".local").exists()
    wrong = site.add("--trust", "SHA256:" + "A" * 43).must(4)
    assert "none of them the one that was named" in wrong.err
    right = done.err.partition("(")[2].partition(")")[0]
    site.add("--trust", right, "--dry-run").must()


def test_a_dry_run_shows_the_steps_and_changes_nothing(bare: Site) -> None:
    site = bare
    site.fleet.trust("mac")
    done = site.add("--dry-run", "--format", "json").must()
    plan = cast("dict[str, Any]", done.json())
    assert plan["done"] is False
    assert [row["step"] for row in plan["steps"]] == [
        *("folders", "hosts file", "upload", "install", "self-test", "switch", "settings"),
        *("authorize", "token", "start", "enrol", "heartbeat", "key"),
    ]
    assert not (site.host.home / ".local").exists()
    assert "llorch:" not in site.keys
    listed = site.fleet.llorch("host", "list", "--format", "json").must().json()
    assert listed == []
    assert site.fleet.pools() == {}


def test_hostile_names_are_refused_before_anybody_is_called(site: Site) -> None:
    for name in ("-oProxyCommand=x", "a;b\nc", "m\u00e4c"):
        done = site.fleet.llorch("host", "add", "--yes", "--", name)
        assert done.code in (1, 2)
        assert "Traceback" not in done.err
    for destination in ("-oProxyCommand=x", "me@h\nx"):
        done = site.fleet.llorch("host", "add", "--yes", "--", "mac", destination).must(1)
        assert "is no SSH destination" in done.err


def test_a_step_that_fails_is_named_and_the_same_command_goes_on_there(bare: Site) -> None:
    site = bare
    site.fleet.trust("mac")
    obstacle = site.host.home / ".config"
    obstacle.write_text("a file where a folder must be")
    done = site.add().must(1)
    last = done.err.strip().splitlines()[-1]
    assert "the step settings failed" in last
    assert "done before: folders, hosts file, upload, install, self-test, switch" in last
    assert "run again: llorch host add mac" in last
    obstacle.unlink()
    assert "all is there" in site.add().must().err
    assert site.fleet.status("mac") == "online"


@pytest.mark.drill
def test_a_command_that_is_killed_at_any_moment_can_be_run_again(bare: Site) -> None:
    site = bare
    site.fleet.trust("mac")
    for step in ("send", "install", "let the orchestrator's key in", "start pool-managerd", "tell"):
        site.add_until_killed(step)
    site.add().must()
    assert site.fleet.status("mac") == "online"
    assert site.keys.count("llorch:") == 1
    assert len(site.daemon_pids()) == 1
    assert len(site.releases()) == 1


def test_what_a_killed_command_has_left_can_be_removed(bare: Site) -> None:
    bare.fleet.trust("mac")
    bare.add_until_killed("start pool-managerd")
    bare.remove("--yes").must()
    assert bare.daemon_pids() == []
    assert bare.left() == []
    assert "llorch" not in bare.keys


def test_a_release_in_pieces_does_not_keep_a_host_from_being_removed(enrolled: Site) -> None:
    (libraries,) = (enrolled.root / "releases").glob("*/lib")
    shutil.rmtree(libraries)
    enrolled.remove("--yes").must()
    assert enrolled.daemon_pids() == []
    assert enrolled.left() == []


def test_one_command_makes_a_host_a_pool_and_a_second_one_changes_nothing(enrolled: Site) -> None:
    site = enrolled
    assert site.fleet.status("mac") == "online"
    assert site.keys.count("llorch:") == 1
    program = "/root/.local/share/llorch/current/bin/llorch-pool"
    line = site.keys.splitlines()[-1]
    assert line.startswith(
        'restrict,port-forwarding,permitopen="127.0.0.1:*",'
        f"command=\"'{program}' remote-exec\" ssh-ed25519 "
    )
    pids, keys = site.daemon_pids(), site.keys
    done = site.add().must()
    assert "all is there" in done.err
    assert "it has joined already" in done.err
    assert (site.daemon_pids(), site.keys) == (pids, keys)
    assert not list(site.host.home.rglob("join.token"))
    found = site.check()
    assert found["pool"]["text"] == "online, link up"
    assert found["service"]["severity"] == "warning"


def test_the_pools_own_key_is_kept_here_and_opens_it_by_http(enrolled: Site) -> None:
    key = enrolled.fleet.lab.hub.home / ".local/state/llorch/hosts/mac.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.read_text() == (enrolled.host.home / ".local/state/llorch/pool/pool.key").read_text()
    done = enrolled.fleet.llorch("pool", "worker", "list", "--host", "mac", "--via", "http", "-v")
    assert "tunnel to 127.0.0.1:9200 on mac" in done.must().err


def test_one_name_is_one_host_and_one_host_has_one_name(enrolled: Site) -> None:
    site = enrolled
    known, pids = site.keys, site.daemon_pids()
    options = ("--offline", "--wheels", str(site.fleet.wheels), "--yes")
    moved = site.fleet.llorch("host", "add", "mac", "root@10.77.0.99", *options).must(1)
    assert "take another name for root@10.77.0.99" in moved.err
    site.fleet.trust(site.host.address)
    second = site.fleet.llorch("host", "add", "mini", site.host.address, *options).must(1)
    assert "is called 'mac'" in second.err
    removed = site.fleet.llorch("host", "remove", site.host.address, "--yes").must(1)
    assert "is pool mac: remove it by that name" in removed.err
    assert (site.keys, site.daemon_pids()) == (known, pids)
    assert site.fleet.status("mac") == "online"


def test_a_wheel_that_was_spoilt_on_the_host_is_sent_again(enrolled: Site) -> None:
    (wheel,) = (enrolled.root / "wheels").glob("llorch_worker-*.whl")
    content = wheel.read_bytes()
    wheel.write_bytes(content[:-1] + b"?")
    assert "all is there" not in enrolled.add().must().err
    assert wheel.read_bytes() == content


def test_an_upgrade_keeps_workers_alive_and_the_release_before(
    enrolled: Site, wheels: Path, tmp_path: Path
) -> None:
    site = enrolled
    before, daemons = site.current(), site.daemon_pids()
    site.fleet.spawn("mac")
    workers = [process.pid for process in site.host.named("llorch-worker")]
    assert workers
    newer = changed_suite(
        wheels, tmp_path / "newer", project="llorch_pool_ctl", inside="pool_ctl/main.py", text=MARK
    )
    site.upgrade(newer).must()
    assert site.current() != before
    assert site.releases() == sorted([before, site.current()])
    assert site.daemon_pids() != daemons
    assert [process.pid for process in site.host.named("llorch-worker")] == workers
    site.fleet.until_status("mac", "online")
    site.fleet.until_ready("mac")
    assert site.fleet.ask()["status"] == "completed"
    daemons = site.daemon_pids()
    site.upgrade(newer).must()
    assert site.daemon_pids() == daemons


def test_an_upgrade_that_cannot_serve_is_taken_back(
    enrolled: Site, wheels: Path, tmp_path: Path
) -> None:
    site = enrolled
    before = site.current()
    broken = changed_suite(
        wheels,
        tmp_path / "broken",
        project="llorch_pool_managerd",
        inside="pool_managerd/app/daemon.py",
        text=BROKEN,
    )
    done = site.upgrade(broken).must(1)
    assert f"{before} runs again" in done.err
    assert site.current() == before
    assert site.daemon_pids()
    site.fleet.until_status("mac", "online")


def test_a_release_two_minors_away_is_refused_by_name(
    enrolled: Site, wheels: Path, tmp_path: Path
) -> None:
    far = changed_suite(
        wheels, tmp_path / "far", project="llorch_worker", inside="llorch_worker/main.py",
        text=MARK, version="0.9.0",
    )  # fmt: skip
    before = enrolled.releases()
    done = enrolled.upgrade(far).must(1)
    assert "mac runs 0.1.0, this llorch 0.9.0" in done.err
    assert enrolled.releases() == before


def test_removing_leaves_nothing_behind_and_twice_is_no_mistake(enrolled: Site) -> None:
    site = enrolled
    refused = site.remove().must(1)
    assert "say --yes" in refused.err
    site.remove("--yes").must()
    assert site.fleet.pools() == {}
    assert site.daemon_pids() == []
    assert "llorch" not in site.keys
    assert site.left() == []
    assert list((site.fleet.lab.hub.home / ".local/state/llorch/hosts").glob("mac.*")) == []
    assert site.fleet.llorch("host", "list", "--format", "json").must().json() == []
    site.remove("--yes").must()


def test_models_stay_where_that_is_wished(enrolled: Site) -> None:
    model = enrolled.root / "models" / "kept.gguf"
    model.parent.mkdir(parents=True, exist_ok=True)
    model.write_bytes(b"weights")
    enrolled.remove("--keep-models", "--yes").must()
    assert model.read_bytes() == b"weights"
    assert [path.name for path in enrolled.root.iterdir()] == ["models"]


@pytest.mark.drill
def test_a_host_that_is_gone_is_forgotten_only_by_force(enrolled: Site) -> None:
    enrolled.host.cut()
    try:
        refused = enrolled.remove("--yes")
        assert refused.code in (5, 124)
        assert "nothing was removed" in refused.err
        assert enrolled.check(code=1)["ssh"]["severity"] == "error"
        enrolled.remove("--yes", "--force").must()
    finally:
        enrolled.host.heal()
    assert enrolled.fleet.pools() == {}
    assert enrolled.fleet.llorch("host", "list", "--format", "json").must().json() == []
    # What was left lying there does not keep it from coming back.
    enrolled.add().must()
    assert enrolled.fleet.status("mac") == "online"


def test_no_index_can_put_its_own_packages_in_the_place_of_ours(
    bare: Site, wheels: Path, tmp_path: Path
) -> None:
    site = bare
    foreign = [
        make_wheel(tmp_path / "foreign", name, "9.9.9", "raise SystemExit('foreign code')")
        for name in ("llorch-worker", "llorch-pool-ctl", "llorch-orchestrator-core")
    ]
    others = list((wheels / "third-party/linux-x86_64").glob("*.whl"))
    address = file_index(tmp_path / "index", [*others, *foreign])
    settings = site.host.home / ".config/pip/pip.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"[global]\nindex-url = {address}\n")
    site.fleet.trust("mac")
    site.fleet.llorch(
        "host", "add", "mac", "--wheels", str(wheels), "--yes", "--no-join", timeout_s=240
    ).must()
    listed = site.host.run(
        "/root/.local/share/llorch/current/bin/python", "-I", "-c",
        "from importlib.metadata import version as v; "
        "print(v('llorch-worker'), v('llorch-pool-ctl'), v('fastapi') != '')",
    ).must()  # fmt: skip
    assert listed.out.split() == ["0.1.0", "0.1.0", "True"]
