"""Pixels, passes and attacks are exact on a device: no TF32, no other last bit, each repetition the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor
from torch.backends import cudnn

import harness
from harness.model import exact
from harness.threat import Linf, pixels
from harness_similarity.perceptual import perceptual_similarity
from tests.gpu.networks import Small
from tests.gpu.report import Row


@contextmanager
def rounding() -> Iterator[None]:
    """Allow TF32 in products and convolutions, as many programs do, by the names that this torch has."""
    before = torch.get_float32_matmul_precision(), cudnn.allow_tf32
    torch.set_float32_matmul_precision("high")
    cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        cudnn.allow_tf32 = before[1]


@contextmanager
def rounding_by_newer_names() -> Iterator[None]:
    """Allow TF32 everywhere by the one name that torch has for this since version 2.9."""
    backends: Any = torch.backends
    before = backends.fp32_precision
    backends.fp32_precision = "tf32"
    try:
        yield
    finally:
        backends.fp32_precision = before


def grid(device: torch.device) -> Row:
    """Compare the 256 pixels of the 8-bit grid, and rounded images, with those of the CPU."""
    levels = torch.arange(256).float()
    draws = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    threat = Linf(8 / 255)
    pairs = (
        (pixels(levels), pixels(levels.to(device))),
        (threat.round(draws), threat.round(draws.to(device))),
        (threat.project(draws.flip(3), draws), threat.project(draws.flip(3).to(device), draws.to(device))),
    )
    unlike = sum(int((here != there.cpu()).sum()) for here, there in pairs)
    return Row("precision", "pixels", "differs" if unlike else "same", f"{unlike} pixels" if unlike else "")


def judged(small: Small, device: torch.device) -> Row:
    """Judge under settings that allow TF32: outputs, adversarials and PASS are those without it."""
    plain = _numbers(small, device)
    with rounding():
        older = _numbers(small, device)
    found = {"by the older names": _unlike(plain, older)}
    if hasattr(torch.backends, "fp32_precision"):
        with suppress(RuntimeError), rounding_by_newer_names():
            found["by the newer names"] = _unlike(plain, _numbers(small, device))
    module, x = small.model(device).module, small.x.to(device)
    with torch.no_grad(), exact(device):
        true = module(x)
    with torch.no_grad(), rounding():
        coarse = module(x)
    figures = {"without_the_judge": float((true - coarse).abs().max() / true.abs().max()), **found}
    note = "TF32 changes nothing on this device" if not figures["without_the_judge"] else ""
    return Row("precision", "TF32 allowed", "differs" if any(found.values()) else "same", note, figures)


def repeated(small: Small, device: torch.device) -> Row:
    """Attack twice: each adversarial is the same in every bit."""
    found = _unlike(_numbers(small, device), _numbers(small, device))
    return Row("precision", "repeated", "differs" if found else "same", "", {"unlike": found})


def _numbers(small: Small, device: torch.device) -> tuple[Tensor, ...]:
    """Return a model's outputs, the adversarials of two attacks, and PASS: all that judging comes to."""
    model, x = small.model(device), small.x.to(device)
    outcomes = [
        harness.attack("pgd", model, x, goal=small.goal, threat=Linf(4 / 255), early_stop=False),
        harness.attack("cw-l2", model, x, goal=small.goal, iterations=40),
    ]
    similar = perceptual_similarity(outcomes[0].adversarials, x)
    made = [outcome.adversarials.cpu() for outcome in outcomes]
    return model.scores(x).cpu(), *made, torch.from_numpy(similar)


def _unlike(some: tuple[Tensor, ...], others: tuple[Tensor, ...]) -> int:
    """Return how many numbers are not the same in every bit."""
    return sum(int((one != other).sum()) for one, other in zip(some, others, strict=True))
