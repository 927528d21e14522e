import pytest

from orchestrator_core.contracts.pool import ModelFile
from orchestrator_core.contracts.tasks import TaskKind
from orchestrator_core.errors import Code
from pool_core.workers.spec import MAX_CTX_TOTAL, check_values, invalid
from support.pool_builders import spec

CPUS = 4


def model(**changes: object) -> ModelFile:
    """A model whose names the contract has not looked at."""
    sound = ModelFile(model_id="tiny-chat", source="builtin", file="tiny-chat.gguf")
    return sound.model_copy(update=changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"threads": CPUS},
        {"threads": None, "ctx": None, "parallel": None},
        {"parallel": 256, "ctx": 65_536},
        {"ctx": 4_194_304, "parallel": 4},
        {"batch_size": 32},
        {"batch_size": 16_384},
        {"ctx": 65_536, "task": TaskKind.EMBED},
        {"model": model(model_id="hf:org/repo@main:Q4_K_M", file="models/übung mit leer.gguf")},
    ],
)
def test_sensible_values_pass(changes: dict[str, object]) -> None:
    assert check_values(spec().model_copy(update=changes), CPUS) is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"threads": 0}, "threads"),
        ({"threads": -1}, "threads"),
        ({"threads": CPUS + 1}, "threads"),
        ({"threads": 5000}, "threads"),
        ({"parallel": 0}, "parallel"),
        ({"parallel": -1}, "parallel"),
        ({"parallel": 257}, "parallel"),
        ({"ctx": 0}, "ctx"),
        ({"ctx": -5}, "ctx"),
        ({"ctx": 100_000_000}, "ctx"),
        ({"ctx": MAX_CTX_TOTAL // 4 + 1, "parallel": 4}, "ctx"),
        ({"ctx": 65_537, "task": TaskKind.EMBED}, "ctx"),
        ({"ctx": 65_537, "task": TaskKind.RERANK}, "ctx"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 31}, "batch_size"),
        ({"batch_size": 16_385}, "batch_size"),
        ({"model": model(model_id="")}, "model.model_id"),
        ({"model": model(model_id="a" * 257)}, "model.model_id"),
        ({"model": model(model_id="a\nb")}, "model.model_id"),
        ({"model": model(model_id="a\0b")}, "model.model_id"),
        ({"model": model(model_id="a b")}, "model.model_id"),
        ({"model": model(model_id="a,b")}, "model.model_id"),
        ({"model": model(model_id="übung")}, "model.model_id"),
        ({"model": model(model_id="--port")}, "model.model_id"),
        ({"model": model(file="")}, "model.file"),
        ({"model": model(file="x\0y")}, "model.file"),
        ({"model": model(file="x\x1b[31m")}, "model.file"),
        ({"model": model(file="a" * 5000)}, "model.file"),
    ],
)
def test_refuses_by_name_what_no_engine_must_be_given(
    changes: dict[str, object], field: str
) -> None:
    refusal = check_values(spec().model_copy(update=changes), CPUS)
    assert refusal is not None
    assert refusal.code is Code.INVALID_REQUEST
    assert refusal.details["field"] == f"spec.{field}"
    assert refusal.message.startswith(f"spec.{field}: ")
    assert refusal.message.isprintable()


def test_a_refusal_names_its_field_for_programs_too() -> None:
    refusal = invalid("ctx", "too much")
    assert (refusal.message, refusal.details) == ("spec.ctx: too much", {"field": "spec.ctx"})
