"""Options that mean the same in every command of both programs."""

import functools
import math
from collections.abc import Callable
from typing import Final, TypeVar, cast

import click

from orchestrator_core.console.addresses import is_url
from orchestrator_core.console.render import Format, Output

__all__ = ["Seconds", "Url", "orchestrator_url", "output_options", "pool_url"]

R = TypeVar("R")

# Some thirty years: no alarm of the system takes everything that a float can say.
_LONGEST_S: Final = 1e9


class Seconds(click.FloatRange):
    """A length of time; click itself lets nan through every range, and no wait ever reaches it."""

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read a finite number within the range."""
        # Click says that it converts numbers, and is given text.
        seconds = super().convert(cast("float", value), param, ctx)
        if not math.isfinite(seconds) or seconds > _LONGEST_S:
            self.fail(f"{value} is not a length of time.", param, ctx)
        return seconds


class Url(click.ParamType[str]):
    """The address of a daemon."""

    name = "url"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Take what a client can call."""
        text = str(value)
        if not is_url(text):
            self.fail(f"{text!r} is not a URL like http://127.0.0.1:8080", param, ctx)
        return text


def output_options(function: Callable[..., R]) -> Callable[..., R]:
    """Add --format, --quiet and --no-color; the command gets them as `out`."""

    @click.option(
        "--format",
        "shape",
        type=click.Choice([shape.value for shape in Format]),
        default=Format.TABLE.value,
        show_default=True,
        help="How data is shown on stdout.",
    )
    @click.option("--quiet", "-q", is_flag=True, help="Say nothing on stderr but errors.")
    @click.option("--no-color", is_flag=True, help="Plain text; NO_COLOR does the same.")
    @functools.wraps(function)
    def call(*args: object, shape: str, quiet: bool, no_color: bool, **kwargs: object) -> R:
        out = Output(Format(shape), quiet=quiet, no_color=no_color)
        return function(*args, out=out, **kwargs)

    return call


def orchestrator_url(function: Callable[..., R]) -> Callable[..., R]:
    """Add --url of orchestratord."""
    return click.option(
        "--url",
        type=Url(),
        metavar="URL",
        help="Address of orchestratord; else LLORCH_ORCHESTRATOR_URL, else the running one.",
    )(function)


def pool_url(function: Callable[..., R]) -> Callable[..., R]:
    """Add --url of pool-managerd."""
    return click.option(
        "--url",
        type=Url(),
        metavar="URL",
        help="Address of pool-managerd; else LLORCH_POOL_URL, else the running one.",
    )(function)
