"""Downloads one file through the hub's own program `hf`, for those who ask for it.

The program is told its token by its environment, never by its command line, and runs on a leash:
it ends with us, however we end. It checks no content: what it leaves behind is unverified.
"""

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from orchestrator_core.clock import Clock
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.platforms import detached
from orchestrator_core.platforms.files import ensure_folder
from pool_core.fetch.cancel import Cancel
from pool_core.fetch.hf_command import HfOrder, failure_line, hf_argv, hf_environment
from pool_core.fetch.leash import leashed_argv
from pool_core.fetch.settings import HubSettings

__all__ = ["HfProgram"]

_LOOK_EVERY_S: Final = 0.25
_SILENCE_MAX_S: Final = 900.0
_WATCHED_MAX: Final = 1000
_ERRORS_TAIL_BYTES: Final = 8192
_INSTALL: Final = "pipx install huggingface_hub, or leave out --via hf"


class HfProgram:
    """The program at one path, and the hub that it is to ask."""

    def __init__(
        self, path: Path, settings: HubSettings, env: Mapping[str, str], clock: Clock
    ) -> None:
        self.path = path
        self._settings = settings
        self._env = env
        self._clock = clock

    @classmethod
    def find(
        cls, settings: HubSettings, env: Mapping[str, str], clock: Clock, *, beside: Path
    ) -> "HfProgram | Refusal":
        """Look for it on PATH, then beside the interpreter that runs us."""
        places = (env.get("PATH", ""), str(beside.parent))
        found = (shutil.which("hf", path=place) for place in places if place)
        path = next((path for path in found if path is not None), None)
        if path is None:
            text = f"the program hf is not installed here: {_INSTALL}"
            return Refusal(Code.NOT_FOUND, text)
        return cls(Path(path).absolute(), settings, env, clock)

    def fetch(
        self, order: HfOrder, *, tell: Callable[[int], None], cancel: Cancel
    ) -> Path | Refusal:
        """Run it until it ends, telling the bytes that are there; the file is not verified.

        The folder stays in any case, so that a later run of the program may use what is in it.
        """
        if self._settings.offline:
            text = "HF_HUB_OFFLINE=1 is set, so hf would not fetch anything: unset it"
            return Refusal(Code.UNREACHABLE, text)
        ensure_folder(order.folder)
        errors = order.folder / "hf.log"
        errors.unlink(missing_ok=True)
        env = hf_environment(self._env, self._settings, home=order.folder / "home")
        try:
            argv = leashed_argv(hf_argv(self.path, order))
            process = detached.start(argv, log_path=errors, env=env, cwd=order.folder, leashed=True)
        except OSError as error:
            text = f"{self.path} cannot be started: {error.strerror}: {_INSTALL}"
            return Refusal(Code.INTERNAL, text)
        try:
            fault = self._watch(process, order, tell, cancel)
        finally:
            detached.end(process)
        found = fault or self._outcome(process.returncode, order, _tail(errors))
        if isinstance(found, Path):
            # It may have ended between two looks, and the last one saw less.
            tell(order.file.size_bytes)
        return found

    def _watch(
        self,
        process: subprocess.Popen[bytes],
        order: HfOrder,
        tell: Callable[[int], None],
        cancel: Cancel,
    ) -> Refusal | None:
        done_bytes, moved_at = -1, self._clock.monotonic_s()
        while not cancel.is_set():
            there = min(_bytes_there(order), order.file.size_bytes)
            if there != done_bytes:
                done_bytes, moved_at = there, self._clock.monotonic_s()
                tell(done_bytes)
            elif self._clock.monotonic_s() - moved_at > _SILENCE_MAX_S:
                text = f"hf has brought nothing of {order.file.path} for {_SILENCE_MAX_S:.0f} s"
                return Refusal(Code.TIMEOUT, f"{text}: try again without --via hf")
            try:
                process.wait(_LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                continue
            return None
        return Refusal(Code.CANCELLED, f"the download of {order.file.path} was cancelled")

    def _outcome(self, code: int, order: HfOrder, errors: str) -> Path | Refusal:
        name = order.file.path
        if code != 0:
            token = self._settings.token
            secret = token.get_secret_value() if token is not None else None
            reason = failure_line(errors, secret) or f"it ended with code {code}"
            text = f"hf could not download {name}: {reason}"
            return Refusal(Code.UNREACHABLE, text, {"repo": order.repo, "exit_code": code})
        path = order.target
        try:
            status = path.lstat()
        except OSError:
            return Refusal(Code.INTERNAL, f"hf said that it downloaded {name}, but left no file")
        if not stat.S_ISREG(status.st_mode) or status.st_size != order.file.size_bytes:
            wanted = order.file.size_bytes
            text = f"hf left {status.st_size} bytes of {name}, which has {wanted}: try again"
            return Refusal(Code.DATA_CORRUPT, text)
        return path


def _bytes_there(order: HfOrder) -> int:
    """How much has come: the file itself, or the largest unfinished one."""
    sizes = [_size(order.target)]
    unfinished = order.files / ".cache" / "huggingface" / "download"
    for folder, _, names in os.walk(unfinished):
        place = Path(folder)
        sizes += [_size(place / name) for name in names[:_WATCHED_MAX] if _is_unfinished(name)]
    return max(sizes)


def _is_unfinished(name: str) -> bool:
    return name.endswith(".incomplete")


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - _ERRORS_TAIL_BYTES))
            return stream.read(_ERRORS_TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
