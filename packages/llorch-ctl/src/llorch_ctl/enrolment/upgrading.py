"""Puts a release on an enrolled host: beside the old one, then a switch, and back if it fails.

Workers are not touched: they outlive the daemon's restart, and the new daemon takes them over.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llorch_ctl.enrolment import scripts
from llorch_ctl.enrolment.acts import HostActs
from llorch_ctl.enrolment.arrival import Arrival, arrive, installed_door, plan_for
from llorch_ctl.enrolment.daemon_acts import DaemonActs
from llorch_ctl.enrolment.plan import StepKind, Wanted
from llorch_ctl.enrolment.turns import host_turn
from llorch_ctl.enrolment.wheelhouse import Suite
from llorch_ctl.hosts.entries import HostEntry
from llorch_ctl.settings import CliSettings
from orchestrator_core.errors import Code, Refusal

__all__ = ["Upgraded", "Upgrading", "upgrade_host"]

_PORT = 9200
_ENABLED = ("enabled", "enabled-runtime", "static")


@dataclass(frozen=True, slots=True)
class Upgrading:
    """What is to be put where."""

    entry: HostEntry
    suite: Suite
    third_party: Path
    offline: bool


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What was there, and what is there now."""

    host: str
    before: str | None
    now: str
    is_changed: bool


async def upgrade_host(
    settings: CliSettings, upgrading: Upgrading, say: Callable[[str], None]
) -> Upgraded | Refusal:
    """Upgrade one host, or leave it as it was."""
    with host_turn(settings, upgrading.entry.name) as taken:
        return taken or await _upgrade(settings, upgrading, say)


async def _upgrade(
    settings: CliSettings, upgrading: Upgrading, say: Callable[[str], None]
) -> Upgraded | Refusal:
    entry, suite = upgrading.entry, upgrading.suite
    async with arrive(settings, entry, port=_PORT) as arrival:
        if isinstance(arrival, Refusal):
            return arrival
        if arrival.probe.version is None:
            line = f"no llorch is installed on {entry.name}: run: llorch host add {entry.name}"
            return Refusal(Code.NOT_FOUND, line)
        wanted = Wanted(entry.name, road="none", offline=upgrading.offline)
        plan = plan_for(arrival, wanted, suite, upgrading.third_party)
        if isinstance(plan, Refusal):
            return plan
        door = installed_door(arrival)
        host = HostActs(door, arrival.probe, plan, suite, say)
        before = (arrival.probe.current or "").removeprefix("releases/")
        if before == suite.release:
            return Upgraded(entry.name, before, before, is_changed=False)
        refusal = await _prepare(host, say)
        if refusal is not None:
            return refusal
        return await _change(arrival, host, DaemonActs(door, arrival.probe, say), before)


async def _prepare(host: HostActs, say: Callable[[str], None]) -> Refusal | None:
    """Everything that can be done while the old release runs on."""
    name = host.door.name
    acts = (
        ("making folders", host.make_folders),
        ("sending wheels", host.upload),
        (f"installing {host.plan.release} beside what runs", host.install),
        ("testing it", host.self_test),
    )
    for title, act in acts:
        say(f"{name}: {title}")
        done = await act()
        if isinstance(done, Refusal):
            return done
    return None


async def _change(
    arrival: Arrival, host: HostActs, daemon: DaemonActs, before: str
) -> Upgraded | Refusal:
    name, release = host.door.name, host.plan.release
    kind = await _kind(arrival, host)
    running = await daemon.is_running()
    if isinstance(running, Refusal):
        return running
    switched = await host.switch(release)
    if isinstance(switched, Refusal):
        return switched
    if running:
        failed = await _restart(host, daemon, kind)
        if failed is not None:
            return await _back(host, daemon, kind, before, failed)
    tidied = await host.tidy(before)
    if isinstance(tidied, Refusal):
        return tidied
    return Upgraded(name, before or None, release, is_changed=True)


async def _restart(host: HostActs, daemon: DaemonActs, kind: StepKind) -> Refusal | None:
    host.say(f"{host.door.name}: restarting pool-managerd; its workers run on")
    done = await daemon.run(kind, restart=True)
    if isinstance(done, Refusal):
        return done
    answers = await daemon.is_running()
    if isinstance(answers, Refusal):
        return answers
    if answers:
        return None
    return Refusal(Code.INTERNAL, f"{host.door.name}: the new pool-managerd does not answer")


async def _back(
    host: HostActs, daemon: DaemonActs, kind: StepKind, before: str, failed: Refusal
) -> Refusal:
    """Let the release of before run again; what failed is told with whether that worked."""
    name = host.door.name
    reason = failed.message.removeprefix(f"{name}: ")
    if not before:
        return failed
    switched = await host.switch(before)
    # The new daemon may live without answering: it holds the lock that the old one needs.
    started = switched if isinstance(switched, Refusal) else await daemon.run(kind, restart=True)
    if isinstance(started, Refusal):
        line = (
            f"{name}: the upgrade failed: {reason}; "
            f"and {before} did not start again: {started.message}"
        )
    else:
        line = f"{name}: the upgrade failed: {reason}; {before} runs again"
    return Refusal(failed.code, line, failed.details)


async def _kind(arrival: Arrival, host: HostActs) -> StepKind:
    """As a service where it is one now."""
    if arrival.probe.launchd:
        return StepKind.SERVICE
    text = await host.door.script(scripts.service_state(), "asking for the service")
    states = () if isinstance(text, Refusal) else tuple(text.split("\n"))
    enabled = any(state.partition("=")[2].strip() in _ENABLED for state in states)
    return StepKind.SERVICE if enabled else StepKind.START
