"""Proposes the largest size that would fit where a wanted one does not: pure.

Context is given up first, then the slots; whoever asks says what fits.
"""

from collections.abc import Callable, Iterator
from typing import Final

__all__ = ["LEAST_CTX", "propose"]

LEAST_CTX: Final = 64
"""The smallest context of a slot that an order can name."""


def propose(ctx: int, parallel: int, fits: Callable[[int, int], bool]) -> str | None:
    """What would fit, in words; None where nothing does."""
    for tokens in _below(ctx):
        if fits(tokens, parallel):
            return f"ctx {tokens} would fit"
    for tokens in (ctx, *_below(ctx)):
        if parallel > 1 and fits(tokens, 1):
            return f"parallel 1 with ctx {tokens} would fit"
    return None


def _below(ctx: int) -> Iterator[int]:
    tokens = ctx // 2
    while tokens > LEAST_CTX:
        yield tokens
        tokens //= 2
    if ctx > LEAST_CTX:
        yield LEAST_CTX
