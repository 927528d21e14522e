"""Command groups that import a command only when it runs, so that --help stays instant.

The short help stands in the table beside the target; a test compares it with the command's own.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from orchestrator_core.console.exits import CrashPolicy, ended_by

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["Lazy", "LazyGroup", "ProgramGroup"]


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command that is not imported yet: "module:attribute" and its line in the help."""

    target: str
    short_help: str

    def load(self) -> click.Command:
        """Import the command."""
        module, _, attribute = self.target.partition(":")
        command: object = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{self.target} is not a command")
        return command


class LazyGroup(click.Group):
    """A group of commands, some not imported yet; without arguments it prints its help."""

    def __init__(
        self,
        name: str,
        *,
        help: str,  # noqa: A002 - click's own name for it.
        commands: Sequence[click.Command] = (),
        lazy: Mapping[str, Lazy] | None = None,
        epilog: str | None = None,
        callback: Callable[..., object] | None = None,
    ) -> None:
        super().__init__(name, commands=commands, callback=callback, help=help, epilog=epilog)
        self.lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature.
        """Name the commands in the order in which they were given."""
        return [*self.lazy, *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one command that is needed."""
        lazy = self.lazy.get(cmd_name)
        return lazy.load() if lazy else super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._lines().items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Complete the name of a command without importing any."""
        from click.shell_completion import CompletionItem

        lines = self._lines().items()
        found = [CompletionItem(name, help=it) for name, it in lines if name.startswith(incomplete)]
        # The group's own way would import every command for the line that stands here.
        return [*found, *super(click.Group, self).shell_complete(ctx, incomplete)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Print the help of a bare group; it is an answer, not a mistake."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), color=ctx.color)
            ctx.exit()
        return super().parse_args(ctx, args)

    def _lines(self) -> dict[str, str]:
        ready = {name: command.get_short_help_str(80) for name, command in self.commands.items()}
        return {name: lazy.short_help for name, lazy in self.lazy.items()} | ready


class ProgramGroup(LazyGroup):
    """The root of a program: turns every ending into its exit code."""

    def __init__(
        self,
        name: str,
        *,
        help: str,  # noqa: A002 - click's own name for it.
        lazy: Mapping[str, Lazy],
        crash_policy: Callable[[], CrashPolicy],
        epilog: str | None = None,
        callback: Callable[..., object] | None = None,
    ) -> None:
        super().__init__(name, help=help, lazy=lazy, epilog=epilog, callback=callback)
        self._crash_policy = crash_policy

    def invoke(self, ctx: click.Context) -> object:
        """Run the command line and end with the code that belongs to its outcome."""
        code = ended_by(lambda: super(ProgramGroup, self).invoke(ctx), self._crash_policy)
        if code:
            ctx.exit(code)
        return None
