"""Steps of first_answer.feature: they drive the real daemons through the real commands."""

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import pytest
from pytest_bdd import given, parsers, scenarios, then, when

from support.story import Story
from support.waiting import until_sync

pytestmark = pytest.mark.e2e

scenarios("features/first_answer.feature")


@then(parsers.parse('it names the model "{model}" in one line'))
def names_the_model(story: Story, model: str) -> None:
    lines = story.last.err.strip().splitlines()
    assert len(lines) == 1
    assert model in lines[0]


@then("there is no job")
def there_is_no_job(story: Story) -> None:
    assert story.jobs() == []


@given("a worker that has answered once and is frozen now")
def frozen_worker(story: Story) -> Iterator[None]:
    story.submit("Hello")
    story.last.must()
    story.frozen = story.home.workers()
    assert len(story.frozen) == 1
    thaw_all = contextlib.ExitStack()
    with thaw_all:
        for process in story.frozen:
            process.suspend()
            thaw_all.callback(process.resume)
        yield


@given(parsers.parse('a job that asks "{prompt}"'))
def running_job(story: Story, prompt: str) -> Iterator[None]:
    question = ("--model", "tiny-chat", "--prompt", prompt)
    with story.home.running("jobs", "submit", *question) as story.streaming:
        until_sync(lambda: story.count("dispatched") == 1, what="the first job to hold the slot")
        yield


@given(parsers.parse('a waiting job that asks "{prompt}"'))
def waiting_job(story: Story, prompt: str) -> Iterator[None]:
    question = ("--model", "tiny-chat", "--prompt", prompt)
    with story.home.running("jobs", "submit", *question):
        until_sync(lambda: story.count("queued") == 1, what="the second job to wait")
        story.waiting_job = next(job["id"] for job in story.jobs() if job["status"] == "queued")
        yield


@when("I cancel the waiting job")
def cancel(story: Story) -> None:
    story.finished = story.home.llorch("jobs", "cancel", story.waiting_job)


@then(parsers.parse('the waiting job is "{status}"'))
def waiting_job_is(story: Story, status: str) -> None:
    def now() -> bool:
        shown = story.home.llorch("jobs", "status", story.waiting_job, "--format", "json")
        return cast("dict[str, Any]", shown.must().json())["status"] == status

    until_sync(now, what=f"the waiting job to be {status}")


@when("the worker is thawed")
def thaw(story: Story) -> None:
    for process in story.frozen:
        process.resume()


@then(parsers.parse('the first job answers "{text}"'))
def first_job_answers(story: Story, text: str) -> None:
    assert story.streaming is not None
    out, _ = story.streaming.communicate(timeout=60)
    assert out.strip() == text
    assert story.streaming.returncode == 0
