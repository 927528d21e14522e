"""A hub of models that stands on one host of a lab, answered by the test's own threads.

A socket belongs for its life to the network in which it was made, whoever uses it afterwards.
"""

import contextlib
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from support.fake_hub import FakeHub
from support.lab_host import LabHost
from support.lab_kernel import enter_network

__all__ = ["hub_on"]

T = TypeVar("T")


@contextlib.contextmanager
def hub_on(host: LabHost) -> Generator[FakeHub]:
    """Serve at the address of a host; whoever reaches that host reaches the hub."""
    hub = FakeHub(address=host.address)
    _in_network_of(host, hub.__enter__)
    try:
        yield hub
    finally:
        hub.__exit__(None, None, None)


def _in_network_of(host: LabHost, act: Callable[[], T]) -> T:
    """Do something in a thread that has moved there, and that ends with it."""

    with ThreadPoolExecutor(1, initializer=enter_network, initargs=(host.pid,)) as threads:
        return threads.submit(act).result()
