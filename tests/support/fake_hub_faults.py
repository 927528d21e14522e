"""What goes wrong at a fake hub, by script, and the log of what it was asked.

Each rule has a number of times and is used up by the requests that it fits, first come first
served. Rules of different kinds meet on one request: an ignored range may also be cut off.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Literal

__all__ = ["Faults", "Kind", "Leg", "Rule", "Seen", "SeenLog"]

Leg = Literal["hub", "cdn"]


@dataclass
class Seen:
    """One request; status and sent_bytes grow true while it is answered."""

    method: str
    path: str
    leg: Leg
    range: str | None
    authorization: str | None
    status: int = 0
    sent_bytes: int = 0
    file: str | None = None
    """The path of the file inside its repository, when the request is about one."""

    repo: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    """By lower-case names."""

    ended: bool = False


Predicate = Callable[[Seen], bool]


class SeenLog:
    """The requests in the order of their arrival, and a signal at each change of one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._requests: list[Seen] = []

    def add(self, seen: Seen) -> None:
        """Note a request that has arrived."""
        with self._changed:
            self._requests.append(seen)
            self._changed.notify_all()

    def note(
        self, seen: Seen, *, status: int = 0, more_bytes: int = 0, ended: bool = False
    ) -> None:
        """Note how far its answer has come."""
        with self._changed:
            seen.status = status or seen.status
            seen.sent_bytes += more_bytes
            seen.ended = seen.ended or ended
            self._changed.notify_all()

    def all(self) -> list[Seen]:
        """A copy of the list."""
        with self._changed:
            return list(self._requests)

    def clear(self) -> None:
        """Forget all; running answers go on."""
        with self._changed:
            self._requests.clear()

    def wait_for(self, predicate: Predicate, timeout_s: float) -> Seen:
        """Block until one of the requests is as wanted, and return the first that is."""
        with self._changed:
            found = self._changed.wait_for(lambda: self._first(predicate), timeout_s)
            if found is None:
                raise AssertionError(
                    f"waited {timeout_s:g} s for a request; those seen: {self._requests!r}"
                )
            return found

    def _first(self, predicate: Predicate) -> Seen | None:
        return next((seen for seen in self._requests if predicate(seen)), None)


class Kind(Enum):
    """What a rule does to an answer."""

    STATUS = auto()
    HTML = auto()
    EXPIRED = auto()
    IGNORES_RANGE = auto()
    WRONG_BYTES = auto()
    CUT = auto()
    DRIP = auto()
    HOLD = auto()


@dataclass
class Rule:
    """A fault, how often it still comes, and which requests it fits."""

    kind: Kind
    times: int | None
    when: Predicate
    leg: Leg | None = None
    size_bytes: int = 0
    code: int = 0
    retry_after: str | None = None
    gate: threading.Event | None = None


def _always(seen: Seen) -> bool:
    return True


class Faults:
    """The script; times=None means every time from now on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._gates: list[threading.Event] = []
        self._open = False

    def status(
        self,
        code: int,
        times: int | None = 1,
        retry_after: float | str | None = None,
        leg: Leg = "hub",
        when: Predicate = _always,
    ) -> None:
        """Answer with a bare status."""
        wait = None if retry_after is None else str(retry_after)
        self._add(Rule(Kind.STATUS, times, when, leg=leg, code=code, retry_after=wait))

    def expire_links(self, times: int | None = 1, when: Predicate = _always) -> None:
        """Answer 403 where the content lies, as for a signed link whose time is over."""
        self._add(Rule(Kind.EXPIRED, times, when, leg="cdn"))

    def html(
        self, times: int | None = 1, leg: Leg | None = None, when: Predicate = _always
    ) -> None:
        """Answer 200 with a page for people instead of the content."""
        self._add(Rule(Kind.HTML, times, when, leg=leg))

    def ignore_range(self, times: int | None = 1, when: Predicate = _always) -> None:
        """Answer 200 with the whole content although a part was asked for."""
        self._add(Rule(Kind.IGNORES_RANGE, times, when))

    def wrong_bytes(self, times: int | None = 1, when: Predicate = _always) -> None:
        """Send other bytes of the same size."""
        self._add(Rule(Kind.WRONG_BYTES, times, when))

    def cut_after(self, size_bytes: int, times: int | None = 1, when: Predicate = _always) -> None:
        """Close the connection after so many bytes of an answer that would be longer."""
        self._add(Rule(Kind.CUT, times, when, size_bytes=size_bytes))

    def drip(
        self,
        bytes_per_step: int,
        gate: threading.Event | None = None,
        times: int | None = 1,
        when: Predicate = _always,
    ) -> None:
        """Send in steps; each waits for the gate, which closes again behind it."""
        self._add(Rule(Kind.DRIP, times, when, size_bytes=bytes_per_step, gate=gate))

    def hold(
        self,
        gate: threading.Event,
        times: int | None = 1,
        when: Predicate = _always,
        *,
        after_bytes: int = 0,
    ) -> None:
        """Send the headers and so many bytes, then wait for the gate."""
        self._add(Rule(Kind.HOLD, times, when, size_bytes=after_bytes, gate=gate))

    def let_go(self) -> None:
        """Drop all rules and open every gate for ever: what is held goes on."""
        with self._lock:
            self._open = True
            self._rules.clear()
            for gate in self._gates:
                gate.set()

    def unused(self) -> list[Kind]:
        """The kinds of the rules that have a number of times and were not used up."""
        with self._lock:
            return [rule.kind for rule in self._rules if rule.times]

    def take(self, kind: Kind, seen: Seen, length: int = 0) -> Rule | None:
        """Use up one time of the first rule of a kind that fits an answer of this length."""
        with self._lock:
            for rule in self._rules:
                fits = rule.kind is kind and rule.leg in (None, seen.leg) and rule.times != 0
                if kind is Kind.CUT:
                    fits = fits and rule.size_bytes < length
                if fits and rule.when(seen):
                    rule.times = None if rule.times is None else rule.times - 1
                    return rule
        return None

    def pass_gate(self, gate: threading.Event, *, closing: bool) -> None:
        """Wait for a gate; nobody waits once everything was let go."""
        gate.wait()
        with self._lock:
            if closing and not self._open:
                gate.clear()

    def _add(self, rule: Rule) -> None:
        with self._lock:
            self._rules.append(rule)
            if rule.gate is not None:
                self._gates.append(rule.gate)
                if self._open:
                    rule.gate.set()
