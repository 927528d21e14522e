"""The supervisor with real workers: started, proven, stopped, adopted, and honest about the end."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from orchestrator_core.contracts.pool import (
    Backend,
    ModelFile,
    Owner,
    SpawnRequest,
    WantedSet,
    WantedWorker,
    WorkerReport,
    WorkerSpec,
    WorkerStatus,
)
from orchestrator_core.contracts.tasks import TaskKind
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.platforms.select import current
from pool_core.workers.ledger import Ledger
from support.answers import chat_answers
from support.pool_builders import record, worker_id
from support.supervision import HASTY, ask, crew, kill, tiny_spec
from support.waiting import until
from support.worker_process import MODELS, PROGRAM

pytestmark = pytest.mark.e2e

READY, FAILED = WorkerStatus.READY, WorkerStatus.FAILED
HELLO = chat_answers("tiny-chat")["Hello"]


def wanted(revision: int, *numbers: int, generation: int = 1) -> WantedSet:
    workers = [
        WantedWorker(worker_id=worker_id(n), generation=generation, spec=tiny_spec())
        for n in numbers
    ]
    return WantedSet(revision=revision, workers=workers)


async def test_a_worker_from_its_order_to_its_end(tmp_path: Path) -> None:
    async with crew(tmp_path) as team:
        ordered = await team.spawn(tiny_spec())
        assert ordered.status is WorkerStatus.STARTING
        assert (ordered.name, ordered.owner) == ("worker-cpu-0", Owner.OPERATOR)
        report = await team.reaches(ordered.id, READY)
        assert (report.pid, report.incarnation, report.slots_total) == (ordered.pid, 1, 1)
        assert report.memory_bytes is not None
        assert report.memory_bytes > 10_000_000
        assert report.ready_at is not None
        assert report.engine_version
        assert await ask(report, "Hello") == HELLO
        log = team.supervisor.log_path("worker-cpu-0")
        assert log is not None
        assert '"event": "listening"' in log.read_text()

        stopped = await team.supervisor.stop("worker-cpu-0", grace_s=10)
        assert not isinstance(stopped, Refusal)
        assert stopped.status is WorkerStatus.STOPPED
        assert team.supervisor.reports() == []
        assert not psutil.pid_exists(report.pid or 0)
        assert list((tmp_path / "workers").iterdir()) == []
        assert team.supervisor.log_path(report.id) == log


async def test_the_key_is_in_a_file_of_ours_and_in_no_command_line(tmp_path: Path) -> None:
    async with crew(tmp_path) as team:
        report = await team.ready(tiny_spec())
        assert report.key is not None
        key = report.key.get_secret_value()
        process = psutil.Process(report.pid)
        assert key not in " ".join(process.cmdline())
        environment = process.environ()
        assert key not in " ".join(environment.values())
        allowed = {"PATH", "HOME", "LANG", "LLORCH_HOME", "GGML_NO_BACKTRACE"}
        assert set(environment) - allowed == {"LLORCH_INSTANCE", "LLORCH_WORKER"}
        assert os.getsid(process.pid) == process.pid
        # The host would rather lose a worker than its daemon, and the folder of the caller is not kept busy.
        assert oom_score(process.pid) == 300
        assert process.cwd() == str(tmp_path / "logs")
        assert (tmp_path / "workers" / f"{report.id}.key").stat().st_mode & 0o777 == 0o600


def oom_score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text("ascii"))


async def test_two_workers_get_their_own_names_and_ports(tmp_path: Path) -> None:
    async with crew(tmp_path) as team:
        first, second = await team.spawn(tiny_spec()), await team.spawn(tiny_spec("tiny-story"))
        assert (first.name, second.name) == ("worker-cpu-0", "worker-cpu-0-2")
        assert first.port != second.port
        one, two = await team.reaches(first.id, READY), await team.reaches(second.id, READY)
        assert await ask(one, "Hello") == HELLO
        assert await ask(two, "Hello") == chat_answers("tiny-story")["Hello"]
        assert await team.supervisor.stop_all(10) == 2


@pytest.mark.parametrize("task", [TaskKind.EMBED, TaskKind.RERANK])
async def test_other_tasks_become_ready_too(task: TaskKind, tmp_path: Path) -> None:
    async with crew(tmp_path) as team:
        report = await team.ready(tiny_spec().model_copy(update={"task": task}))
        assert report.task is task


def of_file(path: Path) -> WorkerSpec:
    model = ModelFile(model_id=path.stem, source="file", file=str(path))
    return WorkerSpec(model=model, threads=1)


async def test_a_model_the_engine_does_not_know_is_refused_before_anything_starts(
    tmp_path: Path,
) -> None:
    strange = tmp_path / "strange.gguf"
    whole = (MODELS / "tiny-chat.gguf").read_bytes()
    strange.write_bytes(whole.replace(b"llama", b"zzz99"))
    async with crew(tmp_path) as team:
        refusal = await team.supervisor.spawn(SpawnRequest(spec=of_file(strange)), Owner.OPERATOR)
        assert isinstance(refusal, Refusal)
        assert refusal.code is Code.MODEL_INCOMPATIBLE
        assert "unknown model architecture zzz99; engine b" in refusal.message
        strange.write_bytes(b"this is no model")
        refusal = await team.supervisor.spawn(SpawnRequest(spec=of_file(strange)), Owner.OPERATOR)
        assert isinstance(refusal, Refusal)
        assert "it is not a GGUF file" in refusal.message
        assert team.supervisor.reports() == []
        assert list((tmp_path / "workers").iterdir()) == []


async def test_a_model_that_only_the_engine_finds_wanting_fails_with_its_reason(
    tmp_path: Path,
) -> None:
    # The header is sound and the tensors are all there, only not under the names of this kind.
    wanting = tmp_path / "wanting.gguf"
    whole = (MODELS / "tiny-chat.gguf").read_bytes()
    wanting.write_bytes(whole.replace(b"blk.0.ffn_gate.weight", b"blk.0.ffn_GATE.weight"))
    async with crew(tmp_path) as team:
        report = await team.reaches((await team.spawn(of_file(wanting))).id, FAILED)
        assert report.error_code == Code.MODEL_INCOMPATIBLE
        assert "blk.0.ffn_gate.weight" in (report.error_message or "")
        assert report.ready_at is None


async def test_the_pool_chooses_what_an_order_leaves_open(tmp_path: Path) -> None:
    async with crew(tmp_path) as team:
        report = await team.ready(of_file(MODELS / "tiny-chat.gguf"))
        assert (report.spec.ctx, report.spec.parallel, report.slots_total) == (1024, 2, 2)
        assert report.model == "tiny-chat"
        assert await ask(report, "Hello") == HELLO


async def test_a_program_that_cannot_run_is_a_failed_worker(tmp_path: Path) -> None:
    async with crew(tmp_path, program=tmp_path / "nothing-here") as team:
        report = await team.spawn(tiny_spec())
        assert (report.status, report.error_code) == (FAILED, Code.WORKER_START_FAILED)
        assert "nothing-here: No such file or directory" in (report.error_message or "")


async def test_a_crash_is_seen_and_reported(tmp_path: Path) -> None:
    async with crew(tmp_path) as team:
        report = await team.ready(tiny_spec())
        kill(report)
        failed = await team.reaches(report.id, FAILED)
        assert failed.error_code == Code.WORKER_LOST
        assert (failed.error_message or "").startswith("the worker was killed")
        assert failed.memory_bytes is None
        forgotten = await team.supervisor.stop(report.id, grace_s=1)
        assert not isinstance(forgotten, Refusal)
        assert team.supervisor.reports() == []


async def test_a_frozen_worker_can_be_stopped(tmp_path: Path) -> None:
    async with crew(tmp_path) as team:
        report = await team.ready(tiny_spec())
        assert report.pid is not None
        os.kill(report.pid, signal.SIGSTOP)
        stopped = await team.supervisor.stop(report.name, grace_s=10)
        assert not isinstance(stopped, Refusal)
        assert not psutil.pid_exists(report.pid)


async def test_no_patience_means_kill(tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    text = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\n"
    deaf.write_text(f"#!{sys.executable}\nimport signal\n{text}signal.pause()\n")
    deaf.chmod(0o700)
    async with crew(tmp_path, program=deaf) as team:
        report = await team.spawn(tiny_spec())
        await until(lambda: team.supervisor.log_path(report.id), what="a log")
        await until(lambda: "deaf" in _log(team.supervisor.log_path(report.id)), what="its word")
        stopped = await team.supervisor.stop(report.id, grace_s=0)
        assert not isinstance(stopped, Refusal)
        assert not psutil.pid_exists(report.pid or 0)


def _log(path: Path | None) -> str:
    return path.read_text() if path else ""


async def test_the_next_supervisor_adopts_what_the_last_one_left(tmp_path: Path) -> None:
    async with crew(tmp_path, leave_workers=True) as team:
        before = [await team.ready(tiny_spec()), await team.ready(tiny_spec("tiny-story"))]
    async with crew(tmp_path) as team:
        after = team.supervisor.reports()
        assert _without_memory(after) == _without_memory(before)
        assert await ask(after[0], "Hello") == HELLO
        # Its exit code is nobody's to read, but its end is seen.
        kill(after[1])
        assert (await team.reaches(after[1].id, FAILED)).error_code == Code.WORKER_LOST
        assert (await team.spawn(tiny_spec())).port not in {report.port for report in before[:1]}
    _reap(before)


async def test_nobody_hears_of_a_ready_worker_before_the_ledger_does(tmp_path: Path) -> None:
    ready_in_ledger: list[str | None] = []
    async with crew(tmp_path) as team:

        def read_along() -> None:
            for report in team.supervisor.reports():
                if report.status is READY:
                    ready_in_ledger.extend(r.ready_at for r in Ledger(tmp_path).load().records)

        team.changed = read_along
        report = await team.ready(tiny_spec())
    assert ready_in_ledger[0] == report.ready_at


def _without_memory(reports: list[WorkerReport]) -> list[WorkerReport]:
    return [report.model_copy(update={"memory_bytes": None}) for report in reports]


def _reap(reports: list[WorkerReport]) -> None:
    # Here the earlier supervisor lived in this same process, so nobody else collects its children.
    for report in reports:
        os.waitpid(report.pid or 0, 0)


async def test_a_silent_worker_that_was_ready_is_given_its_time(tmp_path: Path) -> None:
    async with crew(tmp_path, leave_workers=True) as team:
        before = await team.ready(tiny_spec())
    frozen = psutil.Process(before.pid)
    frozen.suspend()
    async with crew(tmp_path, patience=HASTY) as team:
        assert [report.status for report in team.supervisor.reports()] == [WorkerStatus.LOADING]
        frozen.resume()
        assert (await team.reaches(before.id, READY)).pid == before.pid
    _reap([before])


async def test_adopts_a_worker_whose_start_was_cut_short(tmp_path: Path) -> None:
    async with crew(tmp_path, leave_workers=True) as team:
        before = await team.ready(tiny_spec())
    ledger = Ledger(tmp_path)
    [known] = ledger.load().records
    ledger.write(known.model_copy(update={"pid": None, "start_time": None, "boot_id": None}))
    async with crew(tmp_path) as team:
        assert [report.pid for report in team.supervisor.reports()] == [before.pid]
    _reap([before])


async def test_a_worker_without_its_key_is_left_alone_until_it_ends(tmp_path: Path) -> None:
    async with crew(tmp_path, leave_workers=True) as team:
        before = await team.ready(tiny_spec())
    Ledger(tmp_path).key_path(before.id).unlink()
    async with crew(tmp_path) as team:
        (report,) = team.supervisor.reports()
        assert (report.status, report.pid) == (WorkerStatus.UNCLAIMED, before.pid)
        refusal = await team.supervisor.stop(before.id, grace_s=0)
        assert isinstance(refusal, Refusal)
        assert refusal.code is Code.CONFLICT
        assert await team.supervisor.stop_all(0) == 0
        kill(before)
        await until(lambda: not team.supervisor.reports(), what="the keyless worker to be let go")
    _reap([before])


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-c", "import signal; signal.pause()"]
    with subprocess.Popen(argv, start_new_session=True) as process:
        yield process
        process.kill()


async def test_never_signals_a_process_that_a_forged_record_names(
    tmp_path: Path, bystander: subprocess.Popen[bytes]
) -> None:
    identity = current().identify(bystander.pid)
    assert identity is not None
    ledger = Ledger(tmp_path)
    ledger.prepare()
    forged = record(1, pid=identity.pid, start_time=identity.start_time, boot_id=identity.boot_id)
    ledger.write(forged)
    ledger.write_key(forged.id, "a-forged-key-of-good-length")
    async with crew(tmp_path) as team:
        assert team.supervisor.reports() == []
        await team.supervisor.stop_all(0)
    assert bystander.poll() is None
    left = sorted(path.suffix for path in (tmp_path / "workers").iterdir())
    assert left == [".foreign", ".key"]


async def test_starts_and_stops_as_the_orchestrator_wants(tmp_path: Path) -> None:
    async with crew(tmp_path) as team:
        mine = await team.ready(tiny_spec())
        team.supervisor.apply_wanted(wanted(5, 1))
        team.supervisor.apply_wanted(wanted(5, 1))
        first = await team.reaches(worker_id(1), READY)
        assert first.owner is Owner.ORCHESTRATOR
        team.supervisor.apply_wanted(wanted(4))
        assert team.report(worker_id(1)) == first
        team.supervisor.apply_wanted(wanted(6))
        await until(lambda: team.report(worker_id(1)) is None, what="the unwanted worker's end")
        team.supervisor.apply_wanted(wanted(7, 1))
        assert team.supervisor.reports() == [team.report(mine.id)]
        team.supervisor.new_session()
        team.supervisor.apply_wanted(wanted(0, 1, generation=2))
        again = await team.reaches(worker_id(1), READY)
        assert (again.incarnation, again.generation) == (2, 2)
        assert team.report(mine.id) is not None


async def test_an_order_that_arrives_twice_starts_one_worker(tmp_path: Path) -> None:
    order = SpawnRequest(worker_id=worker_id(1), generation=3, revision=9, spec=tiny_spec())
    async with crew(tmp_path) as team:
        first = await team.supervisor.spawn(order, Owner.ORCHESTRATOR)
        second = await team.supervisor.spawn(order, Owner.ORCHESTRATOR)
        assert not isinstance(first, Refusal)
        assert not isinstance(second, Refusal)
        assert second.pid == first.pid
        # The set of before the order must not stop what the order started.
        team.supervisor.apply_wanted(wanted(8))
        assert (await team.reaches(worker_id(1), READY)).pid == first.pid
        late = order.model_copy(update={"generation": 2})
        refusal = await team.supervisor.spawn(late, Owner.ORCHESTRATOR)
        assert isinstance(refusal, Refusal)
        assert refusal.code is Code.STALE_GENERATION


async def test_a_wanted_worker_that_cannot_run_here_is_shown_as_failed(tmp_path: Path) -> None:
    spec = tiny_spec().model_copy(update={"backend": Backend.CUDA})
    order = WantedWorker(worker_id=worker_id(1), generation=1, spec=spec)
    async with crew(tmp_path) as team:
        team.supervisor.apply_wanted(WantedSet(revision=1, workers=[order]))
        report = await team.reaches(worker_id(1), FAILED)
        assert report.error_code == Code.BACKEND_UNAVAILABLE
        assert (report.pid, report.port, report.url, report.key) == (None, None, None, None)
        team.supervisor.apply_wanted(WantedSet(revision=2, workers=[]))
        await until(lambda: not team.supervisor.reports(), what="the refused order to go")


async def test_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    async with crew(tmp_path) as team:
        spec = tiny_spec().model_copy(update={"backend": Backend.METAL})
        refusal = await team.supervisor.spawn(SpawnRequest(spec=spec), Owner.OPERATOR)
        assert isinstance(refusal, Refusal)
        assert refusal.code is Code.BACKEND_UNAVAILABLE
        missing = await team.supervisor.stop("worker-cpu-7", grace_s=1)
        assert isinstance(missing, Refusal)
        assert missing.code is Code.WORKER_NOT_FOUND
        assert team.supervisor.log_path("../../etc/passwd") is None


async def test_a_taken_or_reserved_port_is_left_alone(tmp_path: Path) -> None:
    with socket.socket() as listener:
        async with crew(tmp_path, reserved_ports=frozenset({8001})) as team:
            report = await team.spawn(tiny_spec())
            assert report.port != 8001
            await team.supervisor.stop(report.id, grace_s=1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", report.port or 0))
            listener.listen()
            assert (await team.spawn(tiny_spec())).port != report.port


async def test_a_lost_race_for_a_port_is_run_again_on_another(tmp_path: Path) -> None:
    unlucky = tmp_path / "unlucky"
    unlucky.write_text(
        f"#!{sys.executable}\n"
        "import os, pathlib, sys\n"
        f"first = pathlib.Path({str(tmp_path / 'first')!r})\n"
        "if not first.exists():\n"
        "    first.write_text(sys.argv[sys.argv.index('--port') + 1])\n"
        '    sys.exit("0.00.1 E srv  start: couldn\'t bind HTTP server socket, port: 1")\n'
        f"os.execv({str(PROGRAM)!r}, [{str(PROGRAM)!r}, *sys.argv[1:]])\n"
    )
    unlucky.chmod(0o700)
    async with crew(tmp_path, program=unlucky) as team:
        report = await team.ready(tiny_spec())
        assert report.error_code is None
        assert await ask(report, "Hello") == HELLO
        assert (tmp_path / "first").read_text() != str(report.port)
