import pytest

from llorch_worker.engine.requirements import explain_import_failure, missing_instructions

FULL = "processor : 0\nflags\t\t: fpu avx avx2 fma f16c bmi2\n\nprocessor : 1\n"


def test_a_modern_cpu_lacks_nothing() -> None:
    assert missing_instructions("x86_64", FULL) is None


def test_an_old_cpu_is_told_what_it_lacks() -> None:
    reason = missing_instructions("x86_64", "flags : fpu avx f16c\n")
    assert reason is not None
    assert reason.startswith("this CPU has no AVX2, FMA;")


@pytest.mark.parametrize(("machine", "cpuinfo"), [("aarch64", "Features : fp\n"), ("x86_64", "")])
def test_what_cannot_be_judged_is_tried(machine: str, cpuinfo: str) -> None:
    assert missing_instructions(machine, cpuinfo) is None


@pytest.mark.parametrize(
    ("message", "helps"),
    [
        (
            "libgomp.so.1: cannot open shared object file: No such file or directory",
            "apt install libgomp1",
        ),
        ("libfoo.so.2: cannot open shared object file: No such file", "libfoo.so.2"),
        ("No module named 'xllamacpp'", "pip install xllamacpp"),
        ("undefined symbol: x\nmore", "undefined symbol: x"),
        ("", "no reason"),
    ],
)
def test_an_import_failure_is_one_line_that_helps(message: str, helps: str) -> None:
    line = explain_import_failure(message)
    assert helps in line
    assert "\n" not in line
