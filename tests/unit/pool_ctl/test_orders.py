"""The order for a worker, from what a person typed."""

from pathlib import Path

import pytest

from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.contracts.pool import Backend, DeviceReport, ModelReport, WorkerSpec
from orchestrator_core.errors import Code, Exit, LlorchError
from pool_ctl.commands.orders import Typed, make_spec, pick_device

GPUS = [
    DeviceReport(
        id=f"GPU-{index}",
        index=index,
        kind="gpu",
        name=f"Card {index}",
        backends=[Backend.CUDA],
        memory_total_bytes=1,
        memory_free_bytes=1,
    )
    for index in range(2)
]


def test_what_was_not_typed_comes_from_the_catalogue() -> None:
    spec = make_spec(Typed(model="tiny-chat", backend=Backend.CPU), [])
    assert (spec.ctx, spec.parallel, spec.device_ids) == (1024, 1, ())
    typed = Typed(model="tiny-chat", backend=Backend.CUDA, gpu=1, ctx=128, parallel=3, threads=2)
    spec = make_spec(typed, GPUS)
    assert (spec.ctx, spec.parallel, spec.device_ids) == (128, 3, ("GPU-1",))
    assert spec.threads == 2


def test_an_unknown_model_is_not_found_and_near_names_are_told() -> None:
    with pytest.raises(LlorchError, match="tiny-chat") as caught:
        make_spec(Typed(model="tiny-cat", backend=Backend.CPU), [])
    assert caught.value.refusal.outcome.exit_code is Exit.NOT_FOUND


@pytest.mark.parametrize(
    ("typed", "file", "name"),
    [
        ("file:/srv/models/Llama-3.2.Q4_K_M.gguf", "/srv/models/Llama-3.2.Q4_K_M.gguf", "llama-3.2.q4_k_m"),
        ("/srv/models/x/../__Odd Name!.gguf", "/srv/models/__Odd Name!.gguf", "odd-name"),
        ("/srv/\u4e2d.gguf", "/srv/\u4e2d.gguf", "model"),
        ("/srv/" + "a" * 100 + ".GGUF", "/srv/" + "a" * 100 + ".GGUF", "a" * 64),
    ],
)  # fmt: skip
def test_a_file_becomes_a_model_whose_name_is_made_from_the_files(
    typed: str, file: str, name: str
) -> None:
    spec = make_spec(Typed(model=typed, backend=Backend.CPU), [])
    assert (spec.model.source, spec.model.file, spec.model.model_id) == ("file", file, name)
    assert (spec.ctx, spec.parallel) == (None, None)


def test_a_relative_path_is_made_whole_without_following_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blob").write_bytes(b"GGUF")
    (tmp_path / "link.gguf").symlink_to("blob")
    monkeypatch.chdir(tmp_path)
    spec = make_spec(Typed(model="link.gguf", backend=Backend.CPU), [])
    assert spec.model.file == str(tmp_path / "link.gguf")


@pytest.mark.parametrize("name", ["\udcff.gguf", "a\nb.gguf"])
def test_a_file_whose_name_no_order_can_carry_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(LlorchError, match="give the file another name") as caught:
        make_spec(Typed(model=f"/srv/{name}", backend=Backend.CPU), [])
    assert caught.value.refusal.message.isprintable()


def test_a_file_reference_must_be_whole() -> None:
    with pytest.raises(LlorchError, match="file:/ABSOLUTE/PATH") as caught:
        make_spec(Typed(model="file:here.gguf", backend=Backend.CPU), [])
    assert caught.value.code is Code.INVALID_REQUEST


def test_a_gpu_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(LlorchError, match=r"0 \(Card 0\), 1 \(Card 1\)"):
        pick_device(Backend.CUDA, 7, GPUS)
    with pytest.raises(LlorchError, match="there is: none"):
        pick_device(Backend.ROCM, 0, GPUS)


