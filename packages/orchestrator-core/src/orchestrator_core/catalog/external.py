"""Where an engine that somebody else runs may be, and what its models may be called; pure.

The pool reads its settings by these rules, and the orchestrator reads what a pool reports by them.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from orchestrator_core.contracts.pool import WorkerSpec
from orchestrator_core.errors import Code, Refusal

__all__ = ["EngineAddress", "is_external", "name_fault", "read_engine_address"]

_URL: Final = re.compile(
    r"""(?P<scheme>https?)://
        (?P<host>[a-z0-9.-]{1,253} | \[[0-9a-f:.]{2,45}\])
        (?: :(?P<port>[0-9]{1,5}) )?
        (?P<path>(?:/[a-z0-9._~-]+)*)/?""",
    re.VERBOSE | re.ASCII | re.IGNORECASE,
)
_PORTS: Final = {"http": 80, "https": 443}
_NAME_LENGTH_MAX: Final = 256
# A host whose last part is a number is an address to a resolver, however it is written.
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_API: Final = "/v1"
_SHAPE: Final = "must look like http://HOST:PORT or http://HOST:PORT/PREFIX, or begin with https://"


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Where an engine listens; path is what stands before every route, and it ends in /v1."""

    host: str
    port: int
    path: str
    tls: bool

    @property
    def url(self) -> str:
        """The address, written anew."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.path}"


def is_external(spec: WorkerSpec) -> bool:
    """True for a worker that no pool starts or stops."""
    return spec.engine == "openai"


def read_engine_address(text: str) -> EngineAddress | Refusal:
    """Read the URL of an engine; the refusal's line ends the sentence "url ..."."""
    if "@" in text:
        return _refused("must not hold a name or a password: write the key into key_file")
    found = _URL.fullmatch(text)
    if found is None:
        return _refused(_SHAPE)
    scheme = found["scheme"].lower()
    host = found["host"].lower().removeprefix("[").removesuffix("]")
    port = int(found["port"] or _PORTS[scheme])
    path = found["path"]
    if not 1 <= port <= 65535 or any(part in (".", "..") for part in path.split("/")):
        return _refused(_SHAPE)
    fault = _host_fault(host)
    if fault is not None:
        return _refused(fault)
    whole = path if path.endswith(_API) else path + _API
    return EngineAddress(host, port, whole, tls=scheme == "https")


def name_fault(name: str) -> str | None:
    """Why a model cannot be called that; the line ends the sentence "the name ..."."""
    if not name or len(name) > _NAME_LENGTH_MAX or not name.isprintable() or name != name.strip():
        return f"is not 1 to {_NAME_LENGTH_MAX} printable characters"
    if name.startswith(("hf:", "file:")):
        return "looks like a reference to a file: give the model another name"
    return None


def _host_fault(host: str) -> str | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        last = host.removesuffix(".").rpartition(".")[2]
        return _SHAPE if not last or ":" in host or _NUMBER.fullmatch(last) else None
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        # Cloud machines answer questions about themselves, keys included, on such addresses.
        return "names an address at which no engine can be"
    return None


def _refused(line: str) -> Refusal:
    return Refusal(Code.CONFIG_INVALID, line)
