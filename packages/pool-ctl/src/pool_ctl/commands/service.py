"""llorch-pool daemon install-service: hands pool-managerd to the host's service manager."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

from orchestrator_core.console.options import output_options
from orchestrator_core.console.programs import POOL_MANAGERD
from orchestrator_core.console.render import Format, Output
from pool_ctl.settings import CliSettings

if TYPE_CHECKING:
    from orchestrator_core.daemon.service_steps import Step
    from orchestrator_core.daemon.services import Account, HostFacts, Service
    from orchestrator_core.daemon.units import ServiceSpec
    from orchestrator_core.errors import Refusal

__all__ = ["install_service"]

T = TypeVar("T")

_EPILOG: Final = """\b
Examples:
  llorch-pool daemon install-service --print
  llorch-pool daemon install-service
  sudo llorch-pool daemon install-service --system --run-as pool
  llorch-pool daemon install-service --remove

On macOS a user's service needs that user to be logged in at the screen, and launchd, unlike
systemd, also starts a daemon again and again whose settings are wrong.
"""


@click.command(
    "install-service",
    short_help="Let the host start pool-managerd by itself, or stop doing so.",
    epilog=_EPILOG,
)
@click.option(
    "--system", "scope", flag_value="system", help="A service of the host, from boot on; by root."
)
@click.option(
    "--user", "scope", flag_value="user", help="A service of this user; root takes --system."
)
@click.option(
    "--run-as", metavar="USER", help="Whom a --system service runs as; else whoever called sudo."
)
@click.option("--print", "only_print", is_flag=True, help="Show the file and change nothing.")
@click.option("--remove", is_flag=True, help="Take the service away; workers run on.")
@click.option(
    "--now/--no-now", default=True, show_default=True, help="Start it, or stop it, at once as well."
)
@output_options
@click.pass_obj
def install_service(
    settings: CliSettings,
    *,
    scope: str | None,
    run_as: str | None,
    only_print: bool,
    remove: bool,
    now: bool,
    out: Output,
) -> None:
    """Install pool-managerd as a service of systemd or launchd.

    The file is shown before anything is done, and installing twice changes nothing. The service
    uses the folders and LLORCH_POOL_* settings that are set now; keys and tokens are never written
    into it. Workers outlive every stop and restart of the service, and it takes them over again.
    """
    if remove and only_print:
        raise click.UsageError("--print does not go with --remove")
    from orchestrator_core.console.daemons import find_program
    from orchestrator_core.daemon.services import Scope, choose, look

    host = look(settings.env)
    program = find_program(POOL_MANAGERD.name)
    wanted = Scope(scope) if scope else None
    service = _accepted(choose(host, wanted, program=program, only_text=only_print))
    if remove:
        _remove(settings, service, now=now, out=out)
        return
    if run_as and service.scope is Scope.USER:
        raise click.UsageError("--run-as goes with --system only")
    spec = _spec(settings.daemon_env(), host, service, program, run_as)
    text = _text(service, spec)
    if only_print:
        _show(out, service, text, [])
        _report(out, service, text, [], "not written")
    else:
        _install(settings, host, service, spec, text, now=now, out=out)


def _spec(
    env: Mapping[str, str], host: "HostFacts", service: "Service", program: Path, run_as: str | None
) -> "ServiceSpec":
    from orchestrator_core.config.layout import Layout
    from orchestrator_core.daemon.services import Manager, Scope
    from orchestrator_core.daemon.units import ServiceSpec, refuse_unprintable, service_environment

    owner = _owner(host, service, run_as)
    environment = service_environment(env, same_user=owner == host.me)
    log = None
    if service.manager is Manager.LAUNCHD:
        log = Layout.from_env({"HOME": str(owner.home), **environment}).log_file(POOL_MANAGERD.name)
        if service.scope is Scope.SYSTEM:
            # Folders that we make as root would be closed to the service.
            log = Path("/Library/Logs") / log.name
    spec = ServiceSpec(
        program=program,
        environment=environment,
        user=owner.name if service.scope is Scope.SYSTEM else None,
        groups=host.groups if owner.uid != 0 else (),
        log_path=log,
    )
    refusal = refuse_unprintable(spec, systemd=service.manager is Manager.SYSTEMD)
    return _accepted(refusal or spec)


def _owner(host: "HostFacts", service: "Service", run_as: str | None) -> "Account":
    from orchestrator_core.daemon.services import Scope, find_account
    from orchestrator_core.errors import Code, Refusal

    if service.scope is Scope.USER:
        return host.me
    if run_as is None:
        return host.owner
    missing = Refusal(Code.NOT_FOUND, f"this host has no user {run_as}: make one first")
    return _accepted(find_account(run_as) or missing)


def _text(service: "Service", spec: "ServiceSpec") -> str:
    from orchestrator_core.daemon import units
    from orchestrator_core.daemon.services import Manager, Scope

    if service.manager is Manager.LAUNCHD:
        return units.launchd_plist(spec)
    if service.scope is Scope.SYSTEM:
        return units.systemd_system_unit(spec)
    return units.systemd_user_unit(spec)


def _install(
    settings: CliSettings,
    host: "HostFacts",
    service: "Service",
    spec: "ServiceSpec",
    text: str,
    *,
    now: bool,
    out: Output,
) -> None:
    from orchestrator_core.daemon.service_steps import MakeLog, install_steps, is_loaded, read_ours
    from orchestrator_core.daemon.services import ask_command, find_account

    installed = _accepted(read_ours(service.path))
    if now:
        _refuse_beside_another(settings, service)
    owner = find_account(spec.user or "") or host.me
    steps = install_steps(
        service,
        text,
        installed=installed,
        loaded=is_loaded(service, ask_command),
        now=now,
        log=MakeLog(Path(spec.log_path), owner) if spec.log_path else None,
    )
    same = installed == text
    _show(out, service, text, steps)
    if same:
        out.say(f"{service.path} is already there with this very text.")
    _apply(steps, out)
    _report(out, service, text, steps, "already installed" if same else "installed")
    out.say(_afterword(host, service, now=now))


def _remove(settings: CliSettings, service: "Service", *, now: bool, out: Output) -> None:
    from orchestrator_core.daemon.service_steps import is_loaded, read_ours, remove_steps
    from orchestrator_core.daemon.services import ask_command
    from pool_ctl.commands.leftovers import count_workers

    installed = _accepted(read_ours(service.path))
    if installed is None:
        _report(out, service, "", [], "not installed")
        out.say(f"There is no service: {service.path} does not exist.")
        return
    steps = remove_steps(service, loaded=is_loaded(service, ask_command), now=now)
    _show(out, service, "", steps)
    _apply(steps, out)
    _report(out, service, "", steps, "removed")
    out.say("The service is removed." if now else "The service is removed; the daemon runs on.")
    left = count_workers(settings)
    if left:
        workers = "1 worker runs" if left == 1 else f"{left} workers run"
        out.say(f"{workers} on; llorch-pool daemon stop --workers stops all.")


def _refuse_beside_another(settings: CliSettings, service: "Service") -> None:
    """Two daemons cannot share an installation; the service's own one may run already."""
    from orchestrator_core.daemon.services import service_pid
    from orchestrator_core.errors import Code, Refusal

    identity = settings.daemons().identity(POOL_MANAGERD)
    if identity is not None and identity.pid != service_pid(service):
        text = (
            f"pool-managerd (pid {identity.pid}) runs already and is not this service: stop it "
            "with llorch-pool daemon stop, which leaves its workers running, or take --no-now"
        )
        _accepted(Refusal(Code.CONFLICT, text))


