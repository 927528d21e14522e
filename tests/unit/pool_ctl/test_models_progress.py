"""Speed, the time that is left, and which moments are worth a line or a bar."""

import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from orchestrator_core.contracts.downloads import DownloadReport, DownloadStage
from orchestrator_core.units import MIB
from pool_ctl.commands.progress.bars import Bars
from pool_ctl.commands.progress.lines import ProgressLines
from pool_ctl.commands.progress.moments import (
    Moment,
    Speed,
    describe,
    moment_of,
    moment_of_file,
    percent,
)
from pool_ctl.commands.progress.shown import Lines
from pool_ctl.commands.progress.voice import Voice


def report(
    done_bytes: int = 0, fetched_bytes: int | None = None, **facts: object
) -> DownloadReport:
    tree: dict[str, object] = {
        "model": "tiny",
        "stage": DownloadStage.TRANSFERRING,
        "file": "tiny.gguf",
        "files_total": 1,
        "done_bytes": done_bytes,
        "total_bytes": 100 * MIB,
        "fetched_bytes": done_bytes if fetched_bytes is None else fetched_bytes,
    }
    return DownloadReport.model_validate({**tree, **facts})


def moment(done_bytes: int = 0, **facts: object) -> Moment:
    return moment_of(report(done_bytes, **facts))


def test_the_speed_is_that_of_the_last_ten_seconds() -> None:
    speed = Speed()
    for second in range(21):
        # Fast at first, then a tenth of it.
        done = second * 4 * MIB if second <= 10 else 40 * MIB + (second - 10) * MIB
        seen = speed.measure(moment(done), float(second))
    assert seen.speed_bytes_s == MIB
    assert seen.eta_s == 50


def test_what_was_there_before_is_no_speed() -> None:
    speed = Speed()
    speed.measure(moment(90 * MIB, fetched_bytes=0), 0.0)
    seen = speed.measure(moment(92 * MIB, fetched_bytes=2 * MIB), 2.0)
    assert seen.speed_bytes_s == MIB
    assert seen.eta_s == 8


def test_nothing_is_guessed_from_half_a_look() -> None:
    speed = Speed()
    assert speed.measure(moment(0), 0.0).speed_bytes_s is None
    assert speed.measure(moment(MIB), 0.3).speed_bytes_s is None


def test_a_stalled_download_has_no_end_in_sight() -> None:
    speed = Speed()
    for second in range(15):
        seen = speed.measure(moment(MIB if second else 0), float(second))
    assert seen.speed_bytes_s == 0
    assert seen.eta_s is None


def test_a_file_that_begins_anew_has_no_negative_speed() -> None:
    speed = Speed()
    speed.measure(moment(50 * MIB), 0.0)
    speed.measure(moment(60 * MIB), 1.0)
    assert speed.measure(moment(0), 2.0).speed_bytes_s is None
    assert speed.measure(moment(2 * MIB), 4.0).speed_bytes_s == MIB


def test_only_a_transfer_has_a_speed() -> None:
    verifying = moment(MIB, stage=DownloadStage.VERIFYING)
    assert verifying.moved_bytes is None
    assert Speed().measure(verifying, 1.0).speed_bytes_s is None
    assert moment_of_file("reading", "a.gguf", 5, 10).moved_bytes == 5


@given(
    st.lists(st.tuples(st.floats(0, 100, allow_nan=False), st.integers(0, 10**13)), max_size=300)
)
def test_speed_and_end_are_never_absurd(steps: list[tuple[float, int]]) -> None:
    speed, now_s, moved = Speed(), 0.0, 0
    for step_s, step_bytes in steps:
        now_s, moved = now_s + step_s, moved + step_bytes
        seen = speed.measure(moment(moved, total_bytes=10**14), now_s)
        assert seen.speed_bytes_s is None or 0 <= seen.speed_bytes_s < math.inf
        assert seen.eta_s is None or 0 <= seen.eta_s <= 100 * 3600
        assert len(speed._seen) <= 103


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({"stage": "resolving", "total_bytes": None, "file": None}, "tiny: resolving ..."),
        ({"done_bytes": 30 * MIB}, "tiny: transferring 30 % of 100 MiB"),
        (
            {"done_bytes": MIB, "files_total": 3, "files_done": 1},
            "tiny: transferring file 2 of 3 tiny.gguf, 1 % of 100 MiB",
        ),
        (
            {"stage": "waiting", "total_bytes": None, "note": "process 7 transfers it"},
            "tiny: waiting process 7 transfers it",
        ),
    ],
)
def test_a_moment_in_words(facts: dict[str, object], line: str) -> None:
    assert describe(moment(**{"done_bytes": 0, **facts})) == line  # type: ignore[arg-type]


