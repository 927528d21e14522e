"""Addresses that others can reach need a word of permission."""

import pytest

from orchestrator_core.daemon.settings import DaemonSettings, refuse_open_network
from orchestrator_core.errors import Refusal

CLOSED = DaemonSettings(bind="")
OPEN = DaemonSettings(bind="", insecure_lan=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_loopback_needs_no_permission(host: str) -> None:
    assert refuse_open_network(CLOSED, host) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "box.lan"])
def test_an_open_address_needs_permission(host: str) -> None:
    assert isinstance(refuse_open_network(CLOSED, host), Refusal)
    assert refuse_open_network(OPEN, host) is None
