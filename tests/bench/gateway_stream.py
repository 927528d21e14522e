"""Prints what the gateway costs between a client and a worker, as ratios against nginx.

    python tests/bench/gateway_stream.py [--quick] [--only NAME ...] [--rounds N] [--older FOLDER]

A worker without a model speaks llama-server's stream; it and the clients share one core, every
proxy gets the other. Targets take turns in each round, medians of the rounds are printed. CPU is
that of the proxy's threads; `wait` is what part of the time they wanted the core and others had
it: where it is large, somebody else was at work and the row says little. `--older` runs the orchestratord of another checkout's packages folder
beside ours. Nothing here asserts: machines differ, ratios of one run mostly do not.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import uvloop
from gateway.load import Caller, Chat, Client, Job, Stamps, closed_loop, request
from gateway.targets import (
    MODEL,
    Orchestrator,
    Target,
    find_nginx,
    own_cores,
    running_nginx,
    start_daemon,
)
from gateway.worker import EVENT_BYTES, Pace, Worker

PROMPT = "Tell me what you are, in a few words, and then go on for a while. " * 3
CHAT_PATH = "/v1/chat/completions"


@dataclass(frozen=True)
class Cell:
    """What one target did in one round."""

    tokens: float = 0.0
    answers: float = 0.0
    cpu_us: float = 0.0
    core: float = 0.0
    waited: float = 0.0
    first_p50: float = 0.0
    first_p99: float = 0.0
    between_p99: float = 0.0
    took_p50: float = 0.0
    per_read: float = 0.0
    errors: float = 0.0


@dataclass
class Bench:
    """One run."""

    worker: Worker
    targets: list[Target]
    quick: bool
    rounds: int
    core: float = 0.0
    goals: list[str] = field(default_factory=list)

    def seconds(self, full: float) -> float:
        """How long to look."""
        return full * (0.5 if self.quick else 1.0)

    async def take_turns(
        self, measure: Callable[[Target], Awaitable[Cell]], targets: Sequence[Target] | None = None
    ) -> dict[str, Cell]:
        """Measure every target in every round, in turning order; give the medians."""
        chosen = self.targets if targets is None else targets
        cells: dict[str, list[Cell]] = {target.name: [] for target in chosen}
        for turn in range(self.rounds):
            for target in chosen if turn % 2 == 0 else reversed(chosen):
                cells[target.name].append(await measure(target))
                await asyncio.sleep(0.15)
        return {name: _median(found) for name, found in cells.items()}

    def goal(self, text: str, cells: dict[str, Cell], name: str, limit: float, *, least: bool = False) -> None:  # fmt: skip
        """Note how a figure of ours stands to nginx's and to its goal."""
        if "nginx" not in cells:
            self.goals.append(f"{text}: no nginx in this run")
            return
        reference = getattr(cells["nginx"], name)
        for target in self.ours():
            ratio = getattr(cells[target.name], name) / reference if reference else 0.0
            met = ratio >= limit if least else ratio <= limit
            sign = ">=" if least else "<="
            self.goals.append(
                f"{text}: {target.name:13} {ratio:6.2f} x nginx (goal {sign} {limit:g}) "
                f"{'met' if met else 'MISSED'}"
            )

    def verdict(self, text: str, target: Target, value: float, limit: float, unit: str) -> None:
        """Note how an absolute figure stands to its goal."""
        met = "met" if value <= limit else "MISSED"
        self.goals.append(f"{text}: {target.name:13} {value:6.2f} {unit} (goal <= {limit:g}) {met}")

    def ours(self) -> list[Target]:
        """The daemons."""
        return [target for target in self.targets if isinstance(target, Orchestrator)]


def _median(cells: Sequence[Cell]) -> Cell:
    names = Cell.__dataclass_fields__
    middle = {name: statistics.median(getattr(cell, name) for cell in cells) for name in names}
    return Cell(**{**middle, "errors": float(sum(cell.errors for cell in cells))})


def _part(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return 1000 * ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def chat_body(*, stream: bool, max_tokens: int) -> bytes:
    """What every client asks."""
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": PROMPT}],
        "stream": stream,
        "max_tokens": max_tokens,
    }
    return json.dumps(body, separators=(",", ":")).encode()


async def look(
    target: Target, make: Callable[[Stamps], Client], count: int, spread_s: float, look_s: float
) -> Cell:
    """Build the load up, look at it for a while, end it."""
    stamps = Stamps()
    clients = await closed_loop(target.port, lambda: make(stamps), count, spread_s)
    await asyncio.sleep(0.1)
    failed = len(stamps.errors)
    stamps.reset()
    waited, cpu, began = target.waited_s(), target.cpu_s(), time.perf_counter()
    await asyncio.sleep(look_s)
    cpu, passed = target.cpu_s() - cpu, time.perf_counter() - began
    cell = _cell(stamps, cpu, passed, failed)
    cell = replace(cell, waited=(target.waited_s() - waited) / passed)
    if stamps.errors:
        print(f"  {target.name}: {stamps.errors[0]}")
    for client in clients:
        client.close()
    return cell


