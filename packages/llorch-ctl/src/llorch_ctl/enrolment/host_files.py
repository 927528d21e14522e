"""Decides where the files of a host lie, and how it lets the orchestrator in. Pure."""

import re
from dataclasses import dataclass
from typing import Final

from llorch_ctl.enrolment.probe import Probe
from orchestrator_core.errors import Code, Refusal

__all__ = ["HostPaths", "authorized_line", "key_blob"]

_COMMENT: Final = re.compile(r"[^A-Za-z0-9._:/@\[\]-]", re.ASCII)
_KEY: Final = re.compile(r"(ssh-[a-z0-9-]{1,40}|ecdsa-[a-z0-9-]{1,40}) ([A-Za-z0-9+/=]{40,1000})")


@dataclass(frozen=True, slots=True)
class HostPaths:
    """Where an installation on a host keeps what an enrolment writes or removes.

    above are the folders around them, which may have been made for them.
    """

    config: str
    data: str
    state: str
    above: tuple[str, ...]

    @classmethod
    def of(cls, probe: Probe, home: str | None) -> "HostPaths":
        """Under one folder by LLORCH_HOME, else in the XDG folders that the host told."""
        if home is not None:
            return cls(f"{home}/config", f"{home}/data", f"{home}/state", (home,))
        folders = (probe.config_home, probe.data_home, probe.state_home)
        own = (f"{folder}/llorch" for folder in folders)
        return cls(*own, above=(*folders, f"{probe.home}/.local/share", f"{probe.home}/.local"))

    @property
    def settings(self) -> str:
        """The settings of pool-managerd."""
        return f"{self.config}/pool.toml"

    @property
    def token(self) -> str:
        """The one-time token that the orchestrator shows."""
        return f"{self.state}/pool/join.token"

    @property
    def pool_key(self) -> str:
        """The key that opens the pool's own API to its user."""
        return f"{self.state}/pool/pool.key"

    @property
    def pool_certificate(self) -> str:
        """The certificate that the pool has made for a port that others reach."""
        return f"{self.state}/pool/tls.crt"

    @property
    def models(self) -> str:
        """What the host has fetched."""
        return f"{self.data}/models"

    @property
    def of_the_pool(self) -> tuple[str, ...]:
        """What belongs to the pool alone: an orchestrator of the same user keeps its own."""
        return (
            self.settings,
            f"{self.state}/pool",
            f"{self.state}/run/pool-managerd.json",
            f"{self.state}/log/pool-managerd.log",
        )


def key_blob(public_key: str) -> str | Refusal:
    """The key itself out of a public line, by which its line is found again."""
    found = _KEY.match(public_key)
    if found is None:
        line = "the orchestrator's public key is none that OpenSSH knows"
        return Refusal(Code.DATA_CORRUPT, line)
    return found[2]


def authorized_line(program: str, public_key: str, comment: str) -> str | Refusal:
    """One line of authorized_keys: tunnels to the host's own loopback, and llorch-pool."""
    found = _KEY.match(public_key)
    if found is None:
        return Refusal(
            Code.DATA_CORRUPT, "the orchestrator's public key is none that OpenSSH knows"
        )
    if not program.startswith("/") or any(mark in program for mark in "\"'\\!\n"):
        line = f"{program!r} cannot stand in authorized_keys: install under a path without quotes"
        return Refusal(Code.INVALID_REQUEST, line)
    options = (
        f'restrict,port-forwarding,permitopen="127.0.0.1:*",command="\'{program}\' remote-exec"'
    )
    return f"{options} {found[1]} {found[2]} llorch:{_COMMENT.sub('_', comment)[:200]}"
