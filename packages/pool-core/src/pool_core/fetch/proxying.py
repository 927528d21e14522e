"""Decides whether a request goes through a proxy, and through which: pure."""

import ipaddress

from pydantic import SecretStr

from orchestrator_core.errors import Code, Refusal
from pool_core.fetch.origin import Hop
from pool_core.fetch.settings import Proxies

__all__ = ["judge_proxy", "proxy_for"]


def proxy_for(hop: Hop, proxies: Proxies) -> SecretStr | None:
    """The proxy for a place; None means that it is called directly."""
    proxy = proxies.https if hop.scheme == "https" else proxies.http
    if proxy is None or _is_loopback(hop.host):
        return None
    exempt = any(_covers(rule, hop) for rule in proxies.exempt)
    return None if exempt else proxy


def judge_proxy(proxy: SecretStr) -> Refusal | None:
    """Refuse a kind of proxy that is not spoken here; its address may hold a password."""
    scheme, mark, rest = proxy.get_secret_value().partition("://")
    if mark and rest and scheme.lower() in ("http", "https"):
        return None
    line = "the proxy in the environment is no http:// or https:// address: set HTTPS_PROXY anew"
    return Refusal(Code.CONFIG_INVALID, line)


def _covers(rule: str, hop: Hop) -> bool:
    if rule == "*":
        return True
    name, port = _split(rule)
    if port is not None and port != hop.port:
        return False
    if "/" in name:
        return _is_within(hop.host, name)
    name = name.removeprefix("*").removeprefix(".")
    return bool(name) and (hop.host == name or hop.host.endswith(f".{name}"))


def _split(rule: str) -> tuple[str, int | None]:
    """The host and the port of a rule; brackets stand around an IPv6 address with a port."""
    if rule.startswith("["):
        name, _, port = rule[1:].partition("]")
        port = port.removeprefix(":")
    elif rule.count(":") == 1:
        name, _, port = rule.partition(":")
    else:
        name, port = rule, ""
    return name, int(port) if port.isdecimal() else None


def _is_within(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
