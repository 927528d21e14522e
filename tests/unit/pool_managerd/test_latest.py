"""The newest word of a thread: latest wins, the last one is never missed, writers never wait."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from pool_managerd.runtime.latest import Latest
from support.waiting import until


async def test_a_reader_sees_the_newest_word_at_once() -> None:
    news = Latest("a")
    assert await news.after(0, timeout_s=20)
    news.put("b")
    news.put("c")
    assert (news.value, news.is_final) == ("c", False)


async def test_a_reader_waits_for_what_it_has_not_seen() -> None:
    news = Latest("a")
    seen = news.version
    assert not await news.after(seen, timeout_s=0)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(news.after(seen, timeout_s=20)) for _ in range(3)]
        await asyncio.sleep(0)
        news.put("b")
    assert [it.result() for it in waiting] == [True] * 3


async def test_a_thread_is_heard_and_its_many_words_become_one_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, calls = asyncio.get_running_loop(), list[Callable[..., object]]()
    pass_on = loop.call_soon_threadsafe

    def count(call: Callable[..., object], *args: object) -> asyncio.Handle:
        calls.append(call)
        return pass_on(call, *args)

    monkeypatch.setattr(loop, "call_soon_threadsafe", count)
    news = Latest(0)
    before = news.version

    def speak() -> None:
        for number in range(1, 1001):
            news.post(number)

    # The loop stands still meanwhile, as a busy one does.
    thread = threading.Thread(target=speak)
    thread.start()
    thread.join()
    await until(lambda: news.value == 1000, what="the last of the thread's words")
    assert (news.version, len(calls)) == (before + 1, 1)


async def test_nothing_follows_the_last_word() -> None:
    news = Latest("a")
    news.finish("end")
    news.finish("again")
    news.put("late")
    news.post("later")
    await asyncio.sleep(0)
    assert (news.value, news.is_final) == ("end", True)
    assert await news.after(0, timeout_s=20)


def test_a_word_after_the_end_of_the_loop_is_lost_in_silence() -> None:
    async def make() -> Latest[str]:
        return Latest("a")

    news = asyncio.run(make())
    news.post("b")
    assert news.value == "a"
