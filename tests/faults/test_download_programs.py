"""The daemon and the hub's own program are killed in the middle of a download."""

import pytest

from support.download_drill import FILE, MODEL, SIZE, Drill
from support.download_troubles import HALF
from support.fake_hub import FakeHub
from support.faults import kill
from support.waiting import until_sync

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("repetition")]

TENTH = SIZE // 10


def test_a_killed_daemon_goes_on_where_it_stopped_when_it_is_asked_again(
    drill: Drill, hub: FakeHub
) -> None:
    drill.home.pool("daemon", "start").must()
    drill.script.hold(0, HALF)
    drill.download(MODEL, "--detach").must()
    drill.wait_for_part(HALF)
    kill(drill.home.pid("pool-managerd"))
    drill.home.pool("daemon", "start").must()
    gate = drill.script.hold(1, TENTH)
    first = drill.begin()
    drill.wait_for_part(HALF + TENTH)
    second = drill.begin()
    second.hear("transferring")
    gate.set()
    first.finished().must()
    second.finished().must()
    assert drill.starts() == [0, HALF]
    assert hub.sent_bytes(FILE) == SIZE
    drill.must_be_whole()


def test_whoever_watches_a_killed_daemon_goes_on_without_it(drill: Drill, hub: FakeHub) -> None:
    drill.home.pool("daemon", "start").must()
    drill.script.hold(0, HALF)
    download = drill.begin()
    drill.wait_for_part(HALF)
    download.hear("transferring")
    kill(drill.home.pid("pool-managerd"))
    done = download.finished().must()
    assert "pool-managerd has ended: the download goes on without it" in done.err
    assert drill.starts() == [0, HALF]
    drill.must_be_whole()


def test_the_hubs_own_program_does_not_outlive_a_killed_download(
    drill: Drill, hub: FakeHub
) -> None:
    gate = drill.script.hold(0, HALF)
    download = drill.begin(MODEL, "--via", "hf")
    drill.script.wait(0, HALF)
    below = drill.started_by(download)
    assert len(below) == 2
    download.kill()
    until_sync(lambda: not any(it.is_running() for it in below), what="the end of hf")
    gate.set()
    drill.download(MODEL, "--via", "hf").must()
    drill.must_be_whole()


def test_the_hubs_own_program_is_believed_only_after_its_bytes_were_read(
    drill: Drill, hub: FakeHub
) -> None:
    hub.faults.wrong_bytes(times=None)
    done = drill.download(MODEL, "--via", "hf").must(1)
    assert "DATA_CORRUPT" in done.err
    assert "nothing of it was kept" in done.err
    drill.must_be_absent()
    hub.faults.let_go()
    good = drill.download(MODEL, "--via", "hf").must()
    assert f"{MODEL} is here (4 MiB, 4 MiB fetched)" in good.err
    drill.must_be_whole()
