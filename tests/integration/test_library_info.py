"""What the library tells of models before anybody starts them: here, in a file, or only at a hub."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator_core.contracts.downloads import DownloadOrder
from orchestrator_core.contracts.model_info import InfoOrder, ModelInfo
from orchestrator_core.contracts.models import StoredModel
from orchestrator_core.contracts.pool import Backend, DeviceReport, WorkerSpec
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.units import GIB
from pool_core.catalog.located import Located
from pool_core.workers.host_picture import HostPicture
from pool_core.workers.planning import Plan, plan
from support.fake_hub import FakeHub
from support.gguf_files import gguf_bytes
from support.model_store import Bench, Never, Told, small_model
from support.pool_builders import cpu

REPO = "acme/tiny-GGUF"
SPLIT = {
    f"big-Q4_K_M-0000{number}-of-00003.gguf": gguf_bytes(
        values={"general.name": "Big", "split.count": 3, "split.no": number - 1}
    )
    + bytes(number * 100_000)
    for number in (1, 2, 3)
}
FIRST = "big-Q4_K_M-00001-of-00003.gguf"
OTHERS_BYTES = sum(len(data) for name, data in SPLIT.items() if name != FIRST)
FLAGS = ("avx2", "f16c", "fma")
CPU = cpu(memory_free_bytes=64 * GIB, memory_total_bytes=64 * GIB, features=FLAGS)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


def told(bench: Bench, model: str, **fields: object) -> ModelInfo:
    order = InfoOrder.model_validate({"model": model, **fields})
    info = bench.library.info(order, [CPU])
    assert isinstance(info, ModelInfo), info
    return info


def planned(bench: Bench, spec: WorkerSpec, device: DeviceReport = CPU) -> Plan:
    located = bench.library.host_models().locate(spec.model)
    assert isinstance(located, Located), located
    host = HostPicture((device,), {}, cpus=4, system="linux", machine="x86_64")
    decided = plan(spec, located, host)
    assert isinstance(decided, Plan), decided
    return decided


def order_for(info: ModelInfo) -> WorkerSpec:
    known = {"model_id": info.id, "source": info.source, "file": info.files[0].file}
    if info.source == "file":
        known["file"] = info.files[0].path
    return WorkerSpec.model_validate({"model": known, "backend": Backend.CPU})


def test_a_split_model_of_a_hub_weighs_what_its_parts_weigh(tmp_path: Path, hub: FakeHub) -> None:
    hub.add(REPO, SPLIT)
    bench = Bench(tmp_path, hub)
    away = told(bench, f"hf:{REPO}:Q4_K_M")
    assert not away.is_here
    (fit,) = away.fits
    assert not fit.approximate
    assert OTHERS_BYTES < fit.weights_bytes < sum(map(len, SPLIT.values()))
    order = DownloadOrder(model=f"hf:{REPO}:Q4_K_M")
    assert isinstance(bench.library.download(order, tell=Told(), cancel=Never()), StoredModel)
    here = told(bench, f"hf:{REPO}:Q4_K_M")
    assert here.is_here
    assert here.fits == away.fits
    assert planned(bench, order_for(here)).needed_bytes == {"cpu": fit.needed_bytes}


def test_a_split_model_in_files_weighs_what_its_parts_weigh(tmp_path: Path) -> None:
    for name, data in SPLIT.items():
        (tmp_path / name).write_bytes(data)
    bench = Bench(tmp_path)
    info = told(bench, f"file:{tmp_path / FIRST}")
    assert [file.file for file in info.files] == list(SPLIT)
    assert info.size_bytes == sum(map(len, SPLIT.values()))
    (fit,) = info.fits
    assert (fit.approximate, fit.weights_bytes > OTHERS_BYTES) == (False, True)
    assert planned(bench, order_for(info)).needed_bytes == {"cpu": fit.needed_bytes}


def test_what_reads_images_is_not_counted_because_no_worker_opens_it(
    tmp_path: Path, hub: FakeHub
) -> None:
    model = small_model("Seeing", extra_bytes=1000)
    hub.add(REPO, {"m-Q8_0.gguf": model, "mmproj-m-f16.gguf": small_model("Eye", extra_bytes=9000)})
    info = told(Bench(tmp_path, hub), f"hf:{REPO}")
    assert info.has_mmproj
    assert [file.file for file in info.files] == ["m-Q8_0.gguf", "mmproj-m-f16.gguf"]
    assert info.fits[0].weights_bytes < len(model)


def test_a_file_that_cannot_be_a_model_is_told_before_it_is_fetched(
    tmp_path: Path, hub: FakeHub
) -> None:
    cut = small_model("Cut", extra_bytes=0)[:-2000]
    alone = gguf_bytes(values={"split.count": 2, "split.no": 0})
    hub.add(REPO, {"cut-Q4_K_M.gguf": cut, "alone-Q8_0.gguf": alone})
    bench = Bench(tmp_path, hub)
    for quant, words in (("Q4_K_M", "incomplete"), ("Q8_0", "2 parts and comes in 1")):
        refusal = bench.library.info(InfoOrder(model=f"hf:{REPO}:{quant}"), [CPU])
        assert isinstance(refusal, Refusal)
        assert refusal.code is Code.MODEL_INCOMPATIBLE
        assert words in refusal.message


def test_a_file_that_the_user_has_named_in_the_catalogue_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(small_model("Mine", extra_bytes=1000))
    catalog = (
        '[[models]]\nid = "mine"\nname = "My own"\ntrained_ctx = 2048\nctx = 512\nparallel = 3\n'
        f'[models.file]\nsource = "file"\nfile = "{path}"\n'
    )
    info = told(Bench(tmp_path, catalog=catalog), "mine")
    assert (info.id, info.name, info.source, info.is_here) == ("mine", "My own", "file", True)
    assert (info.fits[0].ctx, info.fits[0].parallel) == (512, 3)


@pytest.mark.parametrize(
    "fields", [{}, {"ctx": 256}, {"parallel": 7}, {"ctx": 1024, "parallel": 1}]
)
def test_a_plan_promises_what_was_told(tmp_path: Path, fields: dict[str, int]) -> None:
    bench = Bench(tmp_path)
    (fit,) = told(bench, "tiny-chat", **fields).fits
    model = {"model_id": "tiny-chat", "source": "builtin", "file": "tiny-chat.gguf"}
    spec = WorkerSpec.model_validate({"model": model, "ctx": fit.ctx, "parallel": fit.parallel})
    assert planned(bench, spec).needed_bytes == {"cpu": fit.needed_bytes}
