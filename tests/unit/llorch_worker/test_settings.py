from pathlib import Path

import pytest

from llorch_worker.settings import parse

NEEDED = ["--model", "m.gguf", "--alias", "m", "--ctx-size", "2048", "--api-key-file", "k"]


def test_defaults_are_those_of_a_cpu_worker() -> None:
    settings = parse(NEEDED)
    assert settings.model == Path("m.gguf")
    assert (settings.host, settings.port, settings.parallel) == ("127.0.0.1", 0, 1)
    assert (settings.batch_size, settings.ubatch_size, settings.threads) == (256, 256, None)
    assert settings.sse_ping_interval_s == 5
    assert settings.pooling is None
    assert not settings.embeddings


def test_a_flag_and_its_value_may_be_one_word_or_two() -> None:
    assert parse([*NEEDED, "--port=8001"]) == parse([*NEEDED, "--port", "8001"])


def test_the_physical_batch_follows_a_large_batch_only_up_to_512() -> None:
    assert parse([*NEEDED, "--batch-size", "2048"]).ubatch_size == 512


@pytest.mark.parametrize(
    "args",
    [
        NEEDED[2:],
        [*NEEDED, "--ctx", "5"],
        [*NEEDED, "--threads", "two"],
        [*NEEDED, "--pooling", "sum"],
        [*NEEDED, "--api-key", "secret"],
    ],
)
def test_bad_usage_leaves_with_2(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parse(args)
    assert left.value.code == 2
    assert "llorch-worker: error:" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_asking_about_the_program_leaves_with_0(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        parse([flag])
    assert left.value.code == 0
    assert "llorch-worker" in capsys.readouterr().out
