"""llorch-pool daemon join and leave: whose pool this host is."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from orchestrator_core.console.options import Url, output_options
from orchestrator_core.console.render import Column, Format, Output
from pool_ctl.settings import CliSettings

if TYPE_CHECKING:
    from pool_ctl.pools.hub import Hub

__all__ = ["join", "leave"]

_COLUMNS: Final = tuple(
    Column(key, key.replace("_", " "))
    for key in ("pool_id", "status", "orchestrator_url", "endpoint")
)


@click.command(
    short_help="Make this host a pool of an orchestrator that it reaches.",
    epilog="""\b
Examples:
  llorch-pool daemon join --url https://hub:8080 --token TOKEN --ca-sha256 FINGERPRINT
  llorch-pool daemon join --url https://hub:8080 --token TOKEN --ca hub.pem --name attic
  llorch-pool daemon join --url https://hub:8080 --token TOKEN --bind 192.168.1.7:9200

`llorch host add NAME --join` prints this command with a fresh token.
""",
)
@click.option("--url", type=Url(), required=True, metavar="URL", help="Address of orchestratord.")
@click.option("--token", required=True, metavar="TOKEN", help="The one-time token.")
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
    metavar="FILE",
    help="Certificates (PEM) that vouch for the orchestrator.",
)
@click.option("--ca-sha256", metavar="HEX", help="SHA-256 of the one certificate that it shows.")
@click.option("--name", metavar="POOL", help="This host's name in the cluster.")
@click.option(
    "--bind",
    metavar="HOST:PORT",
    help="Address to listen on; else the one that faces the orchestrator, port 9200.",
)
@click.option(
    "--insecure-lan",
    is_flag=True,
    help="Join over plain HTTP, where token and keys can be read on the way.",
)
@output_options
@click.pass_obj
def join(
    settings: CliSettings,
    *,
    url: str,
    token: str,
    ca: Path | None,
    ca_sha256: str | None,
    name: str | None,
    bind: str | None,
    insecure_lan: bool,
    out: Output,
) -> None:
    """Join an orchestrator with a one-time token.

    pool-managerd listens with HTTPS from then on, writes the join into its settings file, and is
    started again; workers run on. The command returns when the orchestrator has heard this host.
    """
    if ca is not None and ca_sha256 is not None:
        raise click.UsageError("--ca and --ca-sha256 do not go together")
    from pool_ctl.pools.joining import Joining, JoinOrder

    _check(token.strip(), name, bind)
    joining = Joining(settings, out.say)
    with joining.alone():
        try:
            hub, pin = _known(settings, url.rstrip("/"), ca, ca_sha256, insecure_lan=insecure_lan)
            order = JoinOrder(hub=hub, token=token.strip(), ca=ca, pin=pin, name=name, bind=bind)
            member = joining.join(order)
        finally:
            _offered(settings).unlink(missing_ok=True)
    if out.shape is Format.TABLE:
        how = "is" if member.fresh else "is already"
        out.text(f"{member.pool_id} {how} a pool of {member.url}, reached at {member.endpoint}")
        return
    row: dict[str, object] = {
        "pool_id": member.pool_id,
        "status": "joined" if member.fresh else "already_joined",
        "orchestrator_url": member.url,
        "endpoint": member.endpoint,
    }
    out.record(row, _COLUMNS)


@click.command(
    short_help="Report to no orchestrator any more.",
    epilog="\b\nExample:\n  llorch-pool daemon leave",
)
@output_options
@click.pass_obj
def leave(settings: CliSettings, *, out: Output) -> None:
    """Undo a join, also one through SSH: the keys are removed, and the pool works alone.

    Workers run on. The orchestrator forgets this host with `llorch host remove`.
    """
    from pool_ctl.pools.joining import Joining

    joining = Joining(settings, out.say)
    with joining.alone():
        url = joining.leave()
    if out.shape is Format.TABLE:
        out.text("this host reports to nobody" if url is None else f"this host has left {url}")
    else:
        out.record({"status": "left", "orchestrator_url": url}, _COLUMNS)


def _known(
    settings: CliSettings, url: str, ca: Path | None, ca_sha256: str | None, *, insecure_lan: bool
) -> "tuple[Hub, str | None]":
    from orchestrator_core.clients.approach import fetch_certificate
    from orchestrator_core.clients.trust import Trust
    from orchestrator_core.errors import Code, Refusal, error_for
    from orchestrator_core.platforms import files
    from pool_ctl.pools.hub import Hub, read_sha256

    hub = Hub(url)
    if not hub.is_encrypted:
        if ca is not None or ca_sha256 is not None:
            raise click.UsageError("--ca and --ca-sha256 go with an https URL")
        if not (hub.is_here or insecure_lan):
            text = f"{url} is not encrypted: token and keys could be read on the way; give an "
            raise error_for(Refusal(Code.INVALID_REQUEST, f"{text}https URL, or --insecure-lan"))
        return hub, None
    if ca_sha256 is None:
        return Hub(url, None if ca is None else Trust(ca)), None
    sha256 = read_sha256(ca_sha256)
    if isinstance(sha256, Refusal):
        raise error_for(sha256)
    pem = fetch_certificate(hub.url, hub.host, hub.port, sha256=sha256)
    if isinstance(pem, Refusal):
        raise error_for(pem)
    path = _offered(settings)
    files.write_atomically(path, pem.encode())
    return Hub(url, Trust(path, is_peers_own=True)), pem


def _offered(settings: CliSettings) -> Path:
    """Where the certificate lies while it is not known whether the host joins."""
    return settings.layout.pool_orchestrator_ca.with_suffix(".offered")


def _check(token: str, name: str | None, bind: str | None) -> None:
    import re

    from orchestrator_core.errors import Code, Refusal, error_for
    from orchestrator_core.platforms.sockets import parse_bind

    if not re.fullmatch(r"[\x21-\x7e]{16,256}", token):
        text = "--token is not a token: copy the whole of it"
        raise error_for(Refusal(Code.INVALID_REQUEST, text))
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        text = "--name wants letters, digits, dots, dashes and underscores, at most 64"
        raise error_for(Refusal(Code.INVALID_REQUEST, text))
    address = None if bind is None else parse_bind(bind)
    if isinstance(address, Refusal):
        raise error_for(Refusal(Code.INVALID_REQUEST, f"--bind: {address.message}"))
