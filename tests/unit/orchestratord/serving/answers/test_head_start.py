"""Coroutines without a task: begun at once, carried on by whoever awaits them or by what they wait for."""

import asyncio

import pytest

from orchestratord.serving.answers.head_start import Aside, begin


async def waiting_for(future: asyncio.Future[str], heard: list[str]) -> None:
    heard.append("begun")
    try:
        heard.append(await future)
        await asyncio.sleep(0)
        heard.append("ended")
    finally:
        heard.append("left")


def future() -> asyncio.Future[str]:
    return asyncio.get_running_loop().create_future()


async def test_what_waits_for_nothing_ends_at_once() -> None:
    heard: list[str] = []

    async def step() -> None:
        heard.append("done")

    assert begin(step()) is None
    assert heard == ["done"]


async def test_the_rest_is_carried_to_its_end_by_whoever_awaits_it() -> None:
    gate, heard = future(), list[str]()
    rest = begin(waiting_for(gate, heard))
    assert heard == ["begun"]
    assert rest is not None
    asyncio.get_running_loop().call_soon(gate.set_result, "told")
    await rest
    assert heard == ["begun", "told", "ended", "left"]


async def test_what_was_there_before_anybody_awaited_is_not_lost() -> None:
    gate, heard = future(), list[str]()
    rest = begin(waiting_for(gate, heard))
    gate.set_result("told")
    assert rest is not None
    await rest
    assert heard[-2:] == ["ended", "left"]


async def test_a_cancellation_reaches_the_coroutine() -> None:
    gate, heard = future(), list[str]()
    rest = begin(waiting_for(gate, heard))
    assert rest is not None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await rest
    assert heard == ["begun", "left"]


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_failure_belongs_to_whoever_awaits_the_rest(at_once: bool) -> None:
    async def step() -> None:
        if not at_once:
            await asyncio.sleep(0)
        raise OSError("broken")

    rest = begin(step())
    assert rest is not None
    with pytest.raises(OSError, match="broken"):
        await rest


async def test_an_aside_goes_on_by_itself_and_tells_its_end() -> None:
    gate, heard, ended = future(), list[str](), asyncio.Event()
    Aside(waiting_for(gate, heard), ended.set)
    assert heard == ["begun"]
    gate.set_result("told")
    async with asyncio.timeout(10):
        await ended.wait()
    assert heard == ["begun", "told", "ended", "left"]


@pytest.mark.parametrize("already_there", [True, False])
async def test_an_aside_that_is_given_up_is_left_at_once_and_tells_nobody(
    already_there: bool,
) -> None:
    gate, heard = future(), list[str]()
    aside = Aside(waiting_for(gate, heard), lambda: heard.append("told its end"))
    if already_there:
        gate.set_result("told")
    aside.close()
    aside.close()
    await asyncio.sleep(0)
    assert heard == ["begun", "left"]
