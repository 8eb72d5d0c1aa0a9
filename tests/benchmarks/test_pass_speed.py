"""PASS against a loop over OpenCV and scikit-image, on the same threads: at least five times as fast.

pytest tests/benchmarks/test_pass_speed.py --benchmark-only -s
"""

from __future__ import annotations

import time
from collections.abc import Callable
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

IMAGES, ROUNDS, BAR = 40, 5, 5.0

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pairs() -> dict[str, tuple[Tensor, Tensor]]:
    """(40, 3, 218, 178) of adversarials and noise, nearly aligned, and of moved images; their originals."""
    x, present = faces(synthetic.load(count=400), IMAGES)
    half = IMAGES // 2
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
@pytest.mark.parametrize("kind", ["adversarials and noise", "shifted and turned"])
def test_pass_is_five_times_as_fast(
    benchmark: Any, pairs: dict[str, tuple[Tensor, Tensor]], kind: str
) -> None:
    x_adv, x = pairs[kind]
    loop = []

    def before() -> None:
        # By turns, so that both see the same machine.
        loop.append(seconds(lambda: reference_pass(x_adv, x)))

    found = benchmark.pedantic(
        lambda: perceptual_similarity(x_adv, x), setup=before, rounds=ROUNDS, warmup_rounds=1
    )
    assert np.abs(found - reference_pass(x_adv, x)).max() <= 0.002
    ratio = float(np.median(loop)) / benchmark.stats.stats.median
    alignment = min(seconds(lambda: find_warps(x_adv, x)) for _ in range(3))
    ssim = min(seconds(lambda: structural_similarity(x_adv, x)) for _ in range(3))
    figures = {
        "ratio": ratio,
        "loop_ms_an_image": float(np.median(loop)) / IMAGES * 1e3,
        "pass_ms_an_image": benchmark.stats.stats.median / IMAGES * 1e3,
        "alignment_ms_an_image": alignment / IMAGES * 1e3,
        "ssim_ms_an_image": ssim / IMAGES * 1e3,
        "threads": torch.get_num_threads(),
    }
    benchmark.extra_info |= figures
    print(f"{kind}: " + ", ".join(f"{name} {value:.2f}" for name, value in figures.items()))
    if kind == "adversarials and noise":
        assert ratio >= BAR
