"""The order for a worker, from what a person typed."""

from pathlib import Path

import pytest

from orchestrator_core.contracts.pool import Backend, DeviceReport
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
