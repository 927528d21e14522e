"""Prints what a verified download costs, as ratios against doing less, and beside the hub's own client.

    python tests/bench/download.py [--mib N] [--rounds N] [--folder FOLDER]

A fake hub in a process of its own serves one file over the loopback. Contenders take turns in each
round, each in a fresh process that times the download alone; medians are printed. `cpu` is that of
the contender's process. The hub takes a core of its own: on two cores, a contender that uses more
than one competes with it. Nothing here asserts: machines differ, ratios of one run mostly do not.
"""

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

REPO = "acme/tiny"
FILE = "tiny-Q4_K_M.gguf"
MIB = 1 << 20
PIECE = MIB


def nothing(facts: dict[str, str], folder: Path) -> None:
    """Plain httpx, thrown away: what the loopback and the client cost."""
    import httpx

    with (
        httpx.Client(trust_env=False, follow_redirects=True, timeout=60) as client,
        client.stream("GET", facts["url"]) as response,
        Path(os.devnull).open("wb") as sink,
    ):
        sink.writelines(response.iter_raw())


def written(facts: dict[str, str], folder: Path) -> None:
    """Plain httpx into a file, unverified and unsynced."""
    import httpx

    with (
        httpx.Client(trust_env=False, follow_redirects=True, timeout=60) as client,
        client.stream("GET", facts["url"]) as response,
        (folder / "file").open("wb") as sink,
    ):
        for piece in response.iter_raw():
            sink.write(piece)


def hashed(facts: dict[str, str], folder: Path) -> None:
    """SHA-256 alone of as many bytes, from memory."""
    state, piece = hashlib.sha256(), os.urandom(PIECE)
    for _ in range(int(facts["size"]) // PIECE):
        state.update(piece)


def ours(facts: dict[str, str], folder: Path) -> None:
    """Fetched, hashed, synced and named."""
    from pool_core.fetch.settings import WebSettings
    from pool_core.fetch.transfer import Transfer
    from pool_core.fetch.web import Web
    from support.transfers import File

    file = File(FILE, int(facts["size"]), facts["sha256"], facts["url"])
    with Web.open(WebSettings(endpoint=facts["endpoint"], is_named=True)) as web:
        into = folder / "blobs" / facts["sha256"]
        transfer = Transfer(web, folder=folder)
        got = transfer.fetch(file, into=into, tell=lambda _: None, cancel=threading.Event())
    if got != into:
        raise SystemExit(f"not fetched: {got}")


def theirs(facts: dict[str, str], folder: Path) -> None:
    """huggingface_hub over plain HTTP: written, its size compared, nothing hashed or synced."""
    from huggingface_hub import hf_hub_download

    hf_hub_download(REPO, FILE, cache_dir=folder, endpoint=facts["endpoint"])


CONTENDERS: dict[str, Callable[[dict[str, str], Path], None]] = {
    "httpx, thrown away": nothing,
    "httpx into a file": written,
    "sha256 alone": hashed,
    "llorch": ours,
    "huggingface_hub": theirs,
}


def warm(name: str) -> None:
    """Load what a contender imports before its time begins."""
    if name == "llorch":
        import support.transfers  # noqa: F401
    elif name == "huggingface_hub":
        import huggingface_hub.file_download  # noqa: F401
    else:
        import httpx  # noqa: F401


def contend(name: str, facts: dict[str, str], folder: Path) -> None:
    """Run one contender here and print its seconds."""
    warm(name)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    CONTENDERS[name](facts, folder)
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"seconds": seconds, "cpu": cpu, "rss_mib": after.ru_maxrss / 1024}))


def serve(size_bytes: int) -> None:
    """Be the hub until our parent closes our input."""
    from support.fake_hub import FakeHub, Generated

    with FakeHub() as hub:
        commit = hub.add(REPO, {FILE: Generated(size_bytes)})
        url = hub.file_url(REPO, FILE, commit)
        facts = {"endpoint": hub.url, "url": url, "size": str(size_bytes)}
        facts["sha256"] = hub.sha256(REPO, FILE)
        print(json.dumps(facts), flush=True)
        sys.stdin.read()


def measured(name: str, facts: dict[str, str], folder: Path) -> dict[str, float]:
    """One turn of a contender in a process and a folder of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        env = {
            **os.environ,
            "HF_HOME": home,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        argv = [sys.executable, __file__, "--contend", name, json.dumps(facts), home]
        done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, check=True, text=True)
        # Nobody pays for the pages that the one before has left to be written.
        os.sync()
        return json.loads(done.stdout.splitlines()[-1])


def compare(mib: int, rounds: int, folder: Path) -> None:
    """Let all take turns, and print the medians."""
    argv = [sys.executable, __file__, "--serve", str(mib * MIB)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        if server.stdin is None or server.stdout is None:
            raise SystemExit("the hub has no pipes")
        facts = json.loads(server.stdout.readline())
        turns: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
        for turn in range(rounds):
            names = list(CONTENDERS)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                turns[name].append(measured(name, facts, folder))
        server.stdin.close()
    show(mib, turns)


def show(mib: int, turns: dict[str, list[dict[str, float]]]) -> None:
    """The table; the ratio says how many times as fast llorch is."""
    middle = {
        name: {key: statistics.median(turn[key] for turn in them) for key in them[0]}
        for name, them in turns.items()
    }
    base = middle["llorch"]["seconds"]
    print(f"{mib} MiB; {os.cpu_count()} cores; {platform_line()}")
    print(f"{'contender':<20} {'MiB/s':>8} {'cpu s/GiB':>10} {'RSS MiB':>8} {'llorch is':>10}")
    for name, cell in middle.items():
        speed, cpu = mib / cell["seconds"], cell["cpu"] * 1024 / mib
        ratio = cell["seconds"] / base
        print(f"{name:<20} {speed:>8.0f} {cpu:>10.2f} {cell['rss_mib']:>8.0f} {ratio:>9.2f}x")


def platform_line() -> str:
    """What the numbers hang on."""
    import platform
    import ssl

    return f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}"


def main() -> None:
    """Parse, and be what we were started as."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--contend", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve is not None:
        serve(args.serve)
    elif args.contend is not None:
        name, facts, folder = args.contend
        contend(name, json.loads(facts), Path(folder))
    else:
        compare(args.mib, args.rounds, args.folder)


if __name__ == "__main__":
    main()
