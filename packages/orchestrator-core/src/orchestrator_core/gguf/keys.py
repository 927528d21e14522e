"""The numbers under a model's own keys, each within a range: what no sound header holds raises.

Takes the values of a parsed header; the files beside it turn them into facts.
"""

from collections.abc import Mapping

from orchestrator_core.gguf.header import Items, Value

__all__ = ["Keys", "RangeError"]


class RangeError(Exception):
    """A number that no sound header holds."""


class Keys:
    """Reads the keys that begin with the architecture's name."""

    def __init__(self, values: Mapping[str, Value], architecture: str) -> None:
        self.values = values
        self.architecture = architecture

    def key(self, name: str) -> str:
        """The whole key."""
        return f"{self.architecture}.{name}"

    def value(self, name: str) -> Value:
        """What stands there, or None."""
        return self.values.get(self.key(name))

    def whole(self, name: str, low: int, high: int, *, general: bool = False) -> int | None:
        """A number in its range, the largest one of a list, or None where there is none."""
        key = name if general else self.key(name)
        value = self.values.get(key)
        if value is None:
            return None
        numbers = (value.numbers or ()) if isinstance(value, Items) else (value,)
        return max((_ranged(key, number, low, high) for number in numbers), default=None)

    def per_block(self, name: str, blocks: int, low: int, high: int) -> tuple[int, ...] | None:
        """A number for each layer, whether the header gives one for all or one for each."""
        value = self.value(name)
        if value is None:
            return None
        key = self.key(name)
        if not isinstance(value, Items):
            return (_ranged(key, value, low, high),) * blocks
        if value.numbers is None or value.length < blocks:
            raise RangeError(f"{value.length} values of {key} for {blocks} layers")
        return tuple(_ranged(key, number, low, high) for number in value.numbers[:blocks])

    def flags(self, name: str, blocks: int) -> tuple[bool, ...] | None:
        """A yes or no for each layer where the header lists them; what a short list lacks is no."""
        value = self.value(name)
        if not isinstance(value, Items):
            return None
        listed = tuple(bool(flag) for flag in (value.numbers or ())[:blocks])
        return listed + (False,) * (blocks - len(listed))


def _ranged(key: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise RangeError(f"that {key} is no whole number")
    if not low <= value <= high:
        raise RangeError(f"{value} as {key}")
    return value
