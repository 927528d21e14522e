"""What people see of a pool: what it reported, or that it never did."""

from orchestrator_core.contracts.pool import ModelReport, PoolState
from orchestrator_core.ids import PoolId, SessionId
from orchestrator_core.scheduler.views import PoolFacts
from orchestratord.api.control.pool_views import pool_view

MODEL = ModelReport(id="tinyllama", file="tinyllama.gguf", size_bytes=1)


def facts(*models: ModelReport) -> PoolFacts:
    return PoolFacts(
        pool_id=PoolId("mac"),
        session_id=SessionId("s"),
        status=PoolState.ONLINE,
        endpoint="",
        version="0.1.0",
        last_seen_at=1.0,
        devices=(),
        models=models,
        engines=(),
        workers=(),
    )


def test_the_models_that_a_pool_reported_are_shown() -> None:
    view = pool_view(PoolId("mac"), pool=facts(MODEL), contact=None, row=None, link=None, now=2.0)
    assert view.models == [MODEL]


def test_a_pool_that_never_reported_has_no_models() -> None:
    view = pool_view(PoolId("mac"), pool=None, contact=None, row=None, link=None, now=2.0)
    assert (view.models, view.status) == ([], PoolState.LOST)
