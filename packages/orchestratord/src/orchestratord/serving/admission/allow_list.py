"""Keys that may use only some models: how a list names them, and how all others look to it; pure.

A model that a key may not use is to it a model that does not exist.
"""

import difflib
from typing import Final

from orchestrator_core.errors import Code, Refusal
from orchestratord.runtime.keys.keyring import Principal
from orchestratord.serving.admission.offers import Offer, Offers

__all__ = ["as_seen_by", "listed_id", "not_there"]

_NEAREST: Final = 3


def listed_id(offers: Offers, name: str) -> str | Refusal:
    """The id under which an allow-list keeps a model; aliases may come to mean another one."""
    offer = offers.find(name)
    return offer if isinstance(offer, Refusal) else offer.model


def as_seen_by(holder: Principal, name: str, offer: Offer | Refusal) -> Offer | Refusal:
    """What a key with a list gets when it names a model."""
    if isinstance(offer, Refusal):
        # Why a model of its own is not to be had may be told, but not which others there are.
        is_own = holder.may_use(name) and offer.code is not Code.MODEL_NOT_FOUND
        return offer if is_own else not_there(holder, name)
    return offer if holder.may_use(offer.model) else not_there(holder, name)


def not_there(holder: Principal, name: str) -> Refusal:
    """What a key with a list is told of every model outside of it, whether there is one or not."""
    others = sorted((holder.models or frozenset()) - {name})
    nearest = difflib.get_close_matches(name, others, n=_NEAREST, cutoff=0.0)
    hint = f"; this key may use: {', '.join(nearest)}" if nearest else ""
    details = {"model": name, "nearest": nearest}
    return Refusal(Code.MODEL_NOT_FOUND, f'there is no model "{name}"{hint}', details)
