"""What an estimate must know about a model; the facts of a GGUF header have this shape."""

from typing import Protocol

__all__ = ["ModelShape", "StateShape"]


class StateShape(Protocol):
    """What each sequence carries through the layers that keep a state instead of a context."""

    @property
    def elements(self) -> int:
        """The numbers of one sequence over all layers."""
        ...

    @property
    def held_elements(self) -> int:
        """The numbers of one sequence in one layer, without those that only shift along."""
        ...

    @property
    def inner_length(self) -> int:
        """The width inside such a layer."""
        ...


class ModelShape(Protocol):
    """A model's sizes; None and an empty tuple mean that nobody told."""

    @property
    def architecture(self) -> str:
        """The name that decides by which rules the model keeps its context."""
        ...

    @property
    def rules_known(self) -> bool:
        """Whether what the model keeps of a context follows from its sizes for certain."""
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
    def side_length(self) -> int:
        """What a token carries beside that width."""
        ...

    @property
    def head_count(self) -> int | None:
        """The heads that ask, in the layer with the most."""
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
    def expanded_key_length(self) -> int | None:
        """The elements of a key before it is pressed into what is kept; values are then not."""
        ...

    @property
    def feed_forward_length(self) -> int | None:
        """The width inside a layer."""
        ...

    @property
    def has_dense_layers(self) -> bool:
        """False where every layer consists of experts alone."""
        ...

    @property
    def expert_used_count(self) -> int | None:
        """How many experts each token passes."""
        ...

    @property
    def expert_length(self) -> int | None:
        """The width inside an expert, where it differs from that of a layer."""
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
    def sliding(self) -> tuple[bool, ...]:
        """Layer by layer, whether it looks back no further than the window."""
        ...

    @property
    def sliding_key_length(self) -> int | None:
        """The elements of a key in such a layer, where they differ."""
        ...

    @property
    def sliding_value_length(self) -> int | None:
        """The elements of a value in such a layer, where they differ."""
        ...

    @property
    def state(self) -> StateShape | None:
        """What each sequence carries beside its context."""
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
    def embedding_bytes(self) -> int:
        """The part of it that turns tokens into vectors."""
        ...

    @property
    def output_bytes(self) -> int:
        """The part of it that turns vectors into tokens; 0 where it is the same as the first."""
        ...

    @property
    def split_count(self) -> int:
        """The number of files that the model consists of."""
        ...
