"""What the names of a repository's files tell, and which of them are never touched."""

import random
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.catalog.gguf_names import (
    Choice,
    Split,
    choose,
    is_mmproj,
    is_model,
    quant_of,
    safe_relative,
    same_quant,
    split_of,
)
from orchestrator_core.errors import Code, Refusal


@dataclass(frozen=True)
class File:
    path: str


def files(*paths: str) -> list[File]:
    return [File(path) for path in paths]


def chosen(
    *paths: str, quant: str | None = None, file: str | None = None
) -> tuple[str, list[str], str | None]:
    choice = choose(files(*paths), quant=quant, file=file)
    assert isinstance(choice, Choice), choice
    projector = choice.mmproj.path if choice.mmproj else None
    return choice.first.path, [part.path for part in choice.parts], projector


def refused(*paths: str, quant: str | None = None, file: str | None = None) -> Refusal:
    refusal = choose(files(*paths), quant=quant, file=file)
    assert isinstance(refusal, Refusal), refusal
    assert refusal.message.isprintable()
    return refusal


@pytest.mark.parametrize(
    ("path", "quant"),
    [
        ("tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf", "Q4_K_M"),
        ("qwen2.5-0.5b-instruct-q4_k_m.gguf", "Q4_K_M"),
        ("qwen2.5-0.5b-instruct-fp16.gguf", "FP16"),
        ("Phi-3-mini-4k-instruct-q4.gguf", "Q4"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("gpt-oss-120b-MXFP4_MOE-00001-of-00003.gguf", "MXFP4_MOE"),
        ("m-NVFP4.gguf", "NVFP4"),
        ("m-IQ4_XS.gguf", "IQ4_XS"),
        ("m.IQ2_XXS.gguf", "IQ2_XXS"),
        ("m-Q4_0_4_4.gguf", "Q4_0_4_4"),
        ("m-TQ1_0.gguf", "TQ1_0"),
        ("m-i2_s.gguf", "I2_S"),
        ("m.i1-Q4_K_S.gguf", "Q4_K_S"),
        ("m-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("UD-Q8_0/m-UD-Q8_0-00001-of-00002.gguf", "UD-Q8_0"),
        ("Q8_0/m-00001-of-00002.gguf", "Q8_0"),
        ("m-Q6_K/m.gguf", "Q6_K"),
        ("BF16/deeper/m.gguf", "BF16"),
        ("m-fp16-Q5_K_M.gguf", "Q5_K_M"),
        ("m-Q4_K_M-imat.gguf", "Q4_K_M"),
        ("Q4_0.gguf", "Q4_0"),
        ("mmproj-model-f16.gguf", "F16"),
        ("m-instruct.gguf", None),
        ("llama-3.2-1b.gguf", None),
        ("Q8_Team-model.gguf", None),
        ("model.GGUF", None),
        ("SmolLM3-Q4_K_M.GGUF", "Q4_K_M"),
    ],
)
def test_the_quantization_is_read_from_the_name(path: str, quant: str | None) -> None:
    assert quant_of(path) == quant


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("a/m-Q8_0-00002-of-00003.gguf", Split("a/m-Q8_0", 2, 3)),
        ("m-00001-of-00001.gguf", Split("m", 1, 1)),
        ("m-00000-of-00003.gguf", None),
        ("m-00004-of-00003.gguf", None),
        ("m-1-of-3.gguf", None),
        ("-00001-of-00003.gguf", None),
        ("m.gguf", None),
    ],
)
def test_parts_are_known_by_their_numbers(path: str, split: Split | None) -> None:
    assert split_of(path) == split


def test_what_only_goes_with_a_model_is_no_model() -> None:
    for path in ("mmproj-m-f16.gguf", "a/m.imatrix.gguf", "MTP-m.gguf", "eagle3-m-Q8_0.gguf",
                 "x/dflash-m.gguf", "dspark-m.gguf", "m.safetensors", "README.md", "m.gguf.part"):  # fmt: skip
        assert not is_model(path), path
    for path in ("m.gguf", "M.GGUF", "a/b/m-00002-of-00002.gguf", "smtp-m.gguf"):
        assert is_model(path), path
    assert is_mmproj("a/Model-mmproj-F16.gguf")
    assert not is_mmproj("mmproj-notes.txt")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("q4_k_m", "Q4_K_M", True), ("FP16", "f16", True), ("BF16", "F16", False),
     ("UD-Q4_K_M", "Q4_K_M", False), (None, None, False), (None, "Q8_0", False)],
)  # fmt: skip
def test_spellings_of_one_quantization_are_one(
    one: str | None, other: str | None, same: bool
) -> None:
    assert same_quant(one, other) is same


def test_a_quantization_picks_its_file_in_any_spelling() -> None:
    repo = ("m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-fp16.gguf", "m-UD-Q2_K_XL.gguf")
    assert chosen(*repo, quant="q8_0")[0] == "m-Q8_0.gguf"
    assert chosen(*repo, quant="F16")[0] == "m-fp16.gguf"
    assert chosen(*repo, quant="Q2_K_XL")[0] == "m-UD-Q2_K_XL.gguf"


