"""docs/hosts.md and the help name what the code knows."""

from click.testing import CliRunner

from llorch_ctl.hosts.entries import KEYS
from llorch_ctl.main import cli
from orchestrator_core.clients.ssh.login import SSH_CONFIG_OPTIONS
from support.checkout import ROOT

TEXT = (ROOT / "docs" / "hosts.md").read_text("utf-8")


def test_every_key_of_a_host_has_its_row() -> None:
    assert [key for key in KEYS if f"\n| `{key}` | " not in TEXT] == []


def test_the_options_of_the_ssh_config_that_count_are_listed() -> None:
    listed = ", ".join(SSH_CONFIG_OPTIONS)
    assert listed in " ".join(TEXT.split())
    shown = CliRunner().invoke(cli, ["host", "--help"], terminal_width=100).stdout
    assert listed in " ".join(shown.split())
