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
        self._catching_up = False

    @property
    def text(self) -> str:
        """The answer so far, as the newest attempt has it."""
        return "".join(self._text)

    def token(self, text: str, index: int, count: int) -> None:
        """Take a piece of text that is tokens index .. index + count - 1."""
        self._pieces.append((index + count, text))
        self._text.append(text)
        if self._catching_up:
            self._catch_up()
        elif text:
            self._write(text)
            self._shown += text

    def attempt(self, keep_tokens: int) -> None:
        """Begin again behind the first keep_tokens tokens."""
        self._pieces = [piece for piece in self._pieces if piece[0] <= keep_tokens]
        kept = self._pieces[-1][0] if self._pieces else 0
        if kept != keep_tokens:
            self._tell(f"{keep_tokens - kept} tokens of the earlier attempt cannot be placed")
        self._text = [text for _, text in self._pieces]
        self._catching_up = True

    def finish(self) -> None:
        """Settle what a shorter last attempt left open, and end the line."""
        if self._catching_up and self._shown != self.text:
            self._start_over("the last attempt's answer is shorter than what was printed")
        if self._shown and not self._shown.endswith("\n"):
            self._write("\n")

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
        break_line = "" if not self._shown or self._shown.endswith("\n") else "\n"
        self._write(break_line + self.text)
        self._shown = self.text
        self._catching_up = False
