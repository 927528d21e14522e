"""One admission per key and caller at a time; the same body is known again, another one is not."""

import asyncio

import pytest

from orchestrator_core.contracts.tasks import TaskSubmit
from orchestrator_core.errors import CapacityError, Code
from orchestrator_core.testing.facts import key_id
from orchestratord.serving.admission.twins import Claims, key_fault, submission_hash


def submission(**fields: object) -> TaskSubmit:
    return TaskSubmit.model_validate({"model": "tiny-chat", "prompt": "x", **fields})


@pytest.mark.parametrize("key", ["a", "A-b_c.9", "!" * 255, '"quoted"'])
def test_visible_letters_make_a_key(key: str) -> None:
    assert key_fault(key) is None


@pytest.mark.parametrize("key", ["", " ", "a b", "a\t", "é", "\x7f", "a" * 256, "a\x00"])
def test_anything_else_makes_none(key: str) -> None:
    refused = key_fault(key)
    assert refused is not None
    assert refused.code is Code.INVALID_REQUEST


def test_the_order_of_fields_and_what_is_usual_change_nothing() -> None:
    one = submission(metadata={"a": "1", "b": "2"}, temperature=0.5)
    other = submission(temperature=0.5, priority="interactive", metadata={"b": "2", "a": "1"})
    assert submission_hash(one) == submission_hash(other)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "tiny-story"},
        {"prompt": "y"},
        {"seed": 1},
        {"priority": "batch"},
        {"deadline_ms": 1},
        {"metadata": {"a": "1"}},
        {"cancel_on_disconnect": True},
        {"raw": True},
    ],
)
def test_every_other_difference_counts(change: dict[str, object]) -> None:
    assert submission_hash(submission()) != submission_hash(submission(**change))


async def test_a_twin_waits_for_the_end_of_the_first_and_no_one_else_does() -> None:
    claims, order = Claims(), list[str]()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with claims.only(key_id(1), "k"):
            begun.set()
            await go_on.wait()
            order.append("first")

    async def twin() -> None:
        async with claims.only(key_id(1), "k"):
            order.append("twin")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(first())
        await begun.wait()
        tasks.create_task(twin())
        for other in ((key_id(1), "other"), (key_id(2), "k")):
            async with claims.only(*other):
                order.append("stranger")
        go_on.set()
    assert order == ["stranger", "stranger", "first", "twin"]
    assert len(claims) == 0


async def test_one_who_gives_up_waiting_leaves_the_others_waiting() -> None:
    claims, passed = Claims(), list[str]()

    async def twin(name: str) -> None:
        async with claims.only(key_id(), "k"):
            passed.append(name)

    async with claims.only(key_id(), "k"):
        impatient, patient = (asyncio.ensure_future(twin(name)) for name in ("a", "b"))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.wait([impatient])
        assert passed == []
    await patient
    assert (passed, len(claims)) == (["b"], 0)


async def test_a_failed_admission_gives_the_key_free() -> None:
    claims = Claims()
    with pytest.raises(ZeroDivisionError):
        async with claims.only(key_id(), "k"):
            raise ZeroDivisionError
    async with claims.only(key_id(), "k"):
        assert len(claims) == 1


async def test_the_table_is_bounded() -> None:
    claims = Claims(limit=1)
    async with claims.only(key_id(), "k"):
        with pytest.raises(CapacityError) as refused:
            async with claims.only(key_id(), "other"):
                pass
    assert (refused.value.code, refused.value.refusal.retry_after_s) == (Code.QUEUE_FULL, 1)
