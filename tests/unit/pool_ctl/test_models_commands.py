"""What the commands about models show, ask and refuse, and how they end."""

import contextlib
import json
import os
import signal
from collections.abc import Callable, Generator
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner, Result

from orchestrator_core.contracts.downloads import DownloadOrder, DownloadReport, DownloadStage
from orchestrator_core.contracts.model_info import InfoOrder
from orchestrator_core.contracts.models import CleanUpOrder, DeleteOrder, ImportOrder, VerifyOrder
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.units import GIB, MIB
from pool_ctl.main import cli
from pool_ctl.pools.models import choice
from pool_ctl.pools.models.cancel import Cancellation
from support.fake_models import FakeHostModels, make_stored

Invoke = Callable[..., Result]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> FakeHostModels:
    """The models that every command of a test is about."""
    fake = FakeHostModels()

    @contextlib.contextmanager
    def reach(*_args: object) -> Generator[FakeHostModels]:
        yield fake

    monkeypatch.setattr(choice, "open_models", reach)
    return fake


@pytest.fixture
def invoke(tmp_path: Path) -> Invoke:
    """Run a command about models on an empty home."""

    def run(*argv: str, typed: str | None = None) -> Result:
        gone = dict.fromkeys(("LLORCH_API_KEY", "LLORCH_POOL_URL"))
        env = {**gone, "LLORCH_HOME": str(tmp_path), "LLORCH_POOL_BIND": "127.0.0.1:1"}
        return CliRunner().invoke(cli, ["models", *argv], env=env, input=typed)

    return run


def a_person_answers(monkeypatch: pytest.MonkeyPatch, *, yes: bool) -> list[str]:
    """Let somebody sit at the keyboard; tells what they are asked."""
    asked: list[str] = []

    class Keyboard:
        def isatty(self) -> bool:
            return True

    def confirm(question: str, *, err: bool) -> bool:
        assert err
        asked.append(question)
        return yes

    monkeypatch.setattr("pool_ctl.commands.models.delete.sys.stdin", Keyboard(), raising=False)
    monkeypatch.setattr(click, "confirm", confirm)
    return asked


def test_the_list_as_json_yaml_and_table(invoke: Invoke, here: FakeHostModels) -> None:
    as_json = json.loads(invoke("list", "--format", "json").stdout)
    assert as_json == yaml.safe_load(invoke("list", "--format", "yaml").stdout)
    assert as_json == [make_stored().model_dump(mode="json")]
    table = invoke("list").stdout.splitlines()
    assert table[0].split()[:3] == ["ID", "SOURCE", "QUANT"]
    assert "10 MiB" in table[1]


def test_the_list_tells_people_of_downloads_that_go_on(
    invoke: Invoke, here: FakeHostModels
) -> None:
    here.running = [
        DownloadReport(
            model="big", stage=DownloadStage.TRANSFERRING, done_bytes=MIB, total_bytes=4 * MIB
        )
    ]
    assert invoke("list").stderr == "big: transferring, 25 % of 4 MiB\n"
    assert len(json.loads(invoke("list", "--format", "json").stdout)) == 1


