"""Callers that are turned away are counted by reason, and guessing keys gets slow."""

from prometheus_client import CollectorRegistry

from orchestrator_core.errors import Code
from orchestrator_core.testing.clocks import FakeClock
from orchestratord.runtime.keys.denials import Denials, Reason

NAME = "orchd_auth_failures_total"


class Door:
    def __init__(self, per_minute: int = 3) -> None:
        self.clock, self.registry = FakeClock(), CollectorRegistry()
        self.denials = Denials(
            registry=self.registry,
            now=self.clock.monotonic_s,
            wrong_keys_per_minute=per_minute,
        )

    def counted(self, reason: Reason) -> float | None:
        return self.registry.get_sample_value(NAME, {"reason": reason.value})


def test_every_reason_is_counted_from_the_start() -> None:
    door = Door()
    assert {door.counted(reason) for reason in Reason} == {0.0}
    for reason in Reason:
        assert door.denials.tell(reason, reason.value) is None
    assert {door.counted(reason) for reason in Reason} == {1.0}


def test_an_address_that_guesses_waits_and_others_do_not() -> None:
    door = Door()
    for _ in range(3):
        assert door.denials.tell(Reason.UNKNOWN, "10.0.0.1") is None
    refusal = door.denials.tell(Reason.UNKNOWN, "10.0.0.1")
    assert refusal is not None
    assert (refusal.code, refusal.retry_after_s) == (Code.RATE, 20)
    assert door.denials.tell(Reason.UNKNOWN, "10.0.0.2") is None
    door.clock.advance(20)
    assert door.denials.tell(Reason.UNKNOWN, "10.0.0.1") is None
    assert door.counted(Reason.UNKNOWN) == 6


def test_no_key_and_a_narrow_key_are_no_guesses() -> None:
    door = Door()
    for reason in (Reason.NO_KEY, Reason.SCOPE):
        assert all(door.denials.tell(reason, "10.0.0.1") is None for _ in range(50))


def test_all_addresses_of_one_network_count_as_one_caller() -> None:
    door = Door()
    for number in range(3):
        assert door.denials.tell(Reason.UNKNOWN, f"2001:db8:1:2:{number:x}::1") is None
    assert door.denials.tell(Reason.UNKNOWN, "2001:db8:1:2:ffff::9") is not None
    for other in (
        "2001:db8:1:3::1",
        "::ffff:10.0.0.1",
        "::ffff:10.0.0.2",
        "fe80::1%eth0",
        "",
        "x:y",
    ):
        assert door.denials.tell(Reason.UNKNOWN, other) is None, other
