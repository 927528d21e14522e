"""Makes this host a pool of an orchestrator that it reaches by itself, and undoes that.

The daemon is started with its TLS port before the token is shown, since the orchestrator pins the
certificate of that port. What goes wrong before the join leaves the settings as they were.
"""

import contextlib
import errno
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from orchestrator_core.clients.approach import facing_address
from orchestrator_core.clients.orchestrator import OrchestratorClient
from orchestrator_core.clients.pool import PoolClient
from orchestrator_core.clients.trust import Trust
from orchestrator_core.console.daemons import Daemons
from orchestrator_core.console.endpoints import key_for
from orchestrator_core.console.programs import POOL_MANAGERD
from orchestrator_core.contracts.control import RunFile
from orchestrator_core.contracts.joining import JoinRequest
from orchestrator_core.contracts.pool import PoolStatusView
from orchestrator_core.errors import Code, LlorchError, Refusal, error_for
from orchestrator_core.platforms import files
from pool_ctl.pools.hub import Hub
from pool_ctl.pools.keepsakes import Keepsakes, Known
from pool_ctl.pools.settings_file import SettingsFile
from pool_ctl.pools.settings_text import Setting
from pool_ctl.settings import CliSettings

__all__ = ["JoinOrder", "Joining", "Membership"]

_GRACE_S: Final = 20.0
_FIRST_BEAT_S: Final = 30.0
_PORT: Final = 9200
_KEY: Final = re.compile(r"[\x21-\x7e]{16,512}")
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class JoinOrder:
    """What a person has said; pin is the certificate that was fetched by its fingerprint."""

    hub: Hub
    token: str
    ca: Path | None = None
    pin: str | None = None
    name: str | None = None
    bind: str | None = None


@dataclass(frozen=True, slots=True)
class Membership:
    """A pool of an orchestrator; fresh when this command made it one."""

    pool_id: str
    url: str
    endpoint: str
    fresh: bool


