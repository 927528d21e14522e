"""How the hub's own program `hf` is called, and what its complaints say; pure.

Its token goes by the environment, never by the command line, and no more of our surroundings than
it needs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pool_core.fetch.hub_answers import RemoteFile
from pool_core.fetch.settings import HubSettings

__all__ = ["HfOrder", "failure_line", "hf_argv", "hf_environment"]

_LINE_LENGTH_MAX: Final = 300
# Only what the program needs of our surroundings goes along: it must not learn our keys.
_KEPT: Final = frozenset({"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR"})
_KEPT_STARTS: Final = ("LC_", "SSL_CERT_", "HF_HUB_", "HF_XET_", "REQUESTS_CA_")
_PROXIES: Final = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})
_COLOUR: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_QUERY: Final = re.compile(r"(https?://[^\s'\"?]*)\?[^\s'\"]*")


@dataclass(frozen=True, slots=True)
class HfOrder:
    """One file to fetch; folder is ours alone, and the program leaves nothing elsewhere."""

    repo: str
    commit: str
    file: RemoteFile
    folder: Path

    @property
    def files(self) -> Path:
        """Where the program lays out the files of the repository."""
        return self.folder / "files"

    @property
    def target(self) -> Path:
        """Where the file will be."""
        return self.files / self.file.path


def hf_argv(program: Path, order: HfOrder) -> list[str]:
    """The command line; names from a listing never begin with a dash."""
    options = ["--revision", order.commit, "--local-dir", str(order.files)]
    return [str(program), "download", "--quiet", *options, "--", order.repo, order.file.path]


def hf_environment(env: Mapping[str, str], settings: HubSettings, *, home: Path) -> dict[str, str]:
    """Its whole environment: how to reach the hub, and a home of its own for what it keeps."""
    kept = {
        name: value
        for name, value in env.items()
        if name in _KEPT or name.startswith(_KEPT_STARTS) or name.lower() in _PROXIES
    }
    token = {"HF_TOKEN": settings.token.get_secret_value()} if settings.token is not None else {}
    return {
        **kept,
        "HF_ENDPOINT": settings.endpoint,
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_COLOR": "1",
        **token,
    }


def failure_line(errors: str, secret: str | None) -> str | None:
    """The line of its complaints that tells most, without colours, tokens or signed links."""
    lines = [_plain(line, secret) for line in errors.splitlines()]
    told = [line for line in lines if line and not line.startswith(("Hint:", "For more"))]
    named = [line for line in told if line.startswith("Error")]
    return (named or told or [None])[-1]


def _plain(line: str, secret: str | None) -> str:
    text = _QUERY.sub(r"\1", _COLOUR.sub("", line))
    if secret:
        text = text.replace(secret, "***")
    return "".join(letter for letter in text if letter.isprintable()).strip()[:_LINE_LENGTH_MAX]
