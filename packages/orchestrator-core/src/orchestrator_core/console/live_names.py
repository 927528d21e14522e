"""Completes a word of the command line with names that a daemon or a file of this user knows.

A shell waits at each press of the key: daemons are found by hand, nothing heavy is imported, and
what does not answer at once, or is not as expected, completes nothing.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import click

from orchestrator_core.config.layout import Layout
from orchestrator_core.console.addresses import is_url
from orchestrator_core.console.programs import DaemonProgram

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["Completer", "NameSource", "completer", "items_of", "word"]

Names = Iterable[tuple[str, str]]
Completer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]

# A shell script gets these words: nothing in them means anything to a shell.
_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+=-]{0,255}")
_SHOWN_MAX: Final = 500
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class NameSource:
    """A daemon as a completion asks it; key_file opens it to this user."""

    program: DaemonProgram
    layout: Layout
    env: Mapping[str, str]
    key_file: Path

    def ask(self, path: str) -> object:
        """GET a document of the daemon, or nothing."""
        from orchestrator_core.clients.live_names import ask_briefly

        run = self._run_file()
        url = self.env.get(self.program.url_variable) or word(run, "url") or self._default()
        if not is_url(url):
            return None
        is_ours = url == word(run, "url")
        tls = None
        if url.startswith("https:"):
            from orchestrator_core.clients.trust import Trust

            file = word(run, "ca_file") if is_ours else self.env.get("LLORCH_CA_FILE")
            tls = Trust(Path(file), is_peers_own=is_ours).context() if file else None
        return ask_briefly(url, path, self._key(url, is_ours=is_ours), tls=tls)

    def _run_file(self) -> object:
        try:
            return json.loads((self.layout.run_folder / f"{self.program.name}.json").read_bytes())
        except (OSError, ValueError):
            return None

    def _default(self) -> str:
        return f"http://{self.program.bind_default}"

    def _key(self, url: str, *, is_ours: bool) -> str | None:
        from urllib.parse import urlsplit

        key = self.env.get("LLORCH_API_KEY")
        if key:
            return key.strip()
        # The key of the file opens everything here: no other machine is told it.
        if not is_ours and urlsplit(url).hostname not in _LOOPBACK:
            return None
        try:
            return self.key_file.read_text("utf-8").strip() or None
        except OSError:
            return None


def completer(names: Callable[[], Names]) -> Completer:
    """Make what click calls at a press of the key: name and a word about it."""

    def complete(
        ctx: click.Context,  # noqa: ARG001 - click's signature.
        param: click.Parameter,  # noqa: ARG001
        incomplete: str,
    ) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        try:
            found = dict(_safe(names(), incomplete))
        except Exception:  # noqa: BLE001 - a line that is being typed is no place for an error.
            return []
        return [CompletionItem(name, help=about or None) for name, about in found.items()]

    return complete


def items_of(document: object, key: str = "items") -> list[Mapping[str, object]]:
    """The objects of a list answer; an answer of another shape has none."""
    if not isinstance(document, Mapping):
        return []
    listed = cast("Mapping[str, object]", document).get(key)
    if not isinstance(listed, list):
        return []
    found = cast("list[object]", listed)
    return [cast("Mapping[str, object]", it) for it in found if isinstance(it, Mapping)]


def word(record: object, key: str) -> str:
    """A text of a record, empty where there is none."""
    if not isinstance(record, Mapping):
        return ""
    value = cast("Mapping[str, object]", record).get(key)
    return value if isinstance(value, str) else ""


def _safe(names: Names, incomplete: str) -> Iterator[tuple[str, str]]:
    count = 0
    for name, about in names:
        if name.startswith(incomplete) and _SAFE.fullmatch(name):
            yield name, "".join(char if char.isprintable() else " " for char in about)
            count += 1
        if count == _SHOWN_MAX:
            return
