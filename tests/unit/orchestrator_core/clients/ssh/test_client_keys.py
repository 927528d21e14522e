"""The orchestrator's own key is made once, and a locked key is known by its file."""

import stat
import threading
from pathlib import Path

import pytest

from orchestrator_core.clients.ssh.client_keys import ensure_client_key, locked_among
from orchestrator_core.errors import Code, HostError
from support.sshd import make_key, needs_sshd


def test_a_key_is_made_on_first_need_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ssh_key"
    first = ensure_client_key(path, comment="llorch:home")
    assert first.startswith("ssh-ed25519 ")
    assert first.endswith(" llorch:home")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ensure_client_key(path) == first
    assert [it.name for it in path.parent.iterdir()] == ["ssh_key"]


def test_two_who_need_it_at_once_use_one_key(tmp_path: Path) -> None:
    path = tmp_path / "ssh_key"
    gate = threading.Barrier(4)
    lines: list[str] = []

    def need() -> None:
        gate.wait()
        lines.append(ensure_client_key(path))

    threads = [threading.Thread(target=need) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines) == 4
    assert len(set(lines)) == 1


def test_a_file_that_is_no_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ssh_key"
    path.write_text("nothing of the kind")
    with pytest.raises(HostError) as caught:
        ensure_client_key(path)
    assert caught.value.code is Code.CONFIG_INVALID
    assert str(path) in caught.value.refusal.message


@needs_sshd
@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_a_passphrase_shows_in_the_file(tmp_path: Path, kind: str) -> None:
    make_key(tmp_path / "open", kind=kind)
    make_key(tmp_path / "locked", kind=kind, passphrase="correct horse")
    files = (tmp_path / "open", tmp_path / "locked", tmp_path / "open.pub", tmp_path / "none")
    assert locked_among(files) == (tmp_path / "locked",)
