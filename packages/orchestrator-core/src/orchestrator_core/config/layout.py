"""Decides where an installation keeps its files: one folder by LLORCH_HOME, else the XDG folders.

Every path that more than one program knows is a property here, and nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_core.errors import Code, Refusal, error_for

__all__ = ["ORCHESTRATORD", "POOL_MANAGERD", "Layout"]

ORCHESTRATORD: Final = "orchestratord"
POOL_MANAGERD: Final = "pool-managerd"

_FOLDER: Final = "llorch"


@dataclass(frozen=True, slots=True)
class Layout:
    """The four roots of one installation; several of them live side by side on one machine.

    catalog is the file that takes the place of the packaged catalogue of models, if one does.
    """

    config: Path
    data: Path
    state: Path
    cache: Path
    catalog: Path | None = None

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Layout":
        """Read the roots from an environment; nothing is created."""
        catalog = _named(env, "LLORCH_CATALOG")
        root = _named(env, "LLORCH_HOME")
        if root is not None:
            return cls(root / "config", root / "data", root / "state", root / "cache", catalog)
        user = Path(env["HOME"]) if env.get("HOME") else Path.home()
        return cls(
            config=_xdg(env, "XDG_CONFIG_HOME", user / ".config"),
            data=_xdg(env, "XDG_DATA_HOME", user / ".local/share"),
            state=_xdg(env, "XDG_STATE_HOME", user / ".local/state"),
            cache=_xdg(env, "XDG_CACHE_HOME", user / ".cache"),
            catalog=catalog,
        )

    @property
    def run_folder(self) -> Path:
        """Run files of the daemons."""
        return self.state / "run"

    @property
    def log_folder(self) -> Path:
        """What daemons write to stdout and stderr."""
        return self.state / "log"

    def log_file(self, daemon: str) -> Path:
        """The log of one daemon."""
        return self.log_folder / f"{daemon}.log"

    def config_file(self, name: str) -> Path:
        """The settings file of `orchestrator`, `pool` or `llorch`."""
        return self.config / f"{name}.toml"

    @property
    def admin_key(self) -> Path:
        """The key that the first start of orchestratord makes for this user."""
        return self.state / "admin.key"

    @property
    def local_pool_key(self) -> Path:
        """The key by which the pool of this machine registers."""
        return self.state / "local-pool.key"

    @property
    def known_hosts(self) -> Path:
        """The host keys that `llorch host trust` has accepted, as OpenSSH writes them."""
        return self.state / "known_hosts"

    @property
    def host_secrets(self) -> Path:
        """The keys and certificates of the pools of other hosts that this user has enrolled."""
        return self.state / "hosts"

    @property
    def models_folder(self) -> Path:
        """Where models lie, unless the settings of the pool name another place."""
        return self.data / "models"

    @property
    def user_catalog(self) -> Path:
        """The models that the user has added to the packaged catalogue."""
        return self.config / "catalog.toml"

    @property
    def orchestrator_folder(self) -> Path:
        """Everything orchestratord must not lose."""
        return self.data / "orchestrator"

    @property
    def database(self) -> Path:
        """The jobs, their events and the keys."""
        return self.orchestrator_folder / "orchestrator.db"

    @property
    def orchestrator_ssh_key(self) -> Path:
        """The key by which orchestratord logs in at its hosts."""
        return self.orchestrator_folder / "ssh_key"

    @property
    def orchestrator_lock(self) -> Path:
        """Held by orchestratord for life: one daemon per database."""
        return self.orchestrator_folder / "orchestrator.lock"

    @property
    def pool_folder(self) -> Path:
        """What a pool remembers of its workers."""
        return self.state / "pool"

    @property
    def pool_lock(self) -> Path:
        """Held by pool-managerd for life and by a direct command for one act."""
        return self.pool_folder / "pool.lock"

    @property
    def pool_drain(self) -> Path:
        """There while the pool drains."""
        return self.pool_folder / "drain.json"

    @property
    def pool_instance(self) -> Path:
        """The id of this installation's pool, which marks its workers."""
        return self.pool_folder / "instance"

    @property
    def pool_key(self) -> Path:
        """The key that opens the pool's own API to this user."""
        return self.pool_folder / "pool.key"

    @property
    def pool_tls_cert(self) -> Path:
        """The certificate that the pool has made for its port."""
        return self.pool_folder / "tls.crt"

    @property
    def pool_tls_key(self) -> Path:
        """The private key of that certificate."""
        return self.pool_folder / "tls.key"

    @property
    def pool_join_token(self) -> Path:
        """The one-time token that an orchestrator shows through SSH to get its credential."""
        return self.pool_folder / "join.token"

    @property
    def pool_join_lock(self) -> Path:
        """Held by a command while it makes this host a pool of somebody, or undoes that."""
        return self.pool_folder / "join.lock"

    @property
    def pool_credential(self) -> Path:
        """What is left of that credential here: its hash."""
        return self.pool_folder / "orchestrator.cred"

    @property
    def pool_orchestrator_key(self) -> Path:
        """The key that this pool got when it joined an orchestrator by itself."""
        return self.pool_folder / "orchestrator.key"

    @property
    def pool_orchestrator_ca(self) -> Path:
        """The certificate by which this pool knows the orchestrator that it joined."""
        return self.pool_folder / "orchestrator.crt"

    @property
    def worker_records(self) -> Path:
        """One record and one key file per worker."""
        return self.pool_folder / "workers"

    @property
    def worker_logs(self) -> Path:
        """One log per worker."""
        return self.pool_folder / "logs"


def _named(env: Mapping[str, str], name: str) -> Path | None:
    text = env.get(name)
    if not text:
        return None
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        line = f"{name} is {text}: this machine has no such user"
        raise error_for(Refusal(Code.CONFIG_INVALID, line)) from error


def _xdg(env: Mapping[str, str], name: str, default: Path) -> Path:
    # The XDG specification says that a relative path is invalid and to be ignored.
    given = Path(env.get(name, ""))
    return (given if given.is_absolute() else default) / _FOLDER