def test_an_empty_host_says_how_to_begin(invoke: Invoke, here: FakeHostModels) -> None:
    here.stored = []
    result = invoke("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "llorch-pool models download M" in result.stderr
    assert json.loads(invoke("list", "--format", "json").stdout) == []


def test_the_catalogue_says_what_is_here_and_what_keeps_people_from_it(
    invoke: Invoke, here: FakeHostModels
) -> None:
    rows = json.loads(invoke("catalog", "--format", "json").stdout)
    assert [(row["id"], row["is_here"]) for row in rows] == [("tiny", True), ("own", False)]
    assert rows[0]["remark"] is None
    table = invoke("catalog").stdout
    assert "gated: accept its terms first, yours" in table


def test_a_download_shows_lines_and_then_the_model(invoke: Invoke, here: FakeHostModels) -> None:
    result = invoke("download", "tiny", "--format", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == make_stored().model_dump(mode="json")
    assert result.stderr.splitlines() == [
        "tiny: transferring 50 % of 10 MiB",
        "tiny is here (10 MiB, 10 MiB fetched)",
    ]
    assert here.orders == [DownloadOrder(model="tiny")]
    assert invoke("download", "tiny", "--quiet").stderr == ""


def test_several_models_are_brought_one_after_the_other_and_each_once(
    invoke: Invoke, here: FakeHostModels
) -> None:
    result = invoke("download", "a", "b", "a", "--format", "json")
    assert [row["id"] for row in json.loads(result.stdout)] == ["a", "b"]
    assert [order.model for order in here.orders if isinstance(order, DownloadOrder)] == ["a", "b"]


def test_the_options_of_a_download_reach_the_order(invoke: Invoke, here: FakeHostModels) -> None:
    invoke("download", "m", "--force", "--via", "hf", "--make-room", "--no-mmproj")
    wanted = DownloadOrder(model="m", via="hf", force=True, make_room=True, mmproj=False)
    assert here.orders == [wanted]


def test_a_model_that_is_here_already_is_success(invoke: Invoke, here: FakeHostModels) -> None:
    here.fetched_bytes = 0
    result = invoke("download", "tiny")
    assert result.exit_code == 0
    assert "tiny: it is here already (10 MiB)" in result.stderr


def test_ctrl_c_keeps_what_was_fetched_and_says_how_to_go_on(
    invoke: Invoke, here: FakeHostModels
) -> None:
    def interrupt(cancel: Cancellation) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        while not cancel.is_set():
            pass

    here.while_downloading = interrupt
    result = invoke("download", "tiny", "other")
    assert result.exit_code == 130
    assert result.stdout == ""
    assert result.stderr.splitlines()[-2:] == [
        "cancelling ...",
        "5 MiB are kept; llorch-pool models download tiny goes on from there",
    ]
    assert len(here.orders) == 1


def test_a_detached_download_is_left_to_the_daemon(invoke: Invoke, here: FakeHostModels) -> None:
    result = invoke("download", "tiny", "--detach")
    assert (result.exit_code, result.stdout) == (0, "tiny (dl_1): queued\n")
    rows = json.loads(invoke("download", "tiny", "--detach", "--format", "json").stdout)
    assert rows["id"] == "dl_1"


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        (Code.MODEL_NOT_FOUND, 3),
        (Code.MODEL_GATED, 4),
        (Code.DISK_LOW, 5),
        (Code.UNREACHABLE, 5),
        (Code.CONVERSION_REQUIRED, 1),
        (Code.DATA_CORRUPT, 1),
    ],
)
@pytest.mark.parametrize("verb", ["download", "info", "verify", "delete"])
def test_a_refusal_is_one_line_with_its_exit_code(
    invoke: Invoke, here: FakeHostModels, verb: str, code: Code, exit_code: int
) -> None:
    here.refusal = Refusal(code, "it cannot be, do this instead")
    result = invoke(verb, "tiny")
    assert result.exit_code == exit_code
    assert result.stderr == f"error: it cannot be, do this instead ({code})\n"


def test_info_shows_the_facts_and_what_a_worker_takes(invoke: Invoke, here: FakeHostModels) -> None:
    result = invoke("info", "tiny", "--ctx", "2048", "--parallel", "2", "--cache-type-k", "q8_0")
    assert result.exit_code == 0
    assert here.orders == [InfoOrder(model="tiny", ctx=2048, parallel=2, cache_type_k="q8_0")]
    for word in ("Architecture", "llama", "64 KiB", "Processor (cpu)", "14 MiB", "fits"):
        assert word in result.stdout
    facts = json.loads(invoke("info", "tiny", "--format", "json").stdout)
    assert facts["fits"][0]["needed_bytes"] == 14 * MIB


