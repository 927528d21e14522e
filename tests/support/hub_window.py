"""The orchestrator on the hub of a lab, asked over HTTP by threads that stand in the hub's network.

A question costs a millisecond; a command would cost the start of an interpreter each time.
"""

import contextlib
import json
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar

import httpx

from support.events import RawEvent, events_of, text_of
from support.lab_host import LabHost
from support.lab_kernel import enter_network
from support.waiting import until_sync

__all__ = ["Following", "HubWindow", "hub_window"]

Given = ParamSpec("Given")
T = TypeVar("T")

_LOOK_EVERY_S: Final = 0.1
# A host may be cut off for more than a minute before its answer goes on.
_FOLLOW_LIMIT_S: Final = 150.0
# Whoever follows a job keeps a thread for it.
_THREADS: Final = 40
_ENDED: Final = frozenset({"completed", "failed", "cancelled", "expired"})


class Following:
    """A reader of one job's events, in a thread of its own."""

    def __init__(self, window: "HubWindow", job_id: str) -> None:
        self.job_id = job_id
        self.events: list[RawEvent] = []
        self._window = window
        self._fault: Exception | None = None
        self._over = threading.Event()
        window.in_hub(self._read, None)

    @property
    def text(self) -> str:
        """The answer that this reader holds."""
        return text_of(self.events)

    def go_on(self) -> None:
        """Connect again where a broken connection left off."""
        assert self._over.wait(30.0)
        assert isinstance(self._fault, httpx.HTTPError), self._fault
        self._over.clear()
        self._fault = None
        self._window.in_hub(self._read, self.events[-1].id if self.events else None)

    def ended(self) -> str:
        """Wait for the job's end; what the answer came to."""
        assert self._over.wait(_FOLLOW_LIMIT_S), f"{self.job_id} did not end"
        assert self._fault is None, self._fault
        return self.text

    def _read(self, after: int | None) -> None:
        try:
            client, limit_s = self._window.client, _FOLLOW_LIMIT_S
            for event in events_of(client, self.job_id, after, limit_s=limit_s):
                self.events.append(event)
        except Exception as fault:  # noqa: BLE001 - the test judges it.
            self._fault = fault
        finally:
            self._over.set()


class HubWindow:
    """What the orchestrator says, as a client on the hub hears it."""

    def __init__(self, hub: LabHost, client: httpx.Client, threads: ThreadPoolExecutor) -> None:
        self.hub = hub
        self.client = client
        self._threads = threads

    def in_hub(
        self, act: Callable[Given, T], *given: Given.args, **named: Given.kwargs
    ) -> Future[T]:
        """Begin something on a thread that stands in the hub's network."""
        return self._threads.submit(act, *given, **named)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send a request that has to be answered well."""
        reply = self.in_hub(self._send, method, path, body).result()
        assert reply.is_success, f"{method} {path}: {reply.status_code} {reply.text}"
        return reply.json()

    def _send(self, method: str, path: str, body: object) -> httpx.Response:
        return self.client.request(method, path, json=body)

    def jobs(self) -> list[dict[str, Any]]:
        """The newest hundred jobs."""
        return self.ask("GET", "/v2/tasks?limit=100")["items"]

    def job(self, job_id: str) -> dict[str, Any]:
        """Everything about one job."""
        return self.ask("GET", f"/v2/tasks/{job_id}")

    def submit(self, prompt: str, *, pin_pool: str | None = None) -> str:
        """Queue a job whose answer is known beforehand, and return its id."""
        body: dict[str, object] = {"model": "tiny-chat", "prompt": prompt, "temperature": 0}
        if pin_pool is not None:
            body["pin"] = {"pool": pin_pool}
        return str(self.ask("POST", "/v2/tasks", body)["job_id"])

    def follow(self, job_id: str) -> Following:
        """Read a job's events as they come."""
        return Following(self, job_id)

    def ended(self, job_id: str, *, timeout_s: float = 90.0) -> dict[str, Any]:
        """Wait for a job's end and return all of it."""

        def look() -> dict[str, Any]:
            found = self.job(job_id)
            return found if found["status"] in _ENDED else {}

        what = f"the end of {job_id}"
        return until_sync(look, timeout_s=timeout_s, what=what, every_s=_LOOK_EVERY_S)


@contextlib.contextmanager
def hub_window(hub: LabHost) -> Generator[HubWindow]:
    """Open one on a hub whose orchestrator runs."""
    state = hub.home / ".local/state/llorch"
    run_file = json.loads((state / "run/orchestratord.json").read_text("utf-8"))
    key = (state / "admin.key").read_text("ascii").strip()
    with (
        # The orchestrator may be killed between two questions: no connection is kept for the next.
        httpx.Client(
            base_url=run_file["url"],
            headers={"authorization": f"Bearer {key}"},
            timeout=60.0,
            trust_env=False,
            verify=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        ) as client,
        ThreadPoolExecutor(_THREADS, initializer=enter_network, initargs=(hub.pid,)) as threads,
    ):
        yield HubWindow(hub, client, threads)