def _cell(stamps: Stamps, cpu: float, passed: float, failed: int) -> Cell:
    units = stamps.tokens or stamps.answers
    return Cell(
        tokens=stamps.tokens / passed,
        answers=stamps.answers / passed,
        cpu_us=cpu / units * 1e6 if units else 0.0,
        core=cpu / passed,
        first_p50=_part(stamps.first, 0.5),
        first_p99=_part(stamps.first, 0.99),
        between_p99=_part(stamps.between, 0.99),
        took_p50=_part(stamps.took, 0.5),
        per_read=stamps.tokens / stamps.reads if stamps.reads else 0.0,
        errors=float(len(stamps.errors) + failed),
    )


async def streams(bench: Bench, count: int, interval_ms: int, tokens: int) -> dict[str, Cell]:
    """Streams in a closed loop."""
    bench.worker.set_pace(Pace(interval_ms, tokens))
    body = chat_body(stream=True, max_tokens=tokens)

    async def measure(target: Target) -> Cell:
        ask = request("POST", CHAT_PATH, target.key, body)
        spread_s = interval_ms * tokens / 1000
        return await look(
            target, lambda stamps: Chat(stamps, ask, tokens), count, spread_s, bench.seconds(1.4)
        )

    print(f"\n{count} streams, {tokens} tokens at {interval_ms} ms, {EVENT_BYTES} bytes an event")
    cells = await bench.take_turns(measure)
    print(
        f"  {'target':13} {'chunks/s':>9} {'core':>5} {'wait':>5} {'us/chunk':>9} {'chunks/s/core':>13} "
        f"{'TTFT p50':>9} {'p99':>7} {'added':>7} {'ITL p99':>8} {'per read':>8} {'err':>4}"
    )
    for name, cell in cells.items():
        per_core = 1e6 / cell.cpu_us if cell.cpu_us else 0.0
        added = cell.first_p50 - cells["direct"].first_p50
        print(
            f"  {name:13} {cell.tokens:9,.0f} {cell.core:5.2f} {cell.waited:5.2f} {cell.cpu_us:9.2f} "
            f"{per_core:13,.0f} {cell.first_p50:9.2f} {cell.first_p99:7.2f} {added:+7.2f} "
            f"{cell.between_p99:8.2f} {cell.per_read:8.2f} {cell.errors:4.0f}"
        )
    return cells


async def capacity(bench: Bench) -> None:
    """G1: how many chunks a second one core carries."""
    cells = await streams(bench, 112, 1, 300)
    # Chunks per core are the inverse of the CPU of one chunk.
    bench.goal("G1 CPU per chunk, 112 x 1 ms (1/0.6)", cells, "cpu_us", 1 / 0.6)


async def wide(bench: Bench) -> None:
    """G2: many streams at the pace of a large model."""
    cells = await streams(bench, 256, 10, 100)
    bench.goal("G2 CPU per chunk, 256 x 10 ms", cells, "cpu_us", 1.8)


async def first_token(bench: Bench) -> None:
    """G4: what the first token waits."""
    cells = await streams(bench, 64, 10, 100)
    direct = cells["direct"].first_p50
    for target in bench.ours():
        added = cells[target.name].first_p50 - direct
        bench.verdict("G4 added TTFT p50, 64 x 10 ms", target, added, 0.6, "ms")
        if "nginx" in cells:
            reference = max(1e-3, cells["nginx"].first_p50 - direct)
            bench.verdict("G4 the same against nginx's", target, added / reference, 4, "x")


async def one_token(bench: Bench) -> None:
    """G3: a whole answer of one token."""
    bench.worker.set_pace(Pace(0, 1))
    body = chat_body(stream=False, max_tokens=1)

    async def measure(target: Target) -> Cell:
        ask = request("POST", CHAT_PATH, target.key, body)
        return await look(target, lambda stamps: Caller(stamps, ask), 16, 0.1, bench.seconds(1.0))

    print("\none-token answers in one piece, 16 clients")
    cells = await bench.take_turns(measure)
    _print_answers(cells)
    bench.goal("G3 CPU per one-token answer", cells, "cpu_us", 8)


async def durable(bench: Bench) -> None:
    """G10: stored jobs of one token, from POST to the last event."""
    bench.worker.set_pace(Pace(0, 1))
    body = json.dumps({"model": MODEL, "prompt": PROMPT, "max_tokens": 1}).encode()

    async def measure(target: Target) -> Cell:
        ask = request("POST", "/v2/tasks", target.key, body)
        return await look(
            target, lambda stamps: Job(stamps, ask, target.key), 64, 0.1, bench.seconds(1.5)
        )

    print("\nstored one-token jobs, 64 in flight, from POST to the last event; TTFT is the receipt")
    _print_answers(await bench.take_turns(measure, bench.ours()))


