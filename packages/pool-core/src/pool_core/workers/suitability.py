"""Decides whether the engine can do with a model what the order asks of it: pure.

Judges the facts of the file's header; what only the tensors would show is left to the engine.
"""

from typing import Final

from orchestrator_core.contracts.pool import WorkerSpec
from orchestrator_core.contracts.tasks import TaskKind
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.fit.smaller import LEAST_CTX
from orchestrator_core.gguf.architectures import ENCODERS
from orchestrator_core.gguf.facts import ModelFacts
from pool_core.workers.engine_facts import EngineFacts
from pool_core.workers.spec import invalid

__all__ = ["check_model"]

# Files that accompany a model and are no language models themselves.
_PARTS: Final = {
    "clip": "the part of a model that reads images",
    "mmproj": "the part of a model that reads images",
    "adapter": "an adapter for another model",
    "wavtokenizer-dec": "the part of a model that speaks",
}


def check_model(order: WorkerSpec, facts: ModelFacts, engine: EngineFacts | None) -> Refusal | None:
    """Name the first thing that the engine cannot do with this model, or None."""
    name = facts.architecture
    if engine is not None and not engine.knows(name):
        return _incompatible(
            f"unknown model architecture {name}; engine {engine.build}",
            architecture=name,
            engine=engine.build,
        )
    return _check_task(order, facts) or _check_ctx(order, facts)


def _check_task(order: WorkerSpec, facts: ModelFacts) -> Refusal | None:
    model, name = order.model.model_id, facts.architecture
    if name in _PARTS:
        return _incompatible(
            f"{model} cannot {order.task.value}: its file is {_PARTS[name]}", architecture=name
        )
    if order.task is TaskKind.GENERATE and name in ENCODERS:
        return _incompatible(
            f"{model} cannot generate: a {name} model makes vectors, so use it with task embed",
            architecture=name,
        )
    return None


def _check_ctx(order: WorkerSpec, facts: ModelFacts) -> Refusal | None:
    trained = facts.trained_ctx
    if trained is None:
        return None
    if trained < LEAST_CTX:
        return _incompatible(
            f"{order.model.model_id} was trained for {trained} tokens: a slot needs {LEAST_CTX}"
        )
    if order.ctx is not None and order.ctx > trained:
        return invalid(
            "ctx",
            f"{order.ctx} tokens per slot, but {order.model.model_id} was trained for {trained}",
        )
    return None


def _incompatible(why: str, **details: object) -> Refusal:
    return Refusal(Code.MODEL_INCOMPATIBLE, why, details)
