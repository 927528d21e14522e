"""Steps of keys_and_watching.feature: they drive the real daemons through the real commands."""

import json

import pytest
from pytest_bdd import given, parsers, scenarios, then, when

from support.home import Home
from support.story import Story

pytestmark = pytest.mark.e2e

scenarios("features/keys_and_watching.feature")


@given(parsers.parse('a key called "{name}"'))
def fresh_key(story: Story, name: str) -> None:
    key = story.home.llorch("keys", "create", name, "--quiet").must().out.strip()
    story.holder = Home(story.home.folder, {"LLORCH_API_KEY": key})


@given("a job of mine that has ended")
def ended_job(story: Story) -> None:
    story.submit("Hello")
    story.last.must()


def holder_of(story: Story) -> Home:
    assert story.holder is not None
    return story.holder


@when(parsers.parse('the holder of the key submits "{prompt}" to "{model}"'))
def submit_as_holder(story: Story, prompt: str, model: str) -> None:
    question = ("--model", model, "--prompt", prompt)
    story.finished = holder_of(story).llorch("jobs", "submit", *question)


@when("the holder of the key watches the job")
def watch_as_holder(story: Story) -> None:
    story.finished = holder_of(story).llorch("jobs", "watch", story.jobs()[0]["id"])


@when(parsers.parse('I revoke the key "{name}"'))
def revoke(story: Story, name: str) -> None:
    story.home.llorch("keys", "revoke", name).must()


@when("I watch the job")
def watch(story: Story) -> None:
    story.run("jobs", "watch", story.jobs()[0]["id"])


@when(parsers.parse("I watch the events of the job behind event {after:d}"))
def watch_behind(story: Story, after: int) -> None:
    job = story.jobs()[0]["id"]
    story.run("jobs", "watch", job, "--after", str(after), "--format", "json")


@then(parsers.parse('the events begin with {first:d} and end with "{kind}"'))
def events_are(story: Story, first: int, kind: str) -> None:
    events = [json.loads(line) for line in story.last.out.splitlines()]
    assert [event["id"] for event in events] == list(range(first, first + len(events)))
    assert events[-1]["event"] == kind
