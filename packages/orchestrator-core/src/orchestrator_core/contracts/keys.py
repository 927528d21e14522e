"""API keys and what was used with them: orders to make a key, and how keys and usage are shown."""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, field_serializer

from orchestrator_core.contracts.base import Fact, Order
from orchestrator_core.contracts.tasks import Priority

__all__ = ["KeyCreated", "KeyList", "KeyOrder", "KeyScope", "KeyView", "UsageList", "UsageView"]


class KeyScope(StrEnum):
    """What a key opens; operator includes user, admin includes both and metrics."""

    USER = "user"
    OPERATOR = "operator"
    ADMIN = "admin"
    POOL = "pool"
    METRICS = "metrics"


def _shown_as_it_is(name: str) -> str:
    # Names stand in logs and on terminals: nothing in them may steer, break or turn a line.
    if not name.isprintable():
        raise ValueError("holds characters that cannot be shown: use letters, digits and blanks")
    return name


KeyName = Annotated[
    str, StringConstraints(min_length=1, max_length=64), AfterValidator(_shown_as_it_is)
]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class KeyOrder(Order):
    """A key as an administrator wants it; no models means all of them."""

    name: KeyName
    scopes: Annotated[tuple[KeyScope, ...], Field(min_length=1, max_length=5)] = (KeyScope.USER,)
    models: Annotated[tuple[ModelName, ...], Field(min_length=1, max_length=256)] | None = None
    priority: Priority = Priority.INTERACTIVE
    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    concurrent_jobs: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    expires_in_s: Annotated[int, Field(ge=1, le=10 * 366 * 86_400)] | None = None


class KeyView(Fact):
    """A key as it is listed: never its text."""

    id: str
    name: str
    scopes: tuple[KeyScope, ...]
    models: tuple[str, ...] | None = None
    priority: Priority = Priority.INTERACTIVE
    weight: int = 1
    requests_per_minute: int | None = None
    concurrent_jobs: int | None = None
    created_at: str
    expires_at: str | None = None
    revoked_at: str | None = None
    last_used_at: str | None = None
    note: str | None = None
    """What a person should know after a change."""


class KeyCreated(KeyView):
    """A fresh key with its text, which is shown this once and kept nowhere."""

    key: SecretStr

    @field_serializer("key")
    def _tell_once(self, key: SecretStr) -> str:
        return key.get_secret_value()


class KeyList(Fact):
    """All keys, revoked and expired ones too."""

    items: list[KeyView]


class UsageView(Fact):
    """What one key used of one model."""

    key_id: str
    key_name: str | None = None
    model: str
    jobs: int
    completed: int
    prompt_tokens: int
    completion_tokens: int


class UsageList(Fact):
    """Usage per key and model, the most used first."""

    items: list[UsageView]
    since: str | None = None
