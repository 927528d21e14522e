"""What all git commands share: which checkout is meant, who sees progress, who is asked."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from orchestrator_core.console.render import Output
from pool_ctl.git.plain import one_line
from pool_ctl.settings import CliSettings

if TYPE_CHECKING:
    from pool_ctl.git.checkout import Checkout

__all__ = ["allowed", "force_option", "open_meant", "refuse_to_guess", "repo_option"]

R = TypeVar("R")

_ASK: Final = "asks before it throws anything away, and there is no terminal to ask on"


class _Named(click.Path):
    """A path that is not empty: that would be this folder, which is not what a script has meant."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Take the path as it is."""
        if value == "":
            self.fail("it is empty", param, ctx)
        return super().convert(value, param, ctx)


def repo_option(function: Callable[..., R]) -> Callable[..., R]:
    """Add --repo."""
    return click.option(
        "--repo",
        type=_Named(path_type=Path),
        metavar="PATH",
        help="The checkout; else LLORCH_POOL_GIT_REPO or git_repo in pool.toml, else this folder.",
    )(function)


def force_option(function: Callable[..., R]) -> Callable[..., R]:
    """Add --force, which answers the question of a command."""
    return click.option("--force", is_flag=True, help="Do it without asking.")(function)


def open_meant(settings: CliSettings, repo: Path | None) -> "Checkout":
    """Open the checkout that is named, by the command or by the settings, or that of this folder."""
    from pool_ctl.git.checkout import open_checkout

    named = repo or _configured(settings)
    folder = _folder(named)
    relay = _show_progress() if _someone_looks() else None
    return open_checkout(folder, settings.daemon_env(), relay, is_named=named is not None)


def refuse_to_guess(command: str, *, force: bool) -> None:
    """Refuse, as wrong usage, a command that would have to ask and cannot."""
    if not force and not sys.stdin.isatty():
        text = f"{command} {_ASK}: take --force, or --dry-run to see what it would do"
        raise click.UsageError(text)


def allowed(out: Output, question: str, *, force: bool) -> bool:
    """Ask for a yes; --force is one."""
    if force or click.confirm(question, default=False, err=True):
        return True
    out.say("Nothing was changed.")
    return False


def _folder(named: Path | None) -> Path:
    from orchestrator_core.errors import Code, Refusal, error_for

    try:
        return named.expanduser().absolute() if named else Path.cwd()
    except RuntimeError as error:
        text = f"{one_line(str(named))} begins with the name of a user who is not known here"
        raise error_for(Refusal(Code.GIT_FAILED, f"{text}: write ./~name for a folder")) from error
    except FileNotFoundError as error:
        text = "this folder is not there any more: change to another one, or name one with --repo"
        raise error_for(Refusal(Code.GIT_FAILED, text)) from error


def _configured(settings: CliSettings) -> Path | None:
    from pool_core.workers.host_settings import read_settings

    return read_settings(settings.layout, settings.env).git_repo


def _someone_looks() -> bool:
    quiet = click.get_current_context().params.get("quiet", False)
    return sys.stderr.isatty() and not quiet


def _show_progress() -> Callable[[bytes], None]:
    from pool_ctl.git.plain import TerminalFilter

    shown = TerminalFilter()
    return lambda data: click.echo(shown.feed(data), err=True, nl=False)
