"""Undoes an enrolment: the orchestrator forgets the pool, then the host is cleaned, then our file.

Each act may find its work done already: removing twice is no mistake.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from llorch_ctl.enrolment import login_scripts, scripts
from llorch_ctl.enrolment.arrival import Arrival, arrive
from llorch_ctl.enrolment.daemon_acts import DaemonActs
from llorch_ctl.enrolment.desk import Desk
from llorch_ctl.enrolment.host_files import HostPaths, key_blob
from llorch_ctl.enrolment.host_settings import pool_named_in
from llorch_ctl.enrolment.pool_keys import PoolKeys
from llorch_ctl.enrolment.turns import host_turn
from llorch_ctl.hosts.book import HostBook
from llorch_ctl.hosts.entries import HostEntry
from llorch_ctl.settings import CliSettings
from orchestrator_core.errors import Code, Refusal

__all__ = ["Removal", "Removed", "Sizes", "remove_host"]

_PORT: Final = 9200
_NAMED_MAX: Final = 5
_FILES_TIMEOUT_S: Final = 600.0
_LOST: Final = (Code.UNREACHABLE, Code.TIMEOUT, Code.HOST_REFUSED, Code.HOST_KEY_UNKNOWN)


@dataclass(frozen=True, slots=True)
class Sizes:
    """What lies on the host; None where it could not be asked."""

    suite_bytes: int
    models_bytes: int


@dataclass(frozen=True, slots=True)
class Removal:
    """What a person chose."""

    entry: HostEntry
    keep_models: bool
    force: bool


@dataclass(frozen=True, slots=True)
class Removed:
    """What was there to be removed, and whether it was."""

    is_done: bool
    was_enrolled: bool | None = None
    was_listed: bool = False
    host_cleaned: bool = False
    sizes: Sizes | None = None


async def remove_host(
    settings: CliSettings,
    removal: Removal,
    desk: Desk | None,
    *,
    say: Callable[[str], None],
    agree: Callable[[Sizes | None], bool],
) -> Removed | Refusal:
    """Remove one host; nothing is touched before it is agreed to."""
    with host_turn(settings, removal.entry.name) as taken:
        if taken is not None:
            return taken
        return await _remove(settings, removal, desk, say, agree)


async def _remove(
    settings: CliSettings,
    removal: Removal,
    desk: Desk | None,
    say: Callable[[str], None],
    agree: Callable[[Sizes | None], bool],
) -> Removed | Refusal:
    async with arrive(settings, removal.entry, port=_PORT) as arrival:
        if isinstance(arrival, Refusal):
            if arrival.code not in _LOST or not removal.force:
                return _unreached(removal, arrival)
            return await _forget(settings, removal, desk, None, say, agree)
        return await _forget(settings, removal, desk, arrival, say, agree)


async def _forget(
    settings: CliSettings,
    removal: Removal,
    desk: Desk | None,
    arrival: Arrival | None,
    say: Callable[[str], None],
    agree: Callable[[Sizes | None], bool],
) -> Removed | Refusal:
    name = removal.entry.name
    other = await _pool_of_another_name(arrival) if arrival is not None else None
    if other is not None:
        return other
    sizes = await _sizes(arrival) if arrival is not None else None
    if isinstance(sizes, Refusal):
        return sizes
    if not agree(sizes):
        return Removed(is_done=False, sizes=sizes)
    blob: str | None = None
    enrolled: bool | Refusal | None = None
    if desk is not None:
        blob = await _blob(desk)
        enrolled = await desk.remove(name)
        if isinstance(enrolled, Refusal):
            return enrolled
        say(f"the orchestrator has forgotten {name}" if enrolled else f"{name} was no pool")
    if arrival is not None:
        cleaned = await _clean(arrival, removal, blob, say)
        if cleaned is not None:
            return cleaned
    PoolKeys(settings.layout.host_secrets).forget(name)
    listed = HostBook.of(settings).remove(name)
    return Removed(
        is_done=True,
        was_enrolled=enrolled,
        was_listed=listed,
        host_cleaned=arrival is not None,
        sizes=sizes,
    )


async def _clean(
    arrival: Arrival, removal: Removal, blob: str | None, say: Callable[[str], None]
) -> Refusal | None:
    door, probe = arrival.door, arrival.probe
    stopped = await _stop(arrival, say)
    if stopped is not None:
        return stopped
    shut = await door.script(
        login_scripts.deauthorize(probe.home, door.entry.command or "", blob),
        "taking the key out of authorized_keys",
    )
    if isinstance(shut, Refusal):
        return shut
    paths = HostPaths.of(probe, door.entry.home)
    models = None if removal.keep_models else paths.models
    text = scripts.remove_suite(probe.root, paths.of_the_pool, paths.above, models)
    left = await door.script(text, "removing files", timeout_s=_FILES_TIMEOUT_S)
    if isinstance(left, Refusal):
        return left
    say(f"what was installed in {probe.root} is gone")
    kept = [shown for line in left.splitlines() if (shown := _plain(line))]
    if kept:
        more = f" and {len(kept) - _NAMED_MAX} more" if len(kept) > _NAMED_MAX else ""
        say(f"left where it is: {', '.join(kept[:_NAMED_MAX])}{more}")
    return None


async def _stop(arrival: Arrival, say: Callable[[str], None]) -> Refusal | None:
    """End the daemon and its workers, by their own program where that still runs."""
    door, probe = arrival.door, arrival.probe
    is_ours = door.entry.command == f"{probe.root}/current/bin/llorch-pool"
    if probe.version is not None or not is_ours:
        if probe.systemd or probe.launchd:
            scope = "--system" if probe.uid == 0 else "--user"
            # A service that was never installed is none to be removed, and that is said there.
            await door.ask("daemon", "install-service", scope, "--remove")
        stopped = await DaemonActs(door, probe, say).stop(workers=True)
        if not isinstance(stopped, Refusal):
            say("pool-managerd and its workers are stopped")
        elif not is_ours and stopped.code is not Code.NOT_FOUND:
            return stopped
        elif stopped.code is not Code.NOT_FOUND:
            # A disk that is full, or a release in pieces, must not keep it from going.
            say(f"warning: {stopped.message}; what runs of it is ended all the same")
    ended = await door.script(scripts.end_strays(probe.root), "ending what runs")
    return ended if isinstance(ended, Refusal) else None


async def _sizes(arrival: Arrival) -> Sizes | Refusal:
    paths = HostPaths.of(arrival.probe, arrival.door.entry.home)
    text = await arrival.door.script(
        scripts.sizes(arrival.probe.root, paths.models), "measuring", timeout_s=120
    )
    if isinstance(text, Refusal):
        return text
    numbers = [int(line) * 1024 for line in text.split() if line.isascii() and line.isdecimal()]
    return Sizes(*numbers) if len(numbers) == 2 else Sizes(0, 0)


async def _pool_of_another_name(arrival: Arrival) -> Refusal | None:
    """One host can have several names here; what lies there belongs to the one it was added by."""
    door = arrival.door
    file = HostPaths.of(arrival.probe, door.entry.home).settings
    text = await door.script(scripts.take_file(file), f"reading {file}")
    if isinstance(text, Refusal):
        return text
    other = pool_named_in(text)
    if other is None or other == door.name:
        return None
    line = (
        f"the host that {door.name} leads to is pool {_plain(other)[:64]}: remove it by that name"
    )
    return Refusal(Code.CONFLICT, line)


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text).strip()


async def _blob(desk: Desk) -> str | None:
    identity = await desk.identity()
    if isinstance(identity, Refusal):
        return None
    blob = key_blob(identity.public_key)
    return None if isinstance(blob, Refusal) else blob


def _unreached(removal: Removal, refusal: Refusal) -> Refusal:
    name = removal.entry.name
    if refusal.code not in _LOST:
        return refusal
    line = (
        f"{refusal.message} (nothing was removed; llorch host remove {name} --force forgets it "
        "here and leaves what lies there)"
    )
    return Refusal(refusal.code, line, refusal.details)
