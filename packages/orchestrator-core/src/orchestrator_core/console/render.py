"""Shows data as a table, JSON or YAML: data goes to stdout, talk about it to stderr.

A terminal gets a rich table; a pipe, NO_COLOR and --no-color get plain aligned columns.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, cast

import click

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Column", "Format", "Output", "cell"]

Row = Mapping[str, object]

_EMPTY_CELL: Final = "-"
_GAP: Final = "  "


class Format(StrEnum):
    """How data is shown."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def cell(value: object) -> str:
    """Spell a value in one line; control characters cannot reach the terminal."""
    if value is None or value == "":
        return _EMPTY_CELL
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(cell(item) for item in cast("Sequence[object]", value)) or _EMPTY_CELL
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        return ", ".join(f"{key}={cell(item)}" for key, item in pairs) or _EMPTY_CELL
    return "".join(char if char.isprintable() else " " for char in str(value))


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table; JSON and YAML always show the whole row."""

    key: str
    title: str
    right: bool = False
    show: Callable[[object], str] = cell


class Output:
    """Where one command writes to, in the format that was asked for."""

    def __init__(
        self, shape: Format = Format.TABLE, *, quiet: bool = False, no_color: bool = False
    ) -> None:
        self.shape = shape
        self.is_endless = False
        """Whether more documents follow each one: JSON is then a line, YAML a document."""
        self._quiet = quiet
        self._no_color = no_color

    def rows(self, rows: Sequence[Row], columns: Sequence[Column], *, empty: str = "") -> None:
        """Show a list; JSON is an array of objects, also when it is empty."""
        if self.shape is not Format.TABLE:
            self._dump([dict(row) for row in rows])
        elif rows:
            self._table(columns, [[column.show(row.get(column.key)) for column in columns] for row in rows])  # fmt: skip
        elif empty:
            self.say(empty)

    def pages(
        self, pages: Iterable[Sequence[Row]], columns: Sequence[Column], *, empty: str = ""
    ) -> int:
        """Show a long list as its pages come and tell how long it was; JSON is still one array."""
        count, widths = 0, [len(column.title) for column in columns]
        for page in pages:
            if page:
                self._page(page, columns, widths, first=count == 0)
                count += len(page)
        if self.shape is Format.JSON:
            self.text("\n]" if count else "[]")
        elif not count:
            self.rows([], columns, empty=empty)
        return count

    def item(self, record: Row) -> None:
        """Show one of many things that have no end yet: a line of JSON, a document of YAML."""
        if self.shape is Format.JSON:
            self.text(_line(record))
        else:
            self.is_endless = True
            self._dump(dict(record))

    def record(self, record: Row, columns: Sequence[Column]) -> None:
        """Show one thing; a table leaves out what is not there."""
        if self.shape is not Format.TABLE:
            self._dump(dict(record))
            return
        shown = [column for column in columns if record.get(column.key) not in (None, "", [], {})]
        width = max((len(column.title) for column in shown), default=0)
        for column in shown:
            title = column.title.ljust(width)
            self.text(f"{title}{_GAP}{column.show(record[column.key])}")

    def text(self, text: str) -> None:
        """Write one line of data."""
        click.echo(text)

    def say(self, text: str) -> None:
        """Tell a person something; --quiet silences it."""
        if not self._quiet:
            click.echo(text, err=True)

    def warn(self, text: str) -> None:
        """Tell a person something that --quiet must not hide."""
        click.echo(f"warning: {text}", err=True)

    def _dump(self, data: object) -> None:
        if self.shape is Format.JSON:
            self.text(
                _line(data) if self.is_endless else json.dumps(data, indent=2, ensure_ascii=False)
            )
            return
        if self.is_endless:
            self.text("---")
        import yaml

        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=False)
        click.echo(text, nl=False)

    def _page(
        self, page: Sequence[Row], columns: Sequence[Column], widths: list[int], *, first: bool
    ) -> None:
        if self.shape is Format.TABLE:
            cells = [[column.show(row.get(column.key)) for column in columns] for row in page]
            # What stands on the screen cannot move: later pages keep to the widths of the first.
            widths[:] = [
                max(width, *(len(line[index]) for line in cells))
                for index, width in enumerate(widths)
            ]
            self._table(columns, cells, widths, header=first)
        elif self.shape is Format.JSON:
            inner = json.dumps([dict(row) for row in page], indent=2, ensure_ascii=False)
            click.echo(("[" if first else ",") + inner[1:-2], nl=False)
        else:
            self._dump([dict(row) for row in page])

    def _table(
        self,
        columns: Sequence[Column],
        cells: Sequence[Sequence[str]],
        widths: Sequence[int] = (),
        *,
        header: bool = True,
    ) -> None:
        console = self._terminal()
        if console is None:
            for line in _aligned(columns, cells, widths, header=header):
                self.text(line)
            return
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, header_style="bold", pad_edge=False, show_header=header)
        for index, column in enumerate(columns):
            table.add_column(
                column.title,
                justify="right" if column.right else "left",
                overflow="fold",
                width=widths[index] if widths and console.width >= _needed(widths) else None,
            )
        for row in cells:
            table.add_row(*(Text(text) for text in row))
        console.print(table)

    def _terminal(self) -> "Console | None":
        if self._no_color or not sys.stdout.isatty():
            return None
        from rich.console import Console

        console = Console()
        return None if console.no_color or console.is_dumb_terminal else console


def _line(data: object) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _needed(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * len(widths)


def _aligned(
    columns: Sequence[Column],
    cells: Sequence[Sequence[str]],
    widths: Sequence[int] = (),
    *,
    header: bool = True,
) -> list[str]:
    lines = [[column.title.upper() for column in columns], *cells]
    widths = widths or [max(len(line[index]) for line in lines) for index in range(len(columns))]
    return [
        _GAP.join(
            text.rjust(width) if column.right else text.ljust(width)
            for text, width, column in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in (lines if header else cells)
    ]