HELD = [
    ModelReport(
        id=model_id,
        file=file,
        size_bytes=7,
        sha256="a" * 64,
        source=source,
        repo=repo,
        commit=commit,
    )
    for model_id, file, source, repo, commit in (
        ("hf:o/r:Q4_K_M", "m-Q4_K_M.gguf", "hub", "o/r", "c" * 40),
        ("hf:o/r:Q8_0", "m-Q8_0.gguf", "hub", "o/r", "c" * 40),
        ("hf:o/one:Q8_0", "one-Q8_0.gguf", "hub", "o/one", "d" * 40),
        ("mine", "mine.gguf", "file", None, None),
    )
]


def order(model: str, additions: Path | None = None) -> WorkerSpec:
    typed = Typed(model=model, backend=Backend.CPU)
    return make_spec(typed, [], catalog=lambda: Catalog.load(additions), held=lambda: HELD)


@pytest.mark.parametrize(
    ("typed", "model_id"),
    [
        ("hf:o/r:q8_0", "hf:o/r:Q8_0"),
        ("hf.co/o/r:Q4_K_M", "hf:o/r:Q4_K_M"),
        ("https://huggingface.co/o/r/resolve/main/m-Q8_0.gguf?download=true", "hf:o/r:Q8_0"),
        ("hf:o/one", "hf:o/one:Q8_0"),
        ("mine", "mine"),
    ],
)
def test_a_fetched_or_imported_model_is_ordered_as_the_host_holds_it(
    typed: str, model_id: str
) -> None:
    spec = order(typed)
    held = next(it for it in HELD if it.id == model_id)
    assert spec.model.model_dump(include=set(ModelReport.model_fields)) == held.model_dump(
        include=set(type(spec.model).model_fields)
    )
    assert spec.model.model_id == model_id
    assert (spec.ctx, spec.parallel) == (None, None)


def test_a_reference_that_fits_several_models_of_the_host_is_refused_with_them() -> None:
    with pytest.raises(LlorchError, match="hf:o/r:Q4_K_M, hf:o/r:Q8_0") as caught:
        order("hf:o/r")
    assert caught.value.code is Code.MODEL_NOT_FOUND


def test_a_reference_to_what_is_not_here_names_the_command_that_brings_it() -> None:
    with pytest.raises(LlorchError, match="llorch-pool models download hf:o/new:Q8_0`") as caught:
        order("hf.co/o/new:Q8_0")
    assert caught.value.code is Code.MODEL_NOT_PULLED


def test_the_host_is_only_asked_for_what_the_catalogue_does_not_know() -> None:
    def never() -> list[ModelReport]:
        raise AssertionError

    spec = make_spec(Typed(model="tinyllama", backend=Backend.CPU), [], held=never)
    assert spec.model.repo == "TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF"
    assert spec.model.commit
    assert spec.ctx == 2048


def test_imported_names_are_offered_when_a_name_is_wrong() -> None:
    with pytest.raises(LlorchError, match="mine"):
        order("mime")


def test_what_the_user_added_is_known_and_what_has_to_be_converted_is_refused(
    tmp_path: Path,
) -> None:
    own = tmp_path / "catalog.toml"
    own.write_text(
        '[[models]]\nid = "own"\ntrained_ctx = 512\n'
        '[models.file]\nsource = "hub"\nrepo = "o/own"\nfile = "own-Q8_0.gguf"\n'
        '[[models]]\nid = "raw"\ntrained_ctx = 512\nrequires_conversion = true\n'
        '[models.file]\nsource = "hub"\nrepo = "o/raw"\nfile = "raw-f16.gguf"\n'
    )
    spec = order("own", own)
    assert (spec.model.model_id, spec.model.repo, spec.ctx) == ("own", "o/own", 512)
    with pytest.raises(
        LlorchError, match=r"convert_hf_to_gguf\.py raw --outfile raw-f16"
    ) as caught:
        order("raw", own)
    assert caught.value.code is Code.CONVERSION_REQUIRED


def test_an_address_of_another_server_is_no_file_of_this_host() -> None:
    with pytest.raises(LlorchError, match="fetched from the hub only") as caught:
        order("https://example.com/models/m.gguf")
    assert caught.value.code is Code.INVALID_REQUEST
