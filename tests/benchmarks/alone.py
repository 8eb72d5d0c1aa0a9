"""One contestant in a process of its own, as its users run it, without the memory settings of `harness run`.

python -m tests.benchmarks.alone NAME FILE ROUNDS prints the least of so many times, in seconds.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

from tests.benchmarks import contestants
from tests.benchmarks.quarter_vgg import QuarterVgg, Setting, Sizes

ROOT = Path(__file__).parents[2]


def seconds(name: str, setting: Setting, file: Path, rounds: int) -> float:
    """What a function of ``contestants`` takes there; ``file`` carries the network and the images over."""
    state = {"x": setting.x, "labels": setting.labels, "module": setting.module.state_dict()}
    torch.save(state | {"sizes": asdict(setting.sizes)}, file)
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.alone", name, str(file), str(rounds)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(ran.stdout.splitlines()[-1])


def main() -> None:
    """Time it."""
    name, file, rounds = sys.argv[1:]
    state = torch.load(file, weights_only=True)
    module = QuarterVgg()
    module.load_state_dict(state["module"])
    module.eval().requires_grad_(False)
    work = getattr(contestants, name)(Setting(module, state["x"], state["labels"], Sizes(**state["sizes"])))
    work()
    taken = []
    for _ in range(int(rounds)):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    print(min(taken))


if __name__ == "__main__":
    main()