class Joining:
    """Joins and leaves, with the daemon of this installation."""

    def __init__(self, settings: CliSettings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._layout = settings.layout
        self._daemons: Daemons = settings.daemons()
        self._file = SettingsFile(settings.layout.config_file("pool"))
        self._keepsakes = Keepsakes(settings.layout, self._file)
        self._say = say

    @contextlib.contextmanager
    def alone(self) -> Generator[None]:
        """Let no second command change whose pool this host is; a full disk is one line."""
        lock = files.FileLock(self._layout.pool_join_lock)
        try:
            files.ensure_folder(self._layout.pool_folder)
            if not lock.try_acquire():
                raise error_for(_at_work(lock.holder_pid()))
            try:
                yield
            finally:
                lock.release()
        except OSError as error:
            raise error_for(_unwritable(self._layout.pool_folder, error)) from error

    def join(self, order: JoinOrder) -> Membership:
        """Become a pool; once more with the same words changes nothing."""
        member = self._member_of(order)
        if member is not None:
            return member
        self._ask_whether_it_lives(order.hub)
        before = self._file.read() if self._file.target.exists() else None
        was_running = self._daemons.running(POOL_MANAGERD) is not None
        if was_running:
            self._say("pool-managerd is started again; its workers run on")
        try:
            pool_id = self._become(order)
        except BaseException:
            # Also when a person interrupts: what a failed join has changed is nobody's wish.
            self._put_back(before, was_running=was_running)
            raise
        self._say(f"{order.hub.url} has taken this host as pool {pool_id}")
        run = self._restart()
        self._wait_for_beat(order.hub.url, run)
        return Membership(pool_id, order.hub.url, run.url, fresh=True)

    def leave(self) -> str | None:
        """Report to nobody any more; the address of whom it was, None where it was nobody."""
        url = self._named_orchestrator()
        was_running = self._daemons.running(POOL_MANAGERD) is not None
        self._keepsakes.forget()
        if was_running:
            self._restart()
        return url

    def _become(self, order: JoinOrder) -> str:
        """Show the token, and keep what is told for it."""
        run = self._open_port(order)
        request = self._request(order, run)
        known = Known(order.hub.url, order.ca, order.pin)
        with (
            self._keepsakes.made_ready(known, request.pool_id) as keep,
            OrchestratorClient(order.hub.url, None, trust=order.hub.trust) as hub,
        ):
            joined = hub.join(request)
            key = joined.key.get_secret_value()
            if joined.pool_id != request.pool_id or not _KEY.fullmatch(key):
                raise error_for(_confused(order.hub.url))
            keep(key)
        return request.pool_id

    def _member_of(self, order: JoinOrder) -> Membership | None:
        run = self._daemons.running(POOL_MANAGERD)
        if run is None or not self._layout.pool_orchestrator_key.exists():
            return None
        status = self._status(run)
        same_name = order.name in (None, status.pool_id)
        if status.orchestrator_url != order.hub.url or not status.orchestrator_connected:
            return None
        return (
            Membership(status.pool_id, order.hub.url, run.url, fresh=False) if same_name else None
        )

    def _ask_whether_it_lives(self, hub: Hub) -> None:
        with OrchestratorClient(hub.url, None, trust=hub.trust) as client:
            client.live()

    def _open_port(self, order: JoinOrder) -> RunFile:
        """Let the daemon listen where the orchestrator can reach it, by its certificate."""
        changes: dict[str, Setting] = {"tls": True}
        if order.name is not None:
            changes["pool_id"] = order.name
        bind = order.bind or self._bind_for(order.hub)
        if bind is not None:
            changes["bind"] = bind
        self._file.change(changes)
        run = self._restart()
        self._refuse_hidden(order.hub, run)
        return run

    def _bind_for(self, hub: Hub) -> str | None:
        """Where to listen when nobody says; None leaves it as it is."""
        run = self._daemons.running(POOL_MANAGERD)
        if hub.is_here or (run is not None and not Hub(run.url).is_here):
            return None
        address = facing_address(hub.host, hub.port)
        if isinstance(address, Refusal):
            raise error_for(address)
        port = _PORT if run is None else Hub(run.url).port
        return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

    def _refuse_hidden(self, hub: Hub, run: RunFile) -> None:
        if hub.is_here or not Hub(run.url).is_here:
            return
        text = f"pool-managerd listens at {run.url}, which {hub.host} cannot reach: give --bind"
        hint = (
            " (LLORCH_POOL_BIND is set and wins)"
            if "LLORCH_POOL_BIND" in self._settings.env
            else ""
        )
        raise error_for(Refusal(Code.CONFIG_INVALID, f"{text} HOST:PORT{hint}"))

    def _request(self, order: JoinOrder, run: RunFile) -> JoinRequest:
        if run.ca_file is None:
            text = "pool-managerd speaks plain HTTP: take LLORCH_POOL_TLS out of the environment"
            raise error_for(Refusal(Code.CONFIG_INVALID, text))
        return JoinRequest(
            token=SecretStr(order.token),
            pool_id=order.name or self._status(run).pool_id,
            endpoint=run.url,
            version=metadata.version("llorch-pool-ctl"),
            certificate=_first_certificate(Path(run.ca_file)),
        )

    def _put_back(self, text: str | None, *, was_running: bool) -> None:
        try:
            if text is None:
                self._file.target.unlink(missing_ok=True)
            else:
                self._file.write(text)
            if was_running:
                self._restart()
            else:
                self._daemons.stop(POOL_MANAGERD, grace_s=_GRACE_S)
        except (LlorchError, OSError) as error:
            # Why the join failed matters more; that is told after this.
            self._say(f"{self._file.path} could not be put back as it was: {error}")

    def _restart(self) -> RunFile:
        """Workers run on meanwhile and are taken over."""
        self._daemons.stop(POOL_MANAGERD, grace_s=_GRACE_S)
        return self._daemons.start(POOL_MANAGERD).run

    def _wait_for_beat(self, url: str, run: RunFile) -> None:
        pace = self._daemons.pace
        deadline_s = pace.monotonic_s() + _FIRST_BEAT_S
        while not self._status(run).orchestrator_connected:
            if pace.monotonic_s() >= deadline_s:
                text = f"this host has joined, but {url} has not heard it yet: "
                text += "llorch-pool daemon logs says why"
                raise error_for(Refusal(Code.TIMEOUT, text))
            pace.pause(pace.step_s)

    def _status(self, run: RunFile) -> PoolStatusView:
        trust = Trust.in_run_file(run)
        key = key_for(run.url, env={}, key_file=self._layout.pool_key, trust=trust)
        with PoolClient(run.url, key, trust=trust) as pool:
            return pool.status()

    def _named_orchestrator(self) -> str | None:
        named = self._file.value("orchestrator_url")
        if isinstance(named, str):
            return named
        run = self._daemons.running(POOL_MANAGERD)
        return None if run is None else self._status(run).orchestrator_url


def _at_work(pid: int | None) -> Refusal:
    who = "another command" if pid is None else f"process {pid}"
    text = f"{who} is joining or leaving an orchestrator at this moment: try again when it is done"
    return Refusal(Code.CONFLICT, text)


def _confused(url: str) -> Refusal:
    text = f"{url} does not answer like orchestratord: what it gave for the token is no pool's key"
    return Refusal(Code.INTERNAL, text)


def _unwritable(folder: Path, error: OSError) -> Refusal:
    code = Code.DISK_LOW if error.errno in _FULL else Code.CONFIG_INVALID
    where = error.filename or folder
    return Refusal(code, f"{where} cannot be written: {error.strerror or error}")


def _first_certificate(path: Path) -> str:
    """The pool's own certificate, without those that vouch for it."""
    try:
        text = path.read_text("ascii")
        return text[text.index(_BEGIN) : text.index(_END) + len(_END)] + "\n"
    except (OSError, ValueError) as error:
        line = f"{path} holds no certificate in PEM form"
        raise error_for(Refusal(Code.CONFIG_INVALID, line)) from error
