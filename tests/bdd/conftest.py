"""Steps that several stories share: a running home, a command, and how it ended."""

from pytest_bdd import given, parsers, then, when

from support.home import Home
from support.story import Story


@given("a running home", target_fixture="story")
def running_home(home: Home) -> Story:
    return Story(home)


@when(parsers.parse('I submit "{prompt}" to "{model}"'))
def submit(story: Story, prompt: str, model: str) -> None:
    story.submit(prompt, model)


@then(parsers.parse("the command ends with code {code:d}"))
def ends_with(story: Story, code: int) -> None:
    story.last.must(code)


@then(parsers.re(r'its output is "(?P<text>.*)"'))
def output_is(story: Story, text: str) -> None:
    assert story.last.out.strip() == text


@then(parsers.parse('the newest job is "{status}"'))
def newest_job_is(story: Story, status: str) -> None:
    assert story.jobs()[0]["status"] == status
