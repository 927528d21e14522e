"""What a scrape shows of models and downloads."""

from orchestrator_core.contracts.downloads import DownloadStage
from orchestrator_core.contracts.pool import ModelReport
from pool_managerd.runtime.metrics import PoolMetrics
from pool_managerd.runtime.model_gauges import DownloadTally

NOTHING = DownloadTally(0, 0, {}, 0)


def lines(models: list[ModelReport], tally: DownloadTally) -> list[str]:
    metrics = PoolMetrics()
    metrics.watch_models(lambda: models, lambda: tally)
    return metrics.render().decode().splitlines()


def test_models_are_counted_with_their_bytes() -> None:
    models = [ModelReport(id=name, file=f"{name}.gguf", size_bytes=500) for name in ("a", "b")]
    shown = lines(models, NOTHING)
    assert "pool_mgr_models_total 2.0" in shown
    assert "pool_mgr_models_bytes 1000.0" in shown


def test_every_end_of_a_download_is_there_before_it_happens() -> None:
    shown = lines([], NOTHING)
    for outcome in ("done", "failed", "cancelled"):
        assert f'pool_mgr_downloads_ended_total{{outcome="{outcome}"}} 0.0' in shown


def test_downloads_are_shown_by_where_they_stand() -> None:
    shown = lines([], DownloadTally(2, 3, {DownloadStage.DONE: 5}, 7000))
    assert "pool_mgr_downloads_running 2.0" in shown
    assert "pool_mgr_downloads_queued 3.0" in shown
    assert 'pool_mgr_downloads_ended_total{outcome="done"} 5.0' in shown
    assert "pool_mgr_download_fetched_bytes_total 7000.0" in shown
