"""What an operator may set about a hub, in the variables that its own tools read.

The environment is a mapping that the caller read; only a token file is opened here. Secrets stay
out of every repr.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from orchestrator_core.errors import Code, Refusal, RequestError

__all__ = ["DEFAULT_ENDPOINT", "HubSettings", "PeerTimes", "Proxies", "WebSettings"]

DEFAULT_ENDPOINT: Final = "https://huggingface.co"

_ENDPOINT: Final = re.compile(
    r"https?://(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(?::(?P<port>\d{1,5}))?(?:/[\w.~/-]*)?",
    re.ASCII,
)
_YES: Final = frozenset({"1", "on", "yes", "true"})
_TOKEN_MAX_BYTES: Final = 4096
_CONNECT_S: Final = 10.0
_READ_S: Final = 30.0
_READ_MAX_S: Final = 600
_PORT_MAX: Final = 65535


@dataclass(frozen=True, slots=True)
class Proxies:
    """Who stands between us and the world; exempt is the list of hosts that are called directly."""

    http: SecretStr | None = None
    https: SecretStr | None = None
    exempt: tuple[str, ...] = ()

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Proxies":
        """Read the usual variables; the small spelling counts first, as elsewhere."""
        every = _either(env, "all_proxy")
        hosts = (host.strip().lower() for host in (_either(env, "no_proxy") or "").split(","))
        return cls(
            http=_secret(_either(env, "http_proxy") or every),
            https=_secret(_either(env, "https_proxy") or every),
            exempt=tuple(host for host in hosts if host),
        )


@dataclass(frozen=True, slots=True)
class WebSettings:
    """How a hub is called; is_named says that the operator chose the endpoint.

    certificate is the one (PEM) that the other side has to show, instead of any authority's word.
    """

    endpoint: str = DEFAULT_ENDPOINT
    is_named: bool = False
    token: SecretStr | None = None
    proxies: Proxies = field(default_factory=Proxies)
    ca_file: Path | None = None
    ca_folder: Path | None = None
    certificate: str | None = None
    follows_redirects: bool = True
    connect_timeout_s: float = _CONNECT_S
    read_timeout_s: float = _READ_S


@dataclass(frozen=True, slots=True)
class PeerTimes:
    """How long other pools are waited for; they are near, so that it is not long.

    Whoever sends fewer than slow_bytes within slow_s is slower than any network worth waiting for;
    with a hub in reach, slow_beside_hub_bytes count. Pools that serve others are waited for through
    busy_s since the last byte, or busy_beside_hub_s; those that are away only where no hub is. They
    are asked again every round_s. beat_s is the time in which a new key of theirs is surely told.
    """

    answer_s: float = 3.0
    connect_s: float = 3.0
    read_s: float = 10.0
    slow_s: float = 30.0
    slow_bytes: int = 30 * 64 * 1024
    slow_beside_hub_bytes: int = 30 * 1024 * 1024
    round_s: float = 2.0
    beat_s: float = 7.0
    away_s: float = 30.0
    busy_s: float = 4 * 3600.0
    busy_beside_hub_s: float = 6.0


@dataclass(frozen=True, slots=True)
class HubSettings:
    """A hub, where its own tools keep their files, and whether it may be called at all."""

    web: WebSettings
    cache_folder: Path
    offline: bool = False

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "HubSettings":
        """Read everything; raises RequestError for a value that cannot be meant."""
        named = env.get("HF_ENDPOINT", "").strip().rstrip("/")
        endpoint = _checked_endpoint(named) if named else DEFAULT_ENDPOINT
        home = _home(env)
        web = WebSettings(
            endpoint=endpoint,
            is_named=bool(named),
            token=_token(env, home, endpoint),
            proxies=Proxies.from_env(env),
            ca_file=_path(env, "SSL_CERT_FILE"),
            ca_folder=_path(env, "SSL_CERT_DIR"),
            read_timeout_s=_seconds(env.get("HF_HUB_DOWNLOAD_TIMEOUT", "")),
        )
        cache = _path(env, "HF_HUB_CACHE") or _path(env, "HUGGINGFACE_HUB_CACHE") or home / "hub"
        offline = _is_set(env, "HF_HUB_OFFLINE") or _is_set(env, "TRANSFORMERS_OFFLINE")
        return cls(web=web, cache_folder=cache, offline=offline)

    @property
    def endpoint(self) -> str:
        """Where the hub answers, without a slash at its end."""
        return self.web.endpoint

    @property
    def token(self) -> SecretStr | None:
        """What opens gated and private repositories; for the hub's own origin only."""
        return self.web.token


def _home(env: Mapping[str, str]) -> Path:
    given = _path(env, "HF_HOME")
    if given is not None:
        return given
    user = Path(env["HOME"]) if env.get("HOME") else Path.home()
    return (_path(env, "XDG_CACHE_HOME") or user / ".cache") / "huggingface"


def _token(env: Mapping[str, str], home: Path, endpoint: str) -> SecretStr | None:
    given = env.get("HF_TOKEN") or env.get("HUGGING_FACE_HUB_TOKEN")
    if given is None and _may_use_login(env, endpoint):
        given = _stored_token(_path(env, "HF_TOKEN_PATH") or home / "token")
    token = (given or "").strip()
    if not token:
        return None
    if not (token.isascii() and token.isprintable()) or " " in token:
        line = "the token in HF_TOKEN or in the token file holds characters that no token has"
        raise RequestError(Refusal(Code.CONFIG_INVALID, line))
    return SecretStr(token)


def _may_use_login(env: Mapping[str, str], endpoint: str) -> bool:
    # A login was made for a hub that proves who it is; in the clear it is not handed out.
    return endpoint.startswith("https:") and not _is_set(env, "HF_HUB_DISABLE_IMPLICIT_TOKEN")


def _stored_token(path: Path) -> str | None:
    try:
        with path.open("r", encoding="ascii") as stream:
            return stream.read(_TOKEN_MAX_BYTES)
    except (OSError, UnicodeDecodeError):
        return None


def _checked_endpoint(text: str) -> str:
    found = _ENDPOINT.fullmatch(text)
    if found is None or int(found["port"] or 0) > _PORT_MAX:
        line = f"HF_ENDPOINT {text[:80]!r} is no address of a hub: write https://HOST[:PORT]"
        if "@" in text:
            line = "HF_ENDPOINT holds a name or a password: set HF_TOKEN instead"
        raise RequestError(Refusal(Code.CONFIG_INVALID, line))
    return text


def _seconds(text: str) -> float:
    is_sound = text.isdecimal() and len(text) < 6 and 1 <= int(text) <= _READ_MAX_S
    return float(text) if is_sound else _READ_S


def _is_set(env: Mapping[str, str], name: str) -> bool:
    return env.get(name, "").strip().lower() in _YES


def _path(env: Mapping[str, str], name: str) -> Path | None:
    text = env.get(name, "").strip()
    return Path(text).expanduser() if text else None


def _either(env: Mapping[str, str], name: str) -> str | None:
    return env.get(name) or env.get(name.upper()) or None


def _secret(text: str | None) -> SecretStr | None:
    return SecretStr(text) if text else None
