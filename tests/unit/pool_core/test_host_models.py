import hashlib
import os
import socket
from pathlib import Path

import pytest

from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.contracts.pool import ModelFile
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.gguf.facts import ModelFacts
from pool_core.catalog.builtin import BuiltinModels
from pool_core.catalog.host_models import HostModels
from pool_core.catalog.located import FactsCache, Located, read_model_file
from support.gguf_files import DEFAULT_TENSORS, Tensor, gguf_bytes, write_gguf

TINY = next(entry.file for entry in Catalog.load().entries if entry.id == "tiny-chat")


def by_path(path: Path | str, **fields: object) -> ModelFile:
    known: dict[str, object] = {"model_id": "mine", "source": "file", "file": str(path)}
    return ModelFile.model_validate(known | fields)


def located(answer: Located | Refusal) -> Located:
    assert isinstance(answer, Located), answer
    return answer


def refused(path: Path) -> Refusal:
    answer = read_model_file(path, name="mine")
    assert isinstance(answer, Refusal), answer
    assert answer.message.isprintable()
    assert answer.message.startswith("mine cannot be used: ")
    assert answer.details["field"] == "spec.model.file"
    return answer


def test_a_builtin_model_is_found_with_its_facts() -> None:
    found = located(HostModels().locate(TINY))
    assert found.path.name == "tiny-chat.gguf"
    assert found.size_bytes == 924_160
    assert (found.facts.blocks, found.facts.trained_ctx) == (4, 1024)


def test_the_builtin_models_are_reported() -> None:
    assert {report.id for report in HostModels().reports()} == {"tiny-chat", "tiny-story"}


def test_a_damaged_builtin_model_is_never_served(tmp_path: Path) -> None:
    write_gguf(tmp_path / TINY.file)
    answer = HostModels(BuiltinModels(tmp_path)).locate(TINY)
    assert isinstance(answer, Refusal)
    assert answer.code is Code.DATA_CORRUPT


def test_a_file_of_the_host_is_found_by_its_whole_path(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "mine.gguf", values={"general.name": "Mine"})
    found = located(HostModels().locate(by_path(path)))
    assert found.path == path
    assert found.size_bytes == path.stat().st_size
    assert found.facts.name == "Mine"


def test_a_link_to_a_model_is_followed(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "mine.gguf")
    link = tmp_path / "link.gguf"
    link.symlink_to(path)
    assert located(HostModels().locate(by_path(link))).path == link


@pytest.mark.parametrize("file", ["mine.gguf", "./mine.gguf", "~/mine.gguf", "", "/a\0b"])
def test_a_path_must_be_whole(file: str) -> None:
    answer = HostModels().locate(by_path(file))
    assert isinstance(answer, Refusal)
    assert answer.code is Code.INVALID_REQUEST
    assert answer.details["field"] == "spec.model.file"


@pytest.mark.parametrize(
    ("source", "code"),
    [("hub", Code.MODEL_NOT_PULLED), ("external", Code.INVALID_REQUEST)],
)
def test_other_sources_have_no_file_here(source: str, code: Code) -> None:
    answer = HostModels().locate(by_path("/mine.gguf", source=source))
    assert isinstance(answer, Refusal)
    assert answer.code is code


def test_a_small_file_is_held_against_its_hash(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "mine.gguf")
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    located(HostModels().locate(by_path(path, sha256=right)))
    answer = HostModels().locate(by_path(path, sha256="0" * 64))
    assert isinstance(answer, Refusal)
    assert answer.code is Code.MODEL_NOT_PULLED
    assert answer.details == {"field": "sha256", "wanted": "0" * 64, "here": right}


def test_a_large_file_is_not_hashed(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "mine.gguf")
    os.truncate(path, 64 * 1024 * 1024)
    located(HostModels().locate(by_path(path, sha256="0" * 64)))


