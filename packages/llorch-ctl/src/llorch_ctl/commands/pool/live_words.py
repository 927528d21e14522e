"""Completes the words that `llorch pool VERB` passes on to a host.

The parts of a verb stand in its table. Workers are those of the host's pool as the orchestrator
tells it, models those of any pool; the host itself is not called while a line is being typed.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from llorch_ctl.commands.live_names import MODELS, workers_of
from llorch_ctl.commands.pool.verbs import Verb
from llorch_ctl.commands.pool.words import read_words
from llorch_ctl.hosts.entries import AUTO
from llorch_ctl.settings import CliSettings
from orchestrator_core.errors import Refusal

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["LINE_VARIABLE", "complete_words", "host_of_line"]

LINE_VARIABLE: Final = "LLORCH_COMPLETION_LINE"
"""Where the shell's script tells the whole line, also what stands behind the cursor."""

_OF_WORKERS: Final = (("worker", "stop"), ("worker", "logs"))
_OF_MODELS: Final = tuple(("models", part) for part in ("download", "info", "verify", "delete"))
_MODEL_OPTION: Final = "--model"


def complete_words(
    ctx: click.Context, verb: Verb, words: Sequence[str], incomplete: str
) -> "list[CompletionItem]":
    """Complete a word behind the words that were typed behind the verb so far."""
    from click.shell_completion import CompletionItem

    name = str(ctx.command.name)
    if not words:
        return [CompletionItem(part) for part in verb.parts if part.startswith(incomplete)]
    place = (name, words[0])
    if place in _OF_WORKERS:
        line = CliSettings.from_environment().env.get(LINE_VARIABLE, "")
        return workers_of(host_of_line(line, name))(ctx, ctx.command.params[0], incomplete)
    if place in _OF_MODELS or words[-1] == _MODEL_OPTION:
        return MODELS(ctx, ctx.command.params[0], incomplete)
    return []


def host_of_line(line: str, verb: str) -> str | None:
    """The host that a whole line names, before or behind the word that is completed."""
    from click.shell_completion import split_arg_string

    words = split_arg_string(line)
    if verb not in words:
        return None
    told = read_words(words, foreign_via=True)
    return None if isinstance(told, Refusal) or told.host == AUTO else told.host
