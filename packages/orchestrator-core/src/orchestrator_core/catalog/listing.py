"""Reads the files that list models, the packaged one and the user's, and lays one over the other.

A file that cannot be read as a catalogue is one clear error: it names the file, the entry, the key.
"""

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Final, cast

from pydantic import ValidationError

from orchestrator_core.catalog.entries import CatalogEntry
from orchestrator_core.errors import Code, LlorchError, Refusal, error_for
from orchestrator_core.units import MIB

__all__ = ["merged", "packaged_text", "read_entries", "read_text"]

_FILE_BYTES_MAX: Final = 4 * MIB
_ENTRIES_MAX: Final = 10_000
_SHOWN_MAX: Final = 80
_TABLES_ONLY: Final = "it holds [[models]] tables and nothing else"


def packaged_text() -> str:
    """The catalogue that comes with the suite."""
    package = resources.files("orchestrator_core.catalog")
    return package.joinpath("catalog.toml").read_text("utf-8")


def read_text(file: Path, *, required: bool = False) -> str:
    """The text of a person's file; one that is not there is empty unless it is required."""
    try:
        with file.open("rb") as stream:
            data = stream.read(_FILE_BYTES_MAX + 1)
        if len(data) > _FILE_BYTES_MAX:
            raise _broken(file, f"it is larger than {_FILE_BYTES_MAX // MIB} MiB")
        return data.decode("utf-8")
    except FileNotFoundError:
        if required:
            raise _broken(file, "there is no such file") from None
        return ""
    except UnicodeDecodeError:
        raise _broken(file, "it is not text in UTF-8") from None
    except OSError as error:
        raise _broken(file, f"it cannot be read: {error.strerror}") from error


def read_entries(text: str, file: Path | None = None) -> tuple[CatalogEntry, ...]:
    """The entries of one file; no name may stand in it twice. Without a file it is our own."""
    try:
        tree: dict[str, object] = tomllib.loads(text)
    except RecursionError as error:
        raise _broken(file, "it is nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        raise _broken(file, str(error)) from error
    except ValueError as error:
        # The language refuses a number of thousands of digits before the reader of TOML sees it.
        raise _broken(file, "it holds a number that is far too long") from error
    models = tree.pop("models", [])
    if tree or not isinstance(models, list):
        raise _broken(file, _TABLES_ONLY)
    listed = cast("list[object]", models)
    if len(listed) > _ENTRIES_MAX:
        raise _broken(file, f"it holds more than {_ENTRIES_MAX} models")
    entries = tuple(_entry(model, file) for model in listed)
    seen: set[str] = set()
    for entry in entries:
        for name in (entry.id, *entry.aliases):
            if name in seen:
                raise _broken(file, f'model "{entry.id}": the name "{name}" is given twice')
            seen.add(name)
    return entries


def merged(
    packaged: Sequence[CatalogEntry], additions: Sequence[CatalogEntry]
) -> tuple[CatalogEntry, ...]:
    """Lay the user's entries over the packaged ones: an id replaces, and every name given wins.

    A packaged alias gives way to the user's name; a packaged id is only taken by an entry of that
    id, because what hosts hold goes by it.
    """
    own = {entry.id: entry for entry in additions}
    kept = {entry.id for entry in packaged if entry.id not in own}
    taken = {name for entry in additions for name in (entry.id, *entry.aliases)}
    clash = next((name for name in sorted(kept) if name in taken), None)
    if clash is not None:
        text = f'the alias "{clash}" is the id of a packaged model: take another alias'
        raise _broken(None, text, Code.CONFIG_INVALID)
    result = [own.get(entry.id) or _without(entry, taken) for entry in packaged]
    placed = {entry.id for entry in packaged}
    return (*result, *(entry for entry in additions if entry.id not in placed))


def _without(entry: CatalogEntry, taken: set[str]) -> CatalogEntry:
    left = tuple(alias for alias in entry.aliases if alias not in taken)
    return entry if left == entry.aliases else entry.model_copy(update={"aliases": left})


def _entry(model: object, file: Path | None) -> CatalogEntry:
    if not isinstance(model, dict):
        raise _broken(file, _TABLES_ONLY)
    tree = cast("Mapping[str, object]", model)
    try:
        return CatalogEntry.model_validate(tree)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        where = f', key "{_shown(key)}"' if key else ""
        reason = problem["msg"].removeprefix("Value error, ")
        name = _shown(str(tree.get("id", "")))
        raise _broken(file, f"model '{name}'{where}: {reason}") from error


def _shown(text: str) -> str:
    """What somebody wrote, short and on one line."""
    return ascii(text[:_SHOWN_MAX])[1:-1]


def _broken(file: Path | None, reason: str, code: Code | None = None) -> LlorchError:
    """Our own file is damaged data; a person's is a setting to mend."""
    if file is None:
        return error_for(Refusal(code or Code.DATA_CORRUPT, f"catalogue: {reason}"))
    text = f"catalogue {file}: {reason}"
    return error_for(Refusal(Code.CONFIG_INVALID, text, {"file": str(file)}))
