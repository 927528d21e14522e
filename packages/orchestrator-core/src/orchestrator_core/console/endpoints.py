"""Finds a daemon, the key that opens it and the certificate that it is known by.

Address: flag, URL variable, run file of a live process, bind variable unless port 0, default.
Key: LLORCH_API_KEY, else this installation's key file, which only this machine ever gets.
Certificate: the run file's for the daemon that wrote it, else LLORCH_CA_FILE, else the system's.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator_core.clients.trust import Trust
from orchestrator_core.config.layout import Layout
from orchestrator_core.console.addresses import is_url
from orchestrator_core.console.programs import DaemonProgram
from orchestrator_core.errors import Code, Refusal, RequestError
from orchestrator_core.platforms import runfiles, select
from orchestrator_core.platforms.sockets import parse_bind

__all__ = ["Found", "find_address", "find_url", "key_for", "trust_for"]

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - an address to call, not to bind.


@dataclass(frozen=True, slots=True)
class Found:
    """An address, and what named it: flag, env NAME, run file PATH or default."""

    url: str
    origin: str


def find_url(
    program: DaemonProgram, *, flag: str | None, env: Mapping[str, str], layout: Layout
) -> str:
    """Tell where a daemon should answer; whether it does, the call will show."""
    return find_address(program, flag=flag, env=env, layout=layout).url


def find_address(
    program: DaemonProgram, *, flag: str | None, env: Mapping[str, str], layout: Layout
) -> Found:
    """Tell where a daemon should answer, and how that is known."""
    named = flag or env.get(program.url_variable)
    if named:
        if not is_url(named):
            source = "--url" if flag else program.url_variable
            text = f'{source}: "{named}" is not a URL like http://{program.bind_default}'
            raise RequestError(Refusal(Code.INVALID_REQUEST, text))
        return Found(named.rstrip("/"), "flag" if flag else f"env {program.url_variable}")
    run = runfiles.read_live(layout.run_folder, program.name, select.current())
    if run is not None:
        return Found(run.url.rstrip("/"), f"run file of {program.name} (pid {run.pid})")
    bound = _from_bind(env.get(program.bind_variable))
    if bound is not None:
        return Found(bound, f"env {program.bind_variable}")
    return Found(f"http://{program.bind_default}", "default")


def trust_for(
    url: str, program: DaemonProgram, *, env: Mapping[str, str], layout: Layout
) -> Trust | None:
    """Tell whose certificate to take: our own daemon's, or what LLORCH_CA_FILE vouches for."""
    if not url.startswith("https:"):
        return None
    run = runfiles.read_live(layout.run_folder, program.name, select.current())
    if run is not None and run.url.rstrip("/") == url:
        return Trust.in_run_file(run)
    named = env.get("LLORCH_CA_FILE")
    return Trust(Path(named)) if named else None


def key_for(
    url: str, *, env: Mapping[str, str], key_file: Path, trust: Trust | None = None
) -> str | None:
    """Tell the key for an address; None lets the daemon itself say that one is missing."""
    key = env.get("LLORCH_API_KEY")
    if key:
        return key.strip()
    # The key in the file opens everything here: it must not be told to another machine. Who holds
    # the private key of our own daemon is no other machine, whatever name it goes by.
    is_ours = trust is not None and trust.is_peers_own
    if not is_ours and not _is_loopback(urlsplit(url).hostname or ""):
        return None
    try:
        return key_file.read_text("utf-8").strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        text = f"cannot read the key in {key_file}: {error.strerror}"
        raise RequestError(Refusal(Code.NO_KEY, text)) from error


def _from_bind(bind: str | None) -> str | None:
    address = parse_bind(bind) if bind else None
    if address is None or isinstance(address, Refusal) or address[1] == 0:
        return None
    host = _WILDCARDS.get(address[0], address[0])
    return f"http://[{host}]:{address[1]}" if ":" in host else f"http://{host}:{address[1]}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
