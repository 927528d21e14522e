"""Many hosts are asked at once: a few at a time, and each for itself."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from llorch_ctl.hosts import survey
from llorch_ctl.hosts.entries import HostEntry
from llorch_ctl.hosts.remote import Answer
from llorch_ctl.settings import CliSettings
from orchestrator_core.config.layout import Layout
from orchestrator_core.errors import Code, Refusal

ANSWERS: Mapping[str, Answer | Refusal] = {
    "well": Answer(0, json.dumps({"version": "0.1.0"}).encode(), b""),
    "off": Refusal(Code.UNREACHABLE, "nobody is there"),
    "ill": Answer(1, b"", b"talk\nerror: the disk is broken\x1b[2J\n"),
    "odd": Answer(0, b"[]", b""),
}


class Connection:
    async def __aenter__(self) -> "Connection":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


@pytest.fixture
def settings(tmp_path: Path) -> CliSettings:
    env = {"LLORCH_HOME": str(tmp_path)}
    return CliSettings(env, Layout.from_env(env))


async def test_every_host_answers_for_itself(
    settings: CliSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once: list[int] = []
    running = 0

    async def open_ssh(_settings: CliSettings, entry: HostEntry) -> Connection | Refusal:
        nonlocal running
        running += 1
        at_once.append(running)
        await asyncio.sleep(0)
        found = ANSWERS[entry.name.partition("-")[0]]
        if isinstance(found, Refusal):
            running -= 1
            return found
        return Connection()

    async def ask_host(_connection: object, entry: HostEntry, argv: tuple[str, ...]) -> object:
        nonlocal running
        await asyncio.sleep(0)
        running -= 1
        assert argv[0] == "status"
        return ANSWERS[entry.name.partition("-")[0]]

    monkeypatch.setattr(survey, "open_ssh", open_ssh)
    monkeypatch.setattr(survey, "ask_host", ask_host)
    entries = [HostEntry(f"{name}-{number}") for number in range(8) for name in ANSWERS]
    words = await survey.ask_hosts(settings, entries)
    assert [word.entry for word in words] == entries
    assert max(at_once) == 8
    told = {word.entry.name: word.status for word in words[:4]}
    assert told["well-0"] == {"version": "0.1.0"}
    reasons = {name: it.message for name, it in told.items() if isinstance(it, Refusal)}
    assert reasons == {
        "off-0": "nobody is there",
        "ill-0": "llorch-pool status failed: error: the disk is broken [2J",
        "odd-0": "llorch-pool status did not say how it is",
    }
