"""Decides who becomes this pool's orchestrator where only SSH is open: whoever shows its token.

The token lies in a file that `llorch host add` has written; the credential that is made of it is
told once and kept as a hash. A token counts once, unless its credential was never used: then the
answer was lost on its way, and showing the token again draws a new credential.
"""

import asyncio
import errno
import hashlib
import hmac
import os
import secrets
import stat
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from pydantic import ValidationError

from orchestrator_core.contracts.base import Fact
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.platforms import files
from pool_managerd.runtime.keyring import Keyring

__all__ = ["Credential", "JoinDesk", "WaitingToken", "judge_token"]

TOKEN_LIFE_S: Final = 24 * 3600.0

_KEY_BYTES: Final = 32
_TOKEN_LIMIT_BYTES: Final = 1024
# A shorter one could be guessed; what an enrolment lays is much longer.
_TOKEN_MIN_BYTES: Final = 16
_WRONG_PER_MINUTE: Final = 10
_MINUTE_S: Final = 60.0
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_NEXT: Final = "enrol this host again with: llorch host add"

_log: Final = structlog.stdlib.get_logger()


class Credential(Fact):
    """What is kept of a join: hashes, when it was, and whether the credential has ever been used."""

    sha256: str
    token_sha256: str
    joined_unix_s: float
    used: bool = False


@dataclass(frozen=True, slots=True)
class WaitingToken:
    """The token that lies on this host, as its hash, and how old its file is."""

    sha256: str
    age_s: float


def judge_token(
    shown_sha256: str, waiting: WaitingToken | None, last: Credential | None, now_unix_s: float
) -> Refusal | None:
    """Say why this token opens nothing, or None: pure."""
    if last is not None and hmac.compare_digest(shown_sha256, last.token_sha256):
        if last.used:
            return _bad(f"this token was used already: {_NEXT}")
        return _expired(now_unix_s - last.joined_unix_s)
    if waiting is None:
        return _bad(f"no token waits on this host: {_NEXT}")
    if not hmac.compare_digest(shown_sha256, waiting.sha256):
        return _bad(f"this is not the token that waits on this host: {_NEXT}")
    return _expired(waiting.age_s)


class JoinDesk:
    """Takes tokens, hands out credentials, and remembers their hash across restarts."""

    def __init__(
        self,
        *,
        token_file: Path,
        credential_file: Path,
        keyring: Keyring,
        unix_s: Callable[[], float],
        monotonic_s: Callable[[], float],
        on_joined: Callable[[], None],
    ) -> None:
        self._token_file = token_file
        self._credential_file = credential_file
        self._keyring = keyring
        self._unix_s = unix_s
        self._monotonic_s = monotonic_s
        self._on_joined = on_joined
        self._turn = asyncio.Lock()
        self._wrong: deque[float] = deque(maxlen=_WRONG_PER_MINUTE)
        self._last = _read_credential(credential_file)
        if self._last is not None:
            keyring.admit_joined(self._last.sha256)

    async def join(self, token: str) -> str | Refusal:
        """Give the credential for a token; the one before it opens nothing from then on."""
        async with self._turn:
            shown, now_s = _sha256(token), self._unix_s()
            waiting = await asyncio.to_thread(_read_token, self._token_file, now_s)
            refusal = judge_token(shown, waiting, self._last, now_s)
            if refusal is not None:
                return self._turn_away(refusal)
            return await self._admit(shown, now_s)

    async def note_use(self) -> None:
        """The credential was shown: from now on its token opens nothing."""
        async with self._turn:
            if self._last is None or self._last.used:
                return
            used = self._last.model_copy(update={"used": True})
            try:
                await asyncio.to_thread(_store, self._credential_file, used)
            except OSError as error:
                # It works without; the token of this credential is good for a day at most.
                _log.warning("join.not_stored", reason=str(error))
            self._last = used

    async def _admit(self, token_sha256: str, now_unix_s: float) -> str | Refusal:
        key = secrets.token_hex(_KEY_BYTES)
        fresh = Credential(sha256=_sha256(key), token_sha256=token_sha256, joined_unix_s=now_unix_s)
        try:
            await asyncio.to_thread(_store, self._credential_file, fresh)
        except OSError as error:
            code = Code.DISK_LOW if error.errno in _FULL else Code.INTERNAL
            reason = error.strerror or error
            return Refusal(code, f"{self._credential_file} cannot be written: {reason}")
        self._last = fresh
        self._keyring.admit_joined(fresh.sha256)
        await asyncio.to_thread(self._drop_token)
        _log.info("join.accepted")
        self._on_joined()
        return key

    def _drop_token(self) -> None:
        try:
            self._token_file.unlink(missing_ok=True)
        except OSError as error:
            # Its hash is on record, so that it opens nothing once its credential was used.
            _log.warning("join.token_left", path=str(self._token_file), reason=str(error))

    def _turn_away(self, refusal: Refusal) -> Refusal:
        """Tell why, unless somebody guesses; the right token counts even then."""
        now_s = self._monotonic_s()
        if len(self._wrong) == _WRONG_PER_MINUTE and self._wrong[0] + _MINUTE_S > now_s:
            wait_s = int(self._wrong[0] + _MINUTE_S - now_s) + 1
            text = f"{_WRONG_PER_MINUTE} wrong tokens within a minute: try again later"
            return Refusal(Code.RATE, text, retry_after_s=wait_s)
        self._wrong.append(now_s)
        _log.warning("join.refused", reason=refusal.message)
        return refusal


def _read_token(path: Path, now_unix_s: float) -> WaitingToken | None:
    try:
        # Neither a link to somebody else's file nor a pipe that never says anything.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, "rb") as stream:  # noqa: PTH123 - a descriptor, not a path
            facts = os.fstat(fd)
            if not _is_private(facts):
                return None
            text = stream.read(_TOKEN_LIMIT_BYTES).strip()
    except OSError:
        return None
    if len(text) < _TOKEN_MIN_BYTES:
        return None
    return WaitingToken(hashlib.sha256(text).hexdigest(), now_unix_s - facts.st_mtime)


def _is_private(facts: os.stat_result) -> bool:
    """Whoever else could read or write it may have done so."""
    is_ours = stat.S_ISREG(facts.st_mode) and facts.st_uid == os.geteuid()
    return is_ours and not facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def _read_credential(path: Path) -> Credential | None:
    try:
        return Credential.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        _log.warning("join.unreadable", path=str(path), hint=_NEXT)
        return None


def _store(path: Path, credential: Credential) -> None:
    files.write_atomically(path, f"{credential.model_dump_json()}\n".encode())


def _expired(age_s: float) -> Refusal | None:
    if age_s <= TOKEN_LIFE_S:
        return None
    return _bad(f"this token is older than a day: {_NEXT}")


def _bad(text: str) -> Refusal:
    return Refusal(Code.BAD_TOKEN, text)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
