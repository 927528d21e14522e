"""Downloads are cut and killed: the file is whole and verified, or absent, and goes on.

Run more often by `./dev faults download --reps N`. What is said of bytes is what the hub counted.
"""

from itertools import accumulate

import pytest

from support.download_drill import FILE, MODEL, REPO, SIZE, Drill, content, random_steps
from support.fake_hub import FakeHub

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("repetition")]

HALF, TENTH = SIZE // 2, SIZE // 10


def test_a_cut_at_every_tenth_asks_for_no_byte_twice(drill: Drill, hub: FakeHub) -> None:
    for number in range(10):
        drill.script.cut(number, TENTH)
    # Only the rests between the tries are shorter than those of the real program.
    drill.download(hasty=True).must()
    # A server that closes has sent what it had before: nothing is in flight, so nothing is twice.
    assert drill.starts() == [number * TENTH for number in range(11)]
    assert hub.sent_bytes(FILE) == SIZE
    drill.must_be_whole()


def test_a_kill_after_every_tenth_loses_nothing_that_came(drill: Drill, hub: FakeHub) -> None:
    kept = [drill.kill_after(TENTH) for _ in range(9)]
    drill.download().must()
    # Each was killed when all that was sent had come to the disk, so the sum is exact.
    assert kept == list(accumulate([TENTH] * 9))
    assert drill.starts() == [0, *kept]
    assert hub.sent_bytes(FILE) == SIZE
    drill.must_be_whole()


def test_cuts_and_kills_anywhere_cost_what_was_in_flight_and_no_more(
    drill: Drill, hub: FakeHub, repetition: int
) -> None:
    steps = random_steps(repetition, 6)
    print(f"seed {repetition}: {steps}")
    for number, (kind, after_bytes) in enumerate(steps):
        act = drill.script.cut if kind == "cut" else drill.script.hold
        act(number, after_bytes)
    starts, lost, download = [0], 0, None
    for number, (kind, after_bytes) in enumerate(steps):
        download = download or drill.begin(hasty=True)
        drill.script.wait(number, after_bytes)
        reached = starts[-1] + after_bytes
        if kind == "kill":
            # The hub has sent it all; what had not come to the disk yet was in flight.
            download.kill()
            download = None
            lost += reached - drill.part_bytes()
            reached = drill.part_bytes()
        starts.append(reached)
    (download or drill.begin(hasty=True)).finished().must()
    assert drill.starts() == starts
    # A piece that the hub was just sending when its reader died counts as not sent.
    assert hub.sent_bytes(FILE) <= SIZE + lost
    assert not hub.faults.unused()
    drill.must_be_whole()


def test_two_programs_that_want_one_model_make_one_transfer(drill: Drill, hub: FakeHub) -> None:
    gate = drill.script.hold(0, HALF)
    first = drill.begin()
    drill.wait_for_part(HALF)
    second = drill.begin()
    second.hear(f"process {first.process.pid} fetches it already")
    gate.set()
    first.finished().must()
    second.finished().must()
    assert drill.starts() == [0]
    assert hub.sent_bytes(FILE) == SIZE
    drill.must_be_whole()


def test_whoever_waits_takes_over_from_one_that_was_killed(drill: Drill, hub: FakeHub) -> None:
    drill.script.hold(0, HALF)
    first = drill.begin()
    drill.wait_for_part(HALF)
    second = drill.begin()
    second.hear("fetches it already")
    first.kill()
    second.finished().must()
    assert drill.starts() == [0, HALF]
    assert hub.sent_bytes(FILE) == SIZE
    drill.must_be_whole()


def test_two_quantizations_of_one_repository_come_side_by_side(drill: Drill, hub: FakeHub) -> None:
    other = "drill-Q4_0.gguf"
    hub.change(REPO, other, content("other"))
    gates = [drill.script.hold(number, HALF) for number in (0, 1)]
    downloads = [drill.begin(), drill.begin(f"hf:{REPO}:Q4_0")]
    for file in (FILE, other):
        drill.wait_for_part(HALF, file)
    for gate in gates:
        gate.set()
    for download in downloads:
        download.finished().must()
    for file, model in ((FILE, MODEL), (other, f"hf:{REPO}:Q4_0")):
        assert drill.starts(file) == [0]
        assert hub.sent_bytes(file) == SIZE
        drill.must_be_whole(file, model=model)
