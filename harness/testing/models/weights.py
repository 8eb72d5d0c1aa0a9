"""These checks cover what every model promises of its weights, and of the gradients that attacks follow."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.model import put_to_eval
from harness.testing.contract import ContractFailure, Inapplicable, one_line, require
from harness.testing.models.outputs import SAME, difference
from harness.testing.models.subject import ModelSubject, precision as precision_of
from harness.testing.problems.problem import generator
from harness.zoo.weights import load_weights, octets_of

DIRECTIONS = 6
"""The number of random directions along which gradients are compared; a kink may disturb one of them."""


def seeds(subject: ModelSubject, head: str) -> None:
    """A model that is built twice from one seed has the same weights."""
    first, again = (subject.build(subject.task).state_dict() for _ in range(2))
    odd = [name for name in first if name not in again or octets_of(first[name]) != octets_of(again[name])]
    require(
        not odd and len(first) == len(again),
        f"two builds from one seed differ in {(*odd, 'the names of their weights')[0]}; draw weights from "
        "torch's global generator, which is seeded before build",
    )


def weights(subject: ModelSubject, head: str) -> None:
    """Weights that are saved as safetensors and loaded into another module give the same outputs."""
    state = subject.module().state_dict()
    if not subject.spec.train and not all(isinstance(value, Tensor) for value in state.values()):
        raise Inapplicable("its state holds more than tensors, as that of quantised layers; none is saved")
    state = {name: tensor.contiguous() for name, tensor in state.items()}
    other, x = subject.module(seed=1), subject.images(5)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        try:
            save_file(state, path)
        except Exception as error:
            require(
                False, f"its weights cannot be saved: {one_line(error)}; give each tensor memory of its own"
            )
        try:
            load_weights(other, path, subject.name)
        except HarnessError as error:
            require(
                False,
                f"its weights do not fit a new module: {error}; let build alone decide names and shapes",
            )
    with torch.no_grad():
        apart = difference(subject.outputs(x, other), subject.outputs(x))
    require(
        apart <= SAME,
        f"a new module with these weights has outputs that differ by {apart:.3g}; register all tensors that "
        "decide the outputs as parameters or buffers, and draw nothing else from the seed",
    )


def gradients(subject: ModelSubject, head: str) -> None:
    """The gradient at the image exists, and agrees with finite differences."""
    if subject.spec.access != "gradients":
        raise Inapplicable(f"its access is {subject.spec.access}")
    x = 0.1 + 0.8 * subject.images(2)  # modules may cut off pixels at 0 and 1
    outputs = subject.outputs(x.clone().requires_grad_())
    require(
        outputs.requires_grad,
        'its outputs have no gradient at the image; compute them in torch, or declare access = "scores"',
    )
    outputs = outputs.detach().float()
    weight = torch.randn(outputs.shape[1], generator=generator(1))
    gradient, promised, changes = _in_double(subject, x, weight) or _in_float(subject, x, weight)
    require(
        gradient.isfinite().all(),
        "its gradient at the image is not finite; look for a root, a norm or a division that may be of 0",
    )
    if not gradient.any():
        varies = difference(outputs[:1], outputs[1:]) > SAME
        require(
            not varies,
            "its gradient at the image is exactly 0, although its outputs depend on the image; look for a "
            'step that rounds or compares, and give it a gradient, or declare access = "scores"',
        )
    size = torch.maximum(promised.abs(), changes.abs())
    share = 1e-3 if gradient.dtype == torch.float64 else 0.05
    fine = (promised - changes).abs() <= share * size + 1e-7  # (D, S)
    least = (promised - changes).abs().amin(1)
    worst = int(least.argmax())
    require(
        fine.any(1).sum() >= DIRECTIONS - 1,
        f"its gradient predicts a change of {float(promised[worst]):.4g} along a direction in which "
        f"its outputs change by {float(changes[worst, 0]):.4g}; look for a step that has a wrong "
        "gradient, or none",
    )


def precision(subject: ModelSubject, head: str) -> None:
    """The model has finite outputs and gradients in bfloat16, which suites may choose."""
    if subject.spec.access != "gradients":
        raise Inapplicable(f"its access is {subject.spec.access}")
    x, module = subject.images(2).requires_grad_(), subject.module()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = module((x * 1).to(precision_of(module, x.dtype)))
    remedy = "compute what is sensitive in float32, under torch.autocast(..., enabled=False)"
    require(
        outputs.isfinite().all(), f"its outputs under torch.autocast in bfloat16 are not finite; {remedy}"
    )
    if outputs.requires_grad:
        (gradient,) = torch.autograd.grad(outputs.float().sum(), x)
        require(
            gradient.isfinite().all(),
            f"its gradient under torch.autocast in bfloat16 is not finite; {remedy}",
        )


def devices(subject: ModelSubject, head: str) -> None:
    """The model has as many parameters on another device, and all of its tensors move there."""
    if isinstance(subject.module(), torch.jit.ScriptModule):
        raise Inapplicable("TorchScript has no meta device, on which this is checked")
    try:
        moved = _copy(subject.build(subject.task)).to("meta")
    except Exception as error:
        require(
            False,
            f"it cannot be moved to another device: {one_line(error)}; register its tensors as parameters or "
            "buffers",
        )
    try:
        with torch.device("meta"):
            built = subject.build(subject.task)
    except ContractFailure:
        built = moved  # what reads a value while it is built cannot be built there, and need not be
    counts = [sum(parameter.numel() for parameter in module.parameters()) for module in (built, moved)]
    require(
        counts[0] == counts[1],
        f"{counts[0]} parameters on the meta device, {counts[1]} on the CPU; build as many everywhere",
    )
    put_to_eval(moved)
    try:
        moved(torch.zeros(1, *subject.task.shape, device="meta"))
    except Exception as error:
        # Other errors come from code that reads the values of tensors, which the meta device does not have.
        require(
            "device" not in str(error),
            f"it fails after moving to another device: {one_line(error)}; register its tensors as buffers",
        )


def distance(subject: ModelSubject, head: str) -> None:
    """The distance of embeddings is one number per pair, with a finite gradient also for equal ones."""
    if head != "embedding":
        raise Inapplicable("it has no embedding")
    with torch.no_grad():
        embeddings = subject.outputs(subject.images(4)).float()
    start = embeddings.clone().requires_grad_()
    found = {}
    for others, name in ((embeddings.flip(0), "other embeddings"), (embeddings, "themselves")):
        found[name] = subject.model.distance(start, others)
        require(
            found[name].shape == (4,) and found[name].isfinite().all(),
            f"the distance of 4 embeddings from {name} has the shape {tuple(found[name].shape)}; return 4 "
            "finite numbers",
        )
        (gradient,) = torch.autograd.grad(found[name].sum(), start)
        require(
            gradient.isfinite().all(),
            f"the gradient of the distance from {name} is not finite; add a small constant below a root",
        )
    own, other = (float(found[name].max()) for name in ("themselves", "other embeddings"))
    require(
        own <= other,
        f"the distance of embeddings from themselves is {own:.3g}, and {other:.3g} from others: the smallest "
        "must be that from themselves; return a distance, such as 1 - similarity",
    )


def _copy(module: nn.Module) -> nn.Module:
    """Return a copy of a module, whose layers others may share, or itself where it cannot be copied."""
    try:
        return deepcopy(module)
    except Exception:
        return module


def _in_double(subject: ModelSubject, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """Compare in float64; return None if the module computes in float32 only, or cannot be copied."""
    try:
        module = deepcopy(subject.module()).double()
        outputs = subject.outputs(x.double(), module)
    except Exception:
        return None
    if outputs.dtype != torch.float64:
        return None
    return _compared(subject, module, x.double(), weight.double(), steps=(1e-6, 1e-8))


def _in_float(subject: ModelSubject, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _compared(subject, subject.module(), x, weight, steps=(2e-3, 1e-2, 4e-4))


def _compared(
    subject: ModelSubject, module: nn.Module, x: Tensor, weight: Tensor, steps: tuple[float, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradient (B, C, H, W) of mixed outputs, the changes (D, 1) it predicts, and the real ones.

    These are (D, S): a large step may cross kinks, as of ReLU, and rounding hides the change of a small one,
    so that a gradient is right if it agrees at one of several steps.
    """

    def value(images: Tensor) -> Tensor:
        return (subject.outputs(images, module).to(weight) * weight).sum()

    start = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(start), start, allow_unused=True)
    gradient = torch.zeros_like(x) if gradient is None else gradient
    random = generator(2)
    promised, found = [], []
    for _ in range(DIRECTIONS):
        direction = torch.randn(x.shape, generator=random).to(x).sign()
        with torch.no_grad():
            changes = [
                (value(x + step * direction) - value(x - step * direction)) / (2 * step) for step in steps
            ]
        promised.append((gradient * direction).sum())
        found.append(torch.stack(changes))
    return gradient, torch.stack(promised)[:, None], torch.stack(found)
