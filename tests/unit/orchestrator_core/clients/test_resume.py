"""A followed stream yields every stored event once, in order, across cuts and restarts."""

import json
import socket
from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import pytest

from orchestrator_core.clients.orchestrator import OrchestratorClient
from orchestrator_core.clients.resume import Resume
from orchestrator_core.contracts.tasks import TaskSubmit
from orchestrator_core.errors import Code, LlorchError
from orchestrator_core.stream import sse
from support.fake_orchestrator import JOB_ID, FakeOrchestrator, answer, fake_orchestrator, job

QUEUED = ("queued", {"job_id": JOB_ID, "queue_position": 0})
STARTED = ("started", {"attempt": 1})
END = ("end", {"tokens_out": 3})
EVENTS = [QUEUED, STARTED, *answer("a", "b", "c"), END]
PATH = f"/v2/tasks/{JOB_ID}/events"


class Patience:
    """Time that passes only while somebody pauses."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.pauses: list[float] = []

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds

    def resume(self, **changes: Any) -> Resume:
        return Resume(monotonic_s=lambda: self.now_s, pause=self.pause, **changes)


@pytest.fixture
def patience() -> Patience:
    return Patience()


@pytest.fixture
def fake() -> Iterator[FakeOrchestrator]:
    with fake_orchestrator(events=EVENTS) as served:
        yield served


def follow(url: str, patience: Patience, after: int = 0, **more: Any) -> list[tuple[str, str]]:
    with OrchestratorClient(url, "k") as client:
        events = client.events(JOB_ID, after, resume=patience.resume(), **more)
        return [(str(event.id), event.event) for event in events]


def test_yields_all_events_and_stops_at_the_end(fake: FakeOrchestrator, patience: Patience) -> None:
    kinds = [kind for kind, _ in EVENTS]
    assert follow(fake.url, patience) == [(str(at), kind) for at, kind in enumerate(kinds, 1)]
    assert patience.pauses == []


def test_starts_behind_a_given_event(fake: FakeOrchestrator, patience: Patience) -> None:
    assert [number for number, _ in follow(fake.url, patience, after=4)] == ["5", "6"]
    assert fake.last("GET", PATH).headers["last-event-id"] == "4"


def test_resumes_after_cuts_without_gap_or_repeat(
    fake: FakeOrchestrator, patience: Patience
) -> None:
    fake.cuts = [0, 3, 3, 4]
    told: list[str] = []
    numbers = [number for number, _ in follow(fake.url, patience, on_cut=told.append)]
    assert numbers == ["1", "2", "3", "4", "5", "6"]
    asked = [it.headers["last-event-id"] for it in fake.asked if it.path == PATH]
    assert asked == ["0", "0", "3", "3", "4"]
    assert len(told) == 4
    # Only an event takes the wait back to its start; the first and the third connection had none.
    assert patience.pauses == [0.2, 0.2, 0.4, 0.2]


def test_error_event_ends_the_stream_too(fake: FakeOrchestrator, patience: Patience) -> None:
    fake.events = [QUEUED, ("error", {"code": "CANCELLED", "message": "m"})]
    fake.hold = True
    assert [kind for _, kind in follow(fake.url, patience)] == ["queued", "error"]


def test_repeated_events_are_dropped_and_metrics_pass(patience: Patience) -> None:
    def replay(request: httpx.Request) -> httpx.Response:
        body = b"".join(
            sse.encode(event=kind, data=json.dumps(data), id=number)
            + sse.encode(event="metrics", data="{}")
            for number, (kind, data) in ((1, QUEUED), (2, STARTED), (2, STARTED), (3, END))
        )
        return httpx.Response(200, content=body)

    with OrchestratorClient("http://x", None, transport=httpx.MockTransport(replay)) as client:
        kinds = [event.event for event in client.events(JOB_ID, 1, resume=patience.resume())]
    assert kinds == ["metrics", "started", "metrics", "metrics", "end"]


def test_gives_up_with_the_last_failure_after_silence(patience: Patience) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(LlorchError) as caught:
        follow(url, patience)
    assert caught.value.code is Code.UNREACHABLE
    assert patience.pauses[:5] == [0.2, 0.4, 0.8, 1.6, 3.0]
    assert 30 <= patience.now_s < 34


def test_refusal_that_waiting_cannot_cure_is_raised_at_once(
    fake: FakeOrchestrator, patience: Patience
) -> None:
    fake.refusals[f"GET {PATH}"] = (404, "JOB_NOT_FOUND", "no such job")
    with pytest.raises(LlorchError, match="no such job"):
        follow(fake.url, patience)
    assert patience.pauses == []


def test_daemon_that_drains_is_asked_again(patience: Patience) -> None:
    numbers = count()

    def first_busy(request: httpx.Request) -> httpx.Response:
        if next(numbers) < 3:
            error = {"error": {"code": "DRAINING", "message": "restarting"}}
            return httpx.Response(503, json=error)
        return httpx.Response(200, content=sse.encode(event="end", data="{}", id=1))

    with OrchestratorClient("http://x", None, transport=httpx.MockTransport(first_busy)) as client:
        events = list(client.events(JOB_ID, resume=patience.resume()))
    assert [event.event for event in events] == ["end"]
    assert patience.pauses == [0.2, 0.4, 0.8]


def test_leaving_early_closes_the_stream(fake: FakeOrchestrator, patience: Patience) -> None:
    fake.hold = True
    fake.events = EVENTS[:3]
    with OrchestratorClient(fake.url, "k") as client:
        events = client.events(JOB_ID, resume=patience.resume())
        assert next(events).event == "queued"
        events.close()  # type: ignore[attr-defined]


GAP = b'event: gap\ndata: {"from": 2, "to": 4}\n\n'


def test_a_gap_is_told_once_and_resumed_behind(patience: Patience) -> None:
    asked: list[str] = []
    bodies = [sse.encode(event="queued", data="{}", id=1) + GAP, GAP, b""]
    bodies.append(sse.encode(event="end", data="{}", id=5))

    def cut_behind_it(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/events"):
            return httpx.Response(503, json={"error": {"code": "DRAINING", "message": "m"}})
        asked.append(request.headers["last-event-id"])
        return httpx.Response(200, content=bodies.pop(0))

    transport = httpx.MockTransport(cut_behind_it)
    with OrchestratorClient("http://x", None, transport=transport) as client:
        kinds = [event.event for event in client.events(JOB_ID, resume=patience.resume())]
    assert kinds == ["queued", "gap", "end"]
    assert asked == ["0", "4", "4", "4"]


def test_a_stream_behind_the_last_event_ends_once_that_is_certain(
    fake: FakeOrchestrator, patience: Patience
) -> None:
    fake.raw[f"GET {PATH}"] = (200, ": nothing\n\n")
    fake.jobs = [job(ended_at="2026-01-01T00:00:01.000Z")]
    assert follow(fake.url, patience, after=6) == []
    assert fake.count("GET", PATH) == 2
    assert patience.pauses == []


def test_an_end_between_two_looks_is_not_missed(patience: Patience) -> None:
    bodies = [b": restarting\n\n", sse.encode(event="end", data="{}", id=2)]

    def ended_meanwhile(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            return httpx.Response(200, content=bodies.pop(0))
        return httpx.Response(200, json=job(ended_at="2026-01-01T00:00:01.000Z"))

    transport = httpx.MockTransport(ended_meanwhile)
    with OrchestratorClient("http://x", None, transport=transport) as client:
        kinds = [event.event for event in client.events(JOB_ID, 1, resume=patience.resume())]
    assert kinds == ["end"]


TASK = TaskSubmit(model="m", prompt="p")


def submit(url: str, patience: Patience, key: str | None) -> str:
    with OrchestratorClient(url, "k", resume=patience.resume()) as client:
        return client.submit(TASK, idempotency_key=key).job_id


def test_a_lost_submission_is_repeated_under_its_key_only(
    fake: FakeOrchestrator, patience: Patience
) -> None:
    fake.lost["POST /v2/tasks"] = 3
    assert submit(fake.url, patience, "one") == JOB_ID
    assert patience.pauses == [0.2, 0.4, 0.8]
    fake.lost["POST /v2/tasks"] = 1
    with pytest.raises(LlorchError, match="closed the connection"):
        submit(fake.url, patience, None)


def test_a_lost_submission_is_not_repeated_for_ever(
    fake: FakeOrchestrator, patience: Patience
) -> None:
    fake.lost["POST /v2/tasks"] = 1000
    with pytest.raises(LlorchError, match="closed the connection"):
        submit(fake.url, patience, "one")
    assert 30 <= patience.now_s < 34


def test_a_refusal_after_a_cut_is_believed(fake: FakeOrchestrator, patience: Patience) -> None:
    fake.lost["POST /v2/tasks"] = 1
    fake.refusals["POST /v2/tasks"] = (429, "QUEUE_FULL", "full")
    with pytest.raises(LlorchError, match="full"):
        submit(fake.url, patience, "one")
    assert patience.pauses == [0.2]


def test_a_daemon_that_does_not_listen_is_told_at_once(patience: Patience) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(LlorchError, match="nothing answers"):
        submit(url, patience, "one")
    assert patience.pauses == []


def test_ten_thousand_jobs_are_read_page_by_page(fake: FakeOrchestrator) -> None:
    fake.jobs = [job(f"job_{at}") for at in range(10_000)]
    with OrchestratorClient(fake.url, "k") as client:
        pages = client.job_pages()
        assert len(next(pages).items) == 500
        assert fake.count("GET", "/v2/tasks") == 1
        found = [view.id for page in pages for view in page.items]
    assert len(found) == 9_500
    assert len(set(found)) == 9_500
    with OrchestratorClient(fake.url, "k") as client:
        sizes = [len(page.items) for page in client.job_pages(limit=700, priority="batch")]
    assert sizes == [500, 200]
    assert fake.last("GET", "/v2/tasks").query["priority"] == "batch"


def test_streams_that_close_without_an_event_are_asked_for_ever_less_often(
    fake: FakeOrchestrator, patience: Patience
) -> None:
    fake.jobs = [job(status="queued")]
    fake.cuts = [0] * 6
    follow(fake.url, patience)
    assert patience.pauses == [0.2, 0.4, 0.8, 1.6, 3.0, 3.0]
