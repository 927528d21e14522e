"""The two manners of a wire model: strict for what others send us, tolerant for what peers add."""

from pydantic import BaseModel, ConfigDict

__all__ = ["Fact", "Order"]


class Order(BaseModel):
    """Something a caller asks of us: unknown fields are refused by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Fact(BaseModel):
    """Something a peer reports: a newer peer may say more than we understand."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)
