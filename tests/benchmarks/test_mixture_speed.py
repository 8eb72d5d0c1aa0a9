"""Densities under a mixture of factor analysers against a loop over dense Gaussians: 20 times as fast.

pytest tests/benchmarks/test_mixture_speed.py --benchmark-only -s

The loop is too slow to be run whole. One of its 50 components is timed, with all images, in float32 (ours is
float64), by LAPACK and BLAS on the same threads, and without the time that building the covariance takes; the
others cost the same.
"""

from __future__ import annotations

import subprocess
import sys
import time
from math import log, pi
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness_bayes.mfa import Mfa

IMAGES, COMPONENTS, LATENT, DIMENSION = 10_000, 50, 10, 64 * 64 * 3
ROUNDS, BAR = 3, 20.0
ROOM_MB = 100.0
"""What 18,000 more images may need beside themselves; a float64 copy of them would be 1,770 MB."""

pytestmark = pytest.mark.slow


def mixture(components: int) -> Mfa:
    draws = torch.Generator().manual_seed(0)
    shape = (components, DIMENSION)
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
def test_likelihood_is_twenty_times_as_fast_as_dense_gaussians(benchmark: Any) -> None:
    known = mixture(COMPONENTS)
    draws = torch.Generator().manual_seed(1)
    x = torch.rand(IMAGES, DIMENSION, generator=draws)
    factors = known.factors[0].float()
    x[:100] = known.generate(
        torch.zeros(100).long(),
        torch.randn(100, LATENT, generator=draws),
        torch.randn(100, DIMENSION, generator=draws),
    )

    def fresh() -> tuple[tuple[Mfa], dict[str, Any]]:
        # Nothing is computed yet that one mixture computes once.
        return (Mfa(known.log_weights, known.means, known.factors, known.noise),), {}

    found = benchmark.pedantic(lambda mfa: mfa.log_likelihood(x), setup=fresh, rounds=ROUNDS, warmup_rounds=1)
    ours = benchmark.stats.stats.median
    assert found.shape == (IMAGES,)

    covariance = factors @ factors.T
    covariance.diagonal().add_(known.noise[0].float())
    mean = known.means[0].float()
    start = time.perf_counter()
    expected = dense(covariance, mean, x)
    component = time.perf_counter() - start
    # The first hundred are of that component, and of no other; float32 rounds the others' distances, too.
    torch.testing.assert_close(found[:100], expected[:100].double() - log(COMPONENTS), rtol=1e-4, atol=1.0)
    figures = {
        "ratio": component * COMPONENTS / ours,
        "seconds": ours,
        "dense_seconds_a_component": component,
        "ms_an_image": ours / IMAGES * 1e3,
        "threads": torch.get_num_threads(),
    }
    benchmark.extra_info |= figures
    print(", ".join(f"{name} {value:.2f}" for name, value in figures.items()))
    assert figures["ratio"] >= BAR


def peak_mb(images: int) -> float:
    """The most memory that a process of its own ever had, for the likelihood of so many images."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.test_mixture_speed", str(images)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the peak")
def test_memory_does_not_grow_with_the_images() -> None:
    few, many = peak_mb(2_000), peak_mb(20_000)
    print(f"peak of 2,000 images {few:.0f} MB, of 20,000 {many:.0f} MB")
    assert many - few < ROOM_MB


def main() -> None:
    """Print the peak, in MB, for as many images as the command line says. The images share their memory."""
    x = torch.rand(1, DIMENSION).expand(int(sys.argv[1]), DIMENSION)
    mixture(5).log_likelihood(x)
    # Not getrusage, whose peak begins with that of the parent.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    print(int(peak.split()[1]) / 1024)


if __name__ == "__main__":
    main()
