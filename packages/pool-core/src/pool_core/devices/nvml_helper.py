"""A program: answers every line on stdin with one line of JSON about NVIDIA's cards.

Only here the driver's library is loaded, because a call into it may hang for ever. It ends with
its parent: stdin is read by the main thread, so that its end is seen even during such a call.
"""

import json
import os
import queue
import sys
import threading
from typing import Final

from pool_core.devices.nvml_driver import Driver
from pool_core.devices.nvml_library import library

__all__ = ["main"]

_QUESTIONS_MAX: Final = 16


def main() -> None:
    """Answer until stdin ends; never returns."""
    # What a driver prints shall not be taken for an answer.
    answers = os.dup(1)
    os.dup2(2, 1)
    questions: queue.Queue[bytes] = queue.Queue(_QUESTIONS_MAX)
    threading.Thread(target=_answer, args=(questions, answers), daemon=True).start()
    for question in sys.stdin.buffer:
        questions.put(question)
    # A thread that hangs inside the driver would keep a plain exit waiting.
    os._exit(0)


def _answer(questions: "queue.Queue[bytes]", answers: int) -> None:
    driver = Driver(library())
    try:
        while questions.get():
            answer = json.dumps(driver.look(), separators=(",", ":")).encode() + b"\n"
            while answer:
                answer = answer[os.write(answers, answer) :]
    finally:
        # Nobody could be answered any more, and the parent learns it from our end.
        os._exit(1)


if __name__ == "__main__":
    main()
