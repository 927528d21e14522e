"""Who makes a call, for the handlers that let an orchestrator do less than the operator: pure."""

from fastapi import Request

from orchestrator_core.catalog.reference import ReferenceKind, parse
from orchestrator_core.errors import Code, Refusal
from pool_managerd.runtime.keyring import Caller

__all__ = ["caller_of", "introduce", "refuse_reference"]


def introduce(request: Request, caller: Caller | None) -> None:
    """Note whose key was shown; None on a route that is open to anyone."""
    request.state.caller = caller


def caller_of(request: Request) -> Caller:
    """Whose key was shown; whoever is unknown may do no more than an orchestrator."""
    return Caller.OPERATOR if request.state.caller is Caller.OPERATOR else Caller.ORCHESTRATOR


def refuse_reference(caller: Caller, model: str) -> Refusal | None:
    """Keep an orchestrator away from the files of this host: it names models and hub references."""
    reference = parse(model)
    if isinstance(reference, Refusal):
        return reference
    if caller is Caller.OPERATOR or reference.kind is not ReferenceKind.FILE:
        return None
    text = "only the operator's key of this pool may name a file of this host"
    return Refusal(Code.SCOPE, text, {"field": "model"})
