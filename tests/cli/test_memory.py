"""Memory that is freed stays with the process, and only where that is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes
from harness.cli.memory import keep_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
kept = keep_freed_memory() if {asked} else None
size = 64 * 2**20
before = resident()
block = libc.malloc(size)
ctypes.memset(block, 1, size)
libc.free(block)
print(kept, resident() - before > size // 2)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc knows mallopt")
@pytest.mark.parametrize(("asked", "told"), [(True, "True True"), (False, "None False")])
def test_freed_memory_is_kept_where_asked(asked: bool, told: str) -> None:
    program = PROGRAM.replace("{asked}", str(asked))
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == told
