"""Spells words for the scripts that a host's sh reads; pure.

Every script goes to `sh -s`, never to the user's own shell, so POSIX quoting is all there is.
"""

import re
from typing import Final

__all__ = ["after_mark", "has_begun", "marked", "quoted", "words"]

# What a start file of the login shell prints comes first and is nobody's answer.
_MARK: Final = "--llorch-answer-begins--"

_PLAIN: Final = re.compile(r"[A-Za-z0-9@%+:,./_-]+", re.ASCII)


def quoted(text: str) -> str:
    """One word of sh that means exactly this text."""
    if _PLAIN.fullmatch(text):
        return text
    return "'" + text.replace("'", "'\"'\"'") + "'"


def words(*texts: str) -> str:
    """Several words, as the arguments of one command."""
    return " ".join(quoted(text) for text in texts)


def marked(script: str) -> str:
    """The same script, whose answer can be told from what the login shell says before it."""
    return f"echo {_MARK}\n{script}"


def has_begun(text: str) -> bool:
    """Whether the answer of a marked script is in here."""
    return f"{_MARK}\n" in text


def after_mark(text: str) -> str:
    """The answer of a marked script; nothing when it never began."""
    return text.partition(f"{_MARK}\n")[2]
