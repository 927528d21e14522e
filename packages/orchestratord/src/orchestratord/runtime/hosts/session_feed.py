"""Feeds the messages of a pool's session stream to the desk that pushed messages reach as well.

Each message is answered; one that makes no sense is answered with the reason.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from pydantic import ValidationError

from orchestrator_core.clients.pool import AsyncPoolClient
from orchestrator_core.contracts.control import ErrorBody
from orchestrator_core.contracts.pool import (
    Heartbeat,
    HeartbeatReply,
    PoolRegister,
    PoolRegistered,
)
from orchestrator_core.contracts.session import SESSION_BEAT, SESSION_REGISTER, SessionAnswer
from orchestrator_core.errors import Code, LlorchError, Refusal, error_for
from orchestrator_core.ids import PoolId
from orchestrator_core.stream.sse import SseEvent

__all__ = ["Beat", "Register", "SessionFeed"]

Register = Callable[[PoolRegister], Awaitable[PoolRegistered]]
Beat = Callable[[PoolId, Heartbeat], Awaitable[HeartbeatReply]]

# What is a number, but for no message of ours.
_ID_DIGITS: Final = 18


class SessionFeed:
    """One pool's stream, whose messages may speak for this pool only."""

    def __init__(
        self,
        pool_id: PoolId,
        *,
        register: Register,
        beat: Beat,
        on_word: Callable[[], None],
        on_refused: Callable[[Refusal], None],
    ) -> None:
        self._pool_id = pool_id
        self._register = register
        self._beat = beat
        self._on_word = on_word
        self._on_refused = on_refused

    async def carry(self, client: AsyncPoolClient, silence_s: float) -> None:
        """Hold the stream until it ends; whatever breaks it is an error of the tree."""
        async with client.session(silence_s=silence_s) as events:
            async for event in events:
                answer = await self.answer_to(event)
                if answer is not None:
                    await _send(client, answer)

    async def answer_to(self, event: SseEvent) -> SessionAnswer | None:
        """Hand a message on and word the answer; None for what is no message to us."""
        number = _number(event.id)
        if number is None:
            return None
        try:
            match event.event:
                case kind if kind == SESSION_REGISTER:
                    answer = await self._on_register(number, event.data)
                case kind if kind == SESSION_BEAT:
                    answer = await self._on_beat(number, event.data)
                case _:
                    # A newer pool may say more than we understand.
                    return None
        except ValidationError as error:
            return self._refused(number, event.event, _not_understood(error))
        except LlorchError as error:
            return self._refused(number, event.event, error.refusal)
        self._on_word()
        return answer

    async def _on_register(self, number: int, data: str) -> SessionAnswer:
        told = PoolRegister.model_validate_json(data)
        self._check_name(told.pool_id)
        return SessionAnswer(id=number, registered=await self._register(told))

    async def _on_beat(self, number: int, data: str) -> SessionAnswer:
        told = Heartbeat.model_validate_json(data)
        self._check_name(told.pool_id)
        return SessionAnswer(id=number, reply=await self._beat(self._pool_id, told))

    def _check_name(self, pool_id: str) -> None:
        if pool_id != self._pool_id:
            text = f"this is the session of pool {self._pool_id}, not of {pool_id}"
            raise error_for(Refusal(Code.INVALID_REQUEST, text))

    def _refused(self, number: int, kind: str, refusal: Refusal) -> SessionAnswer:
        if kind == SESSION_REGISTER:
            # A beat that is refused is followed by a registration, which shows what is wrong.
            self._on_refused(refusal)
        body = ErrorBody(code=refusal.code, message=refusal.message)
        return SessionAnswer(id=number, error=body)


async def _send(client: AsyncPoolClient, answer: SessionAnswer) -> None:
    try:
        await client.answer(answer)
    except LlorchError as error:
        # A pool that has not waited says it again, and a newer stream of it is no reason to stop.
        if error.code is not Code.CONFLICT:
            raise


def _number(event_id: str | None) -> int | None:
    known = event_id is not None and event_id.isascii() and event_id.isdecimal()
    number = int(event_id) if event_id and known and len(event_id) <= _ID_DIGITS else 0
    return number or None


def _not_understood(error: ValidationError) -> Refusal:
    found = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in found["loc"]) or "the message"
    return Refusal(Code.INVALID_REQUEST, f"{where}: {found['msg']}")
