"""Ten thousand headers that lie, the same ones every time; `./dev fuzz gguf` reads a million."""

import pytest

import orchestrator_core.gguf.header as header_module
from fuzz import gguf_header
from fuzz.gguf_header import examine, fuzz
from fuzz.gguf_mutations import lie, sound_headers
from orchestrator_core.gguf.cursor import Cursor, ShortError, Walked


def test_ten_thousand_lies_are_answered_without_an_exception_and_within_their_bounds() -> None:
    tally = fuzz(10_000, seed=20_260_101, processes=1)
    assert tally.failures == []
    assert tally.inputs == sum(tally.outcomes.values()) == 10_000
    # The lies must not all die at the first byte: every depth of the reader is reached.
    assert tally.outcomes["sound"] > 500
    assert tally.outcomes["more is needed"] > 500
    assert len([name for name in tally.outcomes if name.startswith("damaged")]) >= 15
    assert len([name for name in tally.outcomes if name.startswith("no facts")]) >= 15


def test_every_sound_header_is_read_and_one_number_makes_one_lie() -> None:
    sound = sound_headers()
    assert {examine(it.data) for it in sound} == {"sound"}
    assert [lie(n, 7, sound) for n in range(50)] == [lie(n, 7, sound) for n in range(50)]


class Believing(Cursor):
    """Allocates what a length declares, before it looks whether so much is there."""

    def expect(self, count: int, what: str) -> int:
        bytearray(min(count, 8 << 20))
        return super().expect(count, what)


class Standing(Cursor):
    """Looks at one place as often as if the whole input stood there."""

    def __init__(self, data: memoryview, walked: Walked | None = None) -> None:
        super().__init__(data, walked)
        for _ in range(len(data) + 100):
            self.expect(0, "nothing")


class Unguarded(Cursor):
    """Reads beyond the end."""

    def expect(self, count: int, what: str) -> int:
        try:
            return super().expect(count, what)
        except ShortError:
            return self.position


@pytest.mark.parametrize(
    ("broken", "inputs", "words"),
    [(Believing, 4_000, "bytes for"), (Standing, 60, "steps for"), (Unguarded, 200, "error")],
)
def test_a_reader_that_breaks_a_promise_is_found(
    broken: type[Cursor], inputs: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The harness counts the steps of the reader that it finds, so the broken one is slipped below.
    counting = type("Counting", (gguf_header.Counting, broken), {})
    monkeypatch.setattr(gguf_header, "Counting", counting)
    tally = fuzz(inputs, seed=1, processes=1)
    assert any(words in reason for _, reason in tally.failures), tally.failures[:3]
    assert header_module.Cursor is Cursor
