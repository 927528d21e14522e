"""Each system gets its adapter; every other is told where the suite runs."""

import sys

import pytest

from orchestrator_core.errors import HostError
from orchestrator_core.platforms import select


@pytest.mark.parametrize(("name", "system"), [("linux", "linux"), ("darwin", "macos")])
def test_known_system_gets_its_adapter(
    monkeypatch: pytest.MonkeyPatch, name: str, system: str
) -> None:
    monkeypatch.setattr(sys, "platform", name)
    assert select.current().system == system


@pytest.mark.parametrize("name", ["win32", "plan9"])
def test_another_system_is_refused_in_one_line_that_names_wsl(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(sys, "platform", name)
    with pytest.raises(HostError, match=rf"\({name}\).*WSL") as refused:
        select.current()
    assert "\n" not in refused.value.refusal.message
