"""llorch keys: who may ask, for what and how much."""

from typing import Final

from orchestrator_core.console.lazy_group import Lazy, LazyGroup

__all__ = ["keys"]

_HELP: Final = """Make, list and revoke keys, and see their usage.

Only an admin key makes and revokes keys. A program that is given a key of its own can be limited,
told apart in `llorch keys usage`, and stopped within a second.
"""

keys = LazyGroup(
    "keys",
    lazy={
        "create": Lazy("llorch_ctl.commands.keys.create:create", "Make a key and print it once."),
        "list": Lazy("llorch_ctl.commands.keys.listing:list_keys", "List keys, never their text."),
        "revoke": Lazy("llorch_ctl.commands.keys.revoke:revoke", "Revoke keys at once."),
        "usage": Lazy("llorch_ctl.commands.keys.usage:usage", "Sum up usage per key and model."),
        "reset-admin": Lazy(
            "llorch_ctl.commands.keys.reset_admin:reset_admin",
            "Replace every admin key, without having one.",
        ),
    },
    help=_HELP,
)
