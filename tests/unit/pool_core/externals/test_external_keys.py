"""The key of an external engine lies in a file that only its owner can read."""

from pathlib import Path

import pytest

from orchestrator_core.errors import Code, Refusal
from pool_core.externals.keys import read_key


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.touch(0o600)
    return path


def refused(path: Path) -> str:
    found = read_key(path)
    assert isinstance(found, Refusal)
    assert found.code is Code.CONFIG_INVALID
    return found.message


def test_the_key_is_read_without_its_line_end(file: Path) -> None:
    file.write_text("sk-123\n")
    assert read_key(file) == "sk-123"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_read_is_refused_with_the_cure(file: Path, mode: int) -> None:
    file.write_text("sk-123\n")
    file.chmod(mode)
    assert f"chmod 600 {file}" in refused(file)


@pytest.mark.parametrize("text", ["", "\n", "a b", "a\nb", "schlüssel", "x" * 513])
def test_a_text_that_is_no_key_is_refused_and_not_repeated(file: Path, text: str) -> None:
    file.write_text(text, "utf-8")
    assert refused(file) == f"key_file: {file} holds no key"


def test_what_is_no_file_is_never_opened(tmp_path: Path, file: Path) -> None:
    assert "is no file" in refused(tmp_path)
    assert "No such file" in refused(tmp_path / "gone")
    file.write_bytes(b"x" * 5000)
    assert "too large" in refused(file)
