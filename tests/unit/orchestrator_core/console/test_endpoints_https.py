"""Whose certificate a command takes, and that the key of this machine goes to our daemon only."""

import os
from pathlib import Path

import pytest

from orchestrator_core.clients.trust import Trust
from orchestrator_core.config.layout import Layout
from orchestrator_core.console.endpoints import key_for, trust_for
from orchestrator_core.console.programs import ORCHESTRATORD
from orchestrator_core.platforms import runfiles
from support.run_files import announce

URL = "https://box:4"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.from_env({"LLORCH_HOME": str(tmp_path)})


def encrypted(layout: Layout) -> None:
    """A daemon of this machine that listens for the network over HTTPS."""
    run = announce(layout, "orchestratord", URL)
    runfiles.write(layout.run_folder, run.model_copy(update={"ca_file": "/tls/cert.pem"}))
    assert run.pid == os.getpid()


def test_our_own_daemon_is_known_by_its_file_whatever_the_environment_says(layout: Layout) -> None:
    encrypted(layout)
    env = {"LLORCH_CA_FILE": "/ca.pem"}
    own = Trust(Path("/tls/cert.pem"), is_peers_own=True)
    assert trust_for(URL, ORCHESTRATORD, env=env, layout=layout) == own
    other = trust_for("https://far:4", ORCHESTRATORD, env=env, layout=layout)
    assert other == Trust(Path("/ca.pem"))
    assert trust_for("https://far:4", ORCHESTRATORD, env={}, layout=layout) is None
    assert trust_for("http://box:4", ORCHESTRATORD, env=env, layout=layout) is None


def test_the_key_goes_to_our_own_daemon_also_by_its_name_in_the_network(layout: Layout) -> None:
    encrypted(layout)
    layout.admin_key.parent.mkdir(parents=True, exist_ok=True)
    layout.admin_key.write_text("secret\n")
    own = trust_for(URL, ORCHESTRATORD, env={}, layout=layout)
    assert key_for(URL, env={}, key_file=layout.admin_key, trust=own) == "secret"
    for trust in (None, Trust(Path("/ca.pem"))):
        assert key_for(URL, env={}, key_file=layout.admin_key, trust=trust) is None