def test_the_plain_tag_comes_before_the_one_with_the_prefix() -> None:
    repo = ("m-UD-Q4_K_M.gguf", "m-Q4_K_M.gguf")
    assert chosen(*repo, quant="Q4_K_M")[0] == "m-Q4_K_M.gguf"
    assert chosen(*repo)[0] == "m-Q4_K_M.gguf"
    assert chosen(*repo, quant="UD-Q4_K_M")[0] == "m-UD-Q4_K_M.gguf"


@pytest.mark.parametrize(
    ("repo", "first"),
    [
        (("m-BF16.gguf", "m-Q8_0.gguf", "m-Q4_K_M.gguf"), "m-Q4_K_M.gguf"),
        (("m-BF16.gguf", "m-Q8_0.gguf", "m-Q4_K_S.gguf"), "m-Q8_0.gguf"),
        (("m-UD-Q4_K_M.gguf", "m-Q8_0.gguf"), "m-UD-Q4_K_M.gguf"),
        (("z.gguf", "m-Q5_0.gguf", "m-BF16.gguf"), "m-BF16.gguf"),
        (("README.md", "mmproj-a.gguf", "only.gguf"), "only.gguf"),
    ],
)
def test_without_a_quantization_the_usual_ones_come_first(
    repo: tuple[str, ...], first: str
) -> None:
    assert chosen(*repo)[0] == first


def test_an_unknown_quantization_is_refused_with_those_that_exist() -> None:
    refusal = refused("m-Q8_0.gguf", "m-Q4_K_M.gguf", "mmproj-F16.gguf", quant="Q3_K_M")
    assert refusal.code is Code.MODEL_NOT_FOUND
    assert refusal.message == "there is no Q3_K_M: there is Q4_K_M, Q8_0"
    assert refusal.details["quants"] == ["Q4_K_M", "Q8_0"]


def test_where_no_name_tells_a_quantization_the_files_are_listed() -> None:
    assert refused("b.gguf", "a.gguf", quant="Q8_0").message == (
        "there is no Q8_0: there is a.gguf, b.gguf"
    )


def test_two_models_of_one_quantization_have_to_be_named_by_file() -> None:
    repo = ("one-Q4_K_M.gguf", "two-Q4_K_M.gguf")
    for quant in ("Q4_K_M", None):
        refusal = refused(*repo, quant=quant)
        assert refusal.code is Code.INVALID_REQUEST
        assert "::file=PATH: one-Q4_K_M.gguf, two-Q4_K_M.gguf" in refusal.message
    choice = choose(files(*repo), file="two-Q4_K_M.gguf")
    assert isinstance(choice, Choice)
    assert (choice.quant, choice.distinct) == ("Q4_K_M", False)


def test_of_one_quantization_the_file_that_lies_highest_is_meant() -> None:
    choice = choose(files("old/m-Q8_0.gguf", "m-Q8_0.gguf"), quant="Q8_0")
    assert isinstance(choice, Choice)
    assert (choice.first.path, choice.distinct) == ("m-Q8_0.gguf", True)


def test_a_file_is_picked_by_its_whole_path_with_all_its_parts() -> None:
    repo = [f"Q8_0/m-Q8_0-{n:05d}-of-00003.gguf" for n in (2, 3, 1)] + ["m-Q4_K_M.gguf"]
    wanted = (repo[2], [repo[0], repo[1]], None)
    assert chosen(*repo, file=repo[2]) == chosen(*repo, file=repo[1]) == wanted
    assert chosen(*repo, quant="Q8_0") == wanted


def test_a_file_that_is_not_there_or_no_model_is_refused() -> None:
    absent = refused("m-Q8_0.gguf", file="x.gguf")
    assert (absent.code, absent.message) == (
        Code.MODEL_NOT_FOUND,
        "there is no file x.gguf: there is Q8_0",
    )
    assert refused("m.gguf", "mmproj-m.gguf", file="mmproj-m.gguf").code is Code.INVALID_REQUEST


def test_a_split_model_that_is_incomplete_names_the_missing_part() -> None:
    repo = ("m-Q8_0-00001-of-00003.gguf", "m-Q8_0-00003-of-00003.gguf")
    for quant, file in (("Q8_0", None), (None, repo[0]), (None, repo[1])):
        refusal = refused(*repo, quant=quant, file=file)
        assert refusal.code is Code.MODEL_NOT_FOUND
        assert refusal.details["missing"] == "m-Q8_0-00002-of-00003.gguf"
        assert "part 2 of 3" in refusal.message


def test_two_ways_to_split_one_model_are_two_models() -> None:
    repo = [f"m-Q8_0-{n:05d}-of-00002.gguf" for n in (1, 2)]
    repo += [f"m-Q8_0-{n:05d}-of-00003.gguf" for n in (1, 2, 3)]
    assert refused(*repo, quant="Q8_0").code is Code.INVALID_REQUEST
    assert len(chosen(*repo, file=repo[4])[1]) == 2


