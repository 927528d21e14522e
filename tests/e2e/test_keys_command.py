"""llorch keys with a real daemon: what a key opens, what it is refused, and the way back in."""

from pathlib import Path
from typing import Any, cast

import pytest

from support.answers import chat_answers
from support.home import Home
from support.waiting import until_sync

pytestmark = pytest.mark.e2e

HELLO = chat_answers("tiny-chat")["Hello"] + "\n"
ASK = ("jobs", "submit", "--model", "tiny-chat", "--prompt", "Hello")
LONG = ("jobs", "submit", "--model", "tiny-chat", "--prompt", "Count to one hundred")


def made(home: Home, name: str, *limits: str) -> Home:
    """The same installation through a fresh key of that name."""
    key = home.llorch("keys", "create", name, "--quiet", *limits).must().out.strip()
    return Home(home.folder, {"LLORCH_API_KEY": key})


def rows(home: Home, *args: str) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", home.llorch(*args, "--format", "json").must().json())


def test_a_key_opens_what_it_is_made_for_and_sees_only_its_own(home: Home) -> None:
    laptop, phone = made(home, "laptop"), made(home, "phone", "--model", "tiny-chat")
    assert laptop.llorch(*ASK).must().out == HELLO
    job = rows(laptop, "jobs", "list")[0]["id"]
    for verb in ("status", "watch", "cancel"):
        assert "JOB_NOT_FOUND" in phone.llorch("jobs", verb, job).must(3).err
    assert rows(phone, "jobs", "list") == []
    assert "SCOPE" in phone.llorch("keys", "list").must(4).err
    story = phone.llorch("jobs", "submit", "--model", "tiny-story", "--prompt", "Hello").must(3)
    assert "MODEL_NOT_FOUND" in story.err

    used = rows(home, "keys", "usage", "--key", "laptop", "--since", "1h")
    assert [(row["key"], row["model"], row["jobs"]) for row in used] == [("laptop", "tiny-chat", 1)]
    assert rows(laptop, "keys", "usage") == used
    assert rows(phone, "keys", "usage") == []
    expect_limits_to_hold(home)


def expect_limits_to_hold(home: Home) -> None:
    guest = made(home, "guest", "--requests-per-minute", "1")
    guest.llorch(*ASK).must()
    refused = guest.llorch(*ASK).must(1)
    assert "(RATE)" in refused.err
    assert refused.err.count("try again in") == 1


def test_a_revoked_key_is_refused_also_in_the_middle_of_a_stream(home: Home) -> None:
    laptop = made(home, "laptop")
    laptop.llorch(*ASK).must()
    worker = home.workers()[0]
    worker.suspend()
    try:
        with laptop.running(*LONG) as process:
            jobs = ("jobs", "list", "--status", "dispatched")
            until_sync(lambda: rows(home, *jobs), what="the job to be sent")
            for _ in range(2):
                home.llorch("keys", "revoke", "laptop").must()
            process.communicate(timeout=30)
            assert process.returncode == 4
    finally:
        worker.resume()
    assert "BAD_KEY" in laptop.llorch("jobs", "list").must(4).err
    shown = {row["name"]: row["status"] for row in rows(home, "keys", "list", "--all")}
    assert shown["laptop"] == "revoked"
    assert "laptop" not in home.llorch("keys", "list").must().out


def test_the_last_admin_key_is_replaced_without_a_key(home: Home) -> None:
    old = Home(home.folder, {"LLORCH_API_KEY": home.key})
    assert "reset-admin" in home.llorch("keys", "revoke", "admin").must(1).err
    running = home.llorch("keys", "reset-admin").must(1)
    assert f"orchestratord (pid {home.pid('orchestratord')}) is running" in running.err
    home.llorch("orchestrator", "stop").must()
    home.llorch("keys", "reset-admin").must()
    home.llorch("orchestrator", "start").must()
    assert "BAD_KEY" in old.llorch("keys", "list").must(4).err
    home.llorch("keys", "list").must()


def test_a_backup_brings_jobs_and_keys_back(home: Home, tmp_path: Path) -> None:
    home.llorch(*ASK).must()
    laptop = made(home, "laptop")
    path = tmp_path / "backup.db"
    told = home.llorch("orchestrator", "backup", str(path)).must()
    assert path.stat().st_mode & 0o777 == 0o600
    assert str(path) in told.out
    home.llorch("orchestrator", "backup", str(path)).must(1)
    home.llorch("orchestrator", "backup", str(path), "--force").must()
    home.llorch("keys", "revoke", "laptop").must()
    home.llorch(*ASK).must()

    assert "is running" in home.llorch("orchestrator", "restore", str(path), "--yes").must(1).err
    home.llorch("orchestrator", "stop").must()
    home.llorch("orchestrator", "restore", str(path)).must(2)
    done = home.llorch("orchestrator", "restore", str(path), "--yes", "--format", "json").must()
    kept = cast("dict[str, Any]", done.json())["replaced"]
    assert Path(kept).is_file()
    home.llorch("orchestrator", "start").must()
    assert len(rows(home, "jobs", "list")) == 1
    assert laptop.llorch("jobs", "list").must().out == ""
