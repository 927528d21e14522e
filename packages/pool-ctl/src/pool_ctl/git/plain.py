"""Makes text from git, and from whoever wrote into a repository, fit for a terminal and for JSON.

Control characters and escape sequences never pass, and a URL loses the secret that it carries.
"""

import re
import shlex
from codecs import getincrementaldecoder
from typing import Final

__all__ = [
    "TerminalFilter",
    "bytes_of",
    "hide_secrets",
    "one_line",
    "readable",
    "shell_word",
    "text_of",
]

_LINE_MAX: Final = 400
_WAITING_MAX: Final = 65_536
# The last @ before the path ends what is secret, as a password may have one in it.
_SECRET: Final = re.compile(r"(?<=://)[^/?#\s]*@")
_ESCAPE: Final = "\x1b"
_SEQUENCE_ENDS: Final = re.compile(r"[@-~]")
_LAYOUT: Final = frozenset("\r\n\t")


def text_of(data: bytes) -> str:
    """Read a path or a name so that bytes_of gives back the same bytes, whatever they are."""
    return data.decode("utf-8", "surrogateescape")


def bytes_of(text: str) -> bytes:
    """The bytes that text_of has read."""
    return text.encode("utf-8", "surrogateescape")


def readable(text: str) -> str:
    """Spell a name for people and JSON; a byte that is no text becomes its code."""
    return bytes_of(text).decode("utf-8", "backslashreplace")


def hide_secrets(text: str) -> str:
    """Take user and password out of every URL."""
    return _SECRET.sub("", text)


def one_line(text: str) -> str:
    """One printable line of bounded length without secrets."""
    flat = "".join(char if char.isprintable() else " " for char in hide_secrets(readable(text)))
    flat = " ".join(flat.split())
    return flat if len(flat) <= _LINE_MAX else f"{flat[: _LINE_MAX - 3]}..."


def shell_word(text: str) -> str:
    """Spell a name for a command line that a person may copy; a name from a remote stays a name."""
    return shlex.quote(one_line(text))


class TerminalFilter:
    """Lets whole lines of a stream through, without secrets and what could steer the terminal."""

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._in_escape = False
        self._in_sequence = False
        self._begun = ""

    def feed(self, data: bytes) -> str:
        """Take the next bytes, cut anywhere; returns what may be shown by now."""
        text = self._begun + "".join(filter(self._passes, self._decoder.decode(data)))
        # A secret is known by what follows it, so a line waits for its end.
        end = max(text.rfind("\n"), text.rfind("\r")) + 1
        if len(text) - end > _WAITING_MAX:
            end = len(text)
        self._begun = text[end:]
        return hide_secrets(text[:end])

    def _passes(self, char: str) -> bool:
        if self._in_sequence:
            self._in_sequence = not _SEQUENCE_ENDS.match(char)
            return False
        if self._in_escape:
            self._in_escape = False
            self._in_sequence = char == "["
            return False
        self._in_escape = char == _ESCAPE
        return char.isprintable() or char in _LAYOUT
