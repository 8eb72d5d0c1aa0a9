"""Intervals over persons: seconds for 10^5 comparisons, and bounded memory with 10^7.

How often the intervals cover is measured, too: on persons who are easier or harder to imitate, with as few
persons as the test partition of a small data set has.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.metrics import verification as v
from harness.metrics.resampling import Compared, Resampled


@dataclass(frozen=True)
class Size:
    """How many comparisons are timed, how many fill the memory, and how many data sets are simulated."""

    timed: int
    many: int
    persons: int
    data_sets: int
    truth: int
    """Persons of the data set that stands for all."""


FULL = Size(timed=10**5, many=10**7, persons=300, data_sets=300, truth=2000)
TINY = Size(timed=2000, many=5000, persons=20, data_sets=2, truth=60)
SECONDS, MEGABYTES, COVERED = 2.0, 2500.0, 0.90

MEASURED = """
import json, sys, time
from pathlib import Path
import numpy as np
from harness.metrics import verification as v
from harness.metrics.resampling import Compared, Resampled
n, persons = int(sys.argv[1]), int(sys.argv[2])
random = np.random.default_rng(0)
same = random.random(n) < 0.1
references = random.integers(persons, size=n)
probes = np.where(same, references, (references + random.integers(1, persons, n)) % persons)
distances = random.normal(np.where(same, 0, 2), 1).astype(np.float32)
start = time.perf_counter()
found = Resampled(Compared(distances, same, probes, references, persons)).estimate(v.auc_roc)
seconds = time.perf_counter() - start
status = Path("/proc/self/status").read_text()
peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
print(json.dumps({"seconds": seconds, "megabytes": peak, "low": found.low, "high": found.high}))
"""


def simulated(persons: int, each: int, seed: int) -> Compared:
    """Comparisons of persons whose images differ, and who are imitated more or less easily."""
    random = np.random.default_rng([seed, persons])
    references = np.repeat(np.arange(persons), each)
    same = np.arange(persons * each) % 5 == 0
    probes = np.where(same, references, (references + random.integers(1, persons, same.size)) % persons)
    ease, spread = 0.5 * random.normal(size=persons), 0.4 * random.normal(size=persons)
    means = np.where(same, spread[references], 1.8 - ease[references] - ease[probes])
    distances = (means + random.normal(size=same.size)).astype(np.float32)
    return Compared(distances, same, probes, references, persons)


def test_speed(
    sizes: Size, timed: Callable[..., tuple[Any, list[float]]], report: Callable[..., None]
) -> None:
    some = simulated(sizes.persons, sizes.timed // sizes.persons, 0)
    found, seconds = timed(lambda: Resampled(some).estimate(v.auc_roc), rounds=3)
    assert found.low < found.value < found.high
    report(f"interval of {len(some):,} comparisons", min(seconds), "s", at_most=SECONDS)


def test_memory(sizes: Size, report: Callable[..., None]) -> None:
    arguments = [str(sizes.many), str(sizes.persons)]
    run = subprocess.run(
        [sys.executable, "-c", MEASURED, *arguments], capture_output=True, text=True, check=True
    )
    found = json.loads(run.stdout)
    assert found["low"] < found["high"]
    report(f"memory of {sizes.many:,} comparisons", found["megabytes"], "MB", at_most=MEGABYTES)
    report(f"interval of {sizes.many:,} comparisons", found["seconds"], "s")


def test_coverage(sizes: Size, report: Callable[..., None]) -> None:
    whole = simulated(sizes.truth, 200, 1)
    truth = v.counted(whole.distances, whole.same)
    threshold = v.threshold_at_fmr(truth, 0.1)
    measures: dict[str, Callable[[v.Counts], Any]] = {
        "AU-ROC": v.auc_roc,
        "EER": v.eer,
        "FMR": lambda counts: v.fmr(counts, threshold),
        "FNMR": lambda counts: v.fnmr(counts, threshold),
    }
    hits = dict.fromkeys(measures, 0)
    for seed in range(sizes.data_sets):
        drawn = Resampled(simulated(22, 200, 1000 + seed), [threshold])
        for name, measured in measures.items():
            found = drawn.estimate(measured)
            hits[name] += found.low <= float(measured(truth)) <= found.high
    for name, count in hits.items():
        share = count / sizes.data_sets
        report(f"intervals of {name} that cover, 22 persons", 100 * share, "%", at_least=100 * COVERED)
