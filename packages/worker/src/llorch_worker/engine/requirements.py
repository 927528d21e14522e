"""Tells what this machine lacks to run the engine, before or instead of loading it.

The engine's wheel is built for AVX2, FMA and F16C without a fallback: on an older CPU the first
instruction kills the process, so the flags are read first.
"""

import re
from typing import Final

__all__ = ["explain_import_failure", "missing_instructions"]

_NEEDED: Final = ("avx2", "fma", "f16c")
_X86: Final = ("x86_64", "amd64", "AMD64")
_LIBRARY: Final = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")


def missing_instructions(machine: str, cpuinfo: str) -> str | None:
    """Name the instruction sets that an x86 CPU lacks; other machines are not judged."""
    if machine not in _X86:
        return None
    flags: set[str] = set()
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            flags = set(value.split())
            break
    if not flags:
        return None
    missing = [flag for flag in _NEEDED if flag not in flags]
    if not missing:
        return None
    return (
        f"this CPU has no {', '.join(missing).upper()}; the embedded engine needs AVX2, FMA and "
        "F16C: use another host, or a llama-server build made for this CPU"
    )


def explain_import_failure(message: str) -> str:
    """Turn the loader's words into the command that helps."""
    found = _LIBRARY.search(message)
    if found is None:
        if "No module named" in message:
            return "the engine is not installed: pip install xllamacpp"
        return f"the engine cannot be loaded: {message.splitlines()[0] if message else 'no reason'}"
    library = found.group(1)
    if library.startswith("libgomp"):
        return f"the engine needs {library}: apt install libgomp1 (dnf install libgomp)"
    return f"the engine needs the system library {library}, which is not installed"
