"""What git clean would remove, read strictly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.errors import Refusal
from pool_ctl.git.leavings import Leavings, batches, parse_leavings, unquote
from pool_ctl.git.plain import bytes_of

LETTERS = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 34: '"', 92: "\\"}


def quoted(path: bytes) -> bytes:
    """Spell a path as git does: in quotes if any byte of it is unusual."""
    spelled = "".join(
        f"\\{LETTERS[it]}" if it in LETTERS else chr(it) if 32 <= it < 127 else f"\\{it:03o}"
        for it in path
    )
    return path if spelled.encode() == path else f'"{spelled}"'.encode()


@given(st.binary(min_size=1).filter(lambda it: b"\0" not in it))
def test_every_quoted_path_is_read_back(path: bytes) -> None:
    assert unquote(quoted(path)) == path


@given(st.binary())
def test_no_answer_makes_it_fall_over(data: bytes) -> None:
    assert isinstance(parse_leavings(data), Leavings | Refusal)


def test_files_folders_and_repositories_are_told_apart() -> None:
    data = b'Would remove a b\nWould skip repository deep/r\nWould remove "tab\\there/"\n'
    assert parse_leavings(data) == Leavings(("a b", "tab\there/"), ("deep/r",))


@pytest.mark.parametrize(
    "line", [b"Removing x", b"Would remove ", b'Would remove "x', b'Would remove "\\q"']
)
def test_a_strange_line_is_refused(line: bytes) -> None:
    assert isinstance(parse_leavings(line + b"\n"), Refusal)


@given(st.lists(st.text(min_size=1, max_size=9).map(lambda it: it * 2000), max_size=40))
def test_batches_keep_order_and_size(paths: list[str]) -> None:
    cut = list(batches(paths))
    assert [path for batch in cut for path in batch] == paths
    for batch in cut:
        assert batch
        assert len(batch) == 1 or sum(len(bytes_of(path)) + 1 for path in batch) <= 60_000
