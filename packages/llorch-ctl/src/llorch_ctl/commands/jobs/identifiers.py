"""What may stand for a job and for an idempotency key on the command line."""

import re
from typing import TYPE_CHECKING, Final

import click

from llorch_ctl.commands.live_names import JOBS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["IdempotencyKey", "JobId"]

# Wide enough for every id, and nothing in it leads to another path of the API.
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


class JobId(click.ParamType[str]):
    """The id of a job; whether there is one, orchestratord tells."""

    name = "id"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Take letters, digits, - and _."""
        text = str(value)
        if not _ID.fullmatch(text):
            self.fail(f"{text!r} is no id of a job; llorch jobs list shows them", param, ctx)
        return text

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        """Name the newest jobs."""
        return JOBS(ctx, param, incomplete)


class IdempotencyKey(click.ParamType[str]):
    """A word of the caller; an empty one is refused, because it would guard nothing."""

    name = "key"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Take what orchestratord takes."""
        text = str(value)
        if not _KEY.fullmatch(text):
            self.fail("give 1 to 255 visible ASCII characters without blanks", param, ctx)
        return text
