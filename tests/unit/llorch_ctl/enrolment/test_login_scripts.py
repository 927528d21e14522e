"""A key is let in and shut out again, and no line of somebody else is ever lost by it."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llorch_ctl.enrolment import login_scripts
from support.small_disk import small_disk

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIGl5ZXNlZXlvdWhlcmVhbmR0aGVyZQ"
LINE = f"restrict,command=\"'/a b/llorch-pool' remote-exec\" ssh-ed25519 {KEY} llorch:hub"
PROGRAM = "/a b/llorch-pool"


def run(text: str, *, fails: bool = False) -> None:
    done = subprocess.run(
        ["sh", "-s"], input=text, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode != 0) is fails, done.stderr


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "it's a $HOME `here`"


def test_a_key_is_let_in_once_and_other_lines_stay(home: Path) -> None:
    keys = home / ".ssh" / "authorized_keys"
    run(login_scripts.authorize(str(home), LINE, KEY))
    assert keys.read_text() == f"{LINE}\n"
    assert keys.stat().st_mode & 0o777 == 0o600
    keys.write_text("# mine\nssh-rsa BBBB me@home")
    for _ in range(2):
        run(login_scripts.authorize(str(home), LINE, KEY))
    assert keys.read_text() == f"# mine\nssh-rsa BBBB me@home\n{LINE}\n"


def test_an_earlier_line_of_the_same_key_is_replaced(home: Path) -> None:
    keys = home / ".ssh" / "authorized_keys"
    keys.parent.mkdir(parents=True)
    keys.write_text(f"ssh-ed25519 {KEY} wide-open\nssh-rsa BBBB me\n")
    run(login_scripts.authorize(str(home), LINE, KEY))
    assert keys.read_text() == f"ssh-rsa BBBB me\n{LINE}\n"


@pytest.mark.parametrize("blob", [KEY, None])
def test_a_key_is_taken_out_again_and_nothing_else(home: Path, blob: str | None) -> None:
    keys = home / ".ssh" / "authorized_keys"
    text = login_scripts.deauthorize(str(home), PROGRAM, blob)
    run(text)
    keys.parent.mkdir(parents=True)
    keys.write_text(f"ssh-rsa BBBB me\n{LINE}\n")
    for _ in range(2):
        run(text)
    assert keys.read_text() == "ssh-rsa BBBB me\n"
    assert [path.name for path in keys.parent.iterdir()] == ["authorized_keys"]


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.binary(min_size=1, max_size=40).map(lambda line: line.replace(b"\n", b""))))
def test_strange_lines_come_through_as_they_were(tmp_path: Path, lines: list[bytes]) -> None:
    keys = tmp_path / ".ssh" / "authorized_keys"
    keys.parent.mkdir(exist_ok=True)
    strange = b"".join(line.replace(b"\0", b"") + b"\n" for line in [*lines, b"\xff\\n%s\r"])
    keys.write_bytes(strange)
    run(login_scripts.authorize(str(tmp_path), LINE, KEY))
    assert keys.read_bytes() == strange + LINE.encode() + b"\n"
    run(login_scripts.deauthorize(str(tmp_path), PROGRAM, KEY))
    assert keys.read_bytes() == strange


def test_a_link_to_the_file_stays_a_link(home: Path) -> None:
    (home / ".ssh").mkdir(parents=True)
    (home / "dotfiles").write_text("ssh-rsa BBBB me\n")
    keys = home / ".ssh" / "authorized_keys"
    keys.symlink_to("../dotfiles")
    run(login_scripts.authorize(str(home), LINE, KEY))
    assert keys.is_symlink()
    assert (home / "dotfiles").read_text() == f"ssh-rsa BBBB me\n{LINE}\n"


@pytest.mark.parametrize("leaving", [0, 4096])
def test_a_full_disk_locks_nobody_out(tmp_path: Path, leaving: int) -> None:
    with small_disk(tmp_path / "disk", size_bytes=256 * 1024) as disk:
        keys = disk.folder / ".ssh" / "authorized_keys"
        keys.parent.mkdir()
        mine = "".join(f"ssh-rsa {'B' * 380} me{number}\n" for number in range(100))
        keys.write_text(f"{mine}{LINE}\n")
        disk.grow_another_file(leaving_bytes=leaving)
        run(login_scripts.deauthorize(str(disk.folder), PROGRAM, KEY), fails=True)
        run(login_scripts.authorize(str(disk.folder), f"{LINE} anew", KEY), fails=True)
        assert keys.read_text() == f"{mine}{LINE}\n"
        assert [path.name for path in keys.parent.iterdir()] == ["authorized_keys"]
