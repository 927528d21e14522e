"""Keys: made, listed and revoked by administrators; the text of a key is shown once."""

from collections.abc import Callable, Sequence
from pathlib import Path

from fastapi import Request, Response
from pydantic import SecretStr

from orchestrator_core.clock import rfc3339
from orchestrator_core.contracts.keys import (
    KeyCreated,
    KeyList,
    KeyOrder,
    KeyScope,
    KeyView,
)
from orchestrator_core.errors import Refusal, error_for
from orchestratord.api.control.holder import holder_of
from orchestratord.runtime.keys.key_desk import KeyDesk
from orchestratord.runtime.keys.keyring import KeyRing
from orchestratord.store.rows import KeyRow

__all__ = ["KeyHandlers"]


class KeyHandlers:
    """The routes of /v2/keys."""

    def __init__(
        self, *, desk: KeyDesk, keys: KeyRing, model_id: Callable[[str], str | Refusal]
    ) -> None:
        self._desk = desk
        self._keys = keys
        self._model_id = model_id

    async def create(self, request: Request, response: Response, body: KeyOrder) -> KeyCreated:
        """Make a key."""
        models = None if body.models is None else self._ids_of(body.models)
        made = await self._desk.create(body, models, holder_of(request).key_id)
        if isinstance(made, Refusal):
            raise error_for(made)
        row, token = made
        response.headers["cache-control"] = "no-store"
        return KeyCreated(**_view(row).model_dump(), key=SecretStr(token))

    async def show_all(self) -> KeyList:
        """List all keys, revoked and expired ones too."""
        return KeyList(items=[_view(row) for row in self._keys.rows()])

    async def revoke(self, request: Request, id: str) -> KeyView:  # noqa: A002 - the path's name.
        """Revoke a key."""
        row = await self._desk.revoke(id, holder_of(request).key_id)
        if isinstance(row, Refusal):
            raise error_for(row)
        path = self._keys.file_of(row.id)
        view = _view(row)
        return view if path is None else view.model_copy(update={"note": _note(path)})

    def _ids_of(self, names: Sequence[str]) -> list[str]:
        ids: dict[str, None] = {}
        for name in names:
            found = self._model_id(name)
            if isinstance(found, Refusal):
                raise error_for(found)
            ids[found] = None
        return list(ids)


def _note(path: Path) -> str:
    return f"{path} still holds this key: it is written anew at the next start of orchestratord"


def _view(row: KeyRow) -> KeyView:
    return KeyView(
        id=row.id,
        name=row.name,
        scopes=tuple(KeyScope(scope) for scope in row.scopes),
        models=row.models,
        priority=row.priority,
        weight=row.weight,
        requests_per_minute=row.requests_per_minute,
        concurrent_jobs=row.concurrent_jobs,
        created_at=rfc3339(row.created_at_ms),
        expires_at=_time(row.expires_at_ms),
        revoked_at=_time(row.revoked_at_ms),
        last_used_at=_time(row.last_used_at_ms),
    )


def _time(unix_ms: int | None) -> str | None:
    return None if unix_ms is None else rfc3339(unix_ms)
