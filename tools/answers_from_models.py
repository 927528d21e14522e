"""Turns the exact answers of MODELS.md into the JSON that the tests read.

usage: answers_from_models.py [MODELS.md [answers.json]]
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "tools" / "train_tiny" / "MODELS.md"
TARGET = ROOT / "tests" / "support" / "answers.json"

HEADING = re.compile(r"^## (tiny-\w+): prompt -> exact greedy completion$")
PAIR = re.compile(r"^- `(.+?)` -> `(.*)`$")


def read_answers(text: str) -> dict[str, object]:
    """Collect prompt -> answer per model, raw completions apart under "raw"."""
    chat: dict[str, dict[str, str]] = {}
    raw: dict[str, dict[str, str]] = {}
    into: dict[str, str] = {}
    model = ""
    for line in text.splitlines():
        if heading := HEADING.match(line):
            model = heading.group(1)
            into = chat.setdefault(model, {})
        elif line.startswith("Raw completion") and model:
            into = raw.setdefault(model, {})
        elif line.startswith("## "):
            model, into = "", {}
        elif (pair := PAIR.match(line)) and model and not pair.group(1).startswith("["):
            # The document spells line ends and quotes as a JSON string does.
            into[pair.group(1)] = json.loads(f'"{pair.group(2)}"')
    return {**chat, "raw": raw}


def main() -> int:
    """Write the file anew; the same document always gives the same bytes."""
    given = [Path(argument) for argument in sys.argv[1:]]
    source = given[0] if given else SOURCE
    target = given[1] if len(given) > 1 else TARGET
    answers = read_answers(source.read_text("utf-8"))
    target.write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
