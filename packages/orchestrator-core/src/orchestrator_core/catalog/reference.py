"""The grammar of a model reference; pure, used by clients, orchestrator and pools alike.

NAME (an alias or an id), hf:ORG/REPO[@REV][:QUANT] (the hub, file picked by quantization),
hf:ORG/REPO[@REV]::file=PATH (one file of the hub), file:/ABSOLUTE/PATH (a file on the host).
Addresses that people copy from the hub's pages are read as the hf: reference they stand for.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import unquote

from orchestrator_core.catalog.gguf_names import safe_relative
from orchestrator_core.errors import Code, Refusal

__all__ = ["Reference", "ReferenceKind", "canonical_id", "parse"]

_HUB: Final = re.compile(
    r"""hf:(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})
        (?:@(?P<revision>[A-Za-z0-9](?![\w./-]*\.\.)[\w./-]{0,127}))?
        (?: ::file=(?P<file>[^\s:]{1,480}) | :(?P<quant>[A-Za-z0-9][\w-]{0,31}) )?""",
    re.VERBOSE | re.ASCII,
)
_PAGE: Final = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?P<rest>[^?#]*)(?:[?#].*)?", re.IGNORECASE
)
_FILE_PAGE: Final = re.compile(
    r"(?P<repo>[^/]+/[^/]+)/(?:blob|resolve|raw)/(?P<revision>[^/]+)/(?P<file>.+)"
)
_FOLDER_PAGE: Final = re.compile(r"(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)(?:/.*)?")
_DEFAULT_REVISION: Final = "main"
_NAME_LENGTH_MAX: Final = 512


class ReferenceKind(StrEnum):
    """Where a reference is looked up."""

    ALIAS = "alias"
    HUB = "hub"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference; only the fields of its kind are set.

    text is what was written, or the hf: reference that a copied address stands for.
    """

    kind: ReferenceKind
    text: str
    name: str | None = None
    repo: str | None = None
    revision: str | None = None
    quant: str | None = None
    file: str | None = None


def parse(text: str) -> Reference | Refusal:
    """Read a reference; whether it exists is the resolver's question."""
    page = _PAGE.fullmatch(text) if len(text) <= 2 * _NAME_LENGTH_MAX else None
    if page is not None:
        return _parse_page(text, page["rest"])
    if text.startswith("hf:"):
        return _parse_hub(text)
    if text.startswith("file:"):
        return _parse_file(text)
    if text.startswith(("https://", "http://")):
        return _malformed(text, "models are fetched from the hub only: write hf:ORG/REPO[:QUANT]")
    if not text or len(text) > _NAME_LENGTH_MAX or not text.isprintable() or text != text.strip():
        return _malformed(text, "a name is 1 to 512 printable characters without spaces around")
    return Reference(ReferenceKind.ALIAS, text, name=text)


def canonical_id(reference: Reference, *, quant: str | None = None, file: str | None = None) -> str:
    """The one id of a model of the hub that no catalogue names.

    Give quant where it alone picks the model out of its repository, else the path of its file;
    without both the reference's own words count. The default revision is not part of an id.
    """
    if quant is None and file is None:
        quant, file = reference.quant, reference.file
    revision = reference.revision
    at = f"@{revision}" if revision not in (None, _DEFAULT_REVISION) else ""
    if quant is not None:
        return f"hf:{reference.repo}{at}:{quant.upper()}"
    return f"hf:{reference.repo}{at}" + (f"::file={file}" if file is not None else "")


def _parse_page(text: str, rest: str) -> Reference | Refusal:
    """Read what stands behind the hub's own name in an address."""
    plain = rest.strip("/")
    page = _FILE_PAGE.fullmatch(plain) or _FOLDER_PAGE.fullmatch(plain)
    if page is None:
        found = _parse_hub(f"hf:{plain}")
    else:
        parts = {name: unquote(value) for name, value in page.groupdict().items()}
        revision = parts["revision"]
        at = f"@{revision}" if revision != _DEFAULT_REVISION else ""
        file = f"::file={parts['file']}" if "file" in parts else ""
        found = _parse_hub(f"hf:{parts['repo']}{at}{file}")
    if isinstance(found, Refusal):
        return _malformed(text, "copy the address of a repository or of one of its GGUF files")
    return found


def _parse_hub(text: str) -> Reference | Refusal:
    match = _HUB.fullmatch(text)
    if match is None:
        return _malformed(text, "write hf:ORG/REPO[@REV][:QUANT] or hf:ORG/REPO[@REV]::file=PATH")
    revision, quant, file = match["revision"], match["quant"], match["file"]
    if file is not None and isinstance(safe_relative(file), Refusal):
        return _malformed(text, "a file path in a repository has no empty, . or .. part")
    return Reference(
        ReferenceKind.HUB,
        text,
        repo=match["repo"],
        revision=revision,
        quant=quant.upper() if quant is not None else None,
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
