"""What is served is what is declared: rows and functions must cover each other."""

import re
from typing import Any

import pytest

from orchestratord.app.http import check_bindings
from orchestratord.routes import ROUTES, Manner

BOUND: dict[Manner, dict[str, Any]] = {
    manner: {row.handler: object() for row in ROUTES if row.manner is manner} for manner in Manner
}


@pytest.mark.parametrize("manner", list(Manner))
def test_the_whole_table_bound_is_accepted(manner: Manner) -> None:
    check_bindings(ROUTES, manner, BOUND[manner])


@pytest.mark.parametrize("manner", list(Manner))
def test_a_row_without_a_function_stops_the_start(manner: Manner) -> None:
    bound = dict(BOUND[manner])
    missing, _ = bound.popitem()
    with pytest.raises(LookupError, match=re.escape(missing)):
        check_bindings(ROUTES, manner, bound)


@pytest.mark.parametrize("manner", list(Manner))
def test_a_function_without_a_row_stops_the_start(manner: Manner) -> None:
    with pytest.raises(LookupError, match=r"debug\.shell"):
        check_bindings(ROUTES, manner, {**BOUND[manner], "debug.shell": object()})
