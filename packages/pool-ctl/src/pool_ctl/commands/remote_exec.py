"""llorch-pool remote-exec: what `llorch pool ... --host H` starts at the host over SSH."""

import sys
from pathlib import Path
from typing import Final

import click

from pool_ctl.settings import CliSettings

__all__ = ["remote_exec"]


_EPILOG: Final = """\b
What a caller types instead, on another machine:
  llorch pool status --host mac
  llorch pool worker list --host mac
"""


@click.command("remote-exec", short_help="Run one command for llorch, over SSH.", epilog=_EPILOG)
@click.pass_obj
def remote_exec(settings: CliSettings) -> None:
    """Run one command of llorch-pool for a caller on another machine.

    Arguments, variables and input come as frames on stdin, output and exit code leave as frames on
    stdout, so that no shell in between reads any of it. The command ends when its caller does.

    Not meant to be typed: llorch calls it, and it is the one command that the key of an
    orchestrator may run.
    """
    if sys.stdin.isatty():
        raise click.UsageError("llorch starts this over SSH: llorch pool status --host HOST")
    from importlib.metadata import version

    from pool_ctl.remote.serving import Door, serve

    program = Path(sys.executable).with_name("llorch-pool")
    serve(Door(program, settings.env, version("llorch-pool-ctl")))
