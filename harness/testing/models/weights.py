"""What every model promises of its weights, and of the gradients that attacks follow."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.testing.contract import Inapplicable, require, spoken
from harness.testing.models.answers import SAME, difference
from harness.testing.models.subject import ModelSubject
from harness.testing.problems.problem import generator
from harness.zoo.weights import load_weights

DIRECTIONS = 6
"""Random directions along which gradients are compared with differences; a kink may spoil one of them."""


def seeds(subject: ModelSubject, head: str) -> None:
    """Built twice from one seed, its weights are the same."""
    first, again = (subject.build(subject.task).state_dict() for _ in range(2))
    odd = [name for name in first if name not in again or not torch.equal(first[name], again[name])]
    require(
        not odd and len(first) == len(again),
        f"two builds from one seed differ in {(*odd, 'their parts')[0]}; draw weights from torch's global "
        "generator, which is seeded before build",
    )


def weights(subject: ModelSubject, head: str) -> None:
    """Kept as safetensors and loaded into a module of another seed, the weights answer the same."""
    state = {name: tensor.contiguous() for name, tensor in subject.module().state_dict().items()}
    other, x = subject.module(seed=1), subject.images(5)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        try:
            save_file(state, path)
        except Exception as error:
            require(False, f"its weights cannot be kept: {spoken(error)}")
        try:
            load_weights(other, path, subject.name)
        except HarnessError as error:
            require(False, f"its weights do not fit a module built anew: {error}")
    with torch.no_grad():
        apart = difference(subject.answers(x, other), subject.answers(x))
    require(
        apart <= SAME,
        f"with its weights loaded, a module built anew answers otherwise, by {apart:.3g}; register all that "
        "decides its answers as parameters or buffers, and draw nothing else from the seed",
    )


def gradients(subject: ModelSubject, head: str) -> None:
    """The gradient at the image exists, and agrees with finite differences."""
    if subject.spec.access != "gradients":
        raise Inapplicable(f"it shows {subject.spec.access} only")
    x = subject.images(2)
    outputs = subject.answers(x.clone().requires_grad_())
    require(
        outputs.requires_grad,
        'its outputs have no gradient at the image; compute them in torch, or declare access = "scores"',
    )
    outputs = outputs.detach()
    weight = torch.randn(outputs.shape[1], generator=generator(1))
    slope, found, expected = _in_double(subject, x, weight) or _in_float(subject, x, weight)
    require(slope.isfinite().all(), "its gradient at the image is not finite")
    if not slope.any():
        varies = difference(outputs[:1], outputs[1:]) > SAME
        require(
            not varies,
            "its gradient at the image is exactly 0 while its answers depend on it; a step that rounds or "
            'compares hides them: declare access = "scores", or give that step a gradient',
        )
    size = torch.maximum(found.abs(), expected.abs())
    fine = (found - expected).abs() <= (1e-3 if slope.dtype == torch.float64 else 0.05) * size + 1e-7
    worst = int((found - expected).abs().argmax())
    require(
        fine.sum() >= DIRECTIONS - 1,
        f"its gradient promises {float(found.flatten()[worst]):.4g} along a direction in which its "
        f"answers change by {float(expected.flatten()[worst]):.4g}; a step of it has a gradient of "
        "its own, or none",
    )


def precision(subject: ModelSubject, head: str) -> None:
    """In bfloat16, which suites may ask for, it answers and has gradients."""
    if subject.spec.access != "gradients":
        raise Inapplicable(f"it shows {subject.spec.access} only")
    x = subject.images(2).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = subject.module()(x)
    require(outputs.isfinite().all(), "its outputs under torch.autocast in bfloat16 are not finite")
    if outputs.requires_grad:
        (slope,) = torch.autograd.grad(outputs.float().sum(), x)
        require(slope.isfinite().all(), "its gradient under torch.autocast in bfloat16 is not finite")


def devices(subject: ModelSubject, head: str) -> None:
    """Built on another device its parameters are as many, so that `harness info` can count them."""
    try:
        with torch.device("meta"):
            built = subject.build(subject.task)
        moved = subject.build(subject.task).to("meta")
    except Exception as error:
        require(False, f"it cannot be built on, or moved to, another device: {spoken(error)}")
    counts = [sum(parameter.numel() for parameter in module.parameters()) for module in (built, moved)]
    require(counts[0] == counts[1], f"{counts[0]} parameters on the meta device, {counts[1]} on the CPU")
    try:
        moved.eval()(torch.zeros(1, *subject.task.shape, device="meta"))
    except Exception as error:
        # Other errors say that it decides by its numbers, which images without any cannot have.
        require(
            "device" not in str(error),
            f"moved to another device, it cannot answer: {spoken(error)}; register its tensors as buffers",
        )


def distance(subject: ModelSubject, head: str) -> None:
    """The distance of embeddings is a number per pair, with a finite gradient also where they meet."""
    if head != "embedding":
        raise Inapplicable("it has no embedding")
    with torch.no_grad():
        embeddings = subject.answers(subject.images(4)).float()
    start = embeddings.clone().requires_grad_()
    for others, name in ((embeddings.flip(0), "other embeddings"), (embeddings, "themselves")):
        found = subject.model.distance(start, others)
        require(
            found.shape == (4,) and found.isfinite().all(),
            f"the distance of 4 embeddings from {name} is {tuple(found.shape)}; return 4 finite numbers",
        )
        (slope,) = torch.autograd.grad(found.sum(), start)
        require(slope.isfinite().all(), f"the gradient of the distance from {name} is not finite")


def _in_double(subject: ModelSubject, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """Gradient, promised and found changes in float64; None where the module computes in float32 only."""
    module = deepcopy(subject.module()).double()
    try:
        outputs = subject.answers(x.double(), module)
    except Exception:
        return None
    if outputs.dtype != torch.float64:
        return None
    return _compared(subject, module, x.double(), weight.double(), step=1e-6)


def _in_float(subject: ModelSubject, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _compared(subject, subject.module(), x, weight, step=2e-3)


def _compared(
    subject: ModelSubject, module: nn.Module, x: Tensor, weight: Tensor, step: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient (B, C, H, W) of a random mixture of outputs, its promises (D,) and the differences (D,)."""

    def value(images: Tensor) -> Tensor:
        return (subject.answers(images, module) * weight).sum()

    start = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(value(start), start, allow_unused=True)
    slope = torch.zeros_like(x) if slope is None else slope
    draws = generator(2)
    promised, found = [], []
    for _ in range(DIRECTIONS):
        direction = torch.randn(x.shape, generator=draws).to(x).sign()
        with torch.no_grad():
            change = value(x + step * direction) - value(x - step * direction)
        promised.append((slope * direction).sum())
        found.append(change / (2 * step))
    return slope, torch.stack(promised), torch.stack(found)
