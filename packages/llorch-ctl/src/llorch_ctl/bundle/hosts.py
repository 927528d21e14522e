"""Asks hosts over SSH for what belongs into a support bundle; each answer is redacted here as well."""

import asyncio
import json
from typing import Final

from llorch_ctl.bundle.contents import Contents
from llorch_ctl.hosts.entries import HostEntry
from llorch_ctl.hosts.remote import ask_host
from llorch_ctl.hosts.ways import open_ssh
from llorch_ctl.settings import CliSettings
from orchestrator_core.errors import Refusal

__all__ = ["collect_host"]

_TIMEOUT_S: Final = 60.0
_QUESTIONS: Final = {
    "version.txt": ("--version",),
    "status.json": ("status", "--format", "json"),
    "doctor.json": ("dev", "doctor", "--format", "json"),
    "daemon.log": ("daemon", "logs", "--lines", "400"),
}


def collect_host(contents: Contents, settings: CliSettings, entry: HostEntry) -> None:
    """Log in once and ask one question after the other."""
    answers = asyncio.run(_ask(settings, entry))
    if isinstance(answers, Refusal):
        contents.left_out[f"hosts/{entry.name}"] = contents.redactor.text(answers.message)
        return
    for name, answer in answers.items():
        contents.put(f"hosts/{entry.name}/{name}", answer)


async def _ask(settings: CliSettings, entry: HostEntry) -> dict[str, object] | Refusal:
    connection = await open_ssh(settings, entry)
    if isinstance(connection, Refusal):
        return connection
    answers: dict[str, object] = {}
    async with connection:
        for name, argv in _QUESTIONS.items():
            answer = await ask_host(connection, entry, argv, timeout_s=_TIMEOUT_S)
            if isinstance(answer, Refusal):
                answers[name] = {"refused": answer.message}
                continue
            text = answer.out.decode("utf-8", "replace")
            answers[name] = _read(text) if name.endswith(".json") else text
    return answers


def _read(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return {"said": text[-2000:]}