def _print_answers(cells: dict[str, Cell]) -> None:
    print(
        f"  {'target':13} {'answers/s':>9} {'core':>5} {'wait':>5} {'us/answer':>9} {'p50 ms':>7} "
        f"{'receipt':>8} {'err':>4}"
    )
    for name, cell in cells.items():
        print(
            f"  {name:13} {cell.answers:9,.0f} {cell.core:5.2f} {cell.waited:5.2f} {cell.cpu_us:9.1f} "
            f"{cell.took_p50:7.2f} {cell.first_p50:8.2f} {cell.errors:4.0f}"
        )


async def idle(bench: Bench) -> None:
    """G6: what an open stream holds while nothing comes."""
    count = 300 if bench.quick else 1000
    bench.worker.set_pace(Pace(0, 0))
    body = chat_body(stream=True, max_tokens=100)
    print(f"\n{count} silent streams")
    for target in bench.targets:
        if target.process is None:
            continue
        stamps, before = Stamps(), target.memory_kb()
        ask = request("POST", CHAT_PATH, target.key, body)
        began = time.perf_counter()
        clients = await closed_loop(
            target.port, lambda s=stamps, a=ask: Chat(s, a, 100), count, 0.0
        )
        await _until(lambda s=stamps: s.tokens >= count)
        took = time.perf_counter() - began
        each = (target.memory_kb() - before) / count
        print(
            f"  {target.name:13} {each:6.1f} KB a stream, {took:.2f} s to open, "
            f"{stamps.tokens} of {count}, base {before / 1024:.0f} MB"
        )
        if isinstance(target, Orchestrator):
            bench.verdict("G6 memory per silent stream", target, each, 25, "KB")
        for client in clients:
            client.close()
        await _until(lambda: not bench.worker.answering)


async def leavers(bench: Bench) -> None:
    """G7: a client that leaves in mid-stream ends the worker's work."""
    bench.worker.set_pace(Pace(10, 10_000))
    body = chat_body(stream=True, max_tokens=1000)
    print("\n10 clients leave in mid-stream")
    for target in bench.targets:
        stamps = Stamps()
        ask = request("POST", CHAT_PATH, target.key, body)
        clients = await closed_loop(
            target.port, lambda s=stamps, a=ask: Chat(s, a, 10_000), 10, 0.1
        )
        await asyncio.sleep(0.1)
        before = bench.worker.left_early
        for client in clients:
            client.close()
        await asyncio.sleep(0.5)
        left = bench.worker.left_early - before
        print(f"  {target.name:13} {left} of 10 upstreams closed within 0.5 s")
        if isinstance(target, Orchestrator):
            bench.verdict("G7 upstreams left open of 10", target, 10 - left, 0, "  ")
        await _until(lambda: not bench.worker.answering)


async def _until(there: Callable[[], bool]) -> None:
    for _ in range(500):
        if there():
            return
        await asyncio.sleep(0.02)


SCENARIOS = {
    "G1": capacity,
    "G2": wide,
    "G3": one_token,
    "G4": first_token,
    "G6": idle,
    "G7": leavers,
    "G10": durable,
}


@contextlib.contextmanager
def orchestrators(
    folder: Path, core: int, older: Path | None
) -> Iterator[list[tuple[Orchestrator, str]]]:
    """Start ours, and another one to compare with."""
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(start_daemon("orchestratord", folder / "new", core))]
        if older is not None:
            started.append(stack.enter_context(start_daemon("older", folder / "old", core, older)))
        yield started


async def run(options: argparse.Namespace, folder: Path) -> None:
    """Start everything, run what was chosen, print the goals."""
    mine, theirs = own_cores()
    os.sched_setaffinity(0, {mine})
    worker = Worker()
    await worker.listen()
    with contextlib.ExitStack() as stack:
        targets = [Target("direct", worker.port)]
        nginx = find_nginx()
        if nginx is None:
            print("nginx is not on PATH: no reference in this run")
        else:
            targets.append(stack.enter_context(running_nginx(nginx, folder, worker.port, theirs)))
        daemons = stack.enter_context(orchestrators(folder, theirs, options.older))
        targets += [daemon for daemon, _ in daemons]
        bench = Bench(worker, targets, options.quick, options.rounds or (1 if options.quick else 3))
        async with asyncio.TaskGroup() as tasks:
            beats = []
            for daemon, pool_key in daemons:
                await daemon.announce(worker.port, pool_key)
                beats.append(tasks.create_task(daemon.beat_for_ever()))
            gc.freeze()
            for name in options.only or SCENARIOS:
                await SCENARIOS[name](bench)
            for beat in beats:
                beat.cancel()
        for daemon, _ in daemons:
            await daemon.close()
    print("\n" + "\n".join(bench.goals))


def main() -> None:
    """Run within about ninety seconds, or twenty with --quick."""
    parser = argparse.ArgumentParser(description="Measure the gateway against nginx.")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of every measurement")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, help="some of the measurements")
    parser.add_argument("--older", type=Path, help="packages folder of another checkout")
    with tempfile.TemporaryDirectory(prefix="llorch-bench-") as folder:
        uvloop.run(run(parser.parse_args(), Path(folder)))


if __name__ == "__main__":
    main()
