"""Densities under a mixture of factor analysers against a loop over dense Gaussians: 20 times as fast.

pytest tests/benchmarks/test_mixture_speed.py --benchmark-enable

The loop is too slow to be run whole. One of its 50 components is timed, with all images, in float32 (ours is
float64), by LAPACK and BLAS on the same threads, and without the time that building the covariance takes; the
others cost the same.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from math import log, pi
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from torch import Tensor

from harness_bayes.mfa import Mfa


@dataclass(frozen=True)
class Sizes:
    """How many vectors of how many numbers, under how many components."""

    images: int
    components: int
    dimension: int
    own: int  # images that one component generated
    few: int  # images whose memory is measured beside that of ten times as many


FULL = Sizes(images=10_000, components=50, dimension=64 * 64 * 3, own=100, few=2_000)
TINY = Sizes(images=30, components=3, dimension=4 * 4 * 3, own=10, few=20)
LATENT, ROUNDS, BAR = 10, 3, 20.0
ROOM_MB = 100.0
"""What 18,000 more images may need beside themselves; a float64 copy of them would be 1,770 MB."""


def mixture(components: int, dimension: int) -> Mfa:
    draws = torch.Generator().manual_seed(0)
    shape = (components, dimension)
    return Mfa(
        torch.full((components,), 1 / components, dtype=torch.float64).log(),
        0.5 + 0.2 * torch.randn(*shape, generator=draws).double(),
        0.05 * torch.randn(*shape, LATENT, generator=draws).double(),
        0.01 * (0.5 + torch.rand(*shape, generator=draws).double()),
    )


def dense(covariance: Tensor, mean: Tensor, x: Tensor) -> Tensor:
    """log N(x; mean, covariance) (N,) by one Cholesky factor and one triangular solution."""
    root = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(root, (x - mean).T, upper=False)
    half = root.diagonal().log().sum()
    return -(white.square().sum(0) + len(mean) * log(2 * pi)) / 2 - half


@pytest.mark.benchmark(group="10,000 images of 64 x 64 x 3 under 50 components")
def test_likelihood_is_twenty_times_as_fast_as_dense_gaussians(timed: Any, report: Any, sizes: Sizes) -> None:
    known = mixture(sizes.components, sizes.dimension)
    draws = torch.Generator().manual_seed(1)
    x = torch.rand(sizes.images, sizes.dimension, generator=draws)
    factors = known.factors[0].float()
    x[: sizes.own] = known.generate(
        torch.zeros(sizes.own).long(),
        torch.randn(sizes.own, LATENT, generator=draws),
        torch.randn(sizes.own, sizes.dimension, generator=draws),
    )

    def fresh() -> tuple[tuple[Mfa], dict[str, Any]]:
        # Nothing is computed yet that one mixture computes once.
        return (Mfa(known.log_weights, known.means, known.factors, known.noise),), {}

    found, ours = timed(lambda mfa: mfa.log_likelihood(x), setup=fresh, rounds=ROUNDS, warmup_rounds=1)
    assert found.shape == (sizes.images,)

    covariance = factors @ factors.T
    covariance.diagonal().add_(known.noise[0].float())
    mean = known.means[0].float()
    start = time.perf_counter()
    expected = dense(covariance, mean, x)
    component = time.perf_counter() - start
    # The first are of that component, and of no other; float32 rounds the others' distances, too.
    alone = expected[: sizes.own].double() - log(sizes.components)
    torch.testing.assert_close(found[: sizes.own], alone, rtol=1e-4, atol=1.0)
    ratio = component * sizes.components / median(ours)
    report("likelihood under a mixture / dense Gaussians", ratio, "times as fast", at_least=BAR)
    report("likelihood under a mixture", median(ours) / sizes.images * 1e3, "ms an image")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the peak")
def test_memory_does_not_grow_with_the_images(report: Any, sizes: Sizes) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.test_mixture_speed"]
    command += [str(number) for number in (sizes.dimension, sizes.few, 10 * sizes.few)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    few, many = map(float, ran.stdout.split())
    name = f"likelihood under a mixture, memory of {9 * sizes.few:,} more images"
    report(name, many - few, "MB", at_most=ROOM_MB)


def main() -> None:
    """Print the peak of this process, in MB, after each of the numbers of images; they share their memory."""
    dimension, *numbers = map(int, sys.argv[1:])
    known = mixture(5, dimension)
    for images in numbers:
        known.log_likelihood(torch.rand(1, dimension).expand(images, dimension))
        # Not getrusage, whose peak begins with that of the parent.
        peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
        print(int(peak.split()[1]) / 1024)


if __name__ == "__main__":
    main()
