"""The part of an orchestrator that tells pools of each other: they register, beat, and hear it.

It believes what it is told, and pins the certificate that each pool shows in its folder.
"""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pydantic import BaseModel

from orchestrator_core.contracts.pool import (
    Heartbeat,
    HeartbeatReply,
    Peer,
    PoolRegister,
    PoolRegistered,
    WantedSet,
)
from support.waiting import until_sync

__all__ = ["PeerExchange", "peer_exchange"]

_WANTED = WantedSet(revision=0, workers=[])
_INTERVAL_S = 0.2


@dataclass
class PeerExchange:
    """Who has registered, and whose word is passed on."""

    url: str = ""
    certificates: dict[str, Path] = field(default_factory=dict[str, Path])
    """By the id of a pool, the file of the certificate that it shows."""

    extra: list[Peer] = field(default_factory=list[Peer])
    """Peers that every pool is told of besides."""

    registered: dict[str, PoolRegister] = field(default_factory=dict[str, PoolRegister])
    heard: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """The peers that each pool was told of last."""

    beats: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def peers_for(self, pool_id: str) -> tuple[Peer, ...]:
        """What one pool is told."""
        told = list(self.extra)
        for other, register in self.registered.items():
            if other != pool_id and register.peer_key is not None:
                certificate = self.certificates[other].read_text("ascii")
                told.append(
                    Peer(
                        pool_id=other,
                        url=register.endpoint,
                        certificate=certificate,
                        key=register.peer_key,
                    )
                )
        self.heard[pool_id] = tuple(peer.pool_id for peer in told)
        return tuple(told)

    def wait_until_heard(self, pool_id: str, *others: str) -> None:
        """Wait until a pool was told of all these, twice: the second answer proves the first."""
        until_sync(lambda: set(others) <= set(self.heard.get(pool_id, ())), what="the peers")
        seen = len(self.beats.get(pool_id, ()))
        until_sync(lambda: len(self.beats.get(pool_id, ())) > seen + 1, what="two beats")

    def answer(self, path: str, body: bytes, now_s: float) -> BaseModel:
        """Answer a registration or a beat."""
        if path == "/v2/pools/register":
            register = PoolRegister.model_validate_json(body)
            self.registered[register.pool_id] = register
            return PoolRegistered(
                pool_id=register.pool_id,
                session_id=register.session_id,
                heartbeat_interval_s=_INTERVAL_S,
                wanted=_WANTED,
                peers=self.peers_for(register.pool_id),
            )
        beat = Heartbeat.model_validate_json(body)
        self.beats.setdefault(beat.pool_id, []).append(now_s)
        return HeartbeatReply(
            wanted=_WANTED, heartbeat_interval_s=_INTERVAL_S, peers=self.peers_for(beat.pool_id)
        )


class _Handler(BaseHTTPRequestHandler):
    exchange: PeerExchange
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer."""
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        reply = self.exchange.answer(self.path, body, time.monotonic()).model_dump_json().encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stay silent."""


@contextmanager
def peer_exchange() -> Generator[PeerExchange]:
    """Serve on a free port of the loopback."""
    exchange = PeerExchange()
    handler = type("Handler", (_Handler,), {"exchange": exchange})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    exchange.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield exchange
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
