"""A hub that has the models which the quoted command lines name, small enough to be fetched."""

from pathlib import Path

from pool_core.catalog import builtin
from support.fake_hub import FakeHub
from support.home import Home

__all__ = ["add_models", "know_models"]

_MODELS = Path(builtin.__file__).parent / "models"
_REPO = "org/{name}-GGUF"
_ENTRY = """
[[models]]
id = "{name}"
trained_ctx = 1024
[models.file]
source = "hub"
repo = "org/{name}-GGUF"
file = "{name}.Q8_0.gguf"
"""
_NAMES = ("tinyllama", "llama3")


def add_models(hub: FakeHub) -> None:
    """Publish them; what lies under both names is the small model of the suite."""
    for name in _NAMES:
        hub.add(_REPO.format(name=name), {f"{name}.Q8_0.gguf": _MODELS / "tiny-chat.gguf"})


def know_models(home: Home) -> None:
    """Let an installation mean those by their names, instead of the large ones."""
    config = home.folder / "config"
    config.mkdir(parents=True, exist_ok=True)
    (config / "catalog.toml").write_text("".join(_ENTRY.format(name=name) for name in _NAMES))
