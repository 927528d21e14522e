"""A library with no hub to ask goes by the word of other pools, as far as that can be held to it."""

import errno
from pathlib import Path

import pytest

from orchestrator_core.contracts.models import ImportOrder, StoredModel
from orchestrator_core.contracts.sharing import SharedFile
from orchestrator_core.errors import Code, Refusal
from pool_core.fetch.partial import Partial
from support.fake_hub import FakeHub
from support.lan_copies import HASH, bring, must_be_whole, shared
from support.model_store import Bench, Never, quiet, small_model, split_model
from support.scripted_pools import ScriptedPool
from support.tiny_library import FILES, LARGE_ID, REPO, SMALL_ID, download, fetched_bytes, refused


def test_a_host_that_cannot_reach_the_hub_takes_a_peers_word_and_bytes(
    cut_off: Bench, mac: ScriptedPool
) -> None:
    cut_off.peers = [mac.peer]
    answer, told = bring(cut_off)
    must_be_whole(cut_off, answer)
    assert isinstance(answer, StoredModel)
    assert (answer.id, answer.repo, answer.commit) == (SMALL_ID, REPO, "c" * 40)
    assert any("goes by the word of peer mac" in note for note in told.notes)


def test_a_reference_without_a_quantization_means_the_usual_one(
    cut_off: Bench, mac: ScriptedPool
) -> None:
    cut_off.peers = [mac.peer]
    answer, _ = bring(cut_off, f"hf:{REPO}")
    must_be_whole(cut_off, answer)
    assert mac.names == [SMALL_ID]


def test_an_imported_model_is_copied_by_its_id(cut_off: Bench, mac: ScriptedPool) -> None:
    mac.models = [shared(id="mine", source="file", repo=None, commit=None)]
    cut_off.peers = [mac.peer]
    answer, _ = bring(cut_off, "mine")
    must_be_whole(cut_off, answer)
    assert isinstance(answer, StoredModel)
    assert (answer.id, answer.source, answer.repo) == ("mine", "file", None)


def test_an_imported_model_is_not_lost_to_another_one_of_its_name(
    cut_off: Bench, mac: ScriptedPool, tmp_path: Path
) -> None:
    ours = tmp_path / "ours.gguf"
    ours.write_bytes(small_model("Ours"))
    order = ImportOrder(path=str(ours), id="mine")
    taken = cut_off.library.take_in(order, tell=quiet, cancel=Never())
    assert not isinstance(taken, Refusal)
    mac.models = [shared(id="mine", source="file", repo=None, commit=None)]
    cut_off.peers = [mac.peer]
    refusal = refused(cut_off, "mine", force=True)
    assert refusal.code is Code.CONFLICT
    assert "delete it first" in refusal.message
    assert mac.sent_from() == []


def test_a_gated_model_comes_from_the_peer_that_holds_it(tmp_path: Path, mac: ScriptedPool) -> None:
    with FakeHub() as hub:
        hub.add(REPO, FILES, gated=True)
        bench = Bench(tmp_path / "gated", hub)
        assert refused(bench, SMALL_ID).code is Code.MODEL_GATED
        bench.peers = [mac.peer]
        answer, _ = bring(bench)
        must_be_whole(bench, answer)
        assert fetched_bytes(hub) == 0


def test_a_catalogue_that_knows_another_hash_is_believed(tmp_path: Path, mac: ScriptedPool) -> None:
    catalog = f"""
    [[models]]
    id = "small"
    name = "Small"
    trained_ctx = 1024
    [models.file]
    source = "hub"
    repo = "{REPO}"
    file = "tiny-Q4_K_M.gguf"
    sha256 = "{"0" * 64}"
    """
    bench = Bench(tmp_path / "known", catalog=catalog)
    mac.models = [shared(id="small")]
    bench.peers = [mac.peer]
    assert refused(bench, "small").code is Code.UNREACHABLE
    assert mac.sent_from() == []


def test_a_split_model_and_the_part_that_reads_images_come_along(
    cut_off: Bench, mac: ScriptedPool
) -> None:
    contents = split_model("big-Q4_K_M", 2)
    contents["mmproj-big-F16.gguf"] = b"judged by nobody" * 1000
    files = [
        SharedFile(file=name, size_bytes=len(content), sha256=mac.add(content))
        for name, content in contents.items()
    ]
    mac.models = [shared(files=tuple(files[:2]), mmproj=files[2])]
    cut_off.peers = [mac.peer]
    answer, told = bring(cut_off)
    assert isinstance(answer, StoredModel), answer
    assert [Path(it.path).read_bytes() for it in answer.files] == list(contents.values())
    assert told.last.fetched_bytes == sum(map(len, contents.values()))


def test_a_peer_cannot_put_its_model_in_the_place_of_another_one(
    tmp_path: Path, hub: FakeHub, mac: ScriptedPool
) -> None:
    bench = Bench(tmp_path / "host", hub)
    own = download(bench, LARGE_ID)
    bench.env["HF_ENDPOINT"] = "http://127.0.0.1:1"
    bench.library = bench.open()
    mac.tells_anything, mac.models = True, [shared(id=LARGE_ID)]
    bench.peers = [mac.peer]
    assert refused(bench, SMALL_ID).code is Code.UNREACHABLE
    assert mac.sent_from() == []
    assert own in bench.library.models()


def test_a_peer_that_tells_of_endless_bytes_fills_no_disk(
    cut_off: Bench, mac: ScriptedPool
) -> None:
    file = SharedFile(file="tiny-Q4_K_M.gguf", size_bytes=1 << 53, sha256=HASH)
    mac.models = [shared(files=(file,))]
    cut_off.peers = [mac.peer]
    refusal = refused(cut_off, SMALL_ID)
    assert refusal.code is Code.DISK_LOW
    assert mac.sent_from() == []


def test_a_disk_that_fills_up_ends_the_pull_and_blames_no_peer(
    cut_off: Bench, mac: ScriptedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_full(partial: Partial, piece: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Partial, "append", is_full)
    cut_off.peers = [mac.peer]
    assert refused(cut_off, SMALL_ID).code is Code.DISK_LOW
    assert cut_off.said == []
    assert mac.sent_from() == [0]
