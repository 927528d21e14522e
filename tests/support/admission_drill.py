"""A flood of submissions over a few raw connections, and what a process takes of memory meanwhile.

A client library would take longer for a request than the orchestrator: here each connection writes
the same bytes again and reads the answer by its length.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["Flood", "resident_bytes"]

_TIMEOUT_S = 300.0


@dataclass
class Flood:
    """Sends so many submissions at once and sorts the answers."""

    url: str
    key: str
    connections: int = 24
    admitted: list[str] = field(default_factory=list[str])
    refused: list[tuple[int, str, int]] = field(default_factory=list[tuple[int, str, int]])

    async def send(self, count: int) -> None:
        """Submit so many jobs; every answer is kept as an id or as (status, code, retry after)."""
        numbers = iter(range(count))
        async with asyncio.timeout(_TIMEOUT_S), asyncio.TaskGroup() as tasks:
            for _ in range(self.connections):
                tasks.create_task(self._work(numbers))

    async def _work(self, numbers: Iterator[int]) -> None:
        place = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        try:
            for number in numbers:
                writer.write(self._request(number))
                self._sort(*await _answer(reader))
        finally:
            writer.close()
            await writer.wait_closed()

    def _request(self, number: int) -> bytes:
        prompt = f"Tell me a short story about the number {number}, please."
        body = json.dumps({"model": "tiny-chat", "prompt": prompt}).encode()
        head = (
            "POST /v2/tasks HTTP/1.1\r\n"
            f"Host: {urlsplit(self.url).netloc}\r\n"
            f"Authorization: Bearer {self.key}\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _sort(self, status: int, headers: dict[str, str], body: bytes) -> None:
        told = json.loads(body)
        if status == 202:
            self.admitted.append(told["job_id"])
        else:
            retry_after_s = int(headers.get("retry-after", "0"))
            self.refused.append((status, told["error"]["code"], retry_after_s))


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (it.partition(":") for it in lines)
    }
    body = await reader.readexactly(int(headers["content-length"]))
    return int(first.split(" ")[1]), headers, body


def resident_bytes(pid: int) -> int:
    """How much memory a process holds, swapped out or not."""
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    return sum(int(found[name].split()[0]) * 1024 for name in ("VmRSS", "VmSwap"))
