"""Judges whether pool-managerd runs, answers, is of our version and comes back by itself: pure."""

from collections.abc import Iterator

from orchestrator_core.findings import Finding, Severity
from pool_core.doctor.facts import DaemonFacts, ServiceFacts

__all__ = ["judge_daemon", "judge_service"]


def judge_daemon(facts: DaemonFacts) -> Iterator[Finding]:
    """The daemon, its address and its switch."""
    if facts.settings_fault is not None:
        fix = "correct config/pool.toml or the LLORCH_POOL_* variable"
        yield Finding(Severity.ERROR, "settings", facts.settings_fault, fix)
    if facts.catalog_fault is not None:
        fix = "correct config/catalog.toml: no daemon starts with it as it is"
        yield Finding(Severity.ERROR, "catalogue", facts.catalog_fault, fix)
    yield _liveness(facts)
    yield from _skew(facts)
    yield from _port(facts)
    if facts.is_draining:
        text = "this pool is draining: it starts no worker for the orchestrator"
        yield Finding(Severity.NOTE, "draining", text, "llorch-pool daemon resume")


def judge_service(facts: ServiceFacts) -> Iterator[Finding]:
    """What starts the daemon after a restart of the machine."""
    if facts.manager is None:
        return
    if facts.installed is None:
        text = "pool-managerd is no service: after a restart of the machine nobody starts it"
        yield Finding(Severity.NOTE, "service", text, "llorch-pool daemon install-service")
    elif facts.installed == "user" and facts.lingers is False:
        text = f"the services of {facts.user} end with the last logout"
        fix = f"loginctl enable-linger {facts.user}"
        yield Finding(Severity.WARNING, "service", text, fix)
    else:
        yield Finding(Severity.OK, "service", f"installed as a {facts.installed} service")


def _liveness(facts: DaemonFacts) -> Finding:
    run = facts.run
    if run is None and facts.lock_pid is None:
        text = "pool-managerd is not running; commands work directly"
        return Finding(Severity.NOTE, "daemon", text, "llorch-pool daemon start")
    if run is None:
        text = f"process {facts.lock_pid} holds the pool and does not listen (yet)"
        fix = "try again in a moment; if it stays so: llorch-pool daemon stop"
        return Finding(Severity.WARNING, "daemon", text, fix)
    if not facts.answers:
        text = f"pool-managerd (pid {run.pid}) runs but does not answer at {run.url}"
        fix = "llorch-pool daemon stop, then start it again; workers run on"
        return Finding(Severity.ERROR, "daemon", text, fix)
    text = f"pool-managerd {run.version} (pid {run.pid}) answers at {run.url}"
    return Finding(Severity.OK, "daemon", text)


def _skew(facts: DaemonFacts) -> Iterator[Finding]:
    if facts.run is not None and facts.run.version != facts.version:
        text = f"the daemon is {facts.run.version}, this command is {facts.version}"
        fix = "llorch-pool daemon stop, then llorch-pool daemon start; workers run on"
        yield Finding(Severity.WARNING, "version", text, fix)


def _port(facts: DaemonFacts) -> Iterator[Finding]:
    if facts.port is None or facts.holder is None:
        return
    ours = {facts.lock_pid, facts.run.pid if facts.run else None} - {None}
    if facts.holder.pid in ours:
        return
    text = f"{facts.bind} is in use by {facts.holder.describe()}"
    fix = "end it, or take another port: llorch-pool daemon start --bind 127.0.0.1:9300"
    # A daemon that listens elsewhere does not need the port that is configured.
    severity = Severity.NOTE if facts.run is not None else Severity.ERROR
    yield Finding(severity, "port", text, fix)
