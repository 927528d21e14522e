"""Spells the settings files that a setup writes: every setting explained, none changed; pure."""

import json
import textwrap
from collections.abc import Mapping
from typing import Final

__all__ = ["HOSTS_TEXT", "settings_text"]

_WIDTH: Final = 98
_HEAD: Final = """\
# Settings of {program}. A line without its # takes effect when {program} starts anew.
# Each setting is also read from the variable {prefix} and its name in capitals, which wins.
"""

HOSTS_TEXT: Final = """\
# Settings of the llorch command: the hosts that --host may name. `llorch host add` writes them,
# and a name without an entry here is what ssh makes of it.

# [hosts.mac]
# How SSH reaches it: [USER@]HOST[:PORT] or an alias of ~/.ssh/config.
# ssh = "me@mac.local"
# Where its pool-managerd listens for others, the key that opens it and who vouches for it.
# url = "https://mac.local:9200"
# key_file = "mac.key"
# ca = "mac.pem"
# The llorch-pool of that host, where it lies elsewhere than `llorch host add` puts it.
# command = "/opt/llorch/bin/llorch-pool"
"""


def settings_text(
    program: str, prefix: str, defaults: Mapping[str, object], descriptions: Mapping[str, str]
) -> str:
    """A file in which every setting stands as a comment."""
    parts = [_HEAD.format(program=program, prefix=prefix)]
    for key, value in defaults.items():
        about = descriptions.get(key.partition(".")[0]) or key
        lines = textwrap.wrap(f"{about.rstrip('.')}.", _WIDTH)
        parts.append("\n".join(f"# {line}" for line in (*lines, _line(key, value))) + "\n")
    return "\n".join(parts)


def _line(key: str, value: object) -> str:
    # JSON spells texts, numbers and lists as TOML does; what is not set has no spelling.
    return f"{key} =" if value is None else f"{key} = {json.dumps(value)}"
