"""Hosts with hardware that this machine lacks: files of sysfs, and what programs print there."""

import plistlib
from collections.abc import Mapping, Sequence

from pool_core.devices.commands import Ran

__all__ = [
    "GIB",
    "IOREG_PLATFORM",
    "MAC_SYSCTL",
    "SYSTEM_PROFILER",
    "Programs",
    "amd_card",
    "ioreg_load",
    "kfd_node",
    "vulkan_long",
    "vulkan_short",
]

GIB = 1 << 30

MAC_SYSCTL = {
    "machdep.cpu.brand_string": "Apple M2 Max",
    "hw.memsize": str(64 * GIB),
    "hw.model": "Mac14,6",
    "hw.physicalcpu": "12",
    "hw.optional.arm.FEAT_DotProd": "1",
    "hw.optional.arm.FEAT_I8MM": "1",
    "hw.optional.arm.FEAT_BF16": "0",
    "sysctl.proc_translated": "0",
    "iogpu.wired_limit_mb": "0",
}
SYSTEM_PROFILER = """{"SPDisplaysDataType" : [
  {"_name" : "kHW_AMDRadeonItem", "sppci_model" : "An external card",
   "spdisplays_vendor" : "sppci_vendor_amd"},
  {"_name" : "Apple M2 Max", "spdisplays_mtlgpufamilysupport" : "spdisplays_metal3",
   "spdisplays_ndrvs" : [{"_name" : "Color LCD"}], "spdisplays_vendor" : "sppci_vendor_Apple",
   "sppci_bus" : "spdisplays_builtin", "sppci_cores" : "38", "sppci_model" : "Apple M2 Max"}]}
"""
IOREG_PLATFORM = """+-o J414cAP  <class IOPlatformExpertDevice, id 0x100000228, registered, matched>
    {
      "IOPlatformSerialNumber" = "ABCDEF"
      "IOPlatformUUID" = "0A1B2C3D-1111-2222-3333-444455556666"
    }
"""


class Programs:
    """Answers command lines from recorded outputs, and keeps what was asked."""

    def __init__(self, answers: Mapping[str, Ran | str | None]) -> None:
        self.answers = dict(answers)
        self.asked: list[str] = []

    def __call__(self, argv: Sequence[str], timeout_s: float) -> Ran | None:
        """Answer by the first key that the command line contains."""
        assert 0 < timeout_s <= 10
        line = " ".join(argv)
        self.asked.append(line)
        if argv[0] == "sysctl" and "sysctl" not in self.answers:
            return _sysctl(argv[1:])
        keys = [key for key in self.answers if key in line]
        answer = self.answers[keys[0]] if keys else None
        return Ran(0, answer) if isinstance(answer, str) else answer

    def times(self, part: str) -> int:
        """How often a command line with this part was run."""
        return sum(part in line for line in self.asked)


def _sysctl(names: Sequence[str]) -> Ran:
    known = [f"{name}: {MAC_SYSCTL[name]}" for name in names if name in MAC_SYSCTL]
    unknown = [f"sysctl: unknown oid '{name}'" for name in names if name not in MAC_SYSCTL]
    return Ran(1 if unknown else 0, "\n".join(known) + "\n", "\n".join(unknown))


def ioreg_load(percent: int, used_bytes: int) -> str:
    """What `ioreg -r -d 1 -c IOAccelerator -a` prints."""
    counted = {"Device Utilization %": percent, "In use system memory": used_bytes}
    return plistlib.dumps(
        [{"IOClass": "AGXAcceleratorG14X", "PerformanceStatistics": counted}]
    ).decode()


