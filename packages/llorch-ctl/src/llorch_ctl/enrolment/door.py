"""One host over one connection, as the steps of an enrolment need it: scripts and llorch-pool.

Whatever goes wrong comes back as one line that names the host and what was being done.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from llorch_ctl.enrolment.shell_text import after_mark, has_begun, marked
from llorch_ctl.hosts.entries import HostEntry
from llorch_ctl.hosts.remote import Answer, ask_host
from orchestrator_core.errors import Code, Refusal

if TYPE_CHECKING:
    from orchestrator_core.clients.ssh.connection import SshConnection

__all__ = ["Door", "complaint_in", "never_begun", "record_of"]

_POOL_TIMEOUT_S: Final = 180.0
_REASON_MAX: Final = 300


@dataclass(frozen=True, slots=True)
class Door:
    """A host that we are logged in at; entry names its llorch-pool, installed or yet to come."""

    entry: HostEntry
    connection: "SshConnection"

    @property
    def name(self) -> str:
        """What a person calls the host."""
        return self.entry.name

    async def script(self, text: str, what: str, *, timeout_s: float = 60.0) -> str | Refusal:
        """Run a script that must end well, and tell what it printed."""
        end = await self.connection.script(marked(text), timeout_s=timeout_s)
        if isinstance(end, Refusal):
            return end
        if not has_begun(end.out):
            return never_begun(self.name, end.status)
        out = after_mark(end.out)
        if end.status != 0:
            reason = _last_line(end.err or out) or f"sh ended with {end.status}"
            return Refusal(Code.INTERNAL, f"{self.name}: {what} failed: {reason}")
        return out

    async def ask(self, *argv: str) -> Answer | Refusal:
        """Call llorch-pool there; an exit code other than 0 is an answer, not a refusal."""
        return await ask_host(self.connection, self.entry, argv, timeout_s=_POOL_TIMEOUT_S)

    async def no_tunnel_to(self, port: int) -> Refusal | None:
        """Why the orchestrator could not reach this port through SSH; None when it can."""
        place = f"127.0.0.1:{port}"
        try:
            await self.connection.dial(_Knock, "127.0.0.1", port)
        except OSError as error:
            reason = _last_line(str(error))
            if "refused" in reason.lower():
                line = f"{self.name}: pool-managerd does not listen at {place}: see its log there"
                return Refusal(Code.UNREACHABLE, line)
            line = (
                f"{self.name} lets no tunnel through to {place} ({reason}): let AllowTcpForwarding "
                "and PermitOpen in its sshd_config allow it, or take --direct"
            )
            return Refusal(Code.HOST_REFUSED, line)
        return None

    async def tell(self, what: str, *argv: str) -> Answer | Refusal:
        """Call llorch-pool there, which must end well."""
        answer = await self.ask(*argv)
        if isinstance(answer, Refusal) or answer.code == 0:
            return answer
        reason, code = complaint_in(answer.last_line)
        return Refusal(code, f"{self.name}: {what} failed: {reason}")


class _Knock(asyncio.Protocol):
    """Goes away as soon as it was let in."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def complaint_in(line: str) -> tuple[str, Code]:
    """What llorch-pool complained of in its last line, and the code at the end of that."""
    text = line.removeprefix("error: ")
    reason, _, tail = text.rpartition(" (")
    codes = {code.value: code for code in Code}
    code = codes.get(tail.removesuffix(")"))
    return (reason, code) if reason and code is not None else (text, Code.INTERNAL)


def never_begun(name: str, status: int) -> Refusal:
    """The login shell of a host did not come as far as our script."""
    line = (
        f"{name}: its login shell did not get to our script (it ended with {status}): look at what "
        "its start file does without a terminal (.bashrc, .zshenv, config.fish): it may neither "
        "end the shell nor print without end"
    )
    return Refusal(Code.UNREACHABLE, line)


def record_of(answer: Answer) -> Mapping[str, object]:
    """What `--format json` printed; nothing when that was no object."""
    try:
        found: object = json.loads(answer.out)
    except ValueError:
        return {}
    return cast("dict[str, object]", found) if isinstance(found, dict) else {}


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = lines[-1] if lines else ""
    return "".join(char if char.isprintable() else " " for char in line)[:_REASON_MAX]
