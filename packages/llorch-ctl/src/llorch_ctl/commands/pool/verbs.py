"""The verbs of llorch-pool that `llorch pool` passes on to a host: names and one line each.

A test compares the table with llorch-pool itself, which is not imported here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

__all__ = ["VERBS", "Verb"]


@dataclass(frozen=True, slots=True)
class Verb:
    """What is under it, and what of that only SSH can do.

    ssh_only means all of it; at_host names the parts that work on the host's own files.
    """

    short_help: str
    parts: tuple[str, ...] = ()
    ssh_only: bool = False
    at_host: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()

    def needs_ssh(self, rest: tuple[str, ...]) -> bool:
        """Whether a pool-managerd cannot be asked for it."""
        return self.ssh_only or (bool(rest) and rest[0] in self.at_host)


VERBS: Final[Mapping[str, Verb]] = MappingProxyType(
    {
        "devices": Verb("Show what a host computes with.", examples=("--host mac",)),
        "worker": Verb(
            "Start, stop, list and read workers.",
            ("spawn", "stop", "list", "logs"),
            examples=(
                "list --host mac --format json",
                "spawn metal --host mac --model tinyllama",
                "spawn cuda --host auto --model llama3",
            ),
        ),
        "models": Verb(
            "Find, fetch, verify and delete models.",
            (
                "download",
                "info",
                "verify",
                "delete",
                "import",
                "catalog",
                "list",
                "disk-usage",
            ),
            at_host=("import",),
            examples=("download tinyllama --host mac", "list --host me@192.168.1.20"),
        ),
        "git": Verb(
            "Work on a git checkout of a host and its submodules.",
            ("status", "pull", "sync", "clean", "log", "branches", "submodules"),
            ssh_only=True,
            examples=("pull --host workstation",),
        ),
        "daemon": Verb(
            "Start, stop and watch pool-managerd on a host.",
            (
                "start",
                "stop",
                "status",
                "logs",
                "drain",
                "resume",
                "join",
                "leave",
                "install-service",
            ),
            ssh_only=True,
            examples=("start --host mac",),
        ),
        "dev": Verb(
            "Make a host ready, and find out what is wrong with it.",
            ("setup", "doctor"),
            ssh_only=True,
            examples=("doctor --host mac",),
        ),
    }
)