def test_info_takes_a_path_for_the_file_that_lies_there(
    invoke: Invoke, here: FakeHostModels, tmp_path: Path
) -> None:
    assert invoke("info", str(tmp_path / "up" / ".." / "mine.gguf")).exit_code == 0
    assert here.orders == [InfoOrder(model=f"file:{tmp_path}/mine.gguf")]


def test_info_says_why_a_model_does_not_fit(invoke: Invoke, here: FakeHostModels) -> None:
    here.fits = False
    lines = invoke("info", "tiny").stdout.splitlines()
    assert "does not fit" in lines[-2]
    assert lines[-1] == "Processor: ctx 64 would fit"


def test_info_about_a_gpu_that_is_not_there(invoke: Invoke, here: FakeHostModels) -> None:
    assert invoke("info", "tiny", "--backend", "cpu", "--gpu", "0").exit_code == 2
    gone = invoke("info", "tiny", "--gpu", "63")
    assert (gone.exit_code, here.orders) == (1, [])
    assert "has no GPU 63" in gone.stderr
    assert (
        "BACKEND_UNAVAILABLE" in invoke("info", "tiny", "--backend", "cuda", "--gpu", "63").stderr
    )


def test_verify_ends_well_only_if_every_byte_is_right(invoke: Invoke, here: FakeHostModels) -> None:
    sound = invoke("verify", "tiny")
    assert sound.exit_code == 0
    assert sound.stdout.splitlines()[1].split()[:3] == ["tiny", "tiny.gguf", "ok"]
    here.is_damaged = True
    damaged = invoke("verify", "tiny")
    assert damaged.exit_code == 1
    assert "its content has changed" in damaged.stdout
    assert "llorch-pool models download tiny --force" in damaged.stderr
    as_json = invoke("verify", "--format", "json")
    assert (as_json.exit_code, json.loads(as_json.stdout)[0]["ok"]) == (1, False)
    assert here.orders[-1] == VerifyOrder(model=None)


@pytest.mark.parametrize(
    ("source", "word"),
    [("hub", "download tiny --force"), ("file", "import it again"), ("builtin", "install")],
)
def test_what_helps_a_damaged_model_depends_on_where_it_came_from(
    invoke: Invoke, here: FakeHostModels, source: str, word: str
) -> None:
    here.stored = [make_stored().model_copy(update={"source": source})]
    here.is_damaged = True
    assert word in invoke("verify").stderr


def test_delete_is_refused_where_nobody_can_be_asked(invoke: Invoke, here: FakeHostModels) -> None:
    result = invoke("delete", "tiny", typed="y\n")
    assert result.exit_code == 2
    assert "tiny: deleting it frees 10 MiB (tiny.gguf)" in result.stderr
    assert "--force" in result.stderr
    assert here.orders == [DeleteOrder(model="tiny", dry_run=True)]


