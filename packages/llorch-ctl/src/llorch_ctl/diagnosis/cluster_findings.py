"""Judges the daemons of this machine, the orchestrator that is called, its pools, and hosts: pure."""

from collections.abc import Iterator
from typing import Final

from llorch_ctl.diagnosis.facts import DaemonFacts, HostFacts, OrchestratorFacts, PoolFacts
from orchestrator_core.contracts.versions import skew_refusal
from orchestrator_core.errors import Code, Exit, Refusal
from orchestrator_core.findings import Finding, Severity
from orchestrator_core.units import format_duration

__all__ = ["judge_daemon", "judge_host", "judge_orchestrator"]

_AHEAD_MAX_S: Final = 5.0
_STATES: Final = {
    "online": Severity.OK,
    "draining": Severity.NOTE,
    "suspect": Severity.WARNING,
    "lost": Severity.WARNING,
}


def judge_daemon(facts: DaemonFacts) -> Iterator[Finding]:
    """Whether it runs, is of our version, and has its port."""
    if facts.run_pid is not None:
        text = f"{facts.name} {facts.run_version} (pid {facts.run_pid}) runs at {facts.run_url}"
        yield Finding(Severity.OK, facts.name, text)
    elif facts.lock_pid is not None:
        text = f"process {facts.lock_pid} holds the data of {facts.name} and does not listen (yet)"
        yield Finding(
            Severity.WARNING, facts.name, text, "try again in a moment, then look at its log"
        )
    else:
        text = f"{facts.name} is not running on this machine"
        yield Finding(Severity.NOTE, facts.name, text, facts.start_command)
    if facts.run_version is not None and facts.run_version != facts.version:
        text = f"{facts.name} is {facts.run_version}, this command is {facts.version}"
        fix = f"stop it, then {facts.start_command}; jobs and workers go on"
        yield Finding(Severity.WARNING, "version", text, fix)
    holder = facts.holder
    if holder is None or (holder.pid is not None and holder.pid in (facts.run_pid, facts.lock_pid)):
        return
    text = f"{facts.bind}, the address of {facts.name}, is in use by {holder.describe()}"
    fix = f"end it, or take another port: {facts.start_command} --bind 127.0.0.1:0"
    # A daemon that listens elsewhere does not need the port that is configured.
    severity = Severity.NOTE if facts.run_pid is not None else Severity.ERROR
    yield Finding(severity, "port", text, fix)


def judge_orchestrator(facts: OrchestratorFacts) -> Iterator[Finding]:
    """Whether it answers to us, by which clock, and what it says of its pools."""
    if facts.refusal is not None:
        yield _silent(facts, facts.refusal)
        return
    if facts.is_ready:
        yield Finding(Severity.OK, "orchestrator", f"it answers at {facts.url}")
    else:
        why = "; ".join(facts.reasons) or "it does not say why"
        text = f"{facts.url} takes no jobs now: {why}"
        yield Finding(Severity.WARNING, "orchestrator", text, "llorch orchestrator logs")
    if facts.ahead_s is not None and abs(facts.ahead_s) > _AHEAD_MAX_S:
        way = "ahead of" if facts.ahead_s > 0 else "behind"
        text = f"its clock is {format_duration(abs(facts.ahead_s))} {way} ours"
        yield Finding(Severity.WARNING, "clock", text, "sudo timedatectl set-ntp true on both")
    if not facts.pools:
        text = "no pool has registered yet: no job can run"
        yield Finding(Severity.NOTE, "pools", text, "llorch up, or llorch host add NAME")
    for pool in facts.pools:
        yield from _pool(pool, facts.version)


def judge_host(facts: HostFacts) -> Iterator[Finding]:
    """Whether it is reached, by a llorch-pool that we may work with, and what that one has found."""
    subject = f"host {facts.name}"
    if facts.refusal is not None:
        known = facts.refusal.code in (Code.HOST_KEY_UNKNOWN, Code.HOST_KEY_CHANGED)
        fix = f"llorch host trust {facts.name}" if known else f"llorch host check {facts.name}"
        severity = Severity.NOTE if facts.refusal.code is Code.NOT_FOUND else Severity.ERROR
        fix = f"llorch host add {facts.name}" if severity is Severity.NOTE else fix
        yield Finding(severity, subject, facts.refusal.message, fix)
        return
    told = f", llorch-pool {facts.their_version}" if facts.their_version else ""
    skew = None
    if facts.their_version:
        skew = skew_refusal(facts.version, facts.their_version, facts.name, "this llorch")
    if skew is not None:
        fix = f"llorch host upgrade {facts.name}"
        yield Finding(Severity.ERROR, subject, skew.message, fix)
    else:
        yield Finding(Severity.OK, subject, f"reached by {facts.way}{told}")
    for it in facts.findings:
        fix = f"on {facts.name}: {it.fix}" if it.fix else None
        yield Finding(it.severity, subject, f"{it.subject}: {it.text}", fix)


def _silent(facts: OrchestratorFacts, refusal: Refusal) -> Finding:
    if refusal.outcome.exit_code is Exit.REFUSED:
        fix = "put a key that works into LLORCH_API_KEY: llorch keys create makes one"
        return Finding(Severity.ERROR, "orchestrator", refusal.message, fix)
    if facts.origin == "default":
        # Nobody has said that one runs: a machine that only controls hosts needs none.
        return Finding(Severity.NOTE, "orchestrator", refusal.message, "llorch up")
    text = f"{refusal.message} (its address: {facts.origin})"
    return Finding(Severity.ERROR, "orchestrator", text, "see whether it runs and may be reached")


def _pool(pool: PoolFacts, version: str) -> Iterator[Finding]:
    subject = f"pool {pool.name}"
    seen = "never heard of"
    if pool.last_seen_s is not None:
        seen = f"last heard of {format_duration(pool.last_seen_s)} ago"
    severity = _STATES.get(pool.status, Severity.WARNING)
    fixes = {
        Severity.NOTE: f"llorch pool resume {pool.name}",
        Severity.WARNING: f"llorch host check {pool.name}",
    }
    if pool.link == "needs_attention":
        text = pool.reason or "the orchestrator cannot reach it"
        yield Finding(Severity.ERROR, subject, text, f"llorch host check {pool.name}")
    else:
        why = f": {pool.reason}" if pool.reason else ""
        text = f"{pool.status}, {seen}{why}"
        yield Finding(severity, subject, text, fixes.get(severity))
    skew = (
        skew_refusal(version, pool.version, f"pool {pool.name}", "this llorch")
        if pool.version
        else None
    )
    if skew is not None:
        yield Finding(Severity.ERROR, subject, skew.message, f"llorch host upgrade {pool.name}")
