"""A model that one host of a network has reaches another: verified, and with no hub in reach.

Two hosts that report by themselves over TLS, a real orchestrator that tells them of each other, and a
hub of models at the address of a third.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from support.certificates import tls_files
from support.fake_hub import FakeHub
from support.fleet import Fleet
from support.home import Finished
from support.host_lab import HostLab, host_lab
from support.lab_host import LabHost
from support.lab_hub import hub_on
from support.model_store import small_model

NAMES = ("mac", "blep")
POOL = "/root/.local/share/llorch/current/bin/llorch-pool"
NOWHERE = "http://127.0.0.1:1"
EXTRA_BYTES = 16_000_000


@dataclass
class Cluster:
    """The hosts, and the hub that some of them reach."""

    fleet: Fleet
    models: FakeHub

    @property
    def lab(self) -> HostLab:
        return self.fleet.lab

    def publish(self, name: str) -> "Published":
        """Let the hub have a new model."""
        repo, file = f"acme/{name}-GGUF", f"{name}-Q4_K_M.gguf"
        content = small_model(name, extra_bytes=EXTRA_BYTES)
        self.models.add(repo, {file: content})
        return Published(f"hf:{repo}:Q4_K_M", file, content, sha256(content).hexdigest())

    def download(self, name: str, model: "Published", *more: str) -> Finished:
        """Bring a model to a host, as a person on the hub's host does."""
        argv = ("pool", "models", "download", model.id, *more, "--host", name)
        return self.fleet.llorch(*argv, timeout_s=120)

    def restart(self, name: str, hub_url: str) -> Finished:
        """Give a host's daemon another way to the hub."""
        host = self.lab[name]
        host.run(POOL, "daemon", "stop").must()
        return host.run(POOL, "daemon", "start", env={"HF_ENDPOINT": hub_url}).must()

    def blob(self, name: str, model: "Published") -> Path:
        """Where a host keeps the file."""
        return self.lab[name].home / ".local/share/llorch/models/blobs" / model.sha256

    def must_have(self, name: str, model: "Published") -> None:
        assert self.blob(name, model).read_bytes() == model.content


@dataclass(frozen=True)
class Published:
    """A model of the hub: its id, its only file, and what that holds."""

    id: str
    file: str
    content: bytes
    sha256: str


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Iterator[Cluster]:
    with host_lab(tmp_path_factory.mktemp("lab"), names=NAMES) as lab, hub_on(lab.hub) as models:
        cluster = Cluster(Fleet(lab, wheels), models)
        start_orchestrator(lab.hub)
        with ThreadPoolExecutor(len(NAMES)) as windows:
            for done in windows.map(partial(enrol, cluster), NAMES):
                done.must()
        for name in NAMES:
            cluster.fleet.until_status(name, "online")
        yield cluster
        cluster.fleet.llorch("orchestrator", "stop").must()


def start_orchestrator(hub: LabHost) -> None:
    """Let it speak HTTPS at an address that the hosts reach, and hear of each host often."""
    cert, key = tls_files(hub.home / "tls")
    settings = hub.home / ".config/llorch/orchestrator.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        f'bind = "{hub.address}:8080"\nheartbeat_interval_s = 0.5\n'
        f"tls_cert = {str(cert)!r}\ntls_key = {str(key)!r}\n"
    )
    hub.llorch("orchestrator", "start").must()


def enrol(cluster: Cluster, name: str) -> Finished:
    """Make a host a pool that reports by itself and shares; only the mac reaches the hub."""
    host = cluster.lab[name]
    settings = host.home / ".config/llorch/pool.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("share_models = true\n")
    cluster.fleet.trust(name)
    cluster.fleet.enrol(name, "--direct", f"{host.address}:9200").must()
    return cluster.restart(name, cluster.models.url if name == "mac" else NOWHERE)


def spoil(blob: Path) -> None:
    """Turn one bit over behind the back of whoever has verified the file."""
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.seek(-1, 2)
        (last,) = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))


def test_a_model_reaches_a_host_whose_way_to_the_hub_is_cut(cluster: Cluster) -> None:
    model = cluster.publish("travels")
    assert "nothing answers at 127.0.0.1" in cluster.download("blep", model).must(5).err
    cluster.download("mac", model).must()
    sent = cluster.models.sent_bytes(model.file)
    done = cluster.download("blep", model).must()
    assert "from peer mac" in done.err
    cluster.must_have("blep", model)
    assert cluster.models.sent_bytes(model.file) == sent == len(model.content)


def test_wrong_bytes_are_refused_and_the_pull_goes_on_elsewhere(cluster: Cluster) -> None:
    model = cluster.publish("spoilt")
    cluster.download("mac", model).must()
    spoil(cluster.blob("mac", model))
    alone = cluster.download("blep", model).must(5)
    assert "peer mac served wrong bytes" in alone.err
    assert not cluster.blob("blep", model).exists()

    sent = cluster.models.sent_bytes(model.file)
    cluster.restart("blep", cluster.models.url)
    done = cluster.download("blep", model).must()
    assert done.err.strip().endswith("peer mac served wrong bytes")
    cluster.must_have("blep", model)
    assert cluster.models.sent_bytes(model.file) == sent + len(model.content)


def test_a_host_that_was_removed_gives_nothing_any_more(cluster: Cluster) -> None:
    model = cluster.publish("private")
    cluster.download("mac", model).must()
    cluster.fleet.llorch("host", "remove", "mac", "--yes", timeout_s=90).must()
    done = cluster.download("blep", model).must()
    assert "peer" not in done.err
    cluster.must_have("blep", model)
    assert cluster.models.sent_bytes(model.file) == 2 * len(model.content)
