"""The commands of orchestratord that are not the daemon: their flags, their output, their end.

One JSON line on stdout says what was done; everything for people goes to stderr.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

__all__ = ["COMMANDS", "run_command"]

COMMANDS: Final = ("backup", "restore", "reset-admin")

_RESTORED: Final = """\
Keys that were revoked after this backup are valid again: look at `llorch keys list`.
Jobs that had not ended run again at the next start.
"""


def run_command(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Carry one command out; an expected failure is one line on stderr and its exit code."""
    words = _parser().parse_args(argv)

    from orchestrator_core.errors import Exit, LlorchError

    try:
        done = _perform(words, env)
    except LlorchError as error:
        sys.stderr.write(f"orchestratord: {error.refusal.message} ({error.code})\n")
        is_setup = error.refusal.outcome.exit_code is Exit.CONFIG
        return int(Exit.CONFIG if is_setup else Exit.FAILURE)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"orchestratord: {where}{error.strerror or error}\n")
        return int(Exit.FAILURE)
    print(json.dumps(done))  # noqa: T201 - the command's one line of data.
    return int(Exit.OK)


def _perform(words: argparse.Namespace, env: Mapping[str, str]) -> dict[str, object]:
    from orchestrator_core.config.layout import Layout
    from orchestratord.app import upkeep

    layout = Layout.from_env(env)
    if words.command == "backup":
        return upkeep.back_up(layout, words.path, force=words.force)
    if words.command == "restore":
        done = upkeep.restore(layout, words.path)
        sys.stderr.write(_RESTORED)
        return done
    return upkeep.reset_admin(layout)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="orchestratord", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    backup = commands.add_parser("backup", help="copy the database while the daemon runs or not")
    backup.add_argument("path", type=Path, metavar="PATH", help="the file to write")
    backup.add_argument("--force", action="store_true", help="replace a file that is there")
    restore = commands.add_parser("restore", help="make a backup the database")
    restore.add_argument("path", type=Path, metavar="PATH", help="the backup to read")
    commands.add_parser("reset-admin", help="revoke all admin keys and write a new admin.key")
    return parser
