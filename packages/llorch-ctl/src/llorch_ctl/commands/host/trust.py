"""llorch host trust: shows the keys of a host and accepts them; nothing else ever does."""

import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from llorch_ctl.commands.live_names import HOSTS
from llorch_ctl.settings import CliSettings
from orchestrator_core.console.options import output_options
from orchestrator_core.console.render import Column, Output

if TYPE_CHECKING:
    from llorch_ctl.hosts.entries import HostEntry
    from llorch_ctl.hosts.trusted import Shown
    from orchestrator_core.errors import Refusal

__all__ = ["trust"]

_PLAIN_PORT: Final = 22

_EPILOG: Final = """\b
Examples:
  llorch host trust mac
  llorch host trust me@192.168.1.20 --fingerprint SHA256:Q3mS0...
  llorch host trust mac --replace

\b
On the host this shows what to compare with:
  for key in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $key; done
"""

_COLUMNS: Final = (
    Column("host", "host"),
    Column("kind", "kind"),
    Column("fingerprint", "fingerprint"),
    Column("known", "known"),
)


@click.command(short_help="Accept the host key of a machine.", epilog=_EPILOG)
@click.argument("name", metavar="NAME|[USER@]HOST[:PORT]", shell_complete=HOSTS)
@click.option("--yes", "-y", is_flag=True, help="Accept what is shown without asking.")
@click.option(
    "--fingerprint", metavar="SHA256:...", help="Accept the key that has this fingerprint only."
)
@click.option("--replace", is_flag=True, help="Accept it in the place of another one.")
@output_options
@click.pass_obj
def trust(
    settings: CliSettings,
    *,
    name: str,
    yes: bool,
    fingerprint: str | None,
    replace: bool,
    out: Output,
) -> None:
    """Show the host keys of a machine and accept them.

    Nobody logs in for this. Compare the fingerprint with what the machine itself says: whoever
    stands between you and it shows another one. Keys in ~/.ssh/known_hosts count as well.
    """
    from llorch_ctl.hosts.book import HostBook
    from llorch_ctl.hosts.trusted import Standing, accept_keys, standing_of
    from orchestrator_core.errors import Refusal, error_for

    entry = HostBook.of(settings).find(name)
    if isinstance(entry, Refusal):
        raise error_for(entry)
    shown = asyncio.run(_fetch(settings, entry))
    known = _known_fingerprints(settings, shown)
    standing = standing_of(shown, known)
    if fingerprint is None or standing is Standing.KNOWN:
        wanted = shown
    else:
        wanted = [key for key in shown if key.fingerprint == fingerprint]
    out.rows([_row(entry.name, key, known) for key in shown], _COLUMNS)
    if standing is Standing.KNOWN:
        _say_known(out, entry.name, [key.fingerprint for key in shown], fingerprint)
        return
    refusal = _refusal(entry.name, shown, wanted, known, replace=replace)
    if refusal is not None:
        raise error_for(refusal)
    if not (yes or fingerprint):
        _ask(entry.name, shown)
    accept_keys(settings.layout.known_hosts, wanted, replace=replace)
    out.say(f"{entry.name} is trusted now")
    if standing is Standing.CHANGED:
        _warn_of_old(settings, out, shown[0].name)


async def _fetch(settings: CliSettings, entry: "HostEntry") -> "list[Shown]":
    from llorch_ctl.hosts.trusted import Shown
    from llorch_ctl.hosts.ways import login, name_shown
    from orchestrator_core.clients.ssh.host_keys import fetch_host_keys
    from orchestrator_core.errors import Code, Refusal, error_for

    if entry.ssh is None:
        line = f"{entry.name} has no ssh in llorch.toml: there is no host key to trust"
        raise error_for(Refusal(Code.INVALID_REQUEST, line))
    ours = login(settings)
    name = name_shown(settings, entry)
    found = await fetch_host_keys(
        entry.ssh,
        config=ours.config_files,
        timeout_s=ours.connect_timeout_s,
        login=ours,
        name=name,
    )
    if isinstance(found, Refusal):
        raise error_for(found)
    return [Shown(key.kind, key.fingerprint, key.entry) for key in found]


def _known_fingerprints(settings: CliSettings, shown: "Sequence[Shown]") -> list[str]:
    """What is known under the host's name; a key that is revoked there is refused at once."""
    from llorch_ctl.hosts.ways import login
    from orchestrator_core.clients.ssh.known_keys import KnownKeys
    from orchestrator_core.errors import Code, Refusal, error_for

    keys = KnownKeys(login(settings).known_hosts)
    # The name is spelled as known_hosts does it, port and all.
    name = shown[0].name
    revoked = keys.revoked(name, _PLAIN_PORT)
    if any(key.fingerprint in revoked for key in shown):
        line = f"a host key of {name} is marked as revoked in known_hosts: nothing is accepted"
        raise error_for(Refusal(Code.HOST_KEY_CHANGED, line))
    return keys.fingerprints(name, _PLAIN_PORT)


def _refusal(
    name: str,
    shown: "Sequence[Shown]",
    wanted: "Sequence[Shown]",
    known: Sequence[str],
    *,
    replace: bool,
) -> "Refusal | None":
    from orchestrator_core.errors import Code, Refusal

    now = ", ".join(key.fingerprint for key in shown)
    if not wanted:
        line = f"{name} shows {now}, none of them the one that was named: nothing is accepted"
        return Refusal(Code.HOST_KEY_UNKNOWN, line)
    if known and not replace:
        line = (
            f"the host key of {name} was {', '.join(known)} and is {now} now: somebody may listen "
            f"in; if the host was reinstalled, run: llorch host trust {name} --replace"
        )
        return Refusal(Code.HOST_KEY_CHANGED, line)
    return None


def _ask(name: str, shown: "Sequence[Shown]") -> None:
    from orchestrator_core.errors import Code, Refusal, error_for

    if not sys.stdin.isatty():
        line = (
            "compare the fingerprint with the host's own, then run: "
            f"llorch host trust {name} --fingerprint {shown[0].fingerprint}"
        )
        raise error_for(Refusal(Code.HOST_KEY_UNKNOWN, line))
    click.confirm(f"Is this what {name} itself says? Trust it", err=True, abort=True)


def _say_known(out: Output, name: str, shown: Sequence[str], fingerprint: str | None) -> None:
    from orchestrator_core.errors import Code, Refusal, error_for

    if fingerprint is not None and fingerprint not in shown:
        line = f"{name} is known already, by other keys than the one that was named"
        raise error_for(Refusal(Code.HOST_KEY_UNKNOWN, line))
    out.say(f"{name} is known already")


def _warn_of_old(settings: CliSettings, out: Output, spelled: str) -> None:
    from llorch_ctl.hosts.ways import known_hosts_files

    for file in known_hosts_files(settings)[:-1]:
        if file.is_file():
            out.warn(f"its old key may still count by {file}: ssh-keygen -R '{spelled}' -f {file}")


def _row(host: str, key: "Shown", known: Sequence[str]) -> dict[str, object]:
    return {
        "host": host,
        "kind": key.kind,
        "fingerprint": key.fingerprint,
        "known": key.fingerprint in known,
    }
