"""Turns models and downloads into metrics: pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from orchestrator_core.contracts.downloads import DownloadStage
from orchestrator_core.contracts.pool import ModelReport

__all__ = ["ENDS", "DownloadTally", "model_gauges"]

ENDS: Final = (DownloadStage.DONE, DownloadStage.FAILED, DownloadStage.CANCELLED)


@dataclass(frozen=True, slots=True)
class DownloadTally:
    """The downloads of a daemon since its start; ended counts how they ended."""

    running: int
    queued: int
    ended: Mapping[DownloadStage, int]
    fetched_bytes: int


def model_gauges(models: Sequence[ModelReport], downloads: DownloadTally) -> Iterator[Metric]:
    """Every metric of models."""
    yield _gauge("pool_mgr_models_total", "Models that lie on this host.", len(models))
    size_bytes = sum(model.size_bytes for model in models)
    yield _gauge("pool_mgr_models_bytes", "What their files are long together.", size_bytes)
    text = "Downloads that are at work."
    yield _gauge("pool_mgr_downloads_running", text, downloads.running)
    text = "Downloads that wait for their turn."
    yield _gauge("pool_mgr_downloads_queued", text, downloads.queued)
    ended = CounterMetricFamily(
        "pool_mgr_downloads_ended", "Downloads by how they ended.", labels=["outcome"]
    )
    for stage in ENDS:
        ended.add_metric([stage.value], downloads.ended.get(stage, 0))
    yield ended
    fetched = CounterMetricFamily(
        "pool_mgr_download_fetched_bytes", "Bytes that came over the network."
    )
    fetched.add_metric([], downloads.fetched_bytes)
    yield fetched


def _gauge(name: str, text: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, text)
    family.add_metric([], value)
    return family