def amd_card(
    name: str = "card1", pci: str = "0000:03:00.0", render: int = 128, **files: str | None
) -> dict[str, str]:
    """The files of a Radeon RX 7900 XTX with 24 GiB; None takes a file away, `__` is a folder."""
    folder = f"sys/class/drm/{name}/device"
    usual: dict[str, str | None] = {
        "vendor": "0x1002\n",
        "device": "0x744c\n",
        "revision": "0xc8\n",
        "uevent": f"DRIVER=amdgpu\nPCI_CLASS=30000\nPCI_ID=1002:744C\nPCI_SLOT_NAME={pci}\n",
        "mem_info_vram_total": f"{24 * GIB}\n",
        "mem_info_vram_used": f"{4 * GIB}\n",
        "mem_info_gtt_total": f"{16 * GIB}\n",
        "mem_info_gtt_used": f"{GIB}\n",
        "gpu_busy_percent": "37\n",
        "mem_busy_percent": "5\n",
        "power__runtime_status": "active\n",
        f"drm__renderD{render}__dev": "226:128\n",
        f"drm__{name}__dev": "226:1\n",
        "hwmon__hwmon3__temp1_input": "51000\n",
        "hwmon__hwmon3__temp2_input": "63000\n",
        "hwmon__hwmon3__power1_average": "88500000\n",
        "hwmon__hwmon3__power1_cap": "303000000\n",
        "hwmon__hwmon3__in0_label": "vddgfx\n",
    }
    present = {path: text for path, text in (usual | files).items() if text is not None}
    tree = {f"{folder}/{path.replace('__', '/')}": text for path, text in present.items()}
    return tree | {
        f"sys/class/drm/{name}-DP-1/status": "connected\n",
        f"dev/dri/renderD{render}": "",
        "dev/kfd": "",
        "usr/share/libdrm/amdgpu.ids": (
            "# List of AMDGPU IDs\n\n1.0.0\n"
            "744C,\tC8,\tAMD Radeon RX 7900 XTX\n1586,\tC1,\tRadeon 8060S Graphics\n"
        ),
    }


def kfd_node(
    number: int, gpu_id: int, render: int, version: int, held: Mapping[int, int] | None = None
) -> dict[str, str]:
    """A node of the compute driver, with the bytes that processes hold."""
    folder = f"sys/class/kfd/kfd/topology/nodes/{number}"
    tree = {
        f"{folder}/gpu_id": f"{gpu_id}\n",
        f"{folder}/properties": (
            f"cpu_cores_count 0\nsimd_count 192\nvendor_id 4098\ndrm_render_minor {render}\n"
            f"gfx_target_version {version}\nlocal_mem_size 0\n"
        ),
    }
    for pid, amount in (held or {}).items():
        tree[f"sys/class/kfd/kfd/proc/{pid}/vram_{gpu_id}"] = f"{amount}\n"
    return tree


def vulkan_short(*cards: Mapping[str, str]) -> str:
    """What `vulkaninfo --summary` prints."""
    lines = ["==========", "VULKANINFO", "==========", "", "Vulkan Instance Version: 1.3.239", ""]
    lines += ["Instance Layers:", "----------------", "", "Devices:", "========"]
    for number, card in enumerate(cards):
        lines.append(f"GPU{number}:")
        lines += [
            f"\t{name:<18} = {value}"
            for name, value in card.items()
            if not name.startswith(("pci", "heap"))
        ]
    return "\n".join(lines) + "\n"


def vulkan_long(*cards: Mapping[str, str]) -> str:
    """What `vulkaninfo` prints; heapN is `size budget usage`, with a `*` when it is the card's."""
    lines = ["Layers: count = 0", "", "Device Properties and Extensions:", "=" * 33]
    for number, card in enumerate(cards):
        lines += [f"GPU{number}:", "VkPhysicalDeviceProperties:", "-" * 27]
        lines += [
            f"\t{name:<17} = {card[name]}"
            for name in ("vendorID", "deviceID", "deviceType", "deviceName")
            if name in card
        ]
        lines += ["", "VkPhysicalDeviceIDProperties:", "-" * 29]
        lines += [f"\tdeviceUUID      = {card.get('deviceUUID', '')}", "\tdeviceNodeMask  = 0", ""]
        if "pciBus" in card:
            lines += ["VkPhysicalDevicePCIBusInfoPropertiesEXT:", "-" * 40]
            lines += [f"\t{name:<11} = {card[name]}" for name in card if name.startswith("pci")]
        lines += ["", "VkPhysicalDeviceMemoryProperties:", "=" * 33]
        heaps = [value for name, value in card.items() if name.startswith("heap")]
        lines.append(f"memoryHeaps: count = {len(heaps)}")
        for at, heap in enumerate(heaps):
            lines += [f"\tmemoryHeaps[{at}]:", *_heap(heap)]
        lines += ["memoryTypes: count = 1", "\tmemoryTypes[0]:", "\t\theapIndex     = 0", ""]
    return "\n".join(lines) + "\n"


def _heap(heap: str) -> list[str]:
    amounts = [int(part) for part in heap.split() if part != "*"]
    names = ("size", "budget", "usage")
    told = [
        f"\t\t{name:<6} = {amount} (0x{amount:08x}) ({amount / GIB:.2f} GiB)"
        for name, amount in zip(names, amounts, strict=False)
    ]
    local = ["\t\tflags: count = 1", "\t\t\tMEMORY_HEAP_DEVICE_LOCAL_BIT"]
    return [*told, *(local if "*" in heap else ["\t\tflags:", "\t\t\tNone"])]
