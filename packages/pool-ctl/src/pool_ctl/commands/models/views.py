"""Turns what is told of models into rows: plain values for scripts, columns for people."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from orchestrator_core.console.render import Column, cell
from orchestrator_core.units import format_bytes

if TYPE_CHECKING:
    from orchestrator_core.contracts.downloads import DownloadReport
    from orchestrator_core.contracts.model_info import ModelInfo
    from orchestrator_core.contracts.models import CatalogItem, DiskUsage, StoredModel, VerifyReport

__all__ = [
    "CATALOG_COLUMNS",
    "FILE_COLUMNS",
    "FIT_COLUMNS",
    "INFO_COLUMNS",
    "STORED_COLUMNS",
    "USAGE_COLUMNS",
    "catalog_row",
    "download_line",
    "file_rows",
    "fit_rows",
    "info_row",
    "stored_row",
    "usage_row",
]


def _size(value: object) -> str:
    return format_bytes(value) if isinstance(value, int) else "-"


def _count(value: object) -> str:
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else cell(value)


def _day(value: object) -> str:
    return value[:10] if isinstance(value, str) else "-"


def _bytes(key: str, title: str) -> Column:
    return Column(key, title, right=True, show=_size)


def _plain(*keys: str, show: Callable[[object], str] = cell) -> tuple[Column, ...]:
    return tuple(Column(key, key.replace("_", " ").capitalize(), show=show) for key in keys)


STORED_COLUMNS: Final = (
    Column("id", "Id"),
    Column("source", "Source"),
    Column("quant", "Quant"),
    Column("architecture", "Architecture"),
    Column("trained_ctx", "Context", right=True),
    _bytes("size_bytes", "Size"),
    Column("verified_at", "Verified", show=_day),
    Column("used_at", "Used", show=_day),
    Column("workers", "Workers"),
    Column("fault", "Fault"),
)

CATALOG_COLUMNS: Final = (
    Column("id", "Id"),
    Column("name", "Name"),
    Column("quant", "Quant"),
    _bytes("size_bytes", "Size"),
    Column("trained_ctx", "Context", right=True),
    Column("license", "License"),
    Column("is_here", "Here"),
    Column("remark", "Remark"),
)

FILE_COLUMNS: Final = (
    Column("model", "Model"),
    Column("file", "File"),
    Column("state", "State"),
    _bytes("size_bytes", "Size"),
    Column("reason", "Reason"),
)

INFO_COLUMNS: Final = (
    *_plain("id", "name", "description", "source"),
    Column("is_here", "Here"),
    *_plain("repo", "commit", "quant", "license"),
    Column("file_names", "Files"),
    Column("size_bytes", "Size", show=_size),
    *_plain("architecture", "file_type"),
    Column("parameters", "Parameters", show=_count),
    Column("trained_ctx", "Trained context", show=_count),
    Column("blocks", "Layers"),
    Column("embedding_length", "Width"),
    Column("head_count", "Heads"),
    Column("kept_heads", "Heads kept"),
    Column("vocab_size", "Vocabulary", show=_count),
    Column("expert_count", "Experts"),
    Column("sliding_window", "Sliding window"),
    Column("has_chat_template", "Chat template"),
    Column("reads_images", "Reads images"),
    Column("header_bytes_read", "Header read", show=_size),
)

FIT_COLUMNS: Final = (
    Column("device", "Device"),
    Column("ctx", "Context", right=True),
    Column("parallel", "Slots", right=True),
    _bytes("weights_bytes", "Weights"),
    _bytes("kv_bytes", "KV"),
    _bytes("state_bytes", "State"),
    _bytes("compute_bytes", "Compute"),
    _bytes("overhead_bytes", "Overhead"),
    _bytes("needed_bytes", "Needed"),
    _bytes("free_bytes", "Free"),
    Column("verdict", "Verdict"),
)

USAGE_COLUMNS: Final = (
    Column("folder", "Folder"),
    Column("model_bytes", "Models", show=_size),
    Column("shared_bytes", "Shared with others", show=_size),
    Column("partial_bytes", "Unfinished downloads", show=_size),
    Column("orphan_bytes", "Belongs to no model", show=_size),
    Column("disk_free_bytes", "Free on the disk", show=_size),
    Column("disk_total_bytes", "Size of the disk", show=_size),
    Column("hub_cache_folder", "Hub cache"),
    Column("hub_cache_bytes", "In the hub cache", show=_size),
)


def stored_row(model: "StoredModel") -> dict[str, object]:
    """A model of the host."""
    return model.model_dump(mode="json")


def catalog_row(item: "CatalogItem") -> dict[str, object]:
    """A known model, with a word about what keeps people from it."""
    remarks = [
        "gated: accept its terms first" if item.gated else "",
        "must be converted first" if item.requires_conversion else "",
        "yours" if item.origin == "user" else "",
    ]
    remark = ", ".join(remark for remark in remarks if remark)
    return {**item.model_dump(mode="json"), "remark": remark or None}


def file_rows(report: "VerifyReport") -> list[dict[str, object]]:
    """The files of a verified model."""
    checks = (check.model_dump(mode="json") for check in report.files)
    return [{"model": report.id, **check} for check in checks]


def info_row(info: "ModelInfo") -> dict[str, object]:
    """A model in words; what is not said of it stays away."""
    kept = sorted(set(info.kv_heads))
    return {
        **info.model_dump(mode="json"),
        "file_names": [file.file for file in info.files],
        "kept_heads": kept[0] if len(kept) == 1 else kept or None,
        "reads_images": True if info.has_mmproj else None,
    }


def fit_rows(info: "ModelInfo") -> list[dict[str, object]]:
    """What a worker takes of each device."""
    return [
        {
            **fit.model_dump(mode="json"),
            "device": f"{fit.device_name} ({fit.backend.value})",
            "verdict": ("fits" if fit.fits else "does not fit")
            + (", roughly" if fit.approximate else ""),
        }
        for fit in info.fits
    ]


def usage_row(usage: "DiskUsage") -> dict[str, object]:
    """The sums; an empty one says nothing."""
    row = usage.model_dump(mode="json")
    always = ("model_bytes", "disk_free_bytes", "disk_total_bytes")
    return {key: value for key, value in row.items() if value != 0 or key in always}


def download_line(report: "DownloadReport") -> str:
    """A download that goes on, in one line."""
    done = ""
    if report.total_bytes:
        done = f", {100 * report.done_bytes // report.total_bytes} % of {_size(report.total_bytes)}"
    return cell(f"{report.model}: {report.stage.value}{done}")
