"""What operators do to the data: backups under load, restores, the way back to a lost admin key."""

import asyncio
import contextlib
import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator_core.config.layout import Layout
from orchestrator_core.platforms import files
from orchestrator_core.platforms.files import FileLock
from orchestratord import main
from orchestratord.store.sqlite import SqliteStore, StoreOptions
from support.disk_drill import DiskDrill
from support.fake_engine import FakeEngine
from support.orchestrator import Orchestrator, ready_worker, running_orchestrator
from support.small_disk import SmallDisk, small_disk
from support.stored_jobs import admission, new_job
from support.waiting import until

CLIENTS = 16


class Site:
    """One installation: its folders, and the program as an operator calls it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.layout = Layout.from_env(self.env)
        self._capsys = capsys

    @property
    def env(self) -> Mapping[str, str]:
        """What names the installation."""
        return {"LLORCH_HOME": str(self.folder)}

    @contextlib.asynccontextmanager
    async def life(self, **settings: object) -> AsyncIterator[Orchestrator]:
        """Run its daemon for a block."""
        lock = FileLock(self.layout.orchestrator_lock)
        self.layout.orchestrator_folder.mkdir(parents=True, exist_ok=True)
        assert lock.try_acquire()
        store = await SqliteStore.open(self.layout.database, StoreOptions(synchronous="NORMAL"))
        try:
            async with running_orchestrator(self.folder, store=store, **settings) as site:
                yield site
        finally:
            await store.close()
            lock.release()

    def call(self, *argv: str, code: int = 0) -> tuple[dict[str, Any], str]:
        """Run a command; returns its one line of data and what it said to people."""
        self._capsys.readouterr()
        assert main.run(argv, self.env) == code
        told = self._capsys.readouterr()
        assert len(told.out.splitlines()) == (1 if code == 0 else 0), told.out
        return (json.loads(told.out) if told.out else {}), told.err

    async def call_beside(self, *argv: str) -> dict[str, Any]:
        """Run a command while the daemon of this loop goes on."""
        assert await asyncio.to_thread(main.run, argv, self.env) == 0
        return json.loads(self._capsys.readouterr().out.splitlines()[-1])


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Site:
    return Site(tmp_path / "home", capsys)


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return tmp_path / "backup.db"


def fault_of(path: Path) -> str:
    """What SQLite finds wrong with a file from end to end."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def ids_in(path: Path) -> set[str]:
    """The jobs of a file."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT id FROM jobs")}


def bytes_of(path: Path) -> bytes:
    """What is in a file."""
    return path.read_bytes()


def mode_of(path: Path) -> int:
    """Who may read a file."""
    return stat.S_IMODE(path.stat().st_mode)


def beside(path: Path) -> list[str]:
    """All that lies in the folder of a file."""
    return sorted(found.name for found in path.parent.iterdir())


def start(site: Site) -> tuple[int, str]:
    """Start the real program where it cannot start; returns its exit code and its line."""
    env = {**os.environ, **site.env, "LLORCH_ORCHESTRATOR_BIND": "127.0.0.1:0"}
    program = Path(sys.executable).parent / "orchestratord"
    done = subprocess.run(
        [program], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode, done.stderr


async def queued_one(site: Site) -> str:
    """Queue a job in a life of its own."""
    async with site.life() as daemon:
        return await daemon.submit()


# Backup


async def test_a_backup_under_load_holds_every_job_that_was_accepted_before(
    site: Site, backup: Path
) -> None:
    accepted: list[str] = []
    over = asyncio.Event()

    async def client(daemon: Orchestrator) -> None:
        while not over.is_set():
            accepted.append(await daemon.submit("word " * 500))

    async with site.life(key_queue_limit=100_000) as daemon, asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(client(daemon))
        for number in range(5):
            # The writer is at work: no backup finds it at rest.
            wanted = len(accepted) + CLIENTS
            await until(lambda: len(accepted) >= wanted, what="further jobs")  # noqa: B023 - awaited.
            before = set(accepted)
            told = await site.call_beside("backup", str(backup), "--force")
            assert before <= ids_in(backup), number
            assert told["jobs"] >= len(before)
        over.set()
    assert fault_of(backup) == "ok"
    assert mode_of(backup) == 0o600
    assert beside(backup) == ["backup.db", "home"]


async def test_a_backup_replaces_nothing_unasked(site: Site, backup: Path) -> None:
    await queued_one(site)
    files.write_atomically(backup, b"precious")
    _, said = site.call("backup", str(backup), code=1)
    text = f"{backup} exists: name another file, or replace it with --force (CONFLICT)"
    assert said == f"orchestratord: {text}\n"
    assert bytes_of(backup) == b"precious"
    told, _ = site.call("backup", str(backup), "--force")
    assert told["jobs"] == told["jobs_unfinished"] == 1
    assert told["size_bytes"] == len(bytes_of(backup))


async def test_the_database_is_no_backup_of_itself(site: Site) -> None:
    await queued_one(site)
    _, said = site.call("backup", str(site.layout.database), "--force", code=1)
    assert "is the database itself" in said
    assert fault_of(site.layout.database) == "ok"


@pytest.mark.parametrize("name", ["orchestrator.db-wal", "orchestrator.db-shm", "ballast"])
async def test_no_backup_replaces_what_the_running_daemon_writes(site: Site, name: str) -> None:
    async with site.life() as daemon:
        job_id = await daemon.submit()
        target = site.layout.database.with_name(name)
        link = site.folder / "link"
        link.symlink_to(target.parent)
        for path in (target, link / name):
            _, said = site.call("backup", str(path), "--force", code=1)
            assert "is the database itself" in said
    assert ids_in(site.layout.database) == {job_id}


async def test_a_backup_onto_a_full_disk_says_so_and_leaves_nothing(
    site: Site, tmp_path: Path
) -> None:
    store_path = site.layout.database
    store_path.parent.mkdir(parents=True)
    store = await SqliteStore.open(store_path)
    await store.submit(admission(new_job(1, prompt="x" * 2_000_000)))
    await store.close()
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        _, said = site.call("backup", str(disk.folder / "b.db"), code=1)
        assert said == (
            f"orchestratord: the disk under {disk.folder} is full: free space, "
            "nothing was written (DISK_LOW)\n"
        )
        assert list(disk.folder.iterdir()) == []


def test_there_is_nothing_to_back_up_before_the_first_start(site: Site, backup: Path) -> None:
    _, said = site.call("backup", str(backup), code=1)
    assert "start the orchestrator once" in said
    assert not site.folder.exists()


async def test_a_folder_that_is_not_there_is_named(site: Site, tmp_path: Path) -> None:
    await queued_one(site)
    _, said = site.call("backup", str(tmp_path / "nowhere" / "b.db"), code=1)
    assert said.startswith(f"orchestratord: cannot write {tmp_path / 'nowhere' / 'b.db'}: No such")


# Restore


async def test_a_backup_restored_into_an_empty_home_runs_its_jobs(
    site: Site, backup: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with FakeEngine.listening() as engine, site.life() as daemon:
        await daemon.register(ready_worker(engine.port))
        running, waiting = await daemon.submit("running"), await daemon.submit("waiting")
        call = await engine.next_call()
        await call.open()
        await site.call_beside("backup", str(backup))
    fresh = Site(tmp_path / "fresh", capsys)
    told, said = fresh.call("restore", str(backup))
    assert (told["jobs"], told["jobs_unfinished"], told["replaced"]) == (2, 2, None)
    assert "Keys that were revoked after this backup are valid again" in said
    assert fault_of(fresh.layout.database) == "ok"
    assert stat.S_IMODE(fresh.layout.database.stat().st_mode) == 0o600
    async with FakeEngine.listening() as engine, fresh.life() as daemon:
        await daemon.register(ready_worker(engine.port))
        for _ in range(2):
            await (await engine.next_call()).answer("whole")
        for job_id in (running, waiting):
            assert (await daemon.ended(job_id))["status"] == "completed"


async def test_a_restore_keeps_what_it_replaces_with_the_last_writes(
    site: Site, backup: Path
) -> None:
    first = await queued_one(site)
    site.call("backup", str(backup))
    # A life that ends without a word leaves its last writes in the log beside the file.
    store = await SqliteStore.open(site.layout.database)
    late = new_job(7)
    await store.submit(admission(late))
    copy = site.folder.parent / "copy"
    copy.mkdir()
    for path in site.layout.orchestrator_folder.glob("orchestrator.db*"):
        (copy / path.name).write_bytes(path.read_bytes())
    await store.close()
    for path in copy.iterdir():
        (site.layout.orchestrator_folder / path.name).write_bytes(path.read_bytes())
    assert site.layout.database.with_name("orchestrator.db-wal").stat().st_size
    told, _ = site.call("restore", str(backup))
    assert ids_in(site.layout.database) == {first}
    assert ids_in(Path(told["replaced"])) == {first, late.id}
    assert not site.layout.database.with_name("orchestrator.db-wal").exists()


async def test_a_damaged_database_is_named_with_the_way_out_and_can_be_replaced(
    site: Site, backup: Path
) -> None:
    first = await queued_one(site)
    site.call("backup", str(backup))
    files.write_atomically(site.layout.database, b"no database " * 5000)
    code, said = start(site)
    assert code == 78, said
    assert said.count("\n") == 1
    assert "restore a backup" in said
    told, _ = site.call("restore", str(backup))
    assert told["replaced"]
    assert ids_in(site.layout.database) == {first}


async def test_a_bad_backup_replaces_nothing(site: Site, backup: Path) -> None:
    first = await queued_one(site)
    site.call("backup", str(backup))
    whole = bytes_of(backup)
    newer = whole[:60] + (99).to_bytes(4, "big") + whole[64:]
    torn = whole[:4096] + b"\xff" * 4096 + whole[8192:]
    foreign = backup.with_name("foreign.db")
    with contextlib.closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE other (x)")
    cases = (
        (torn, 1, "is damaged"),
        (newer, 78, "newer version"),
        (b"words, " * 999, 1, "no database"),
        (bytes_of(foreign), 1, "is not a database of this program"),
    )
    for content, code, said in cases:
        files.write_atomically(backup, content)
        _, words = site.call("restore", str(backup), code=code)
        assert said in words, words
        assert words.count("\n") == 1
    assert ids_in(site.layout.database) == {first}
    assert list(site.layout.orchestrator_folder.glob("*.re*")) == []
    _, words = site.call("restore", str(backup.with_name("nowhere")), code=1)
    assert "there is no file" in words


async def test_what_changes_the_data_waits_for_no_running_daemon(
    site: Site, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator_core.daemon.program._COMMAND_PATIENCE_S", 0.1)
    await queued_one(site)
    site.call("backup", str(backup))
    lock = FileLock(site.layout.orchestrator_lock)
    assert lock.try_acquire()
    for argv in (("restore", str(backup)), ("reset-admin",)):
        _, said = site.call(*argv, code=78)
        assert "stop it first with `llorch orchestrator stop`" in said
    lock.release()


async def test_a_second_daemon_on_the_same_data_names_the_first_and_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = DiskDrill(SmallDisk(tmp_path), tmp_path / "log")
    second = Site(first.home, capsys)
    async with first.life():
        code, said = await asyncio.to_thread(start, second)
        assert (await first.submit()).status_code == 202
    folder = second.layout.orchestrator_folder
    assert code == 78
    assert said == f"orchestratord: process {first.pid} already uses {folder}\n"


# The admin key


async def test_a_lost_admin_key_is_replaced_and_the_old_one_opens_nothing(site: Site) -> None:
    async with site.life() as daemon:
        second = await daemon.make_key("admin")
        plain = await daemon.make_key("user")
        old = daemon.key
    told, _ = site.call("reset-admin")
    assert told["revoked"] == 2
    assert told["key_file"] == str(site.layout.admin_key)
    assert stat.S_IMODE(site.layout.admin_key.stat().st_mode) == 0o600
    async with site.life() as daemon:
        assert daemon.key != old
        for token, status in ((daemon.key, 200), (plain, 200), (old, 401), (second, 401)):
            headers = {"authorization": f"Bearer {token}"}
            reply = await daemon.client.get("/v2/tasks", headers=headers)
            assert reply.status_code == status


def test_the_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.run(["--help"], {})
    told = capsys.readouterr().out
    for command in ("backup PATH", "restore PATH", "reset-admin"):
        assert f"orchestratord {command}" in told