def test_a_file_of_another_size_is_another_version(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "mine.gguf")
    answer = HostModels().locate(by_path(path, size_bytes=1))
    assert isinstance(answer, Refusal)
    assert answer.code is Code.MODEL_NOT_PULLED


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    answer = refused(tmp_path / "nowhere" / "mine.gguf")
    assert answer.code is Code.MODEL_NOT_FOUND
    assert "there is no such file on this host" in answer.message


def test_a_path_through_a_file_is_not_found(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "mine.gguf")
    assert refused(path / "inside.gguf").code is Code.MODEL_NOT_FOUND


def test_a_dangling_link_is_named(tmp_path: Path) -> None:
    link = tmp_path / "link.gguf"
    link.symlink_to(tmp_path / "gone.gguf")
    answer = refused(link)
    assert answer.code is Code.MODEL_NOT_FOUND
    assert "a link to a file that is not there" in answer.message


def test_a_link_to_itself_is_named(tmp_path: Path) -> None:
    link = tmp_path / "link.gguf"
    link.symlink_to(link)
    assert refused(link).code is Code.INVALID_REQUEST


def test_a_folder_is_named(tmp_path: Path) -> None:
    answer = refused(tmp_path)
    assert answer.code is Code.INVALID_REQUEST
    assert "it is a folder, not a file" in answer.message


def test_a_device_is_named() -> None:
    answer = refused(Path("/dev/zero"))
    assert answer.code is Code.INVALID_REQUEST
    assert "it is a device, not a file" in answer.message


def test_a_pipe_without_a_writer_does_not_hang_us(tmp_path: Path) -> None:
    path = tmp_path / "pipe.gguf"
    os.mkfifo(path)
    answer = refused(path)
    assert answer.code is Code.INVALID_REQUEST
    assert "it is a named pipe, not a file" in answer.message


def test_a_pipe_put_there_at_the_last_moment_does_not_hang_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_gguf(tmp_path / "mine.gguf")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    opened: list[int] = []
    really_open = os.open

    def swapped(name: Path, flags: int) -> int:
        opened.append(really_open(pipe if name == path else name, flags))
        return opened[-1]

    monkeypatch.setattr("os.open", swapped)
    assert "it is a named pipe, not a file" in refused(path).message
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


def test_a_socket_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert "it is a socket, not a file" in refused(path).message


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tests may run as root, whom no mode keeps out.
    def forbidden(name: Path, flags: int) -> int:
        raise PermissionError(13, "Permission denied", str(name), flags)

    path = write_gguf(tmp_path / "mine.gguf")
    monkeypatch.setattr("os.open", forbidden)
    answer = refused(path)
    assert answer.code is Code.INVALID_REQUEST
    assert "this user may not read it" in answer.message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"\n<!DocType HTML>\n<title>404</title>", "it is a web page, not a model"),
        (b"<html><body>Not Found", "it is a web page, not a model: the download went wrong"),
        (b"PK\3\4 an archive", "it is not a GGUF file"),
        (b"GGUF\x63\0\0\0" + bytes(40), "GGUF version 99 is not supported"),
        (gguf_bytes(big_endian=True), "it is big-endian"),
        (gguf_bytes(values={"llama.block_count": 2**31}), "it is damaged"),
        (gguf_bytes(values={"general.architecture": ""}), "names no model architecture"),
        (gguf_bytes(tensors=()), "it holds no weights"),
        (gguf_bytes()[:200], "it is incomplete: it ends inside its header"),
    ],
)
def test_content_that_is_no_model_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(content)
    answer = refused(path)
    assert answer.code is Code.MODEL_INCOMPATIBLE
    assert words in answer.message


def test_an_interrupted_download_says_how_much_is_there(tmp_path: Path) -> None:
    large = (*DEFAULT_TENSORS, Tensor("output.weight", (64, 4096)))
    path = write_gguf(tmp_path / "mine.gguf", tensors=large, truncate_to=512 * 1024)
    answer = refused(path)
    assert answer.code is Code.MODEL_INCOMPATIBLE
    assert "it is incomplete: 512 KiB of 1.02 MiB are there: download it again" in answer.message


