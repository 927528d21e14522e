"""The busy worker is killed in the middle of its answer, and the client gets the whole answer.

The suite kills at a few places of each kind; `./dev faults unbroken --full` kills at ten.
"""

import json
import random

import openai
import pytest

from support.answers import chat_answers
from support.events import api, events_of
from support.faults import listed
from support.home import Home
from support.pool_commands import spawn
from support.unbroken_drill import LONG, EventReader, SdkReader, WholeCall, killed_at, newest

pytestmark = pytest.mark.e2e

WHOLE = chat_answers("tiny-chat")[LONG]
# Its end is one of them.
TOKENS = 293
ONE = ("--threads", "1")


@pytest.fixture
def pair(home: Home) -> Home:
    """An installation with two workers of one model."""
    for _ in range(2):
        spawn(home, "tiny-chat", *ONE)
    return home


def refresh(home: Home) -> None:
    """Put a fresh worker in the place of one that was killed: a crash makes the pool wary."""
    for name, worker in listed(home).items():
        if worker["status"] != "ready" or worker["incarnation"] != 1:
            home.pool("worker", "stop", name).must()
            spawn(home, "tiny-chat", *ONE)


def shares(full: bool, few: int) -> list[float]:
    """Places in the first half of an answer."""
    count = 10 if full else few
    return [number / (count * 2.4) for number in range(count)]


TWO = [("broken", False), ("ended", True)]


def attempts_of(home: Home) -> list[tuple[str, bool]]:
    job = newest(home)
    assert job["status"] == "completed", job
    return [(found["status"], found["kept_tokens"] > 0) for found in job["attempts"]]


def check_stream(home: Home, reader: SdkReader) -> None:
    assert reader.fault is None, reader.fault
    assert reader.held == WHOLE
    assert reader.is_done
    assert reader.reasons == ["stop"]
    assert len(reader.names) == 1
    assert reader.usage["completion_tokens"] == TOKENS
    assert reader.usage["total_tokens"] == reader.usage["prompt_tokens"] + TOKENS
    assert attempts_of(home) == TWO
    first, second = newest(home)["attempts"]
    assert first["reason"] == "WORKER_LOST"
    assert second["tokens"] == TOKENS - 1


@pytest.mark.parametrize("is_cut", [False, True], ids=["whole reads", "cut reads"])
def test_a_stream_is_whole_although_its_worker_is_killed(
    pair: Home, repetition: int, is_cut: bool, full: bool
) -> None:
    dice = random.Random(repetition)
    for number, share in enumerate(shares(full, 2 if is_cut else 4)):
        seed = repetition * 100 + number
        print(f"seed {seed}, share {share:.2f}")
        reader = killed_at(
            pair,
            lambda seed=seed: SdkReader(pair, seed if is_cut else None, max_tokens=700),
            length=len(WHOLE),
            share=share,
            dice=dice,
        )
        check_stream(pair, reader)
        refresh(pair)


def test_a_stream_waits_for_the_worker_that_comes_back(home: Home, repetition: int) -> None:
    home.llorch("jobs", "submit", "--model", "tiny-chat", "--prompt", "Hello").must()
    dice = random.Random(repetition)
    for share in (0.0, 0.2):
        reader = killed_at(
            home,
            lambda: SdkReader(home, repetition, max_tokens=700),
            length=len(WHOLE),
            share=share,
            dice=dice,
        )
        check_stream(home, reader)


def test_a_stored_job_is_whole_although_its_worker_is_killed(
    pair: Home, repetition: int, full: bool
) -> None:
    dice = random.Random(repetition)
    for share in shares(full, 2):
        reader = killed_at(
            pair, lambda: EventReader(pair), length=len(WHOLE), share=share, dice=dice
        )
        check_events(pair, reader)
        refresh(pair)


def check_events(home: Home, reader: EventReader) -> None:
    assert reader.fault is None, reader.fault
    assert reader.held == WHOLE
    kinds = [event.kind for event in reader.events]
    tokens = [event.data for event in reader.events if event.kind == "token"]
    assert (kinds[0], kinds[-1], kinds.count("attempt")) == ("queued", "end", 1)
    # Nothing was taken back: each token follows the one before, over the break too.
    assert [told["i"] for told in tokens] == [
        sum(told["n"] for told in tokens[:number]) for number in range(len(tokens))
    ]
    (again,) = [event.data for event in reader.events if event.kind == "attempt"]
    assert again["keep_tokens"] > 0
    assert reader.events[-1].data["tokens_out"] == TOKENS - 1
    assert reader.events[-1].data["usage"]["completion_tokens"] == TOKENS
    assert attempts_of(home) == TWO
    with api(home) as client:
        replay = list(events_of(client, newest(home)["id"]))
    assert [event.raw for event in replay] == [event.raw for event in reader.events]


SCHEMA = {"name": "text", "schema": {"type": "string", "minLength": 300}}


@pytest.mark.parametrize(
    "fixed",
    [
        {"stop": ["101"]},
        {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
    ],
    ids=["stop words", "a schema"],
)
def test_a_stream_that_cannot_go_on_ends_with_an_error(
    pair: Home, repetition: int, fixed: dict[str, object]
) -> None:
    reader = killed_at(
        pair,
        lambda: SdkReader(pair, repetition, max_tokens=700, **fixed),
        length=len(WHOLE),
        share=0.1,
        dice=random.Random(repetition),
    )
    assert isinstance(reader.fault, openai.APIError), reader.fault
    assert reader.fault.code == "worker_lost"
    assert not reader.is_done
    assert reader.reasons == []
    assert newest(pair)["status"] == "failed"


@pytest.mark.parametrize("fixed", [{}, {"stop": ["101"]}], ids=["free", "stop words"])
def test_a_call_in_one_piece_is_whole_although_its_worker_is_killed(
    pair: Home, repetition: int, fixed: dict[str, object]
) -> None:
    call = killed_at(
        pair,
        lambda: WholeCall(pair, max_tokens=700, **fixed),
        length=TOKENS,
        share=0.2,
        dice=random.Random(repetition),
    )
    assert call.fault is None, call.fault
    assert call.body["choices"][0]["message"]["content"] == WHOLE
    assert call.body["usage"]["completion_tokens"] == TOKENS
    # What cannot go on starts over where nobody has seen anything of it.
    assert attempts_of(pair) == [("broken", False), ("ended", not fixed)]


def test_a_character_of_several_tokens_is_never_cut(home: Home) -> None:
    wanted = "aü€🙂ü"
    body = {
        "model": "tiny-chat",
        "messages": [{"role": "user", "content": "Hello"}],
        "grammar": f'root ::= "{wanted}"',
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    with api(home) as client:
        raw = client.post("/v1/chat/completions", json=body).text
    chunks = [json.loads(line[6:]) for line in raw.splitlines() if line.startswith("data: {")]
    pieces = [chunk["choices"][0]["delta"].get("content") for chunk in chunks if chunk["choices"]]
    told = [piece for piece in pieces if piece]
    # Every character but the first is two to four tokens, and comes with the last of them.
    assert told == list(wanted)
    assert chunks[-1]["usage"]["completion_tokens"] > len(wanted) + 1
