"""What a pool says in its session, and what it is answered."""

import json

import pytest

from orchestrator_core.contracts.pool import (
    Heartbeat,
    HeartbeatReply,
    PoolRegister,
    PoolRegistered,
    WantedSet,
)
from orchestrator_core.errors import Code, Refusal, error_for
from orchestrator_core.ids import PoolId
from orchestrator_core.stream.sse import SseEvent
from orchestratord.runtime.hosts.session_feed import SessionFeed

MAC = PoolId("mac")
NOTHING = WantedSet(revision=0, workers=[])


class Desk:
    """Takes every word, unless it is told to refuse."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.words = 0
        self.refusal: Refusal | None = None
        self.refused: list[Refusal] = []

    async def register(self, told: PoolRegister) -> PoolRegistered:
        self._note(f"register {told.session_id}")
        return PoolRegistered(
            pool_id=told.pool_id,
            session_id=told.session_id,
            heartbeat_interval_s=5,
            wanted=NOTHING,
        )

    async def beat(self, pool_id: PoolId, told: Heartbeat) -> HeartbeatReply:
        self._note(f"beat {pool_id} {told.seq}")
        return HeartbeatReply(wanted=NOTHING, heartbeat_interval_s=5)

    def _note(self, word: str) -> None:
        if self.refusal is not None:
            raise error_for(self.refusal)
        self.told.append(word)

    def feed(self) -> SessionFeed:
        return SessionFeed(
            MAC,
            register=self.register,
            beat=self.beat,
            on_word=self._heard,
            on_refused=self.refused.append,
        )

    def _heard(self) -> None:
        self.words += 1


@pytest.fixture
def desk() -> Desk:
    return Desk()


def registration(pool_id: str = "mac") -> SseEvent:
    body = {
        "pool_id": pool_id,
        "session_id": "ses_1",
        "endpoint": "http://127.0.0.1:9200",
        "control_key": "control",
        "version": "0.1.0",
        "devices": [],
        "workers": [],
        "models": [],
        "engines": [],
    }
    return SseEvent("register", json.dumps(body), "1")


def beat(pool_id: str = "mac", **more: object) -> SseEvent:
    body = {"pool_id": pool_id, "session_id": "ses_1", "seq": 7, "devices": [], "workers": []}
    return SseEvent("heartbeat", json.dumps({**body, **more}), "2")


async def test_a_registration_is_handed_on_and_answered(desk: Desk) -> None:
    answer = await desk.feed().answer_to(registration())
    assert answer is not None
    assert (answer.id, answer.reply, answer.error) == (1, None, None)
    assert answer.registered is not None
    assert answer.registered.session_id == "ses_1"
    assert (desk.told, desk.words) == (["register ses_1"], 1)


async def test_a_beat_is_handed_on_and_answered(desk: Desk) -> None:
    answer = await desk.feed().answer_to(beat())
    assert answer is not None
    assert answer.id == 2
    assert answer.reply is not None
    assert (desk.told, desk.words) == (["beat mac 7"], 1)


@pytest.mark.parametrize("event", [registration("attic"), beat("attic")])
async def test_a_pool_speaks_for_itself_only(desk: Desk, event: SseEvent) -> None:
    answer = await desk.feed().answer_to(event)
    assert answer is not None
    assert answer.error is not None
    assert answer.error.message == "this is the session of pool mac, not of attic"
    assert (desk.told, desk.words) == ([], 0)


async def test_a_refusal_of_the_desk_reaches_the_pool_as_it_is(desk: Desk) -> None:
    desk.refusal = Refusal(Code.STALE_SESSION, "register anew")
    answer = await desk.feed().answer_to(beat())
    assert answer is not None
    assert answer.error is not None
    assert (answer.error.code, answer.error.message) == ("STALE_SESSION", "register anew")
    assert desk.words == 0


@pytest.mark.parametrize("data", ["{", "[]", '{"pool_id": "mac"}', '"text"', ""])
async def test_nonsense_is_refused_and_names_its_place(desk: Desk, data: str) -> None:
    answer = await desk.feed().answer_to(SseEvent("heartbeat", data, "3"))
    assert answer is not None
    assert answer.error is not None
    assert answer.error.code == Code.INVALID_REQUEST
    assert "\n" not in answer.error.message
    assert desk.told == []


@pytest.mark.parametrize("number", [None, "", "0", "-1", "x", "1.5", "9" * 30, "\u0663"])
async def test_a_message_that_no_answer_could_name_is_left_alone(
    desk: Desk, number: str | None
) -> None:
    event = SseEvent("heartbeat", beat().data, number)
    assert await desk.feed().answer_to(event) is None
    assert desk.told == []


async def test_what_a_newer_pool_says_beyond_is_left_alone(desk: Desk) -> None:
    assert await desk.feed().answer_to(SseEvent("weather", "{}", "4")) is None
