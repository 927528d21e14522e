"""Makes one support bundle: collects, redacts, packs, and tells what is in it."""

import getpass
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from llorch_ctl.bundle.aliases import aliases_for
from llorch_ctl.bundle.archive import write_archive
from llorch_ctl.bundle.collection import collect_machine, collect_orchestrator
from llorch_ctl.bundle.contents import Contents
from llorch_ctl.bundle.hosts import collect_host
from llorch_ctl.bundle.known_secrets import texts_of_keys, values_of_variables
from llorch_ctl.bundle.redaction import Redactor
from llorch_ctl.diagnosis.host_reading import named_hosts
from llorch_ctl.diagnosis.local_reading import key_files, own_version
from llorch_ctl.home.connection import connect
from llorch_ctl.hosts.entries import HostEntry
from llorch_ctl.settings import CliSettings
from orchestrator_core.clock import SystemClock, rfc3339
from orchestrator_core.errors import Code, LlorchError, Refusal

__all__ = ["Made", "Order", "make_bundle"]

_ASK_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted; without a path the bundle is called by the time."""

    path: Path | None
    hosts: Sequence[HostEntry]
    url: str | None
    anonymous: bool
    worker_logs: bool


@dataclass(frozen=True, slots=True)
class Made:
    """The file, and what is in it and what is not."""

    path: Path
    size_bytes: int
    files: Mapping[str, int]
    left_out: Mapping[str, str]


def make_bundle(settings: CliSettings, order: Order, say: Callable[[str], None]) -> Made | Refusal:
    """Collect and write; a file that is there already is refused before anything is asked."""
    unix_ms = SystemClock().unix_ms()
    moment = rfc3339(unix_ms).partition(".")[0].replace("-", "").replace(":", "")
    path = order.path or Path.cwd() / f"llorch-support-{moment}Z.tar.gz"
    if os.path.lexists(path):
        return Refusal(Code.CONFLICT, f"{path} is there already: name another file with --out")
    contents = Contents(_redactor(settings, order))
    say("reading this machine")
    collect_machine(contents, settings, worker_logs=order.worker_logs)
    collect_orchestrator(contents, settings, order.url)
    for entry in order.hosts:
        say(f"asking {entry.name}")
        collect_host(contents, settings, entry)
    about = {"made_at": rfc3339(unix_ms), "llorch": own_version(), "anonymous": order.anonymous}
    contents.manifest(about)
    size_bytes = write_archive(path, contents.files, unix_s=unix_ms // 1000)
    if isinstance(size_bytes, Refusal):
        return size_bytes
    files = {name: len(body) for name, body in contents.files.items()}
    return Made(path, size_bytes, files, contents.left_out)


def _redactor(settings: CliSettings, order: Order) -> Redactor:
    home = settings.env.get("HOME") or str(Path.home())
    entries = [*named_hosts(settings), *order.hosts]
    files = [*key_files(settings.layout), *(it.key_file for it in entries if it.key_file)]
    secrets = [*values_of_variables(settings.env), *texts_of_keys(files)]
    if not order.anonymous:
        return Redactor(home, secrets)
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = ""
    aliases = aliases_for(user, platform.node(), entries, _pool_names(settings, order.url))
    return Redactor(home, secrets, aliases)


def _pool_names(settings: CliSettings, url: str | None) -> list[str]:
    try:
        with connect(settings, url, timeout_s=_ASK_TIMEOUT_S) as client:
            return [view.pool_id for view in client.pools().items]
    except LlorchError:
        return []
