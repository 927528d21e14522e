"""How a job is put to whichever worker gets it: ours or somebody else's engine, whole or its rest.

Made by the gate and by recovery from the words of a request, asked by the pump of each attempt. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestratord.runtime.jobs.live import Beginning, EngineRequest
from orchestratord.runtime.workerbook import WorkerAddress
from orchestratord.serving.attempts.continuation import obstacles
from orchestratord.serving.attempts.engine_request import (
    asked_tokens,
    chat_request,
    rest_request,
    task_messages,
    task_request,
    template_request,
    token_limit,
)
from orchestratord.serving.attempts.external_request import external_chat, external_task
from orchestratord.upstream.loose import Json

__all__ = ["ChatWording", "TaskWording", "chat_wording", "task_wording"]


@dataclass(frozen=True, slots=True)
class TaskWording:
    """A stored submission."""

    submission: Json
    sampling: Mapping[str, object]
    default_max_tokens: int

    def __call__(self, worker: WorkerAddress) -> EngineRequest:
        """Word the whole request."""
        if worker.external is not None:
            return external_task(self.submission, worker.external)
        return task_request(
            self.submission,
            ctx=worker.ctx,
            default_max_tokens=self.default_max_tokens,
            defaults=self.sampling,
        )

    def obstacles(self, worker: WorkerAddress) -> tuple[str, ...]:
        """Why its answer cannot be continued by this worker."""
        return obstacles(self.submission, external=worker.external is not None)

    @property
    def has_one_choice(self) -> bool:
        """A job is never asked for several."""
        return True

    @property
    def limit(self) -> int:
        """How many tokens the whole answer may have."""
        return token_limit(asked_tokens(self.submission), None, self.default_max_tokens)

    def beginning(self) -> Beginning:
        """Tell what stands in front of the answer; a raw prompt is not rendered."""
        prompt = self.submission.get("prompt")
        if self.submission.get("raw") and isinstance(prompt, str):
            return Beginning(prompt, b"")
        return Beginning(None, template_request({"messages": task_messages(self.submission)}))

    def rest(
        self,
        worker: WorkerAddress,
        prompt: Sequence[str | int],
        max_tokens: int,
    ) -> EngineRequest:
        """Word the request for what is missing."""
        room = token_limit(max_tokens, worker.ctx, max_tokens)
        return rest_request(self.submission, self.sampling, prompt, room)


@dataclass(frozen=True, slots=True)
class ChatWording:
    """A call of the chat route."""

    fields: Json
    model: str
    sampling: Mapping[str, object]
    default_max_tokens: int

    def __call__(self, worker: WorkerAddress) -> EngineRequest:
        """Word the whole request."""
        if worker.external is not None:
            return external_chat(self.fields, worker.external)
        return chat_request(
            self.fields,
            model=self.model,
            ctx=worker.ctx,
            default_max_tokens=self.default_max_tokens,
            defaults=self.sampling,
        )

    def obstacles(self, worker: WorkerAddress) -> tuple[str, ...]:
        """Why its answer cannot be continued by this worker."""
        return obstacles(self.fields, external=worker.external is not None)

    @property
    def has_one_choice(self) -> bool:
        """True unless the call wants several."""
        return self.fields.get("n") in (None, 1)

    @property
    def limit(self) -> int:
        """How many tokens the whole answer may have."""
        return token_limit(asked_tokens(self.fields), None, self.default_max_tokens)

    def beginning(self) -> Beginning:
        """Tell what stands in front of the answer."""
        return Beginning(None, template_request(self.fields))

    def rest(
        self,
        worker: WorkerAddress,
        prompt: Sequence[str | int],
        max_tokens: int,
    ) -> EngineRequest:
        """Word the request for what is missing."""
        room = token_limit(max_tokens, worker.ctx, max_tokens)
        return rest_request(self.fields, self.sampling, prompt, room)


def task_wording(
    submission: Json, sampling: Mapping[str, object], default_max_tokens: int
) -> TaskWording:
    """Word a stored submission."""
    return TaskWording(submission, sampling, default_max_tokens)


def chat_wording(
    fields: Json, *, model: str, sampling: Mapping[str, object], default_max_tokens: int
) -> ChatWording:
    """Word a call of the chat route."""
    return ChatWording(fields, model, sampling, default_max_tokens)
