"""The exact greedy answers of the tiny models; tools/answers_from_models.py writes the JSON."""

import json
from pathlib import Path

__all__ = ["chat_answers", "raw_answers"]

_ANSWERS = json.loads(Path(__file__).with_name("answers.json").read_text("utf-8"))


def chat_answers(model: str) -> dict[str, str]:
    """Prompt of one user message -> exact answer at temperature 0."""
    return dict(_ANSWERS[model])


def raw_answers(model: str) -> dict[str, str]:
    """Untemplated prompt -> exact completion at temperature 0."""
    return dict(_ANSWERS["raw"][model])
