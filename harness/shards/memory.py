"""This module makes glibc keep freed memory, so that float32 convolutions on CPUs are a quarter faster."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's numbers for options of mallopt
_MOST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep freed memory for its next allocations; tell whether this C library can.

    glibc gives large blocks back to the system and requests them again, page by page and zeroed, for every
    activation of every layer: a quarter of the time of a float32 forward pass of a small network. The
    process then holds as much memory as at its peak. Other C libraries are not changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _MOST) and mallopt(_TRIM_THRESHOLD, _MOST))
