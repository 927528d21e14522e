"""POST /v2/tasks: the durable job's way in; the answer is sent when the job is on disk."""

from typing import Final

from orchestrator_core.contracts.tasks import TaskSubmit
from orchestrator_core.errors import Refusal
from orchestratord.api.request import JSON, Request, header, headers_named
from orchestratord.serving.admission.classes import read_class
from orchestratord.serving.admission.records import Envelope, Ticket
from orchestratord.serving.admission.twins import key_fault, submission_hash
from orchestratord.serving.gate import Admitted, Gate

__all__ = ["SubmitHandler"]

_REPLAYED: Final = (b"idempotent-replayed", b"true")


class SubmitHandler:
    """Queues a job, or names the one that the same request has queued before."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def __call__(self, request: Request) -> None:
        """Serve one submission."""
        admitted = await self._admit(request)
        if isinstance(admitted, Refusal):
            await request.refuse(admitted)
            return
        headers = (JSON, _REPLAYED) if admitted.replayed else (JSON,)
        await request.reply(202, admitted.accepted.model_dump_json().encode(), headers)

    async def _admit(self, request: Request) -> Admitted | Refusal:
        asked = read_class(header(request.scope, b"x-llorch-priority"))
        if isinstance(asked, Refusal):
            return asked
        keys = headers_named(request.scope, b"idempotency-key")
        fault = key_fault(*keys) if keys else None
        if fault is not None:
            return fault
        task = await request.parsed(TaskSubmit)
        if isinstance(task, Refusal):
            return task
        ticket = Ticket(keys[0], submission_hash(task)) if keys else None
        return await self._gate.admit_task(
            request.holder, task, Envelope(request.size_bytes, asked, ticket)
        )
