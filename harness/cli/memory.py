"""glibc is told here to keep freed memory, which makes float32 convolutions on CPUs a quarter faster."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's names of what mallopt sets
_MOST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for its next allocations; whether that could be had.

    glibc gives large blocks back to the system and asks for them again, page by page and zeroed, for every
    activation of every layer: a quarter of the time of a float32 forward pass of a small network. What the
    process holds is then what it held at its peak. Other C libraries are left alone.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _MOST) and mallopt(_TRIM_THRESHOLD, _MOST))
