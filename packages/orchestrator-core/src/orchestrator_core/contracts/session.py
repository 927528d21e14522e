"""A pool's session over a stream that its orchestrator holds open, where only SSH is open.

GET /session of the pool is an event stream: `register` carries a PoolRegister, `heartbeat` a
Heartbeat, each with an id. The orchestrator answers each by POST /session/answers.
"""

from typing import Annotated

from pydantic import Field, SecretStr, field_serializer, model_validator

from orchestrator_core.contracts.base import Order
from orchestrator_core.contracts.control import ErrorBody
from orchestrator_core.contracts.joining import TokenText
from orchestrator_core.contracts.pool import HeartbeatReply, PoolRegistered

__all__ = ["SESSION_BEAT", "SESSION_REGISTER", "SessionAnswer", "SessionJoin"]

SESSION_REGISTER = "register"
SESSION_BEAT = "heartbeat"


class SessionJoin(Order):
    """The one-time token that lies on the host: who shows it gets the credential of the pool."""

    token: TokenText

    @field_serializer("token", when_used="json")
    def _reveal(self, token: SecretStr) -> str:
        return token.get_secret_value()


class SessionAnswer(Order):
    """The orchestrator's answer to the message with this id: exactly one of the three."""

    id: Annotated[int, Field(ge=1)]
    registered: PoolRegistered | None = None
    reply: HeartbeatReply | None = None
    error: ErrorBody | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> "SessionAnswer":
        if sum(part is not None for part in (self.registered, self.reply, self.error)) != 1:
            raise ValueError("exactly one of registered, reply and error belongs into an answer")
        return self
