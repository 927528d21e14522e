"""What the gate is told of a model: from the catalogue first, else from an engine's pool."""

import pytest

from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.contracts.pool import ModelFile, WorkerSpec
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import PoolId
from orchestrator_core.testing.reports import worker_report
from orchestratord.runtime.workerbook import WorkerBook
from orchestratord.serving.offers import Offer, Offers

HOME = PoolId("home")


@pytest.fixture
def book() -> WorkerBook:
    return WorkerBook()


@pytest.fixture
def offers(book: WorkerBook) -> Offers:
    return Offers(Catalog.load(), book)


def serve(book: WorkerBook, *models: str, parallel: int = 3) -> None:
    files = [ModelFile(model_id=name, source="external", file="org/m") for name in models]
    specs = [WorkerSpec(model=file, engine="openai", parallel=parallel) for file in files]
    reports = [worker_report(f"wrk_{n}", spec=spec) for n, spec in enumerate(specs)]
    url = {"url": "http://a:1/v1"}
    book.replace(HOME, [report.model_copy(update=url) for report in reports])


def found(offers: Offers, name: str) -> Offer:
    offer = offers.find(name)
    assert isinstance(offer, Offer)
    return offer


def test_a_model_of_the_catalogue_is_offered_as_the_catalogue_says(offers: Offers) -> None:
    offer = found(offers, "tiny-chat")
    assert (offer.model, offer.slots, offer.sampling) == ("tiny-chat", 1, {"temperature": 0.0})
    assert offer.spec.model.source == "builtin"
    assert WorkerSpec.model_validate_json(offer.spec_json) == offer.spec
    assert found(offers, "tiny-chat") is offer


def test_a_model_that_only_an_engine_has_is_known_by_its_exact_name(
    offers: Offers, book: WorkerBook
) -> None:
    assert isinstance(offers.find("Org/M"), Refusal)
    serve(book, "Org/M")
    offer = found(offers, "Org/M")
    assert (offer.model, offer.entry, offer.slots, offer.sampling) == ("Org/M", None, 3, {})
    assert found(offers, "Org/M") is offer
    assert isinstance(offers.find("org/m"), Refusal)


def test_an_engine_that_changes_is_offered_anew_and_one_that_goes_is_forgotten(
    offers: Offers, book: WorkerBook
) -> None:
    serve(book, "a", "b")
    assert found(offers, "a").slots == 3
    serve(book, "b", parallel=5)
    assert found(offers, "b").slots == 5
    assert isinstance(offers.find("a"), Refusal)
    assert list(offers._external) == ["b"]


def test_a_name_of_the_catalogue_stays_the_catalogues(offers: Offers, book: WorkerBook) -> None:
    serve(book, "tiny-chat")
    assert found(offers, "tiny-chat").spec.model.source == "builtin"
    assert offers.served_outside("tiny-chat")
    assert not offers.served_outside("tiny-story")


def test_an_unknown_name_is_refused_with_the_nearest_of_both(
    offers: Offers, book: WorkerBook
) -> None:
    serve(book, "quite-big")
    refusal = offers.find("quite-bigg")
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.MODEL_NOT_FOUND
    nearest = refusal.details["nearest"]
    assert isinstance(nearest, list)
    assert nearest[0] == "quite-big"


def test_a_reference_that_is_none_keeps_its_own_reason(offers: Offers) -> None:
    refusal = offers.find("hf:nonsense")
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.INVALID_REQUEST
