"""What the NVIDIA helper answers is checked before anything is made of it."""

import json

import pytest

from pool_core.devices.nvml_answer import Answer, mentioned_pids, parse


@pytest.mark.parametrize("text", [b"", b"nonsense", b'{"gpus": 3}', b'{"gpus": [{"index": "x"}]}'])
def test_an_answer_without_sense_is_refused_in_one_line(text: bytes) -> None:
    words = parse(text)
    assert isinstance(words, str)
    assert "\n" not in words


def test_only_numbers_that_can_be_process_ids_are_mentioned() -> None:
    part = {"index": 0, "processes": [(7, None)]}
    card = {"index": 0, "processes": [(101, 1), (0, 1), (1 << 31, 1), (-1, 1)], "parts": [part]}
    answer = parse(json.dumps({"gpus": [card]}).encode())
    assert isinstance(answer, Answer)
    assert mentioned_pids(answer) == {101, 7}
