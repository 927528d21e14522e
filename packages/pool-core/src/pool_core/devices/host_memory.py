"""The main memory of the host as the kernel counts it, before any limit of a group."""

from pool_core.devices.tree import Tree, whole

__all__ = ["available_bytes", "parse_meminfo"]


def parse_meminfo(text: str) -> tuple[int, int]:
    """Total and available bytes of /proc/meminfo."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        number = whole(rest.partition("kB")[0])
        if number is not None:
            found[name] = number * 1024
    total = found.get("MemTotal", 0)
    return total, found.get("MemAvailable", found.get("MemFree", total))


def available_bytes(tree: Tree) -> int | None:
    """What the host could still hand out; None where the kernel does not tell."""
    total, available = parse_meminfo(tree.text("proc/meminfo"))
    return available if total else None
