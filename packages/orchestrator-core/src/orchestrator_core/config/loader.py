"""Merges flags, environment, a TOML file and defaults into one frozen settings object.

pydantic-settings merges the same sources but forgets which one won; we must be able to say it,
in an error and in `config show`, so the thin merge is ours. pydantic still does all validation.
"""

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Final, Generic, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from orchestrator_core.errors import Code, Refusal, RequestError

__all__ = ["Loaded", "load"]

S = TypeVar("S", bound=BaseModel)

_SEQUENCES: Final = (list, tuple, set, frozenset)
_JSON: Final = TypeAdapter[object](object)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S]):
    """Settings and, for each dotted key: "flag", "env NAME", "file PATH" or "default"."""

    settings: S
    origins: Mapping[str, str]


def load(
    model: type[S],
    *,
    env_prefix: str,
    env: Mapping[str, str],
    file: Path | None,
    flags: Mapping[str, object],
    file_required: bool = False,
) -> Loaded[S]:
    """Read settings; a flag that is None was not given, a missing file is empty unless required.

    The environment name of key `a.b` is PREFIX + A__B. Other names with the prefix are left alone,
    because the programs of the suite share one environment; unknown keys of the file are refused.
    """
    tree = _read_file(file, required=file_required) if file is not None else {}
    leaves = dict(_leaves(model))
    origins = dict.fromkeys(leaves, "default")
    for key in leaves:
        if _lookup(tree, key):
            origins[key] = f"file {file}"
    for key, annotation in leaves.items():
        name = env_prefix + key.replace(".", "__").upper()
        if env.get(name):
            _store(tree, key, _decode(env[name], annotation))
            origins[key] = f"env {name}"
    for key, value in flags.items():
        if value is not None:
            _store(tree, key, value)
            origins[key] = "flag"
    try:
        return Loaded(model.model_validate(tree), origins)
    except ValidationError as error:
        raise RequestError(_explain(error, model, origins, file)) from None


def _read_file(file: Path, *, required: bool) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        if not required:
            return {}
        message = f"{file}: there is no such file"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        message = f"{file.name}: {reason}"
    raise RequestError(Refusal(Code.CONFIG_INVALID, message, {"file": str(file)}))


def _leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, field in model.model_fields.items():
        annotation: object = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _leaves(annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", annotation


def _lookup(tree: Mapping[str, object], key: str) -> bool:
    head, _, rest = key.partition(".")
    if head not in tree:
        return False
    branch = tree[head]
    return not rest or (
        isinstance(branch, dict) and _lookup(cast("dict[str, object]", branch), rest)
    )


def _store(tree: dict[str, object], key: str, value: object) -> None:
    head, _, rest = key.partition(".")
    if not rest:
        tree[head] = value
        return
    branch = tree.setdefault(head, {})
    if isinstance(branch, dict):
        _store(cast("dict[str, object]", branch), rest, value)


def _decode(text: str, annotation: object) -> object:
    """Read a list as JSON or by commas and a table as JSON; pydantic reads all else from text."""
    kinds = set(_kinds(annotation))
    if text[0] in "[{" and kinds & {*_SEQUENCES, dict}:
        try:
            return _JSON.validate_json(text)
        except ValidationError:
            return text
    if kinds & set(_SEQUENCES):
        return [item.strip() for item in text.split(",")]
    return text


def _kinds(annotation: object) -> Iterator[object]:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        for member in get_args(annotation):
            yield from _kinds(member)
    else:
        yield origin or annotation


def _explain(
    error: ValidationError, model: type[BaseModel], origins: Mapping[str, str], file: Path | None
) -> Refusal:
    problems = error.errors(include_url=False, include_context=False)
    first = problems[0]
    key = ".".join(str(part) for part in first["loc"])
    source = _source(key, origins, file)
    text = _say(first, key, model)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Refusal(
        Code.CONFIG_INVALID, f"{source}: {text}{more}", {"key": key, "file": str(file or "")}
    )


def _source(key: str, origins: Mapping[str, str], file: Path | None) -> str:
    # The place of an error may lie below a leaf (an item of a list), hence the walk upwards.
    parts = key.split(".")
    known = (origins.get(".".join(parts[:count])) for count in range(len(parts), 0, -1))
    origin = next((found for found in known if found), f"file {file}" if file else "flag")
    kind, _, where = origin.partition(" ")
    return Path(where).name if kind == "file" else (where or kind)


def _say(problem: ErrorDetails, key: str, model: type[BaseModel]) -> str:
    if problem["type"] == "extra_forbidden":
        # What stands elsewhere in the file is not what was meant here, however alike it looks.
        depth = key.count(".")
        leaves = [leaf for leaf in dict(_leaves(model)) if leaf.count(".") == depth]
        near = difflib.get_close_matches(key, leaves, n=1)
        hint = f' (did you mean "{near[0]}"?)' if near else ""
        return f'unknown key "{key}"{hint}'
    if problem["type"] == "missing":
        return f'key "{key}" is missing'
    message = problem["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return f'key "{key}": {message}' if key else message
