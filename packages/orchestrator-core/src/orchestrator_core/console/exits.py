"""Ends a command with one line and the exit code of the error table, never with a traceback.

What nobody foresaw is written to a crash log; LLORCH_DEBUG=1 shows it on the terminal as well.
"""

import errno
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import click

from orchestrator_core.errors import Code, Exit, LlorchError, Refusal

__all__ = ["CrashPolicy", "complain", "ended_by"]

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class CrashPolicy:
    """Where the traceback of a defect goes."""

    log: Path
    show: bool


def complain(error: LlorchError) -> int:
    """Print the one line of an expected failure and tell its exit code."""
    refusal = error.refusal
    click.echo(f"error: {refusal.message}{_later(refusal)} ({refusal.code})", err=True)
    lines = refusal.details.get("log_lines")
    if isinstance(lines, list):
        for line in cast("list[object]", lines):
            click.echo(f"  {line}", err=True)
    if refusal.outcome.exit_code is Exit.CONFIG:
        # 78 tells a service manager not to restart a daemon; a person's command has just failed.
        return Exit.FAILURE
    return refusal.outcome.exit_code


def _later(refusal: Refusal) -> str:
    # Some messages name the time themselves.
    known = refusal.outcome.retry_later and "try again in" not in refusal.message
    seconds = refusal.retry_after_s
    return f"; try again in {seconds} s" if known and seconds is not None else ""


def ended_by(run: Callable[[], object], policy: Callable[[], CrashPolicy]) -> int:
    """Run a command and tell the exit code of whatever came of it; click's own errors pass."""
    try:
        result = run()
    except LlorchError as error:
        return complain(error)
    except (KeyboardInterrupt, click.Abort):
        return Exit.INTERRUPTED
    except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
        raise
    except UnicodeEncodeError as error:
        if error.encoding != "utf-8":
            return _crashed(error, policy())
        # Bytes of the command line that are no text stay hidden in it until somebody sends them.
        return _misused("an argument is not UTF-8 text")
    except OSError as error:
        if error.errno not in _FULL or error.filename is not None:
            return _crashed(error, policy())
        # No file is named: it is what the command prints that found no room.
        reason = f"the output cannot be written: {error.strerror}"
        return complain(LlorchError(Refusal(Code.DISK_LOW, reason)))
    except Exception as error:  # noqa: BLE001 - the outermost edge: a defect ends in one line.
        return _crashed(error, policy())
    return result if isinstance(result, int) else Exit.OK


def _misused(reason: str) -> int:
    click.echo(f"error: {reason} ({Code.INVALID_REQUEST})", err=True)
    return Exit.USAGE


def _crashed(error: Exception, policy: CrashPolicy) -> int:
    text = "".join(traceback.format_exception(error))
    where = f"the traceback is in {policy.log}"
    try:
        policy.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = os.open(policy.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with open(log, "a", encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor, not a path
            stream.write(text + "\n")
    except OSError:
        where = "LLORCH_DEBUG=1 shows the traceback"
    reason = str(error).partition("\n")[0]
    click.echo(f"error: {type(error).__name__}: {reason}; {where} (INTERNAL)", err=True)
    if policy.show:
        click.echo(text, err=True)
    return Exit.FAILURE
