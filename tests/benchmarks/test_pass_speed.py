"""PASS against a loop over OpenCV and scikit-image, on the same threads.

pytest tests/benchmarks/test_pass_speed.py --benchmark-enable
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness_faces import synthetic
from harness_similarity.perceptual import find_warps, perceptual_similarity
from harness_similarity.structural import structural_similarity
from tests.similarity.adversarials import ATTACKS, adversarials, faces
from tests.similarity.distortions import noisy, shifted, turned
from tests.similarity.reference import reference_pass


@dataclass(frozen=True)
class Sizes:
    """How many images there are of each kind, and their height and width."""

    images: int
    size: tuple[int, int]


FULL = Sizes(images=40, size=(218, 178))
TINY = Sizes(images=16, size=(72, 56))
ROUNDS = 5
BARS = {"adversarials and noise": 5.0, "shifted and turned": 4.0}  # times as fast


@pytest.fixture(scope="module")
def pairs(sizes: Sizes) -> dict[str, tuple[Tensor, Tensor]]:
    """(B, 3, H, W) of adversarials and noise, nearly aligned, and of moved images; their originals."""
    x, present = faces(synthetic.load(size=sizes.size, count=400), sizes.images)
    half = sizes.images // 2
    made = [adversarials(x, present, attack) for attack in ATTACKS]
    quarter = half // 2
    aligned = [
        made[0][:quarter],
        made[1][quarter:half],
        noisy(x[half : half + quarter]),
        noisy(x[-quarter:], 9),
    ]
    return {
        "adversarials and noise": (torch.cat(aligned), x),
        "shifted and turned": (torch.cat([shifted(x[:half]), turned(x[half:], 2)]), x),
    }


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@pytest.mark.benchmark(group="PASS of 178 x 218")
@pytest.mark.parametrize("kind", BARS)
def test_pass_is_several_times_as_fast(
    timed: Any, report: Any, pairs: dict[str, tuple[Tensor, Tensor]], kind: str
) -> None:
    x_adv, x = pairs[kind]
    loop = []

    def before() -> None:
        # By turns, so that both see the same machine.
        loop.append(seconds(lambda: reference_pass(x_adv, x)))

    found, ours = timed(perceptual_similarity, args=(x_adv, x), setup=before, rounds=ROUNDS, warmup_rounds=1)
    assert np.abs(found - reference_pass(x_adv, x)).max() <= 0.002
    report(f"PASS of {kind} / the loop", median(loop) / median(ours), "times as fast", at_least=BARS[kind])
    report(f"PASS of {kind}", median(ours) / len(x) * 1e3, "ms an image")
    alignment = min(seconds(lambda: find_warps(x_adv, x)) for _ in range(3))
    report(f"PASS of {kind}, alignment alone", alignment / len(x) * 1e3, "ms an image")
    ssim = min(seconds(lambda: structural_similarity(x_adv, x)) for _ in range(3))
    report(f"PASS of {kind}, SSIM alone", ssim / len(x) * 1e3, "ms an image")
