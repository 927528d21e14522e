"""One table gives every code its status and its exit code; every refusal has its branch."""

import pytest

from orchestrator_core.errors import (
    OUTCOMES,
    CapacityError,
    Code,
    DataError,
    Exit,
    HostError,
    LlorchError,
    PeerError,
    Refusal,
    RequestError,
    error_for,
)

STATUS_TO_EXIT = {
    400: Exit.FAILURE,
    401: Exit.REFUSED,
    403: Exit.REFUSED,
    404: Exit.NOT_FOUND,
    405: Exit.FAILURE,
    409: Exit.FAILURE,
    413: Exit.FAILURE,
    422: Exit.FAILURE,
    429: Exit.FAILURE,
    503: Exit.UNREACHABLE,
    504: Exit.TIMEOUT,
}


@pytest.mark.parametrize("code", Code)
def test_every_code_has_an_outcome_and_an_error(code: Code) -> None:
    refusal = Refusal(code, "no")
    error = error_for(refusal)
    assert isinstance(error, LlorchError)
    assert error.code is code
    assert str(error) == f"{code}: no"
    assert refusal.outcome is OUTCOMES[code]


@pytest.mark.parametrize("code", Code)
def test_exit_code_follows_from_the_status(code: Code) -> None:
    outcome = OUTCOMES[code]
    if outcome.http_status == 500:
        assert outcome.exit_code in (Exit.FAILURE, Exit.CONFIG)
    else:
        assert outcome.exit_code is STATUS_TO_EXIT[outcome.http_status]


@pytest.mark.parametrize("code", Code)
def test_only_what_may_work_later_asks_for_a_retry(code: Code) -> None:
    outcome = OUTCOMES[code]
    assert outcome.retry_later == (outcome.http_status in (429, 503))


@pytest.mark.parametrize(
    ("code", "branch"),
    [
        (Code.INVALID_REQUEST, RequestError),
        (Code.MODEL_NOT_FOUND, RequestError),
        (Code.QUEUE_FULL, CapacityError),
        (Code.LOADING, CapacityError),
        (Code.PORT_IN_USE, HostError),
        (Code.INTERNAL, HostError),
        (Code.UNREACHABLE, PeerError),
        (Code.TIMEOUT, PeerError),
        (Code.DATA_CORRUPT, DataError),
    ],
)
def test_code_belongs_to_its_branch(code: Code, branch: type[LlorchError]) -> None:
    assert type(error_for(Refusal(code, "no"))) is branch
