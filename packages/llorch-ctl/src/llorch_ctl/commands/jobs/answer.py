"""Decides which characters of an answer are still to be written when a worker took over.

Pure: token and attempt facts come in, text goes out through `write`, remarks through `tell`. What
was written cannot be taken back, so a new attempt is matched against it.
"""

from collections.abc import Callable

__all__ = ["Answer"]


class Answer:
    """The text of one job as it grows."""

    def __init__(self, write: Callable[[str], None], tell: Callable[[str], None]) -> None:
        self._write = write
        self._tell = tell
        self._pieces: list[tuple[int, str]] = []
        self._shown: str = ""
        self._text: list[str] = []
        # The first token that was seen: not 0 when the answer is read from somewhere behind it.
        self._start: int | None = None
        self._catching_up = False

    @property
    def text(self) -> str:
        """The answer so far, as the newest attempt has it."""
        return "".join(self._text)

    @property
    def line_is_open(self) -> bool:
        """Whether what was written last did not end its line."""
        return bool(self._shown) and not self._shown.endswith("\n")

    def token(self, text: str, index: int, count: int) -> None:
        """Take a piece of text that is tokens index .. index + count - 1."""
        if self._start is None:
            self._start = index
        self._pieces.append((index + count, text))
        self._text.append(text)
        if self._catching_up:
            self._catch_up()
        elif text:
            self._write(text)
            self._shown += text

    def attempt(self, keep_tokens: int) -> None:
        """Begin again behind the first keep_tokens tokens."""
        start = keep_tokens if self._start is None else self._start
        if keep_tokens < start:
            self._begin_before(keep_tokens)
            return
        self._pieces = [piece for piece in self._pieces if piece[0] <= keep_tokens]
        kept = self._pieces[-1][0] if self._pieces else start
        if kept != keep_tokens:
            self._tell(f"{keep_tokens - kept} tokens of the earlier attempt cannot be placed")
        self._text = [text for _, text in self._pieces]
        self._catching_up = True

    def finish(self) -> None:
        """Settle what a shorter last attempt left open, and end the line."""
        if self._catching_up and self._shown != self.text:
            self._start_over("the last attempt's answer is shorter than what was printed")
        if self.line_is_open:
            self._write("\n")

    def _begin_before(self, keep_tokens: int) -> None:
        """What the reader skipped is made again, and there is nothing here to match it with."""
        self._tell("the new attempt begins in front of what was skipped; its answer follows")
        if self.line_is_open:
            self._write("\n")
        self._pieces, self._text, self._shown = [], [], ""
        self._start, self._catching_up = keep_tokens, False

    def _catch_up(self) -> None:
        text = self.text
        if self._shown.startswith(text):
            return
        if text.startswith(self._shown):
            self._write(text[len(self._shown) :])
            self._shown = text
            self._catching_up = False
        else:
            self._start_over("the new attempt answers differently; its answer follows")

    def _start_over(self, remark: str) -> None:
        self._tell(remark)
        break_line = "\n" if self.line_is_open else ""
        self._write(break_line + self.text)
        self._shown = self.text
        self._catching_up = False
