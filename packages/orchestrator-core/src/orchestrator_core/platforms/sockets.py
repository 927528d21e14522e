"""Opens a daemon's listening socket before it does anything else, and names who is in the way."""

import errno
import socket
from typing import Final

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.platforms.port import Platform

__all__ = ["bind_listener", "parse_bind"]

_BACKLOG: Final = 2048
_PORT_MAX: Final = 65535


def parse_bind(text: str) -> tuple[str, int] | Refusal:
    """Split "host:port" or "[v6]:port"; port 0 means any free port."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    plain = bool(colon and host) and (bracketed or ":" not in host)
    if not plain or not port.isascii() or not port.isdecimal() or int(port) > _PORT_MAX:
        example = "give HOST:PORT, for example 127.0.0.1:8080 or [::1]:8080"
        return Refusal(Code.CONFIG_INVALID, f'"{text}" is not an address to listen on: {example}')
    return host, int(port)


def bind_listener(bind: str, platform: Platform) -> socket.socket | Refusal:
    """Bind and listen, since two sockets may share a bind and only the second listen fails."""
    address = parse_bind(bind)
    if isinstance(address, Refusal):
        return address
    host, port = address
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return Refusal(Code.CONFIG_INVALID, f'cannot listen on "{bind}": {error.strerror}')
    family, kind, protocol, _, target = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(target)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        return _explain(error, bind, port, platform)
    return listener


def _explain(error: OSError, bind: str, port: int, platform: Platform) -> Refusal:
    if error.errno == errno.EADDRINUSE:
        holder = platform.port_holder(port)
        by = f" by {holder.describe()}" if holder else ""
        details = {"port": port, "pid": holder.pid if holder else None}
        return Refusal(Code.PORT_IN_USE, f"{bind} is in use{by}", details)
    if error.errno == errno.EACCES:
        return Refusal(Code.CONFIG_INVALID, f"no right to listen on {bind}: take a port above 1023")
    # An address that is missing may come: a network that is slower than the start of a machine.
    details = {"is_missing": error.errno == errno.EADDRNOTAVAIL}
    return Refusal(Code.CONFIG_INVALID, f"cannot listen on {bind}: {error.strerror}", details)
