"""Reads what the daemons of this installation are set to, whether they run, and who has their ports.

A daemon's settings are read by its own program, which also says what is wrong with them.
"""

import contextlib
import tomllib

from llorch_ctl.diagnosis.daemon_settings import Configs, DaemonConfig
from llorch_ctl.diagnosis.facts import DaemonFacts, SettingsFault
from llorch_ctl.diagnosis.local_reading import own_version
from llorch_ctl.home.connection import local_daemons
from llorch_ctl.hosts.book import HostBook
from llorch_ctl.settings import CliSettings
from orchestrator_core.console.programs import ORCHESTRATORD, DaemonProgram
from orchestrator_core.errors import Code, LlorchError, Refusal
from orchestrator_core.platforms import files
from orchestrator_core.platforms.sockets import parse_bind

__all__ = ["read_daemons", "read_faults"]


def read_faults(settings: CliSettings, configs: Configs) -> tuple[SettingsFault, ...]:
    """Every settings file that cannot be used as it is."""
    found: list[SettingsFault] = []
    try:
        HostBook.of(settings).entries()
    except LlorchError as error:
        fix = f"correct {settings.layout.config_file('llorch')}"
        found.append(SettingsFault("llorch.toml", error.refusal.message, fix))
    for program, config in configs.items():
        # A program that is not here has no settings to be wrong.
        if isinstance(config, Refusal) and config.code is Code.CONFIG_INVALID:
            name = "orchestrator" if program is ORCHESTRATORD else "pool"
            fix = f"correct {settings.layout.config_file(name)} or the variable"
            found.append(SettingsFault(f"{name}.toml", config.message, fix))
    catalog = settings.layout.user_catalog
    try:
        if catalog.exists():
            tomllib.loads(catalog.read_text("utf-8"))
    except (OSError, ValueError) as error:
        text = f"{catalog.name}: {error}"
        found.append(SettingsFault("catalog.toml", text, f"correct {catalog}"))
    return tuple(found)


def read_daemons(settings: CliSettings, configs: Configs) -> tuple[DaemonFacts, ...]:
    """Both daemons from the outside; one that is not installed here is left out."""
    return tuple(
        _daemon(settings, program, config)
        for program, config in configs.items()
        if not (isinstance(config, Refusal) and config.code is not Code.CONFIG_INVALID)
    )


def _daemon(
    settings: CliSettings, program: DaemonProgram, config: DaemonConfig | Refusal
) -> DaemonFacts:
    daemons = local_daemons(settings)
    bind = program.bind_default
    if not isinstance(config, Refusal):
        bind = str(config.settings.get("bind") or bind)
    address = parse_bind(bind)
    port = None if isinstance(address, Refusal) else address[1] or None
    run = daemons.running(program)
    lock_pid: int | None = None
    with contextlib.suppress(NotADirectoryError):
        lock_pid = files.FileLock(program.lock_of(settings.layout)).holder_pid()
    return DaemonFacts(
        name=program.name,
        start_command=program.start_command,
        bind=bind,
        version=own_version(),
        run_pid=run.pid if run else None,
        run_url=run.url if run else None,
        run_version=run.version if run else None,
        lock_pid=lock_pid,
        holder=daemons.platform.port_holder(port) if port else None,
    )
