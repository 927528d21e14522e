"""What tests most often ask `llorch-pool` for, as it prints it for scripts."""

from support.home import Home

__all__ = ["spawn", "workers"]


def spawn(home: Home, model: str = "tiny-chat", *args: str) -> dict[str, object]:
    """A ready worker on the CPU."""
    done = home.pool("worker", "spawn", "cpu", "--model", model, "--format", "json", *args).must()
    worker = done.json()
    assert isinstance(worker, dict)
    return worker


def workers(home: Home) -> list[dict[str, object]]:
    """All workers, whoever answers for the pool."""
    listed = home.pool("worker", "list", "--format", "json").must().json()
    assert isinstance(listed, list)
    return listed
