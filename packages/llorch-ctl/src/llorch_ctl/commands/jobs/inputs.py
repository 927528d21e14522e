"""Reads what a job is about from flags, files and stdin: prompt, messages, format, metadata.

Everything is bounded, and what is wrong with it is a usage error that names its flag.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

import click

from orchestrator_core.units import MIB

__all__ = ["conversation", "metadata", "response_format"]

# orchestratord takes no larger submission.
_LIMIT_BYTES: Final = MIB
_FORMATS: Final = ("text", "json_object", "json_schema")


def conversation(
    *, prompt: str | None, messages_from: str | None, system: str | None, raw: bool
) -> dict[str, object]:
    """The one field of a submission that holds its text; stdin speaks where no flag does."""
    if prompt is not None and messages_from is not None:
        raise click.UsageError("--prompt and --messages are two ways to ask: give one")
    if messages_from is not None and raw:
        raise click.UsageError("--raw takes a --prompt: --messages need the chat template")
    if system is not None and raw:
        raise click.UsageError("--system needs the chat template, which --raw leaves out")
    opening = [] if system is None else [{"role": "system", "content": system}]
    if messages_from is not None:
        return {"messages": _opened(opening, _messages(messages_from))}
    if prompt is None:
        prompt = _piped()
    elif prompt == "-":
        prompt = _text("-", "--prompt")
    if not prompt:
        raise click.BadParameter("there is no text in it", param_hint="--prompt")
    if opening:
        return {"messages": [*opening, {"role": "user", "content": prompt}]}
    return {"prompt": prompt}


def response_format(value: str) -> dict[str, object]:
    """The word json, or a file with a JSON schema or with a whole response_format."""
    if value == "json":
        return {"type": "json_object"}
    flag = "--response-format"
    read = _json(_text(value, flag), value, flag)
    if not isinstance(read, dict):
        raise click.BadParameter(f"{value} holds no JSON object", param_hint=flag)
    schema = cast("dict[str, object]", read)
    if schema.get("type") in _FORMATS:
        return schema
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def metadata(pairs: Sequence[str]) -> dict[str, str]:
    """Words of one's own that the job carries."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not _is_text(pair):
            raise click.BadParameter(f"{pair!r} is not UTF-8 text", param_hint="--metadata")
        if not name or not equals:
            raise click.BadParameter(f'"{pair}" is not NAME=VALUE', param_hint="--metadata")
        if name in found:
            raise click.BadParameter(f"{name} is given twice", param_hint="--metadata")
        found[name] = value
    return found


def _opened(
    opening: Sequence[dict[str, str]], messages: Sequence[dict[str, object]]
) -> list[object]:
    if opening and messages and messages[0].get("role") in ("system", "developer"):
        raise click.UsageError("the messages begin with a system message already: leave --system")
    return [*opening, *messages]


def _messages(source: str) -> list[dict[str, object]]:
    text = _text(source, "--messages")
    shown = "stdin" if source == "-" else source
    if text.lstrip().startswith("["):
        read = _json(text, shown, "--messages")
        turns = cast("list[object]", read)
    else:
        lines = enumerate(text.splitlines(), 1)
        turns = [
            _json(line, f"line {at} of {shown}", "--messages") for at, line in lines if line.strip()
        ]
    if not turns or not all(isinstance(turn, dict) for turn in turns):
        reason = f'{shown} holds no messages like {{"role": "user", "content": "Hello"}}'
        raise click.BadParameter(reason, param_hint="--messages")
    return cast("list[dict[str, object]]", turns)


def _piped() -> str:
    text = "" if sys.stdin is None or sys.stdin.isatty() else _text("-", "--prompt")  # pyright: ignore[reportUnnecessaryComparison] - None when a program starts us without one.
    if not text:
        raise click.UsageError("ask something: --prompt TEXT, --messages FILE, or text on stdin")
    return text


def _json(text: str, where: str, flag: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = f"{where} is not JSON: {str(error).partition(': ')[0]}"
        raise click.BadParameter(reason, param_hint=flag) from None


def _is_text(argument: str) -> bool:
    try:
        argument.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _text(source: str, flag: str) -> str:
    shown = "stdin" if source == "-" else source
    try:
        if source == "-":
            data = sys.stdin.buffer.read(_LIMIT_BYTES + 1)
        else:
            with Path(source).open("rb") as stream:
                data = stream.read(_LIMIT_BYTES + 1)
    except OSError as error:
        reason = f"{shown} cannot be read: {error.strerror}"
        raise click.BadParameter(reason, param_hint=flag) from None
    if len(data) > _LIMIT_BYTES:
        raise click.BadParameter(f"{shown} is over 1 MiB, which no job may be", param_hint=flag)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise click.BadParameter(f"{shown} is not UTF-8 text", param_hint=flag) from None
