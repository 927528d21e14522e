"""Chooses the devices that a worker computes on, or says by name why there are none: pure.

A worker that was ordered for a GPU never falls back to the CPU: what cannot be had is refused.
"""

from collections.abc import Sequence
from typing import Final

from orchestrator_core.contracts.pool import Backend, DeviceReport, WorkerSpec
from orchestrator_core.errors import Code, Refusal
from pool_core.workers.host_picture import HostPicture
from pool_core.workers.spec import invalid

__all__ = ["choose_devices"]

_SYSTEMS: Final = {"linux": "a Linux host", "win32": "a Windows host"}
_NEEDS: Final = {
    Backend.CPU: "a CPU whose memory can be read",
    Backend.CUDA: "an NVIDIA GPU",
    Backend.METAL: "a GPU made by Apple",
    Backend.ROCM: "an AMD GPU with its ROCm driver",
    Backend.VULKAN: "a GPU with a Vulkan driver",
    Backend.SYCL: "an Intel GPU",
}
_VENDORS: Final = {
    Backend.CUDA: "nvidia",
    Backend.METAL: "apple",
    Backend.ROCM: "amd",
    Backend.SYCL: "intel",
}
_X86: Final = frozenset({"x86_64", "amd64", "AMD64"})
_NEEDED_FLAGS: Final = ("avx2", "fma", "f16c")


def choose_devices(order: WorkerSpec, host: HostPicture) -> tuple[DeviceReport, ...] | Refusal:
    """The devices that the order names, else the one with the most memory left."""
    offering = [device for device in host.devices if order.backend in device.backends]
    refusal = (
        _check_offer(order, host, offering)
        or _check_named(order, host)
        or _check_engine(order, host)
        or _check_instructions(host)
    )
    if refusal is not None:
        return refusal
    if order.device_ids:
        known = {device.id: device for device in offering}
        return tuple(known[name] for name in order.device_ids)
    sound = [device for device in offering if device.is_sound]
    if not sound:
        return _faulty(offering[0])
    return (min(sound, key=lambda device: (-host.left_bytes(device), device.index)),)


def _check_offer(
    order: WorkerSpec, host: HostPicture, offering: Sequence[DeviceReport]
) -> Refusal | None:
    backend = order.backend
    if backend is Backend.METAL and host.system != "darwin":
        where = _SYSTEMS.get(host.system, f"a {host.system} host")
        return _unavailable(order, host, f"metal needs a Mac: this is {where}")
    if offering:
        return None
    for device in host.devices:
        # The card is there, and it knows why it offers nothing.
        if device.fault and device.vendor == _VENDORS.get(backend, "none"):
            return _faulty(device)
    return _unavailable(
        order, host, f"{backend.value} needs {_NEEDS[backend]}: this host shows none"
    )


def _check_named(order: WorkerSpec, host: HostPicture) -> Refusal | None:
    known = {device.id: device for device in host.devices}
    for place, name in enumerate(order.device_ids):
        if name in order.device_ids[:place]:
            return invalid("device_ids", f"{_shown(name)} is named twice")
        device = known.get(name)
        if device is None:
            return invalid("device_ids", _unknown(order, host, name))
        if order.backend not in device.backends:
            offers = ", ".join(sorted(each.value for each in device.backends)) or "nothing"
            return invalid(
                "device_ids",
                f"{_shown(name)} is no {order.backend.value} device: it offers {offers}",
            )
        if not device.is_sound:
            return _faulty(device)
    return None


def _unknown(order: WorkerSpec, host: HostPicture, name: str) -> str:
    backend = order.backend.value
    offering = [device for device in host.devices if order.backend in device.backends]
    shown = ", ".join(f"{device.index} ({device.id})" for device in offering[:8])
    more = ", ..." if len(offering) > 8 else ""
    return f"this host has no {backend} device {_shown(name)}: it has {shown}{more}"


def _check_engine(order: WorkerSpec, host: HostPicture) -> Refusal | None:
    if order.engine == "openai":
        return invalid("engine", "an external server is named in the pool's settings, not started")
    backend = order.backend
    # The order of checks has made sure that a host which offers metal is a Mac.
    if backend not in (Backend.CPU, Backend.METAL):
        return _unavailable(
            order,
            host,
            f"no engine build for {backend.value} is installed on this host: this version brings "
            "the engine for cpu (and metal on a Mac)",
        )
    if order.engine == "llama-server":
        return _unavailable(
            order,
            host,
            "no llama-server build is installed on this host: use the embedded engine",
        )
    return None


def _check_instructions(host: HostPicture) -> Refusal | None:
    """The engine has no way around these: on an older CPU its first instruction is its last."""
    found = next((set(device.features) for device in host.devices if device.kind == "cpu"), None)
    if host.machine not in _X86 or not found:
        return None
    missing = [flag for flag in _NEEDED_FLAGS if flag not in found]
    if not missing:
        return None
    return Refusal(
        Code.BACKEND_UNAVAILABLE,
        f"this CPU has no {', '.join(missing).upper()}; the embedded engine needs AVX2, FMA and "
        "F16C: use another host, or a llama-server build made for this CPU",
        {"missing": missing},
    )


def _faulty(device: DeviceReport) -> Refusal:
    fault = device.fault or "its driver does not answer any more"
    return Refusal(
        Code.BACKEND_UNAVAILABLE,
        f"{device.id} ({device.name}) cannot be used now: {fault}",
        {"device": device.id, "fault": fault},
    )


def _unavailable(order: WorkerSpec, host: HostPicture, why: str) -> Refusal:
    offered = sorted({each.value for device in host.devices for each in device.backends})
    details = {"backend": order.backend.value, "engine": order.engine, "offered": offered}
    return Refusal(Code.BACKEND_UNAVAILABLE, why, details)


def _shown(name: str) -> str:
    plain = name[:80]
    return plain if plain.isprintable() and plain else ascii(plain)
