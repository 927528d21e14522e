"""Runs a daemon's program for one act on its data (backup, restore): it ends by itself.

Its stdout is one line of JSON, its stderr is talk and, when it fails, the reason in the last line.
"""

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from orchestrator_core.console.daemons import find_program
from orchestrator_core.console.programs import DaemonProgram
from orchestrator_core.errors import Code, Exit, HostError, Refusal

__all__ = ["Done", "run_once"]


@dataclass(frozen=True, slots=True)
class Done:
    """What an act told: data, and the lines of talk about it."""

    data: dict[str, object]
    talk: Sequence[str] = field(default=())


def run_once(
    program: DaemonProgram,
    args: Sequence[str],
    *,
    env: Mapping[str, str],
    find: Callable[[str], Path] = find_program,
) -> Done:
    """Run the act to its end, however long it takes; Ctrl-C reaches the program as well."""
    done = subprocess.run(
        [str(find(program.name)), *args],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    talk = [line for line in done.stderr.splitlines() if line.strip()]
    if done.returncode != Exit.OK:
        raise HostError(_failure(program, args[0], done.returncode, talk))
    try:
        data: object = json.loads(done.stdout)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        text = f"{program.name} {args[0]} did not say what it did; are both of one version?"
        raise HostError(Refusal(Code.INTERNAL, text))
    return Done(cast("dict[str, object]", data), talk)


def _failure(program: DaemonProgram, act: str, code: int, talk: Sequence[str]) -> Refusal:
    if not talk:
        return Refusal(Code.INTERNAL, f"{program.name} {act} ended with exit code {code}")
    text = talk[-1].removeprefix(f"{program.name}: ")
    words, _, slug = text.rpartition(" (")
    slug = slug.removesuffix(")")
    if slug in Code.__members__:
        return Refusal(Code(slug), words)
    # An act reads no settings: what keeps it from starting is whoever holds the folder.
    return Refusal(Code.DATA_IN_USE if code == Exit.CONFIG else Code.INTERNAL, text)
