"""The documents say what is there: rooms, commands, flags, links and error codes."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from orchestrator_core.errors import OUTCOMES, Refusal, error_for
from support.checkout import ROOT, packages
from support.golden import Golden

DOCUMENTS = [
    ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md"),
]  # fmt: skip
ERRORS_HEADER = """\
# Error codes

Written by `./dev golden` from `orchestrator_core.errors`. A code never changes its meaning, so
programs may match on it. Status is the HTTP status of the answer, exit the exit code of a command
that met it. Where "later" says yes, the same request may work later, and the answer carries
`Retry-After` where a time is known.

| code | kind | status | exit | later |
|---|---|---|---|---|
"""

every_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda it: it.relative_to(ROOT).as_posix()
)


def code_lines(text: str) -> list[str]:
    """What stands in code blocks and between backticks, one command per line."""
    blocks = re.findall(r"```[a-z]*\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [*lines, *re.findall(r"`([^`\n]+)`", text)]


def documented() -> set[str]:
    return {
        line.strip().removeprefix("$ ")
        for document in DOCUMENTS
        for line in code_lines(document.read_text("utf-8"))
    }


@cache
def help_of(program: str, words: tuple[str, ...]) -> str:
    argv = [Path(sys.executable).with_name(program), *words, "--help"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def command_lines() -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Every documented llorch command: program, the words of the command, its flags."""
    found: set[tuple[str, tuple[str, ...], tuple[str, ...]]] = set()
    for line in documented():
        match = re.match(
            r"(?:\./dev )?(llorch-pool|llorch)(?![\w-])(( [a-z][a-z-]*(?:\|[a-z-]+)*)*)", line
        )
        if match:
            flags = tuple(re.findall(r"(?<!\S)--[a-z0-9-]+", line[match.end() :].split("  #")[0]))
            words = match.group(2).split()
            found |= {(match.group(1), spelled, flags) for spelled in spellings(words)}
    return sorted(found)


def spellings(words: list[str]) -> list[tuple[str, ...]]:
    """`start|stop` in a document stands for two commands."""
    spelled: list[tuple[str, ...]] = [()]
    for word in words:
        spelled = [(*left, choice) for left in spelled for choice in word.split("|")]
    return spelled


def test_the_map_names_every_room_and_no_other() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    named = set(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", text, re.MULTILINE))
    assert named == set().union(*(package.rooms() for package in packages()))


def test_every_documented_dev_command_exists() -> None:
    listed = subprocess.run([ROOT / "dev"], capture_output=True, text=True, check=True).stdout
    known = set(re.findall(r"^  ([a-z-]+)", listed, re.MULTILINE))
    named = {
        word
        for line in documented()
        for words in re.findall(r"^\./dev ([a-z|-]+)", line)
        for word in words.split("|")
    }
    assert named
    assert named <= known


@pytest.mark.parametrize(
    ("program", "words", "flags"),
    command_lines(),
    ids=lambda it: it if isinstance(it, str) else " ".join(it),
)
def test_every_documented_command_and_flag_exists(
    program: str, words: tuple[str, ...], flags: tuple[str, ...]
) -> None:
    shown = help_of(program, words)
    assert shown, f"{program} {' '.join(words)} is no command"
    assert [flag for flag in flags if not re.search(rf"{flag}\b", shown)] == []


@every_document
def test_every_link_leads_to_a_file(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", document.read_text("utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (document.parent / target).exists()] == []


def test_the_page_of_error_codes_is_the_table_of_the_code(golden: Golden) -> None:
    rows = "".join(
        f"| `{code}` | {type(error_for(Refusal(code, ''))).__name__} | {outcome.http_status} "
        f"| {int(outcome.exit_code)} | {'yes' if outcome.retry_later else 'no'} |\n"
        for code, outcome in sorted(OUTCOMES.items())
    )
    golden(ROOT / "docs" / "errors.md", ERRORS_HEADER + rows)
