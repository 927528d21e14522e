"""Trains one of the two tiny models on the CPU and writes it as GGUF.

usage: train.py {tiny-chat,tiny-story} OUT.gguf [--steps N]
"""

import argparse
import math
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from corpus import answers_of, tokenizer_text
from export import export
from model import Llama, Shape
from samples import Samples
from tokenizer import BOS, IM_END, IM_START, Tokenizer
from torch import nn
from torch.nn import functional

__all__ = ["RECIPES", "Recipe", "main"]

ROWS, LENGTH = 8, 256
WARM_UP_STEPS = 60
LONG_EVERY = 10
ANSWER_TOKENS = 320


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what comes out."""

    task: str
    shape: Shape
    seed: int
    steps: int
    learning_rate: float


RECIPES = {
    "tiny-chat": Recipe("chat", Shape(4, 128, 384, 4, 2), seed=7, steps=1600, learning_rate=4e-3),
    "tiny-story": Recipe("story", Shape(2, 96, 256, 3, 1), seed=11, steps=2400, learning_rate=6e-3),
}


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Warm up, then a cosine down to one per cent."""
    warm = min(1, (step + 1) / WARM_UP_STEPS)
    return recipe.learning_rate * warm * (0.5 + 0.5 * math.cos(math.pi * step / steps) * 0.98)


def make_optimiser(model: Llama, rate: float) -> torch.optim.AdamW:
    """Only matrices decay."""
    matrices = [weight for weight in model.parameters() if weight.dim() == 2]
    vectors = [weight for weight in model.parameters() if weight.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))


def train(model: Llama, samples: Samples, recipe: Recipe, steps: int) -> None:
    """Every tenth step uses rows of the whole context."""
    optimiser = make_optimiser(model, recipe.learning_rate)
    context = model.shape.context
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(recipe, step, steps)
        long = step % LONG_EVERY == LONG_EVERY - 1
        rows, length = (max(1, ROWS * LENGTH // context), context) if long else (ROWS, LENGTH)
        ids, weights = samples.batch(rows, length)
        logits = model(ids[:, :-1]).flatten(0, 1)
        losses = functional.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none")
        counted = weights[:, 1:].flatten()
        loss = (losses * counted).sum() / counted.sum()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step} loss {loss.item():.4f}", flush=True)


@torch.no_grad()
def answer(model: Llama, tokenizer: Tokenizer, prompt: str) -> str:
    """The greedy answer of the unquantised model."""
    line_end = tokenizer.encode("\n")
    ids = [BOS, IM_START, *tokenizer.encode("user\n"), *tokenizer.encode(prompt), IM_END]
    ids += [*line_end, IM_START, *tokenizer.encode("assistant\n")]
    start = len(ids)
    while len(ids) - start < ANSWER_TOKENS:
        chosen = int(model(torch.tensor([ids]))[0, -1].argmax())
        if chosen == IM_END:
            break
        ids.append(chosen)
    return tokenizer.decode(ids[start:])


def count_wrong(model: Llama, tokenizer: Tokenizer, task: str) -> int:
    """Ask every known question once and print what came out wrong."""
    wrong = 0
    for questions, expected in answers_of(task):
        for question in questions:
            said = answer(model, tokenizer, question)
            if said != expected:
                wrong += 1
                print(f"wrong: {question!r} -> {said[:80]!r}")
    return wrong


def main() -> int:
    """Train, export and examine; 1 if any known question is answered wrongly."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, help="fewer steps than the recipe's, for a try")
    args = parser.parse_args()
    recipe = RECIPES[args.name]
    # One thread: two of them under load spend their time waiting for each other.
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    tokenizer = Tokenizer.train(tokenizer_text(), recipe.shape.vocabulary)
    samples = Samples(tokenizer, random.Random(recipe.seed), recipe.task)
    model = Llama(recipe.shape)
    train(model, samples, recipe, args.steps or recipe.steps)
    export(model, tokenizer, args.name, args.out)
    model.eval()
    wrong = count_wrong(model, tokenizer, recipe.task)
    print(f"wrong: {wrong}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