def test_a_path_that_no_terminal_can_show_is_spelled_out(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path).decode()
    answer = refused(Path(f"{folder}/odd\x1b\udcff.gguf"))
    assert r"odd\x1b\udcff.gguf" in answer.message


def test_a_header_that_was_read_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_gguf(tmp_path / "mine.gguf")
    models = HostModels()
    first = located(models.locate(by_path(path)))

    def unreadable(descriptor: int, count: int, offset: int) -> bytes:
        raise OSError(5, f"read {count} at {offset} of {descriptor}")

    monkeypatch.setattr("os.pread", unreadable)
    assert models.locate(by_path(path)) == first
    write_gguf(path, values={"general.name": "Changed afterwards"})
    changed = models.locate(by_path(path))
    assert isinstance(changed, Refusal)
    assert "it cannot be read" in changed.message


def test_the_cache_forgets_what_was_not_asked_for_the_longest() -> None:
    cache = FactsCache(capacity=2)
    keys = [(name, 0, 0, 0, 0, 0) for name in "abc"]
    for key in keys[:2]:
        cache.put(key, ModelFacts(key[0]))
    assert cache.get(keys[0]) is not None
    cache.put(keys[2], ModelFacts("c"))
    assert cache.get(keys[1]) is None
    assert cache.get(keys[0]) is not None


def test_every_part_of_a_split_model_must_lie_beside_the_first(tmp_path: Path) -> None:
    split = {"split.count": 3, "split.no": 0}
    first = write_gguf(tmp_path / "m-00001-of-00003.gguf", values=split)
    second, third = (tmp_path / f"m-0000{number}-of-00003.gguf" for number in (2, 3))
    second.touch()
    models = HostModels()
    for _ in range(2):
        answer = models.locate(by_path(first))
        assert isinstance(answer, Refusal)
        assert answer.code is Code.MODEL_INCOMPATIBLE
        assert "part 3 of 3 is not beside it" in answer.message
    third.touch()
    assert located(models.locate(by_path(first))).facts.split_count == 3
    second.unlink()
    answer = models.locate(by_path(first))
    assert isinstance(answer, Refusal)
    assert "part 2 of 3" in answer.message


def test_a_split_model_under_another_name_is_refused(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "renamed.gguf", values={"split.count": 2, "split.no": 0})
    assert "must end with -00001-of-00002.gguf" in refused(path).message


def test_a_name_that_no_system_can_spell_is_not_there() -> None:
    answer = refused(Path("/tmp/\ud800.gguf"))
    assert answer.code is Code.MODEL_NOT_FOUND


def test_the_parts_of_a_split_model_weigh_what_they_are(tmp_path: Path) -> None:
    first = write_gguf(tmp_path / "m-00001-of-00003.gguf", values={"split.count": 3, "split.no": 0})
    for number, size in ((2, 5000), (3, 70)):
        (tmp_path / f"m-0000{number}-of-00003.gguf").write_bytes(bytes(size))
    found = located(HostModels().locate(by_path(first)))
    assert found.part_bytes == (5000, 70)
    assert found.total_bytes == found.size_bytes + 5070
    assert found.weights_bytes == found.facts.weights_bytes + 5070
    assert [path.name[2:7] for path in found.part_paths] == ["00002", "00003"]


def test_a_model_of_one_file_is_weighed_by_its_header(tmp_path: Path) -> None:
    found = located(HostModels().locate(by_path(write_gguf(tmp_path / "m.gguf"))))
    assert (found.total_bytes, found.weights_bytes) == (found.size_bytes, None)
    assert found.part_paths == ()


def test_a_part_that_is_no_file_is_not_there(tmp_path: Path) -> None:
    split = {"split.count": 2, "split.no": 0}
    first = write_gguf(tmp_path / "m-00001-of-00002.gguf", values=split)
    (tmp_path / "m-00002-of-00002.gguf").mkdir()
    assert "part 2 of 2 is not beside it" in refused(first).message