def test_speed_and_the_time_that_is_left_are_spelled_out() -> None:
    speed = Speed()
    speed.measure(moment(0), 0.0)
    seen = speed.measure(moment(10 * MIB), 4.0)
    assert describe(seen) == "tiny: transferring 10 % of 100 MiB, 2.5 MiB/s, 36 s left"


def test_the_part_that_is_done_never_exceeds_the_whole() -> None:
    assert percent(moment(200 * MIB)) == 100
    assert percent(moment(0, total_bytes=None)) is None
    assert percent(moment(0, total_bytes=0)) is None


def test_lines_come_with_each_stage_and_in_between_by_tenths_or_five_seconds() -> None:
    lines = ProgressLines()
    assert lines.feed(moment(0, stage="resolving", file=None), 0.0) is not None
    assert lines.feed(moment(0, stage="resolving", file=None), 9.0) is None
    assert lines.feed(moment(0), 10.0) is not None
    assert lines.feed(moment(MIB), 10.1) is None
    assert lines.feed(moment(9 * MIB), 10.2) is None
    assert lines.feed(moment(10 * MIB), 10.3) is not None
    assert lines.feed(moment(11 * MIB), 15.2) is None
    assert lines.feed(moment(11 * MIB), 15.3) is not None
    assert lines.feed(moment(11 * MIB), 60.0) is None
    assert lines.feed(moment(11 * MIB, note="the link expired"), 60.1) is not None
    assert lines.feed(moment(11 * MIB, stage="verifying"), 60.2) is not None


def test_a_whole_download_is_not_more_than_a_dozen_lines() -> None:
    said: list[str] = []
    now_s = [0.0]
    with Lines(said.append, lambda: now_s[0]) as shower:
        for done in range(0, 100 * MIB, MIB // 4):
            now_s[0] += 0.01
            shower.show(moment(done))
    assert 10 <= len(said) <= 12


def test_no_note_reaches_the_terminal_with_control_characters() -> None:
    said: list[str] = []
    with Lines(said.append, lambda: 0.0) as shower:
        shower.show(moment(0, note="\x1b[2Jgone", file="\x07a"))
    assert "\x1b" not in "".join(said)
    assert "\x07" not in "".join(said)


def test_a_terminal_gets_one_bar_with_amount_speed_and_the_time_that_is_left() -> None:
    screen, now_s = io.StringIO(), [0.0]
    console = Console(file=screen, force_terminal=True, width=160, color_system=None)
    with Bars(console, lambda: now_s[0]) as shower:
        shower.show(moment(0, files_total=2, note="\x1b[31mthe [bold]mirror"))
        now_s[0] = 5.0
        shower.show(moment(10 * MIB, files_total=2, note="\x1b[31mthe [bold]mirror"))
        shower._progress.refresh()
        shown = screen.getvalue()
    assert "tiny (file 1 of 2)" in shown
    assert "10 MiB of 100 MiB" in shown
    assert "2 MiB/s, 45 s left" in shown
    assert " [31mthe [bold]mirror" in shown


def test_the_bar_of_a_stalled_download_says_so_by_itself() -> None:
    screen, now_s = io.StringIO(), [0.0]
    console = Console(file=screen, force_terminal=True, width=160, color_system=None)
    with Bars(console, lambda: now_s[0]) as shower:
        shower.show(moment(0))
        now_s[0] = 2.0
        shower.show(moment(10 * MIB))
        for later_s in range(3, 30):
            now_s[0] = later_s
            shower._progress.refresh()
        shown = screen.getvalue()
    assert "5 MiB/s" in shown
    assert shown.rindex("0 B/s") > shown.rindex("MiB/s")


UP = "\x1b[1A"


@pytest.mark.parametrize("width", [20, 40, 80, 100])
def test_the_bar_stays_one_line_however_narrow_the_terminal(width: int) -> None:
    screen, now_s = io.StringIO(), [0.0]
    console = Console(file=screen, force_terminal=True, width=width, color_system=None)
    with Bars(console, lambda: now_s[0]) as shower:
        for second in range(5):
            now_s[0] = second
            what = "hf:organisation/a-model-with-a-long-name-GGUF:Q4_K_M"
            shower.show(moment(second * 17 * MIB, model=what, note="tries again in 8 s"))
            shower._progress.refresh()
        assert UP not in screen.getvalue()


def test_a_line_that_is_said_beside_a_bar_is_not_drawn_over() -> None:
    screen, voice = io.StringIO(), Voice(pytest.fail)
    console = Console(file=screen, force_terminal=True, width=80, color_system=None)
    with Bars(console) as shower, voice.lent(shower.say):
        shower.show(moment(0))
        shower._progress.refresh()
        voice("[bold]cancelling ...")
        shower._progress.refresh()
    before, after = screen.getvalue().split("[bold]cancelling ...\n")
    assert before.endswith("\r\x1b[2K")
    assert UP not in before
    assert after.count(UP) == 1
