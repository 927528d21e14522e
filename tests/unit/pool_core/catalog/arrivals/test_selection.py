import pytest

from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.errors import Code, Refusal
from pool_core.catalog.arrivals.selection import Selection, Wish, select, wish_for
from pool_core.fetch.hub_answers import Listing, RemoteFile

REPO, COMMIT = "acme/tiny-GGUF", "c" * 40
CATALOG = Catalog.from_toml(
    f"""
    [[models]]
    id = "tiny"
    trained_ctx = 2048
    [models.file]
    source = "hub"
    repo = "{REPO}"
    file = "tiny-Q4_K_M.gguf"
    sha256 = "{"1" * 64}"
    mmproj = {{file = "eyes/mmproj-F16.gguf", sha256 = "{"9" * 64}"}}

    [[models]]
    id = "raw"
    trained_ctx = 2048
    requires_conversion = true
    file = {{source = "hub", repo = "acme/raw", file = "raw.gguf"}}

    [[models]]
    id = "local"
    trained_ctx = 2048
    file = {{source = "file", file = "/models/local.gguf"}}
    """
)


def listing(**hashes: str | None) -> Listing:
    names = {
        "tiny-Q4_K_M.gguf": "1" * 64,
        "tiny-Q8_0.gguf": "2" * 64,
        "other-Q8_0.gguf": "3" * 64,
        "mmproj-F32.gguf": "4" * 64,
        "eyes/mmproj-F16.gguf": "9" * 64,
        "big-F16-00001-of-00002.gguf": "5" * 64,
        "big-F16-00002-of-00002.gguf": "6" * 64,
    }
    files = {**names, **hashes}
    return Listing(
        REPO, COMMIT, tuple(RemoteFile(path, 10, sha, path) for path, sha in files.items())
    )


def wish(text: str) -> Wish:
    found = wish_for(text, CATALOG)
    assert isinstance(found, Wish), found
    return found


def chosen(text: str, *, mmproj: bool = True) -> Selection:
    found = select(wish(text), listing(), mmproj=mmproj)
    assert isinstance(found, Selection), found
    return found


def test_a_quantization_that_one_file_has_names_the_model() -> None:
    assert chosen(f"hf:{REPO}:F16").id == f"hf:{REPO}:F16"
    assert chosen(f"hf:{REPO}:f16").id == f"hf:{REPO}:F16"
    assert chosen(f"hf:{REPO}::file=big-F16-00001-of-00002.gguf").id == f"hf:{REPO}:F16"


def test_a_quantization_that_several_files_have_names_no_model() -> None:
    assert chosen(f"hf:{REPO}::file=other-Q8_0.gguf").id == f"hf:{REPO}::file=other-Q8_0.gguf"
    refusal = select(wish(f"hf:{REPO}:Q8_0"), listing(), mmproj=True)
    assert isinstance(refusal, Refusal)
    assert refusal.message.startswith(f"{REPO}: 2 files are Q8_0")


def test_a_revision_is_part_of_the_id() -> None:
    assert chosen(f"hf:{REPO}@v1:F16").id == f"hf:{REPO}@v1:F16"


def test_all_parts_come_in_their_order() -> None:
    paths = [file.path for file in chosen(f"hf:{REPO}:F16").files]
    assert paths == ["big-F16-00001-of-00002.gguf", "big-F16-00002-of-00002.gguf"]


def test_the_catalogue_names_what_reads_images() -> None:
    selection = chosen("tiny")
    assert selection.id == "tiny"
    assert selection.mmproj is not None
    assert selection.mmproj.path == "eyes/mmproj-F16.gguf"
    blind = chosen("tiny", mmproj=False)
    assert blind.mmproj is None
    assert blind.mmproj_left_out
    assert [file.path for file in blind.all_files] == ["tiny-Q4_K_M.gguf"]


@pytest.mark.parametrize("path", ["tiny-Q4_K_M.gguf", "eyes/mmproj-F16.gguf"])
def test_a_file_that_changed_since_the_catalogue_was_written_is_refused(path: str) -> None:
    refusal = select(wish("tiny"), listing(**{path: "7" * 64}), mmproj=True)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.DATA_CORRUPT
    assert path in refusal.message


def test_the_catalogues_hash_counts_where_the_hub_tells_none() -> None:
    selection = select(wish("tiny"), listing(**{"tiny-Q4_K_M.gguf": None}), mmproj=True)
    assert isinstance(selection, Selection)
    assert selection.files[0].sha256 == "1" * 64


def test_a_file_that_the_catalogue_does_not_know_can_be_trusted_by_its_commit() -> None:
    changed = listing(**{"tiny-Q4_K_M.gguf": "7" * 64})
    refusal = select(wish("tiny"), changed, mmproj=True)
    assert isinstance(refusal, Refusal)
    trusted = f"hf:{REPO}@{COMMIT}::file=tiny-Q4_K_M.gguf"
    assert f"name it as {trusted} if you trust it" in refusal.message
    assert isinstance(select(wish(trusted), changed, mmproj=True), Selection)


@pytest.mark.parametrize(
    "path",
    [
        "/".join(["folder" * 20] * 6) + "/model.gguf",
        "My Model.gguf",
        "m:1.gguf",
        "mod\u00e8le.gguf",
    ],
)
def test_a_path_that_names_no_model_is_refused_before_it_is_fetched(path: str) -> None:
    lone = Listing("acme/long", COMMIT, (RemoteFile(path, 10, "1" * 64, path),))
    refusal = select(wish("hf:acme/long"), lone, mmproj=True)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.INVALID_REQUEST
    assert refusal.message.endswith(": list it in catalog.toml under a short id")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("raw", Code.CONVERSION_REQUIRED),
        ("local", Code.INVALID_REQUEST),
        ("file:/models/x.gguf", Code.INVALID_REQUEST),
        ("tinny", Code.MODEL_NOT_FOUND),
        ("hf:", Code.INVALID_REQUEST),
    ],
)
def test_what_no_hub_has_to_give_is_refused(text: str, code: Code) -> None:
    refusal = wish_for(text, CATALOG)
    assert isinstance(refusal, Refusal)
    assert refusal.code is code
