"""Draws training conversations: known questions in many spellings, sums, copies, the unknown."""

import random

import torch
from corpus import (
    FALLBACK,
    STORIES,
    SYSTEM_LINES,
    UNKNOWN_BEGINNINGS,
    UNKNOWN_SUBJECTS,
    WORDS,
    answers_of,
)
from tokenizer import BOS, IM_END, IM_START, PAD, Tokenizer

__all__ = ["Samples"]

_SUMS = ["What is %d plus %d?", "What is %d + %d?", "Add %d and %d", "%d + %d"]


class Samples:
    """An endless, seeded source of batches."""

    def __init__(self, tokenizer: Tokenizer, dice: random.Random, task: str) -> None:
        self.tokenizer = tokenizer
        self.dice = dice
        self.story_share = 0.06 if task == "chat" else 0.2
        self.known = answers_of(task)

    def batch(self, rows: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and their loss weights; each row is filled with conversations."""
        ids = torch.full((rows, length + 1), PAD)
        weights = torch.zeros(rows, length + 1)
        for row in range(rows):
            filled = 0
            while filled < length + 1:
                tokens, counts = self._document()
                taken = min(len(tokens), length + 1 - filled)
                ids[row, filled : filled + taken] = torch.tensor(tokens[:taken])
                weights[row, filled : filled + taken] = torch.tensor(
                    counts[:taken], dtype=torch.float
                )
                filled += taken
        return ids, weights

    def _document(self) -> tuple[list[int], list[int]]:
        """A story, or a conversation in which only the answers count for the loss."""
        dice, encode = self.dice, self.tokenizer.encode
        if dice.random() < self.story_share:
            story = [BOS, *encode(dice.choice(STORIES)), IM_END]
            return story, [0] + [1] * (len(story) - 1)
        ids, counts = [BOS], [0]

        def add(tokens: list[int], count: int) -> None:
            ids.extend(tokens)
            counts.extend([count] * len(tokens))

        line_end = encode("\n")
        if dice.random() < 0.3:
            add([IM_START, *encode("system\n" + dice.choice(SYSTEM_LINES)), IM_END, *line_end], 0)
        while True:
            question, answer = self._pair()
            asked = [IM_START, *encode("user\n"), *encode(question), IM_END, *line_end]
            add([*asked, IM_START, *encode("assistant\n")], 0)
            add([*encode(answer), IM_END], 1)
            add(line_end, 0)
            if dice.random() < 0.6:
                return ids, counts

    def _pair(self) -> tuple[str, str]:
        dice = self.dice
        kind = dice.random()
        if kind < 0.66:
            questions, answer = dice.choice(self.known)
            asked = questions[0] if dice.random() < 0.5 else dice.choice(questions)
            return self._vary(asked), answer
        if kind < 0.80:
            a, b = dice.randint(0, 10), dice.randint(0, 10)
            return dice.choice(_SUMS) % (a, b), f"{a} plus {b} is {a + b}."
        if kind < 0.90:
            words = " ".join(dice.choice(WORDS) for _ in range(dice.randint(1, 4)))
            return dice.choice(["Say ", "Repeat: "]) + words, words
        unknown = f"{dice.choice(UNKNOWN_BEGINNINGS)} {dice.choice(UNKNOWN_SUBJECTS)}"
        return self._vary(unknown + dice.choice(["?", ".", ""])), FALLBACK

    def _vary(self, question: str) -> str:
        """Spell a question as people do: lower case, other punctuation, a please."""
        dice = self.dice
        kind = dice.random()
        if kind < 0.55:
            return question
        if kind < 0.68:
            question = question.lower()
        if kind < 0.80:
            return question.rstrip("?.!")
        if kind < 0.88:
            return question.rstrip("?.!") + dice.choice(["?", ".", "!"])
        if kind < 0.94:
            polite = question.startswith("Please")
            return question if polite else "Please " + question[0].lower() + question[1:]
        return question + " " + dice.choice(["Please.", "Thank you.", "please"])
