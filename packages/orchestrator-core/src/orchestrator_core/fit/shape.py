"""What an estimate must know about a model; the facts of a GGUF header have this shape."""

from typing import Protocol

__all__ = ["ModelShape"]


class ModelShape(Protocol):
    """A model's sizes; None and an empty tuple mean that nobody told."""

    @property
    def architecture(self) -> str:
        """The name that decides by which rules the model keeps its context."""
        ...

    @property
    def blocks(self) -> int | None:
        """The number of layers."""
        ...

    @property
    def embedding_length(self) -> int | None:
        """The width of a layer."""
        ...

    @property
    def kv_heads(self) -> tuple[int, ...]:
        """The heads that are kept, layer by layer."""
        ...

    @property
    def key_length(self) -> int | None:
        """The elements of a key of one head."""
        ...

    @property
    def value_length(self) -> int | None:
        """The elements of a value of one head."""
        ...

    @property
    def feed_forward_length(self) -> int | None:
        """The width inside a layer."""
        ...

    @property
    def vocab_size(self) -> int | None:
        """The number of tokens that the model knows."""
        ...

    @property
    def sliding_window(self) -> int | None:
        """How many tokens the sliding layers look back."""
        ...

    @property
    def sliding_blocks(self) -> int:
        """How many layers look back no further than the window."""
        ...

    @property
    def weights_bytes(self) -> int:
        """The size of all tensors of the file."""
        ...

    @property
    def weights_exact(self) -> bool:
        """Whether that size is known rather than guessed."""
        ...

    @property
    def split_count(self) -> int:
        """The number of files that the model consists of."""
        ...
