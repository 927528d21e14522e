"""Removes untracked files: first a list of them, then exactly those of the list."""

from pool_ctl.git.checkout import Checkout, accepted
from pool_ctl.git.leavings import Leavings, batches, parse_leavings

__all__ = ["find_leavings", "remove_leavings"]


def find_leavings(checkout: Checkout) -> Leavings:
    """What git does not know and does not ignore; nothing is removed."""
    return accepted(parse_leavings(checkout.git.ask("clean", "--dry-run", "-d")))


def remove_leavings(checkout: Checkout, leavings: Leavings) -> None:
    """Remove what was listed, and nothing that has come since."""
    for batch in batches(leavings.paths):
        # Read literally, so that a star in a name removes no other file.
        checkout.git.act("--literal-pathspecs", "clean", "--force", "-d", "--quiet", "--", *batch)
