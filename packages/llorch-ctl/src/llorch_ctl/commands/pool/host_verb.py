"""Commands that run at a host: our own options are taken out, all other words go there as typed."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, cast

import click

from llorch_ctl.commands.live_names import HOSTS
from llorch_ctl.commands.pool.verbs import Verb
from llorch_ctl.commands.pool.words import Words, read_words
from llorch_ctl.hosts.entries import AUTO, HostEntry
from llorch_ctl.hosts.plan import Via
from llorch_ctl.settings import CliSettings
from orchestrator_core.errors import Refusal, error_for

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["HostVerb", "VerbOrHere"]

_HELP_OPTION: Final = "--help"
_WORDS: Final = "llorch_ctl.words"
_MODELS: Final = "models"
_LOOSE: Final = {"ignore_unknown_options": True, "allow_extra_args": True}


def _host_options() -> list[click.Parameter]:
    """Shown in the help and offered by completion; the words themselves are read by read_words."""
    return [
        click.Option(
            ["--host"],
            metavar="NAME",
            shell_complete=HOSTS,
            expose_value=False,
            help="Where: a host of llorch.toml, an ssh alias, [USER@]HOST[:PORT], or auto for the "
            "host that fits best (worker spawn, models download).",
        ),
        click.Option(
            ["--via"],
            type=click.Choice([via.value for via in Via]),
            default=Via.AUTO.value,
            show_default=True,
            expose_value=False,
            help="llorch-pool there over ssh, pool-managerd there over http, or what works.",
        ),
        click.Option(
            ["-v", "--verbose"],
            is_flag=True,
            expose_value=False,
            help="Say on stderr which way it went.",
        ),
    ]


class _AtHost(click.Command):
    """Reads our words before click reads anything."""

    verb: Verb

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take our words; without a host the command is this machine's own."""
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        words = read_words(args, foreign_via=self.name == _MODELS)
        if isinstance(words, Refusal):
            raise click.UsageError(words.message, ctx)
        if words.host is None:
            return self.parse_here(ctx, args)
        ctx.meta[_WORDS] = words
        return []

    def parse_here(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read a command line that names no host."""
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Go to the host that was named."""
        words = cast("Words | None", ctx.meta.get(_WORDS))
        if words is None:
            return super().invoke(ctx)
        from llorch_ctl.commands.pool.forwarding import forward

        settings = cast("CliSettings", ctx.obj)
        entry = _entry(settings, str(self.name), words)
        needs_ssh = self.verb.needs_ssh(words.rest)
        return forward(settings, entry, str(self.name), words, needs_ssh=needs_ssh)


class HostVerb(_AtHost):
    """A verb of llorch-pool; it always needs a host."""

    def __init__(self, name: str, verb: Verb) -> None:
        super().__init__(
            name,
            params=_host_options(),
            short_help=verb.short_help,
            help=_help(name, verb),
            epilog=_epilog(name, verb),
            context_settings=dict(_LOOSE),
        )
        self.verb = verb

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own.
        """What stands behind the name in the usage line."""
        return (
            ["--host NAME", "[OPTIONS]", "ARGS..."]
            if self.verb.parts
            else ["--host NAME", "[OPTIONS]"]
        )

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Complete what goes to the host, then our own options."""
        from llorch_ctl.commands.pool.live_words import complete_words

        found = complete_words(ctx, self.verb, ctx.args, incomplete)
        return [*found, *super().shell_complete(ctx, incomplete)]

    def parse_here(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show our short help, or ask for the host."""
        if (not args and self.verb.parts) or _HELP_OPTION in args:
            click.echo(ctx.get_help(), color=ctx.color)
            ctx.exit()
        typed = " ".join(("llorch-pool", str(self.name)))
        known = _known_hosts(cast("CliSettings", ctx.obj))
        line = f"name the host: --host {known}; on this machine the command is {typed}"
        raise click.UsageError(line, ctx)


class VerbOrHere(_AtHost):
    """A command of our own that a host can be asked instead."""

    def __init__(
        self,
        name: str | None,
        callback: Callable[..., object] | None = None,
        params: Sequence[click.Parameter] = (),
        **attrs: object,
    ) -> None:
        super().__init__(  # pyright: ignore[reportCallIssue] - click checks its own attributes.
            name,
            callback=callback,
            params=[*params, *_host_options()],
            **attrs,  # pyright: ignore[reportArgumentType]
        )
        self.verb = Verb("")


def _entry(settings: CliSettings, verb: str, words: Words) -> HostEntry:
    from llorch_ctl.hosts.book import HostBook

    if words.host == AUTO:
        from llorch_ctl.commands.pool.choosing import choose_host

        return choose_host(settings, verb, words)
    found = HostBook.of(settings).find(str(words.host))
    if isinstance(found, Refusal):
        raise error_for(found)
    return found


def _known_hosts(settings: CliSettings) -> str:
    from llorch_ctl.hosts.book import HostBook

    names = [entry.name for entry in HostBook.of(settings).entries()]
    return "|".join(names[:8]) or "NAME"


def _epilog(name: str, verb: Verb) -> str:
    lines = (f"  llorch pool {name} {example}" for example in verb.examples)
    return "\n".join(("\b", "Examples:", *lines))


def _help(name: str, verb: Verb) -> str:
    lines = [
        verb.short_help,
        f"Runs `llorch-pool {name}` at the host that --host names. --host, --via and -v may stand "
        "anywhere; every other word goes to the host as it is, so that "
        f"`llorch pool {name} --help --host NAME` shows the host's own help.",
    ]
    if verb.parts:
        lines.append(f"\b\nThere are: {', '.join(verb.parts)}.")
    if verb.ssh_only:
        lines.append("It works through ssh only.")
    return "\n\n".join(lines)
