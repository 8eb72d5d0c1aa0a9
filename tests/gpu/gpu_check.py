"""The same numbers on another device: `make gpu-check`, on a machine with a GPU, torch and no network.

    python3 tests/gpu/gpu_check.py [--out FILE] [--wheels FOLDER] [--seconds N] [--small] [DEVICE DEVICE]

It compares the GPU with the CPU, prints a row for each thing that it compares, writes them to gpu-check.json,
and ends with a verdict. The exit code is 0 if nothing differs, 1 if something does, and 2 if it cannot begin.
Without a GPU it only tries itself, on small sizes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from preparation import ROOT, prepare

LIMIT = 330.0
"""After so many seconds nothing new is begun: the whole is to end within six minutes."""


def main() -> int:
    """Run the check, and return the exit code."""
    begun = time.perf_counter()
    parser = argparse.ArgumentParser(description="Compare the numbers of a GPU with those of the CPU.")
    parser.add_argument("devices", nargs="*", help='by default "cpu" and the first GPU')
    parser.add_argument("--out", type=Path, default=Path("gpu-check.json"))
    parser.add_argument("--wheels", type=Path, default=ROOT / "wheels", help="what this machine lacks")
    parser.add_argument("--seconds", type=float, default=LIMIT, help="begin nothing new after so many")
    parser.add_argument("--small", action="store_true", help="small sizes, as without a GPU")
    given = parser.parse_args()
    if len(given.devices) not in (0, 2):
        parser.error("give two devices, or none")
    with tempfile.TemporaryDirectory() as aside:
        missing = prepare(given.wheels, Path(aside))
        remedy = ""
        if missing:
            remedy = (
                f"missing here: {', '.join(missing)}; `make gpu-wheels` fetches them where there is a network"
            )
        try:
            from tests.gpu.check import check
        except ImportError as error:
            print(f"gpu-check cannot begin: {error}; {remedy}", file=sys.stderr)
            return 2
        return check(given.devices, given.out, begun + given.seconds, small=given.small, lacking=remedy)


if __name__ == "__main__":
    sys.exit(main())
