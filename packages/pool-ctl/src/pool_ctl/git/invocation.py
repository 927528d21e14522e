"""Decides how git is called: its fixed options and its environment. Pure.

The checkout, its remotes, its hooks and its settings are the user's own and stay in force. What
must not happen is a question that nobody answers, an editor, or a remote that is a command.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["QUIET_SSH", "argv", "environment", "is_new_enough", "refuse_name"]

# The oldest git whose answers are read here.
_OLDEST: Final = (2, 30)
_VERSION: Final = re.compile(r"git version (\d+)\.(\d+)")

_SETTINGS: Final = (
    "protocol.ext.allow=never",
    # A watcher that git starts for a status would outlive the command.
    "core.fsmonitor=false",
    # Submodules are brought along in a step of their own, with an exit code of its own.
    "submodule.recurse=false",
    # A transfer that stands still ends by itself.
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=120",
)
_FIXED: Final = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": ":",
    "GIT_SEQUENCE_EDITOR": ":",
    "GIT_MERGE_AUTOEDIT": "no",
    # Looking at a checkout must not lock it against its user.
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
}
# These would point git at another repository than the one that was chosen.
_MISLEADING: Final = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_DIR",
        "GIT_GLOB_PATHSPECS",
        "GIT_GRAFT_FILE",
        "GIT_ICASE_PATHSPECS",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_LITERAL_PATHSPECS",
        "GIT_NAMESPACE",
        "GIT_NOGLOB_PATHSPECS",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)
_ALLOWED: Final = "GIT_ALLOW_PROTOCOL"

# ssh neither asks for a password nor waits for ever; used where the user has set no ssh command.
QUIET_SSH: Final = (
    "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
)


def argv(folder: Path, words: tuple[str, ...]) -> list[str]:
    """The command line for git in a folder."""
    settings = (part for setting in _SETTINGS for part in ("-c", setting))
    return ["git", "-C", str(folder), "--no-pager", *settings, *words]


def environment(env: Mapping[str, str], extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What git inherits: the user's own variables without those that would mislead it."""
    kept = {name: value for name, value in env.items() if name not in _MISLEADING}
    if _ALLOWED in kept:
        # This variable overrules every setting, so commands as remotes are taken out of it too.
        schemes = kept[_ALLOWED].split(":")
        kept[_ALLOWED] = ":".join(scheme for scheme in schemes if scheme != "ext")
    return {**kept, **_FIXED, **(extra or {})}


def is_new_enough(answer: str) -> bool:
    """Tell from the answer to `git --version` whether this git is understood."""
    found = _VERSION.match(answer)
    return found is not None and (int(found[1]), int(found[2])) >= _OLDEST


def refuse_name(name: str) -> str | None:
    """Say why a name of a branch cannot even be handed to git, which checks the rest."""
    if not name or name.startswith("-"):
        return "it is empty" if not name else "it begins with -"
    return None if name.isprintable() else "it has characters that cannot be shown"
