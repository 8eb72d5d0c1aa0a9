"""The check runs its parts, as long as there is time, and writes what they came to."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

import harness
from tests.bridges import quick
from tests.gpu import (
    networks,
    paper_network,
    same_attacks,
    same_precision,
    same_similarity,
    synchronisations,
)
from tests.gpu.report import Report, Row, table, write

Devices = tuple[torch.device, torch.device]


def check(names: Sequence[str], out: Path, until: float, *, small: bool = False, lacking: str = "") -> int:
    """Compare two devices, and return the exit code.

    Args:
        names: the devices; none: the CPU and the first GPU, or the CPU twice.
        out: the JSON file to write.
        until: the time of ``time.perf_counter`` after which nothing new is begun.
        small: use the small sizes, as is done if both devices are the same.
        lacking: what is said of distributions that are not there.
    """
    chosen = list(names) or ["cpu", "cuda:0" if torch.cuda.is_available() else "cpu"]
    devices = torch.device(chosen[0]), torch.device(chosen[1])
    report = Report(until)
    if lacking:
        report.add(Row("machine", "distributions", "skipped", lacking))
    small = small or devices[0] == devices[1]
    for part, run in PARTS.items():
        with report.part(part):
            run(report, devices, small)
    verdict = report.verdict(chosen)
    write(out, machine(devices), report, verdict)
    print(f"\n{table(report.rows)}\n\n{verdict} ({report.spent:.0f} s, {out})")
    return int(bool(report.wrong))


def _precision(report: Report, devices: Devices, small: bool) -> None:
    network = networks.smalls(8)["classes"]
    for name, work in {
        "pixels": partial(same_precision.grid, devices[1]),
        "TF32 allowed": partial(same_precision.judged, network, devices[1]),
        "repeated": partial(same_precision.repeated, network, devices[1]),
    }.items():
        report.check("precision", name, work)


def _attacks(report: Report, devices: Devices, small: bool) -> None:
    found = networks.smalls(2 if small else 48)
    for case in same_attacks.own_cases(4 if small else 60):
        work = partial(same_attacks.compared, case, found[case.network], devices)
        report.check("attacks", case.label, work)


def _bridges(report: Report, devices: Devices, small: bool) -> None:
    found = networks.smalls(2 if small else 4)
    for name in QUICK if small else quick.NAMES:

        def work(name: str = name) -> Row:
            case = same_attacks.bridged_case(name)
            return same_attacks.compared(case, found[case.network], devices)

        report.check("bridges", name, work)


def _waiting(report: Report, devices: Devices, small: bool) -> None:
    found = networks.smalls(2)
    for case in synchronisations.counted_cases():
        work = partial(synchronisations.counted, case, found[case.network], devices[1])
        report.check("waiting", case.label, work)


QUICK = ("art/FastGradientMethod", "foolbox/LinfPGD")
"""The attacks of the bridges that are run at small sizes."""


def _moon(report: Report, devices: Devices, small: bool) -> None:
    sizes = paper_network.Sizes(size=(44, 36), width=2, cases=2, steps=2, iterations=2)
    sizes = sizes if small else paper_network.Sizes()
    kept: list[Any] = []

    def passes() -> Row:
        *made, row = paper_network.passes(sizes, devices[1])
        kept.extend(made)
        return row

    report.check("moon paper", "bare passes", passes)
    for name, given in paper_network.attacks(sizes).items() if kept else ():
        report.check("moon paper", name, partial(paper_network.measured, name, given, *kept))


def _similarity(report: Report, devices: Devices, small: bool) -> None:
    count, size = (2, (44, 36)) if small else (64, (218, 178))
    report.check("similarity", "pass, ssim", partial(same_similarity.compared, count, size, devices))


PARTS: dict[str, Callable[[Report, Devices, bool], None]] = {
    "precision": _precision,
    "attacks": _attacks,
    "waiting": _waiting,
    "moon paper": _moon,
    "similarity": _similarity,
    "bridges": _bridges,
}


def machine(devices: Devices) -> dict[str, Any]:
    """Return what the figures were measured on."""
    gpus = [torch.cuda.get_device_name(device) for device in devices if device.type == "cuda"]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "devices": [str(device) for device in devices],
        "gpu": gpus[0] if gpus else None,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "harness": harness.__version__,
    }
