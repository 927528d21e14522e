"""A byte-level BPE tokenizer as GPT-2's, trained on a text; llama.cpp reads its vocabulary.

Training is deterministic: of equally frequent pairs the one that sorts last is merged first.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["BOS", "IM_END", "IM_START", "PAD", "SPECIALS", "Tokenizer"]

SPECIALS = ["<|begin|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
BOS, IM_START, IM_END, PAD = range(4)

# GPT-2's word pattern, reduced to the characters of the corpus.
_WORD = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")
_NO_RANK = 1 << 30

Pair = tuple[str, str]


def _byte_symbols() -> dict[int, str]:
    """GPT-2's printable stand-in for every byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = {byte: chr(byte) for byte in plain}
    hidden = (byte for byte in range(256) if byte not in symbols)
    return symbols | {byte: chr(256 + offset) for offset, byte in enumerate(hidden)}


_SYMBOLS = _byte_symbols()
_BYTES = {symbol: byte for byte, symbol in _SYMBOLS.items()}


def _merge(parts: Sequence[str], pair: Pair) -> list[str]:
    merged: list[str] = []
    at = 0
    while at < len(parts):
        if at + 1 < len(parts) and (parts[at], parts[at + 1]) == pair:
            merged.append(parts[at] + parts[at + 1])
            at += 2
        else:
            merged.append(parts[at])
            at += 1
    return merged


class Tokenizer:
    """Turns text into token ids and back."""

    def __init__(self, merges: list[Pair]) -> None:
        self.merges = merges
        symbols = [_SYMBOLS[byte] for byte in range(256)]
        self.tokens = [*SPECIALS, *symbols, *("".join(pair) for pair in merges)]
        self._ids = {token: number for number, token in enumerate(self.tokens)}
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._known: dict[str, list[int]] = {}

    @classmethod
    def train(cls, text: str, vocabulary: int) -> "Tokenizer":
        """Merge the most frequent pair until the vocabulary is full."""
        words = Counter(_symbols(word) for word in _WORD.findall(text))
        parts = {word: list(word) for word in words}
        merges: list[Pair] = []
        while len(SPECIALS) + 256 + len(merges) < vocabulary:
            pairs: Counter[Pair] = Counter()
            for word, count in words.items():
                for pair in pairwise(parts[word]):
                    pairs[pair] += count
            best = max(pairs, key=lambda pair: (pairs[pair], pair))
            merges.append(best)
            for word in words:
                parts[word] = _merge(parts[word], best)
        return cls(merges)

    def encode(self, text: str) -> list[int]:
        """The ids of a text; specials are never read out of it."""
        ids: list[int] = []
        for word in _WORD.findall(text):
            if word not in self._known:
                self._known[word] = [self._ids[token] for token in self._split(word)]
            ids += self._known[word]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without the specials."""
        symbols = (symbol for i in ids if i >= len(SPECIALS) for symbol in self.tokens[i])
        return bytes(_BYTES[symbol] for symbol in symbols).decode("utf-8", "replace")

    def _split(self, word: str) -> list[str]:
        parts = list(_symbols(word))
        while len(parts) > 1:
            pairs = pairwise(parts)
            rank, pair = min((self._ranks.get(pair, _NO_RANK), pair) for pair in pairs)
            if rank == _NO_RANK:
                break
            parts = _merge(parts, pair)
        return parts


def _symbols(word: str) -> str:
    return "".join(_SYMBOLS[byte] for byte in word.encode())
