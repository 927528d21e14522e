"""Reads the key of an external engine from the file that an operator names."""

import re
import stat
from pathlib import Path
from typing import Final

from orchestrator_core.errors import Code, Refusal

__all__ = ["read_key"]

_KEY: Final = re.compile(r"[\x21-\x7e]{1,512}")
_SIZE_MAX_BYTES: Final = 4096


def read_key(path: Path) -> str | Refusal:
    """The key in a file that nobody but its owner can read; its text is never repeated."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return _refused(f"{path} is no file")
        if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            return _refused(f"{path} can be read by others: chmod 600 {path}")
        if found.st_size > _SIZE_MAX_BYTES:
            return _refused(f"{path} is too large for a key")
        key = path.read_bytes().decode("ascii").strip()
    except OSError as error:
        return _refused(f"{path}: {error.strerror or type(error).__name__}")
    except UnicodeDecodeError:
        key = ""
    return key if _KEY.fullmatch(key) else _refused(f"{path} holds no key")


def _refused(line: str) -> Refusal:
    return Refusal(Code.CONFIG_INVALID, f"key_file: {line}")