def _show(out: Output, service: "Service", text: str, steps: "list[Step]") -> None:
    """What is going to happen, before it does."""
    from orchestrator_core.daemon.service_steps import describe

    if out.shape is not Format.TABLE:
        return
    if text:
        out.say(f"# {service.path}")
        out.text(text.rstrip("\n"))
    for step in steps:
        out.say(f"-> {describe(step)}")


def _report(out: Output, service: "Service", text: str, steps: "list[Step]", state: str) -> None:
    """What has happened, for programs."""
    from orchestrator_core.daemon.service_steps import describe

    if out.shape is Format.TABLE:
        return
    row = {
        "manager": service.manager.value,
        "scope": service.scope.value,
        "path": str(service.path),
        "state": state,
        "text": text or None,
        "steps": [describe(step) for step in steps],
    }
    out.record(row, ())


def _apply(steps: "list[Step]", out: Output) -> None:
    from orchestrator_core.daemon.service_steps import apply
    from orchestrator_core.daemon.services import run_command

    refusal = apply(steps, run_command)
    if refusal is not None:
        out.say("What was done before stays; the same command goes on from there.")
        _accepted(refusal)


def _afterword(host: "HostFacts", service: "Service", *, now: bool) -> str:
    from orchestrator_core.daemon.services import Manager, Scope

    lines = ["pool-managerd runs as a service." if now else "The service is installed."]
    if service.manager is Manager.LAUNCHD:
        lines.append("Its log: llorch-pool daemon logs")
        return "\n".join(lines)
    user = service.scope is Scope.USER
    lines.append(f"Its log: journalctl {'--user ' if user else ''}--unit pool-managerd")
    if user and not host.lingers:
        lines.append(
            f"It ends when {host.me.name} logs out: loginctl enable-linger {host.me.name} keeps "
            "it, and starts it at boot."
        )
    return "\n".join(lines)


def _accepted(answer: "T | Refusal") -> "T":
    from orchestrator_core.errors import Refusal, error_for

    if isinstance(answer, Refusal):
        raise error_for(answer)
    return answer
