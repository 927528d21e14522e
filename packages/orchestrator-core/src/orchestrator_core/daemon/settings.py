"""The settings that every daemon shares, and the rule about networks that others can reach."""

import ipaddress

from pydantic import BaseModel, ConfigDict, Field

from orchestrator_core.errors import Code, Refusal

__all__ = ["DaemonSettings", "is_loopback", "refuse_open_network"]


class DaemonSettings(BaseModel):
    """Where a daemon listens and for whom; each daemon adds its own keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    bind: str = Field(description="host:port to listen on; port 0 takes any free")
    insecure_lan: bool = Field(
        default=False, description="Listen for other hosts although the API speaks plain HTTP"
    )
    allowed_hosts: tuple[str, ...] = Field(
        (), description="Host names a client may use besides loopback and our own"
    )


def refuse_open_network(
    settings: DaemonSettings, host: str, *, encrypted: bool = False
) -> Refusal | None:
    """Refuse plain HTTP where other hosts can reach it, unless an operator asked for just that."""
    if encrypted or settings.insecure_lan or is_loopback(host):
        return None
    return Refusal(
        Code.CONFIG_INVALID,
        f"{host} can be reached by other hosts and the API speaks plain HTTP: keys could be read "
        "on the way; bind 127.0.0.1, encrypt it where the daemon can (tls_cert, tls_key), or set "
        "insecure_lan (--insecure-lan) if you want it anyway",
    )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address to listen on."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
