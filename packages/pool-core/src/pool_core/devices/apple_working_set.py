"""Asks Metal how much memory its first GPU may use, and prints the number of bytes.

Run as a process of its own (`python -m`), so that a framework that hangs or crashes harms nobody.
Ends with 1 and prints nothing where there is no Metal.
"""

import ctypes
import sys
from typing import Final

__all__ = ["main", "working_set_bytes"]

_OBJC: Final = "/usr/lib/libobjc.A.dylib"
_METAL: Final = "/System/Library/Frameworks/Metal.framework/Metal"


def working_set_bytes(objc_path: str = _OBJC, metal_path: str = _METAL) -> int | None:
    """The recommendedMaxWorkingSetSize of the first device; None without one."""
    try:
        objc, metal = ctypes.CDLL(objc_path), ctypes.CDLL(metal_path)
        # The system's default device does not exist for daemons and over ssh; the list does.
        copy_devices, selector, send = (
            metal.MTLCopyAllDevices,
            objc.sel_registerName,
            ctypes.cast(objc.objc_msgSend, ctypes.c_void_p).value,
        )
    except (OSError, AttributeError):
        return None
    copy_devices.restype, copy_devices.argtypes = ctypes.c_void_p, []
    selector.restype, selector.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    devices = copy_devices()
    if not devices or not send:
        return None
    # On arm64 a message must be sent with the exact signature of its method.
    ask_number = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p)(send)
    ask_item = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64)(
        send
    )
    if ask_number(devices, selector(b"count")) == 0:
        return None
    device = ask_item(devices, selector(b"objectAtIndex:"), 0)
    return int(ask_number(device, selector(b"recommendedMaxWorkingSetSize"))) or None


def main() -> int:
    """Print the number; the exit code says whether there is one."""
    found = working_set_bytes()
    if found is None:
        return 1
    sys.stdout.write(f"{found}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
