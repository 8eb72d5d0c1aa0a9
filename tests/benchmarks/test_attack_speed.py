"""PGD and CW-L2 against the bare passes and the peers, equal work, with what they achieved beside the time.

pytest tests/benchmarks/test_attack_speed.py --benchmark-only -s --benchmark-columns=min,median

ART's CW-L2 alone takes some minutes; ``-k pgd`` leaves it out. Nothing else should run on the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from tests.benchmarks import contestants
from tests.benchmarks.alone import seconds
from tests.benchmarks.contestants import Work, distances
from tests.benchmarks.quarter_vgg import Setting, setting

pytestmark = pytest.mark.slow

PGD: dict[str, Callable[[Setting], Work]] = {
    "bare passes": contestants.bare_passes,
    "ours, float32": contestants.our_pgd,
    "ours, bfloat16": partial(contestants.our_pgd, compute="bfloat16"),
    "Foolbox": contestants.foolbox_pgd,
    "torchattacks": contestants.torchattacks_pgd,
    "ART": contestants.art_pgd,
}
CW: dict[str, Callable[[Setting], Work]] = {
    "ours, float32": contestants.our_cw,
    "ours, bfloat16": partial(contestants.our_cw, compute="bfloat16"),
    "Foolbox": contestants.foolbox_cw,
    "torchattacks (one constant)": contestants.torchattacks_cw,
    "ART": contestants.art_cw,
}
PEERS = ("Foolbox", "torchattacks", "ART")
FUNCTIONS = {"Foolbox": "foolbox_pgd", "torchattacks": "torchattacks_pgd", "ART": "art_pgd"}


@dataclass(frozen=True)
class Timed:
    """What a contestant took and achieved."""

    seconds: float
    distances: Tensor  # (CASES,) infinite where it did not succeed

    @property
    def success(self) -> float:
        """The share of cases."""
        return float(self.distances.isfinite().float().mean())

    @property
    def l2(self) -> float:
        """The mean of its own successes."""
        return float(self.distances[self.distances.isfinite()].mean())


@pytest.fixture(scope="module")
def taken() -> dict[tuple[str, str], Timed]:
    """What was measured so far, by group and name."""
    return {}


def race(benchmark: Any, taken: dict[tuple[str, str], Timed], group: str, name: str, rounds: int) -> None:
    given = setting()
    work = (PGD if group == "PGD" else CW)[name](given)
    benchmark.group = f"{group}, {len(given.x)} images"
    x_adv = benchmark.pedantic(work, rounds=rounds, iterations=1, warmup_rounds=int(rounds > 1))
    timed = taken[group, name] = Timed(benchmark.stats.stats.min, distances(given, x_adv))
    benchmark.extra_info.update(success=timed.success, l2=timed.l2)
    print(f"\n{group:4s} {name:28s} {timed.seconds:8.2f} s  success {timed.success:6.1%}  L2 {timed.l2:.4f}")


@pytest.mark.parametrize("name", PGD)
def test_pgd(benchmark: Any, taken: dict[tuple[str, str], Timed], name: str) -> None:
    race(benchmark, taken, "PGD", name, rounds=3)


@pytest.mark.parametrize("name", CW)
def test_cw(benchmark: Any, taken: dict[tuple[str, str], Timed], name: str) -> None:
    race(benchmark, taken, "CW", name, rounds=1 if name == "ART" else 2)


def by_turns(names: Iterable[str], rounds: int = 3) -> dict[str, float]:
    """Least seconds of each PGD; by turns, so that all see the same machine."""
    works = {name: PGD[name](setting()) for name in names}
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - start)
    return {name: min(times) for name, times in taken.items()}


def test_pgd_in_float32_costs_its_passes(benchmark: Any) -> None:
    """At most 1.05 times the bare passes, the attack alone: without clean answers and judge."""
    benchmark.pedantic(lambda: None, rounds=1)
    bare, ours = contestants.bare_passes(setting()), contestants.pgd_outcome(setting())
    taken = []
    for _ in range(5):  # by turns, so that both see the same machine
        start = time.perf_counter()
        bare()
        taken.append((time.perf_counter() - start, ours().seconds))
    passes, attack = (min(times) for times in zip(*taken, strict=True))
    print(f"\nPGD float32 {attack / passes:.3f} times the bare passes (bar 1.05)")
    assert attack <= 1.05 * passes


@pytest.mark.xfail(
    strict=True,
    reason="bfloat16 passes with channels last are 2.1 to 2.3 times as fast as float32 ones here",
)
def test_pgd_in_bfloat16_outruns_the_fastest_peer(benchmark: Any, tmp_path: Path) -> None:
    """2.5 times as fast at equal success; in one process, with the memory settings of `harness run` for all.

    They speed up the peers' float32 passes by a quarter; what peers take without them is printed beside.
    """
    benchmark.pedantic(lambda: None, rounds=1)
    given, coarse = setting(), "ours, bfloat16"
    taken = by_turns([coarse, *PEERS])
    success = {name: Timed(0, distances(given, PGD[name](given)())).success for name in taken}
    assert success[coarse] >= max(success.values()) - 0.01
    fastest = min(taken[name] for name in PEERS)
    print(f"\nPGD bfloat16 {fastest / taken[coarse]:.2f} times as fast as the fastest peer (bar 2.5)")
    alone = {name: seconds(FUNCTIONS[name], given, tmp_path / "setting.pt", 2) for name in PEERS}
    print(f"alone {alone}: {min(alone.values()) / taken[coarse]:.2f} times")
    assert fastest >= 2.5 * taken[coarse]


def test_cw_keeps_its_bars(benchmark: Any, taken: dict[tuple[str, str], Timed]) -> None:
    """10 times as fast as ART and twice as fast as Foolbox, at a mean L2 that is no larger."""
    found = {name: timed for (group, name), timed in taken.items() if group == "CW"}
    if not {"ours, bfloat16", "Foolbox", "ART"} <= found.keys():
        pytest.skip("nothing was measured to compare")
    benchmark.pedantic(lambda: None, rounds=1)
    ours, foolbox, art = (found[name] for name in ("ours, bfloat16", "Foolbox", "ART"))
    print(f"\nCW-L2 {art.seconds / ours.seconds:.1f} times as fast as ART (bar 10)")
    print(f"CW-L2 {foolbox.seconds / ours.seconds:.2f} times as fast as Foolbox (bar 2)")
    assert ours.success >= max(foolbox.success, art.success)
    # Over the cases that both reached: the mean of its own successes favours the one that misses more.
    for peer in (foolbox, art):
        both = peer.distances.isfinite() & ours.distances.isfinite()
        means = float(ours.distances[both].mean()), float(peer.distances[both].mean())
        print(f"mean L2 of {int(both.sum())} cases {means[0]:.4f} against {means[1]:.4f}")
        assert means[0] <= means[1]
    assert art.seconds >= 10 * ours.seconds
    assert foolbox.seconds >= 2 * ours.seconds
