"""Reads the secrets of this machine, so that they are taken out wherever else they stand.

A log that quotes a key shows nothing by which it is known to be one; its value does.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

__all__ = ["texts_of_keys", "values_of_variables"]

_SECRET_NAME: Final = re.compile(r"(?i).*(key|token|secret|password|passwd|credential)s?")
_FILE_BYTES: Final = 64 << 10
# Words of a key file; what is shorter could be a word that a log uses as well.
_WORD: Final = re.compile(r"[^\s\"',:{}]{16,}")


def values_of_variables(env: Mapping[str, str]) -> list[str]:
    """What stands in variables that are named like secrets."""
    return [value for name, value in env.items() if value and _SECRET_NAME.fullmatch(name)]


def texts_of_keys(files: Iterable[Path]) -> Iterator[str]:
    """The words of key files; a file that cannot be read has none."""
    for path in files:
        try:
            with path.open("rb") as stream:
                text = stream.read(_FILE_BYTES).decode("utf-8", "replace")
        except OSError:
            continue
        yield from (word for word in _WORD.findall(text) if not word.startswith("-----"))
