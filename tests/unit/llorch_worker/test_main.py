import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from llorch_worker.engine import embedded
from llorch_worker.main import main
from llorch_worker.settings import Settings
from support.worker_process import MODELS, write_key


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Whatever a test does to Ctrl-C, the next one finds it as it was."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_a_stop_signal_ends_a_worker_that_loads_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[object] = []

    def load(settings: Settings, keys: tuple[str, ...], threads: int) -> embedded.Engine:
        found.extend(signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM))
        raise embedded.EngineError(f"{settings.alias} {len(keys)} {threads}")

    monkeypatch.setattr(embedded, "start", load)
    model, key = str(MODELS / "tiny-chat.gguf"), str(write_key(tmp_path))
    flags = ["--alias", "m", "--ctx-size", "512", "--threads", "1"]
    assert main(["--model", model, "--api-key-file", key, *flags]) == 1
    assert found == [signal.SIG_DFL, signal.SIG_DFL]
