"""Accepts the one host key whose fingerprint a person has named; no other is ever accepted here."""

from llorch_ctl.hosts.trusted import Shown, Standing, accept_keys, standing_of
from llorch_ctl.hosts.ways import login
from llorch_ctl.settings import CliSettings
from orchestrator_core.clients.ssh.destination import Destination
from orchestrator_core.clients.ssh.host_keys import fetch_host_keys
from orchestrator_core.clients.ssh.known_keys import KnownKeys
from orchestrator_core.errors import Code, Refusal

__all__ = ["trust_one"]

# The name is spelled as known_hosts does it, port and all, and looked up as such.
_PLAIN_PORT = 22


async def trust_one(
    settings: CliSettings, name: str, destination: Destination, fingerprint: str
) -> Refusal | None:
    """Fetch the keys without a login and accept that one; a changed key stays refused."""
    ours = login(settings)
    found = await fetch_host_keys(destination, config=ours.config_files, login=ours, name=name)
    if isinstance(found, Refusal):
        return found
    if fingerprint not in [key.fingerprint for key in found]:
        now = ", ".join(key.fingerprint for key in found)
        line = f"{name} shows {now}, none of them the one that was named: nothing is accepted"
        return Refusal(Code.HOST_KEY_UNKNOWN, line)
    shown = [Shown(key.kind, key.fingerprint, key.entry) for key in found]
    known = KnownKeys(login(settings).known_hosts).fingerprints(shown[0].name, _PLAIN_PORT)
    standing = standing_of(shown, known)
    if standing is Standing.CHANGED:
        line = (
            f"the host key of {name} was {', '.join(known)} and is another now: if the host was "
            f"reinstalled, run: llorch host trust {name} --replace"
        )
        return Refusal(Code.HOST_KEY_CHANGED, line)
    if fingerprint in known:
        return None
    accept_keys(
        settings.layout.known_hosts, [one for one in shown if one.fingerprint == fingerprint]
    )
    return None
