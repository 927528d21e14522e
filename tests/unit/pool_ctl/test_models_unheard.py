"""What a person is told of words about the hub that a running daemon does not hear."""

from orchestrator_core.errors import Code
from pool_ctl.pools.models.unheard import unheard, unheard_token


def test_another_hub_and_no_hub_at_all_are_told_of_beforehand() -> None:
    line = unheard({"HF_ENDPOINT": "http://hub.example", "HF_HUB_OFFLINE": "1", "HF_TOKEN": "x"})
    assert line is not None
    assert "HF_ENDPOINT and HF_HUB_OFFLINE" in line
    assert "llorch-pool daemon start" in line
    assert unheard({"HF_ENDPOINT": "", "HF_TOKEN": "x"}) is None


def test_a_token_is_told_of_only_to_whom_a_hub_keeps_away() -> None:
    assert "HF_TOKEN" in str(unheard_token({"HF_TOKEN": "x"}, Code.MODEL_GATED))
    assert unheard_token({}, Code.MODEL_GATED) is None
    assert unheard_token({"HF_TOKEN": "x"}, Code.DISK_LOW) is None
