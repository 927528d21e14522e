"""Steps of first_answer.feature: they drive the real daemons through the real commands."""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import psutil
import pytest
from pytest_bdd import given, parsers, scenarios, then, when

from support.home import Finished, Home
from support.waiting import until_sync

pytestmark = pytest.mark.e2e

scenarios("features/first_answer.feature")


@dataclass
class Story:
    """What has happened so far in a scenario."""

    home: Home
    finished: Finished | None = None
    streaming: subprocess.Popen[str] | None = None
    frozen: list[psutil.Process] = field(default_factory=list)
    waiting_job: str = ""

    @property
    def last(self) -> Finished:
        """The command that ran last."""
        assert self.finished is not None
        return self.finished

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs, newest first."""
        shown = self.home.llorch("jobs", "list", "--format", "json").must().json()
        return cast("list[dict[str, Any]]", shown)

    def count(self, status: str) -> int:
        """How many jobs are in this state."""
        return sum(job["status"] == status for job in self.jobs())


@given("a running home", target_fixture="story")
def running_home(home: Home) -> Story:
    return Story(home)


@when(parsers.parse('I submit "{prompt}" to "{model}"'))
def submit(story: Story, prompt: str, model: str) -> None:
    story.finished = story.home.llorch("jobs", "submit", "--model", model, "--prompt", prompt)


@then(parsers.parse("the command ends with code {code:d}"))
def ends_with(story: Story, code: int) -> None:
    story.last.must(code)


@then(parsers.re(r'its output is "(?P<text>.*)"'))
def output_is(story: Story, text: str) -> None:
    assert story.last.out.strip() == text


@then(parsers.parse('it names the model "{model}" in one line'))
def names_the_model(story: Story, model: str) -> None:
    lines = story.last.err.strip().splitlines()
    assert len(lines) == 1
    assert model in lines[0]


@then(parsers.parse('the newest job is "{status}"'))
def newest_job_is(story: Story, status: str) -> None:
    assert story.jobs()[0]["status"] == status


@then("there is no job")
def there_is_no_job(story: Story) -> None:
    assert story.jobs() == []


@given("a worker that has answered once and is frozen now")
def frozen_worker(story: Story) -> Iterator[None]:
    submit(story, "Hello", "tiny-chat")
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
