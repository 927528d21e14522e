"""What the gate is told of a model: from the catalogue first, else from an engine's pool."""

import pytest

from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.contracts.pool import ModelFile, ModelReport, WorkerSpec
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import PoolId
from orchestrator_core.testing.reports import worker_report
from orchestratord.runtime.workerbook import WorkerBook
from orchestratord.serving.admission.offers import Offer, Offers

HOME = PoolId("home")


@pytest.fixture
def book() -> WorkerBook:
    return WorkerBook()


@pytest.fixture
def offers(book: WorkerBook) -> Offers:
    return Offers(Catalog.load(), book, dict)


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


def held_offers(book: WorkerBook, *reports: ModelReport) -> Offers:
    return Offers(Catalog.load(), book, lambda: {report.id: report for report in reports})


def hub_report(quant: str, *, commit: str = "a" * 40, sha256: str = "b" * 64) -> ModelReport:
    return ModelReport(
        id=f"hf:org/repo:{quant}",
        file=f"model-{quant}.gguf",
        size_bytes=5_000_000,
        sha256=sha256,
        source="hub",
        repo="org/repo",
        commit=commit,
    )


def test_a_model_that_only_a_pool_holds_is_offered_with_its_very_file(book: WorkerBook) -> None:
    report = hub_report("Q4_K_M")
    offers = held_offers(book, report)
    offer = found(offers, report.id)
    model = offer.spec.model
    assert (offer.model, offer.entry, offer.slots) == (report.id, None, 2)
    assert (model.model_id, model.source, model.file) == (report.id, "hub", report.file)
    assert (model.sha256, model.repo, model.commit) == ("b" * 64, "org/repo", "a" * 40)
    assert offer.spec.ctx is None
    assert found(offers, report.id) is offer


@pytest.mark.parametrize(
    "name", ["hf:org/repo", f"hf:org/repo@{'a' * 40}", "hf:org/repo::file=model-Q4_K_M.gguf"]
)
def test_a_hub_reference_means_the_one_held_model_that_it_names(
    book: WorkerBook, name: str
) -> None:
    assert found(held_offers(book, hub_report("Q4_K_M")), name).model == "hf:org/repo:Q4_K_M"


def test_a_hub_reference_that_fits_two_held_models_or_none_is_refused(book: WorkerBook) -> None:
    offers = held_offers(book, hub_report("Q4_K_M"), hub_report("Q8_0"))
    several, nowhere = offers.find("hf:org/repo"), offers.find("hf:org/repo:F16")
    assert isinstance(several, Refusal)
    assert isinstance(nowhere, Refusal)
    assert "hf:org/repo:Q4_K_M, hf:org/repo:Q8_0" in several.message
    assert nowhere.code is Code.MODEL_NOT_PULLED
    assert "`llorch-pool models download hf:org/repo:F16`" in nowhere.message
    assert found(offers, "hf:org/repo:Q8_0").model == "hf:org/repo:Q8_0"


def test_a_held_file_that_changes_is_offered_anew_and_one_that_goes_is_forgotten(
    book: WorkerBook,
) -> None:
    held = {"mine": ModelReport(id="mine", file="mine.gguf", size_bytes=1, source="file")}
    offers = Offers(Catalog.load(), book, lambda: held)
    first = found(offers, "mine")
    held["mine"] = held["mine"].model_copy(update={"size_bytes": 2})
    assert found(offers, "mine").spec.model.size_bytes == 2
    assert found(offers, "mine") is not first
    del held["mine"]
    assert isinstance(offers.find("mine"), Refusal)
    held["other"] = ModelReport(id="other", file="o.gguf", size_bytes=1, source="file")
    found(offers, "other")
    assert list(offers._of_files) == ["other"]


def test_a_worker_of_a_split_model_is_waited_for_as_long_as_all_its_parts_take(
    book: WorkerBook,
) -> None:
    def patience_s(parts: str) -> float:
        catalog = Catalog.from_toml(
            '[[models]]\nid = "big"\ntrained_ctx = 8192\n[models.file]\nsource = "hub"\n'
            'repo = "org/big"\nfile = "big-00001-of-00002.gguf"\nsize_bytes = 40_000_000_000\n'
            f"parts = [{parts}]\n"
        )
        return found(Offers(catalog, book, dict), "big").spec.stall_s

    part = '{file = "big-00002-of-00002.gguf", size_bytes = 40_000_000_000}'
    assert patience_s(part) == pytest.approx(2 * patience_s(""))
