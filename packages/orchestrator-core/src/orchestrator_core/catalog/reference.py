"""The grammar of a model reference; pure, used by clients, orchestrator and pools alike.

NAME (an alias or an id), hf:ORG/REPO[@REV][:QUANT] (the hub, file picked by quantization),
hf:ORG/REPO[@REV]::file=PATH (one file of the hub), file:/ABSOLUTE/PATH (a file on the host).
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from orchestrator_core.errors import Code, Refusal

__all__ = ["Reference", "ReferenceKind", "parse"]

_HUB: Final = re.compile(
    r"""hf:(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})
        (?:@(?P<revision>[A-Za-z0-9][\w./-]{0,127}))?
        (?: ::file=(?P<file>[^\s:]{1,255}) | :(?P<quant>[A-Za-z0-9][\w-]{0,31}) )?""",
    re.VERBOSE | re.ASCII,
)
_NAME_LENGTH_MAX: Final = 512


class ReferenceKind(StrEnum):
    """Where a reference is looked up."""

    ALIAS = "alias"
    HUB = "hub"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference; only the fields of its kind are set."""

    kind: ReferenceKind
    text: str
    name: str | None = None
    repo: str | None = None
    revision: str | None = None
    quant: str | None = None
    file: str | None = None


def parse(text: str) -> Reference | Refusal:
    """Read a reference; whether it exists is the resolver's question."""
    if text.startswith("hf:"):
        return _parse_hub(text)
    if text.startswith("file:"):
        return _parse_file(text)
    if not text or len(text) > _NAME_LENGTH_MAX or not text.isprintable() or text != text.strip():
        return _malformed(text, "a name is 1 to 512 printable characters")
    return Reference(ReferenceKind.ALIAS, text, name=text)


def _parse_hub(text: str) -> Reference | Refusal:
    match = _HUB.fullmatch(text)
    if match is None:
        return _malformed(text, "write hf:ORG/REPO[@REV][:QUANT] or hf:ORG/REPO[@REV]::file=PATH")
    file = match["file"]
    if file is not None and not _is_plain_path(file):
        return _malformed(text, "a file path in a repository has no empty, . or .. part")
    return Reference(
        ReferenceKind.HUB,
        text,
        repo=match["repo"],
        revision=match["revision"],
        quant=match["quant"],
        file=file,
    )


def _parse_file(text: str) -> Reference | Refusal:
    path = text.removeprefix("file:")
    if not path.isprintable() or not path.startswith("/") or not _is_plain_path(path[1:]):
        return _malformed(text, "write file:/ABSOLUTE/PATH without . or .. parts")
    return Reference(ReferenceKind.FILE, text, file=path)


def _is_plain_path(path: str) -> bool:
    return all(part not in ("", ".", "..") for part in path.split("/"))


def _malformed(text: str, rule: str) -> Refusal:
    return Refusal(Code.INVALID_REQUEST, f"{text[:80]!r} is not a model reference: {rule}")
