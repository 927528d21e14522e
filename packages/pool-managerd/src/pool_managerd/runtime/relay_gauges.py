"""Tells the relays to workers as metrics."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

__all__ = ["RelayTally", "relay_gauges"]


@dataclass(frozen=True, slots=True)
class RelayTally:
    """How many relays there are and were, and what the ended ones have carried."""

    open: int
    accepted: int
    refused: int
    to_workers_bytes: int
    from_workers_bytes: int


def relay_gauges(tally: RelayTally) -> Iterator[Metric]:
    """All metrics of the relays."""
    yield GaugeMetricFamily(
        "pool_mgr_relays_open", "Relays between the orchestrator and a worker.", value=tally.open
    )
    asked = CounterMetricFamily(
        "pool_mgr_relays", "Relays that were asked for, by outcome.", labels=["outcome"]
    )
    asked.add_metric(["accepted"], tally.accepted)
    asked.add_metric(["refused"], tally.refused)
    yield asked
    carried = CounterMetricFamily(
        "pool_mgr_relayed_bytes", "What ended relays have carried.", labels=["direction"]
    )
    carried.add_metric(["to_worker"], tally.to_workers_bytes)
    carried.add_metric(["from_worker"], tally.from_workers_bytes)
    yield carried