def test_delete_asks_first_and_a_no_deletes_nothing(
    here: FakeHostModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = a_person_answers(monkeypatch, yes=False)
    assert invoke_at_keyboard("delete", "tiny") == 0
    assert asked == ["Delete tiny?"]
    assert here.orders == [DeleteOrder(model="tiny", dry_run=True)]


def test_delete_after_a_yes_deletes_what_was_shown(
    here: FakeHostModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_person_answers(monkeypatch, yes=True)
    assert invoke_at_keyboard("delete", "small") == 0
    wanted = [DeleteOrder(model="small", dry_run=True), DeleteOrder(model="tiny")]
    assert here.orders == wanted


def test_force_deletes_without_a_question(invoke: Invoke, here: FakeHostModels) -> None:
    result = invoke("delete", "tiny", "--force")
    assert (result.exit_code, result.stdout) == (0, "tiny: deleted, freed 10 MiB (tiny.gguf)\n")
    assert here.orders[-1] == DeleteOrder(model="tiny")


def test_a_dry_run_only_tells(invoke: Invoke, here: FakeHostModels) -> None:
    result = invoke("delete", "tiny", "--dry-run")
    assert (result.exit_code, result.stdout) == (0, "tiny: would free 10 MiB (tiny.gguf)\n")
    clean_up = invoke("delete", "--unused-for", "30d", "--dry-run")
    assert clean_up.stdout.splitlines()[-1] == "10 MiB would be freed in all"
    assert all(getattr(order, "dry_run", False) for order in here.orders)


def test_what_is_long_unused_goes_after_one_look(invoke: Invoke, here: FakeHostModels) -> None:
    result = invoke("delete", "--to-free", "20GiB", "--unused-for", "12h", "--force")
    assert result.exit_code == 0
    order = CleanUpOrder(unused_s=43200, free_bytes=20 * GIB)
    assert here.orders == [order.model_copy(update={"dry_run": True}), order]
    assert "busy: kept, worker-cpu-0 holds it" in result.stderr
    assert "only 10 MiB of the 20 GiB that were wanted can be freed" in result.stderr
    assert "only" not in invoke("delete", "--to-free", "10MiB", "--force").stderr
    assert invoke("delete", "--unused-for", "30d").exit_code == 2
    as_json = invoke("delete", "--unused-for", "1w", "--force", "--format", "json")
    assert json.loads(as_json.stdout)["freed_bytes"] == 10 * MIB


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (("delete",), "name a model"),
        (("delete", ""), "name a model"),
        (("delete", "tiny", "--unused-for", "30d"), "name none"),
        (("delete", "--unused-for", "30"), "30d"),
        (("delete", "--unused-for", "-3d"), "30d"),
        (("delete", "--unused-for", "3 lightyears"), "30d"),
        (("delete", "--to-free", "much"), "20GiB"),
        (("download",), "M..."),
        (("download", ""), "name of a model"),
        (("download", "tiny", "--via", "carrier-pigeon"), "--via"),
        (("info",), "M"),
        (("info", ""), "name of a model"),
        (("info", "tiny", "--ctx", "1"), "--ctx"),
        (("info", "tiny", "--cache-type-v", "f12"), "--cache-type-v"),
        (("verify", ""), "name of a model"),
        (("verify", "x" * 513), "name of a model"),
        (("delete", "x" * 513), "name of a model"),
        (("import",), "--hub-cache"),
        (("import", "a.gguf", "--hub-cache"), "--hub-cache"),
        (("import", "--hub-cache", "--id", "a"), "--id"),
        (("import", "a.gguf", "--id", "../up"), "small letters"),
        (("import", ""), "--hub-cache"),
    ],
)
def test_wrong_usage_is_told_before_anything_happens(
    invoke: Invoke, here: FakeHostModels, argv: tuple[str, ...], word: str
) -> None:
    result = invoke(*argv)
    assert result.exit_code == 2, result.output
    assert word in result.stderr
    assert here.orders == []


def test_disk_usage_shows_each_model_and_the_sums(invoke: Invoke, here: FakeHostModels) -> None:
    shown = invoke("disk-usage")
    assert "Unfinished downloads  5 MiB" in shown.stdout
    assert "Free on the disk      1000 MiB" in shown.stdout
    assert "Shared" not in shown.stdout
    assert "--unused-for" in shown.stderr
    assert json.loads(invoke("disk-usage", "--format", "json").stdout)["partial_bytes"] == 5 * MIB


def test_import_names_the_file_by_its_whole_path(invoke: Invoke, here: FakeHostModels) -> None:
    result = invoke("import", "./a.gguf", "--id", "mine", "--method", "copy", "--format", "json")
    assert json.loads(result.stdout)[0]["id"] == "mine"
    path = str(Path.cwd() / "a.gguf")
    assert here.orders == [ImportOrder(path=path, id="mine", method="copy")]
    invoke("import", "--hub-cache")
    assert here.orders[-1] == ImportOrder(hub_cache=True)


def invoke_at_keyboard(*argv: str) -> int:
    """Run a command in this very process, whose keyboard a test has put a person at."""
    try:
        cli.main(["models", *argv], prog_name="llorch-pool")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0