@pytest.mark.parametrize(
    ("model", "projectors", "nearest"),
    [
        ("m-Q8_0.gguf", ("mmproj-F16.gguf", "mmproj-Q8_0.gguf", "mmproj-F32.gguf"), "mmproj-Q8_0.gguf"),
        ("m-Q4_K_M.gguf", ("mmproj-F16.gguf", "mmproj-F32.gguf"), "mmproj-F16.gguf"),
        ("a/m-Q8_0.gguf", ("b/mmproj-Q8_0.gguf", "a/mmproj-F32.gguf"), "a/mmproj-F32.gguf"),
        ("a/m-Q8_0.gguf", ("a/x/y/mmproj-Q8_0.gguf", "mmproj-F32.gguf"), "mmproj-F32.gguf"),
        ("m.gguf", (), None),
    ],
)  # fmt: skip
def test_the_projector_is_the_nearest_by_folder_and_then_by_bits(
    model: str, projectors: tuple[str, ...], nearest: str | None
) -> None:
    assert chosen(model, *projectors)[2] == nearest


def test_a_repository_without_gguf_says_what_has_to_be_done() -> None:
    assert refused("model.safetensors", "config.json").code is Code.CONVERSION_REQUIRED
    assert refused("pytorch_model.bin").code is Code.CONVERSION_REQUIRED
    assert refused("README.md").code is Code.MODEL_NOT_FOUND
    assert refused().code is Code.MODEL_NOT_FOUND


def test_a_long_list_in_a_refusal_is_cut() -> None:
    refusal = refused(*(f"model-number-{n}.gguf" for n in range(5_000)), quant="Q8_0")
    assert refusal.message.endswith(" and 4976 more")
    assert len(refusal.message) < 1_000


TAGS = st.sampled_from(["Q4_K_M", "q8_0", "UD-Q4_K_M", "F16", "x", "00001-of-00002", "mmproj"])
PATHS = st.builds(
    lambda folder, stem, tag: f"{folder}{stem}-{tag}.gguf",
    st.sampled_from(["", "a/", "a/b/", "Q8_0/"]),
    st.sampled_from(["m", "n", "mmproj-m"]),
    TAGS,
)


@given(st.lists(PATHS, max_size=12, unique=True), st.sampled_from([None, "Q4_K_M", "F16", "Q2_K"]))
def test_the_choice_does_not_depend_on_the_order_of_the_listing(
    paths: list[str], quant: str | None
) -> None:
    answer = choose(files(*paths), quant=quant)
    for seed in range(3):
        mixed = files(*paths)
        random.Random(seed).shuffle(mixed)
        assert choose(mixed, quant=quant) == answer
    if isinstance(answer, Choice):
        assert all(is_model(it.path) for it in (answer.first, *answer.parts))
        if answer.distinct:
            assert choose(files(*paths), quant=answer.quant) == answer


ODD = st.sampled_from(
    ["..", ".", "", "-x", "\0", "\\", "C:", "a", "b.gguf", "é", "\n", "\u202e", " "]
)


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "/etc/passwd", "..", "a/../b", "a/..", "./a", "a//b", "a/", "a\0b", "a\\b", "\\\\h\\s",
        "C:x", "c:/x", "-rf", "a/-b", "a\nb", "a\x7fb", "a\x1b[31m", "\udcff", "a\u202eb", "a\u2028b",
        "x" * 256, "é" * 128, "/".join(["x" * 200] * 6),
    ],
)  # fmt: skip
def test_a_name_that_could_lead_elsewhere_is_refused_in_one_line(path: str) -> None:
    refusal = safe_relative(path)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.INVALID_REQUEST
    assert refusal.message.isprintable()
    assert len(refusal.message) < 800


@pytest.mark.parametrize(
    "path",
    ["a", "a.gguf", "a/b/c.gguf", "..a/b..", ".gitattributes", "a b/c", "x" * 255, "é" * 127,
     "/".join(["x" * 200] * 5), "\u4e2d\u6587.gguf", "ab:c"],
)  # fmt: skip
def test_a_plain_name_passes_unchanged(path: str) -> None:
    assert safe_relative(path) == path


@given(st.text(max_size=60) | st.lists(ODD, max_size=8).map("/".join))
def test_what_passes_the_gate_stays_below_its_folder(path: str) -> None:
    checked = safe_relative(path)
    if isinstance(checked, Refusal):
        return
    folder = Path("/store/models")
    joined = folder / checked
    assert joined.is_relative_to(folder)
    assert ".." not in joined.parts
    assert str(PurePosixPath(checked)) == checked
    assert len(joined.parts) == len(folder.parts) + checked.count("/") + 1
    assert checked.encode().decode() == checked
    assert not checked.startswith(("/", "-"))
    assert all(0 < len(part.encode()) <= 255 for part in checked.split("/"))


@given(st.text(max_size=60))
def test_no_name_makes_the_readers_of_names_fail(path: str) -> None:
    split_of(path), quant_of(path), is_model(path), is_mmproj(path)
    choose(files(path, path + ".gguf"), quant="Q4_K_M", file=None)
