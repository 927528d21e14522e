"""Home mode as a person meets it: one command up, answers by CLI, curl and SDK, one command down."""

import json
from pathlib import Path

import openai
import pytest

from support.events import api, events_of, submit, text_of
from support.home import Home

pytestmark = pytest.mark.e2e

ANSWERS = json.loads((Path(__file__).parents[1] / "support/answers.json").read_text("utf-8"))
CHAT = ANSWERS["tiny-chat"]


def test_streams_the_exact_answer_and_lists_the_job(home: Home) -> None:
    prompt = "What is a worker?"
    done = home.llorch("jobs", "submit", "--model", "tiny-chat", "--prompt", prompt).must()

    assert done.out == CHAT[prompt] + "\n"
    listed = home.llorch("jobs", "list", "--format", "json").must().json()
    assert isinstance(listed, list)
    assert listed[0]["status"] == "completed"
    shown = home.llorch("jobs", "status", listed[0]["id"], "--format", "json").must().json()
    assert isinstance(shown, dict)
    assert shown["output"] == CHAT[prompt]


def test_event_ids_have_no_holes_and_a_reader_resumes_where_it_was(home: Home) -> None:
    with api(home) as client:
        job = submit(client, "Count to one hundred")
        live = list(events_of(client, job))
        replay = list(events_of(client, job))
        resumed = list(events_of(client, job, last_event_id=3))

    assert [event.id for event in live] == list(range(1, len(live) + 1))
    assert [event.raw for event in replay] == [event.raw for event in live]
    assert resumed[0].id == 4
    assert [event.raw for event in resumed] == [event.raw for event in live[3:]]
    assert text_of(live) == CHAT["Count to one hundred"]


def test_the_openai_client_streams_a_chat(home: Home) -> None:
    client = openai.OpenAI(base_url=f"{home.url}/v1", api_key=home.key, max_retries=0)
    with client:
        stream = client.chat.completions.create(
            model="tiny-chat",
            messages=[{"role": "user", "content": "What is a queue?"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
        whole = client.chat.completions.create(
            model="tiny-story", messages=[{"role": "user", "content": "Hello"}]
        )
        names = {model.id for model in client.models.list()}
        one = client.models.retrieve("tiny-chat")

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == CHAT["What is a queue?"]
    assert chunks[-1].usage is not None
    assert len({chunk.id for chunk in chunks}) == 1
    assert whole.choices[0].message.content == ANSWERS["tiny-story"]["Hello"]
    assert {"tiny-chat", "tiny-story"} <= names
    assert one.id == "tiny-chat"


def test_up_twice_says_so_and_down_leaves_nothing(empty_home: Home) -> None:
    empty_home.start()
    before = (empty_home.pid("orchestratord"), empty_home.pid("pool-managerd"))
    again = empty_home.llorch("up").must()
    empty_home.llorch("jobs", "submit", "--model", "tiny-chat", "--prompt", "Hello").must()
    assert empty_home.workers()

    assert (empty_home.pid("orchestratord"), empty_home.pid("pool-managerd")) == before
    assert "already running" in again.out + again.err
    empty_home.llorch("down").must()
    assert empty_home.processes() == []
    empty_home.llorch("down").must()


def test_two_installations_do_not_see_each_other(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    other.folder.mkdir()
    try:
        other.start()
        home.llorch("jobs", "submit", "--model", "tiny-chat", "--prompt", "Ping").must()
        mine = home.llorch("jobs", "list", "--format", "json").must().json()
        theirs = other.llorch("jobs", "list", "--format", "json").must().json()
        with api(home) as client:
            refused = client.get(f"{other.url}/v2/tasks")
        other.llorch("down").must()
        home.llorch("jobs", "submit", "--model", "tiny-chat", "--prompt", "Test").must()
    finally:
        other.close()

    assert isinstance(mine, list)
    assert len(mine) == 1
    assert theirs == []
    assert refused.status_code == 401
