"""llorch completion: the script by which a shell completes llorch and llorch-pool."""

from typing import Final

import click

from llorch_ctl.commands.pool.live_words import LINE_VARIABLE

__all__ = ["completion"]

SHELLS: Final = ("bash", "zsh", "fish")
_PROGRAMS: Final = ("llorch", "llorch-pool")
# click counts an empty word at the cursor wrongly when words stand behind it, so it is told those
# before the cursor only. The whole line goes along: a --host at its end counts as well.
_WORDS: Final = {
    "bash": ('COMP_WORDS="${COMP_WORDS[*]}"', '"${COMP_WORDS[*]:0:COMP_CWORD+1}"', '"$COMP_LINE"'),
    "zsh": ('COMP_WORDS="${words[*]}"', '"${words[1,$CURRENT]}"', '"${words[*]}"'),
    "fish": ("COMP_WORDS=(commandline -cp)", "(commandline -cp)", "(commandline -p)"),
}
_EPILOG: Final = """\b
Put one of these where your shell starts:
  eval "$(llorch completion bash)"      ~/.bashrc
  eval "$(llorch completion zsh)"       ~/.zshrc, below compinit
  llorch completion fish | source       ~/.config/fish/config.fish
"""


@click.command("completion", short_help="Print the script that completes commands.", epilog=_EPILOG)
@click.argument("shell", type=click.Choice(SHELLS), metavar="bash|zsh|fish")
def completion(*, shell: str) -> None:
    """Print a script that makes a shell complete commands, flags and live names.

    Hosts come from your own files. Jobs, models, pools, workers and keys are asked of the running
    daemon, for half a second at most; one that is away completes nothing.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"there is no completion for {shell}")
    for program in _PROGRAMS:
        variable = f"_{program.replace('-', '_')}_COMPLETE".upper()
        parts = kind(click.Command(program), {}, program, variable)
        # The script itself: asking it by its own way starts the shell only to see its version.
        script = kind.source_template % parts.source_vars()
        told, words, line = _WORDS[shell]
        click.echo(script.replace(told, f"COMP_WORDS={words} {LINE_VARIABLE}={line}"))
