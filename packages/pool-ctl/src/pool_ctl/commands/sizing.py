"""What every command about a worker's size takes: where it computes, its context and its slots."""

from collections.abc import Callable
from typing import Final, TypeVar

import click

__all__ = ["BACKENDS", "size_options"]

R = TypeVar("R")

BACKENDS: Final = ("cpu", "cuda", "metal", "rocm", "vulkan", "sycl")


def size_options(function: Callable[..., R]) -> Callable[..., R]:
    """Add --ctx and --parallel."""
    parallel = click.option(
        "--parallel",
        type=click.IntRange(1, 256),
        metavar="N",
        help="Answers made at the same time; else what suits the model.",
    )
    ctx = click.option(
        "--ctx",
        type=click.IntRange(64, 4_194_304),
        metavar="N",
        help="Context of each slot in tokens; else what suits the model.",
    )
    return ctx(parallel(function))
