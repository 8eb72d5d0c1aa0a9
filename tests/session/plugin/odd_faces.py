"""A plugin of models that are wrong, odd or sound, made from one that is right about its drawn patterns.

``KINDS`` names them all, with the head and what a run must say: "" for a sound one, else a flag or a part of
the error.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import harness
from harness.errors import DatasetError
from harness.training import Task

ATTRIBUTES = ("Light", "Red", "Striped")
CLASSES = ("left", "right", "top", "bottom")
SIDE, COUNT = 12, 40
SHAPE = (3, SIDE, SIDE)


def _data(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (N, 3, H, W) uint8, attributes (N, 3) and classes (N,)."""
    generator = np.random.default_rng(seed)
    present = generator.random((COUNT, 3)) < 0.5
    present[0], present[1] = True, False  # both values of each occur
    labels = np.arange(COUNT) % 4
    sign = np.where(present, 14, -14)[:, :, None, None]
    images = generator.integers(100, 140, (COUNT, *SHAPE))
    images += sign[:, 0, None]
    images[:, 0] += sign[:, 1]
    images[:, :, ::2] += sign[:, 2, None]
    for label, window in enumerate((np.s_[:, :, :6], np.s_[:, :, 6:], np.s_[:, :6, :], np.s_[:, 6:, :])):
        images[(labels == label, *window)] += 40
    return images.clip(0, 255).astype(np.uint8), present, labels


def drawn(*, seed: int = 0) -> harness.Dataset:
    """Patterns in noise, with attributes and classes."""
    images, present, labels = _data(seed)
    return harness.Dataset(
        name="patterns",
        ids=[f"{number:03d}.png" for number in range(COUNT)],
        shape=SHAPE,
        read=lambda rows: images[rows],
        fingerprint=f"patterns {seed}",
        attribute_names=ATTRIBUTES,
        attributes=present,
        class_names=CLASSES,
        labels=labels,
    )


def _ridge(wanted: np.ndarray) -> nn.Linear:
    """A linear layer (432, K) that is right on the images with the seed 0, and on others of their kind."""
    parts = [_data(seed) for seed in range(8)]
    x = np.concatenate([images for images, _, _ in parts]).reshape(8 * COUNT, -1) / 255 - 0.47
    y = np.concatenate([wanted[at * COUNT : (at + 1) * COUNT] for at in range(8)])
    weight = np.linalg.solve(x.T @ x + 0.3 * np.eye(x.shape[1]), x.T @ y)
    layer = nn.Linear(x.shape[1], y.shape[1])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(5 * weight.T))
        layer.bias.zero_()
    return layer


def _targets(head: str) -> np.ndarray:
    parts = [_data(seed) for seed in range(8)]
    if head == "attributes":
        return np.concatenate([2.0 * present - 1 for _, present, _ in parts])
    return np.concatenate([4.0 * np.eye(4)[labels] - 1 for _, _, labels in parts])


LAYERS = {head: _ridge(_targets(head)) for head in ("attributes", "classes")}


class Plain(nn.Module):
    """Scores (B, K) of a linear layer."""

    def __init__(self, head: str) -> None:
        super().__init__()
        self.layer = nn.Linear(*reversed(LAYERS[head].weight.shape))
        self.layer.load_state_dict(LAYERS[head].state_dict())

    def forward(self, x: Tensor) -> Tensor:
        return self.layer((x - 0.47).flatten(1))


class Around(nn.Module):
    """Plain scores, with something done to the images before and to the scores after."""

    def __init__(self, head: str, before: Callable[[Tensor], Tensor], after: Callable[[Tensor], Tensor]):
        super().__init__()
        self.plain, self.before, self.after = Plain(head), before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.plain(self.before(x)))


def around(before: Any = lambda x: x, after: Any = lambda y: y) -> Callable[[str], nn.Module]:
    return lambda head: Around(head, before, after)


def _fail(error: BaseException) -> Callable[[Any], Any]:
    def fail(_: Any) -> Any:
        raise error

    return fail


def _with(**methods: Any) -> Callable[[str], nn.Module]:
    """A plain model with other methods."""
    kind = type("Odd", (Plain,), methods)
    return lambda head: kind(head)


def _normalised(layer: nn.Module) -> Callable[[str], nn.Module]:
    """Behind a layer that normalises the images (B, 3, H, W)."""

    def make(head: str) -> nn.Module:
        if isinstance(layer, nn.BatchNorm2d) and layer.track_running_stats:
            layer.running_mean.fill_(0.47)
            layer.running_var.fill_(1 - layer.eps)
        return nn.Sequential(layer, Bare(head))

    return make


class Bare(Plain):
    """Takes images that are normalised already."""

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))


class Idioms(nn.Module):
    """Dropout, weight norm, PReLU, an in-place ReLU and a view, around plain scores."""

    def __init__(self, head: str) -> None:
        super().__init__()
        self.plain = Plain(head)
        self.dropout, self.act, self.rectified = nn.Dropout(0.5), nn.PReLU(init=1.0), nn.ReLU(inplace=True)
        self.plain.layer = nn.utils.parametrizations.weight_norm(self.plain.layer)
        self.shape: Any = None

    def forward(self, x: Tensor) -> Tensor:
        self.shape = x.shape
        x = self.act(self.dropout(self.rectified(x)))
        return self.plain.layer((x - 0.47).view(x.size(0), -1))


class ComesBack(Plain):
    """Train mode comes back: ``train`` and ``eval`` are of no use."""

    def train(self, mode: bool = True) -> ComesBack:
        return super().train(True)


class Wakes(nn.Module):
    """Puts itself into train mode when it is called, which matters to its batch normalisation."""

    def __init__(self, head: str) -> None:
        super().__init__()
        self.normalise, self.bare = nn.BatchNorm2d(3, momentum=0.0), Bare(head)

    def forward(self, x: Tensor) -> Tensor:
        self.train()
        return self.bare(self.normalise(x) / 8)


class Lazy(nn.Module):
    """A lazy layer takes its shape from the first images."""

    def __init__(self, head: str) -> None:
        super().__init__()
        self.first, self.plain = nn.LazyConv2d(3, 1), Plain(head)

    def forward(self, x: Tensor) -> Tensor:
        return self.plain(x + 0 * self.first(x))


def _quantised(head: str) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(Plain(head), {nn.Linear}, dtype=torch.qint8)


def _scripted(head: str) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(Plain(head).eval())


def _traced(head: str) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(Plain(head).eval(), torch.zeros(2, *SHAPE))


def _exported(head: str) -> Any:
    batch = torch.export.Dim("batch", min=1, max=4096)
    return torch.export.export(Plain(head).eval(), (torch.zeros(2, *SHAPE),), dynamic_shapes=({0: batch},))


def _in_inference_mode(head: str) -> nn.Module:
    with torch.inference_mode():
        return Plain(head)


def _named(head: str) -> nn.Module:
    """Its own names, in another order, and one class more."""
    module = Plain(head)
    if head == "attributes":
        module.attribute_names = ("Striped", "Light")
        order = [2, 0]
    else:
        module.class_names = ("bottom", "left", "top", "none", "right")
        order = [3, 0, 2, 2, 1]
    weight, bias = module.layer.weight.data[order], module.layer.bias.data[order].clone()
    if head == "classes":
        weight, bias[3] = weight.clone(), -100.0
    module.layer = nn.Linear(weight.shape[1], len(order))
    module.layer.weight.data, module.layer.bias.data = weight, bias
    return module


class Counts(Plain):
    """Counts its calls, in a buffer that decides nothing."""

    def __init__(self, head: str) -> None:
        super().__init__(head)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


class Drifts(Counts):
    """Subtracts the mean of all that it was asked."""

    def forward(self, x: Tensor) -> Tensor:
        self.calls.mul_(0.9).add_(0.1 * x.detach().mean())
        return Plain.forward(self, x - self.calls)


class Remembers(Plain):
    """Answers as before where a batch has the size of the last one."""

    def forward(self, x: Tensor) -> Tensor:
        if getattr(self, "last", x[:0]).shape[0] != len(x):
            self.last = super().forward(x)
        return self.last


class Own(Tensor):
    """Tensors of a library."""


def _leaving(change: Callable[[], object]) -> Callable[[str], nn.Module]:
    """A model that leaves another state of the process behind."""

    def leave(x: Tensor) -> Tensor:
        change()
        return x

    return around(before=leave)


def _weight_norm(head: str) -> nn.Module:
    module = Plain(head)
    module.layer = nn.utils.parametrizations.weight_norm(module.layer)
    return module


def _checkpointed(self: Plain, x: Tensor) -> Tensor:
    return checkpoint(lambda images: Plain.forward(self, images), x, use_reentrant=False)


def _in_bfloat16(self: Plain, x: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return Plain.forward(self, x)


def _not_a_number(y: Tensor) -> Tensor:
    return y.masked_fill(y[:, :1] > 0, torch.nan)


def _dropping(y: Tensor) -> Tensor:
    return nn.functional.dropout(y, 0.3, training=True)


def _numpy_noise(x: Tensor) -> Tensor:
    return x + torch.from_numpy(np.random.normal(0, 0.2, tuple(x.shape)).astype(np.float32))  # noqa: NPY002


def _spy(x: Tensor) -> Tensor:
    """Scores as float64."""
    return x.double()


def _constant(y: Tensor) -> Tensor:
    return 0 * y + torch.arange(1.0, y.shape[1] + 1)


NO_GRADIENT = "has no gradient at the image"
KINDS: dict[str, tuple[Callable[[str], Any], str, str]] = {
    # sound, however odd
    "plain": (Plain, "both", ""),
    "normalises-in-place": (around(before=lambda x: x.sub_(0.5).add_(0.5)), "both", ""),
    "clamps-in-place": (around(before=lambda x: x.clamp_(0, 1)), "both", ""),
    "float16": (lambda head: Plain(head).half(), "both", ""),
    "bfloat16": (lambda head: Plain(head).bfloat16(), "both", ""),
    "float64": (lambda head: Plain(head).double(), "both", ""),
    "answers-float64": (around(after=_spy), "both", ""),
    "scripted": (_scripted, "both", ""),
    "traced": (_traced, "classes", ""),
    "exported": (_exported, "classes", ""),
    "lazy": (Lazy, "both", ""),
    "data-parallel": (lambda head: nn.DataParallel(Plain(head)), "both", ""),
    "running-statistics": (_normalised(nn.BatchNorm2d(3)), "both", ""),
    "idioms": (Idioms, "both", ""),
    "train-mode-comes-back": (ComesBack, "both", ""),
    "made-in-inference-mode": (_in_inference_mode, "both", ""),
    "own-names": (_named, "both", ""),
    "counts": (Counts, "both", ""),
    "own-tensors": (around(after=lambda y: y.as_subclass(Own)), "both", ""),
    "weight-norm": (_weight_norm, "both", ""),
    "checkpointed": (_with(forward=_checkpointed), "both", ""),
    "in-bfloat16": (_with(forward=_in_bfloat16), "both", ""),
    "leaves-float64": (_leaving(lambda: torch.set_default_dtype(torch.float64)), "both", ""),
    "leaves-threads": (_leaving(lambda: torch.set_num_threads(2)), "both", ""),
    # wrong without a word, unless a run says so
    "sigmoid": (around(after=torch.sigmoid), "attributes", "probabilities"),
    "sigmoid-in-percent": (around(after=lambda y: 100 * y.sigmoid()), "attributes", "constant-decisions"),
    "softmax-over-attributes": (around(after=lambda y: y.softmax(1)), "attributes", "probabilities"),
    "softmax": (around(after=lambda y: y.softmax(1)), "classes", "probabilities"),
    "constant": (around(after=_constant), "both", "constant-decisions"),
    "saturated-input": (around(before=lambda x: (255 * x - 47).clamp(0, 1)), "classes", "constant-decisions"),
    "negated": (around(after=lambda y: -y), "both", "worse-than-chance"),
    "classes-in-another-order": (around(after=lambda y: y.roll(1, 1)), "classes", "worse-than-chance"),
    "no-running-statistics": (
        _normalised(nn.BatchNorm2d(3, track_running_stats=False)),
        "both",
        "batch-dependent",
    ),
    "wakes-up": (Wakes, "both", "batch-dependent"),
    "centred-over-the-batch": (around(before=lambda x: x - x.mean(0) + 0.47), "both", "batch-dependent"),
    "the-first-decides": (around(after=lambda y: y + 0.3 * y[:1]), "both", "batch-dependent"),
    "noisy": (around(before=lambda x: x + 0.2 * torch.randn_like(x)), "both", "randomised-model"),
    "noisy-by-numpy": (around(before=_numpy_noise), "both", "randomised-model"),
    "drops-always": (around(after=_dropping), "both", "randomised-model"),
    "drifts": (Drifts, "both", "randomised-model"),
    "remembers": (Remembers, "both", "batch-dependent"),
    # errors
    "cut-off": (around(before=lambda x: x.detach().requires_grad_()), "both", NO_GRADIENT),
    "leaves-no-grad": (_leaving(lambda: torch.set_grad_enabled(False)), "both", NO_GRADIENT),
    "leaves-a-umask": (_leaving(lambda: os.umask(0o027)), "both", "another umask"),
    "leaves-deterministic": (
        _leaving(lambda: torch.use_deterministic_algorithms(True)),
        "both",
        "another deterministic algorithms",
    ),
    "not-a-number": (around(after=_not_a_number), "both", "not finite"),
    "complex": (around(after=lambda y: torch.complex(y, y)), "both", "complex numbers"),
    "a-dict": (around(after=lambda y: {"logits": y}), "both", "returned dict"),
    "detached": (around(after=lambda y: y.detach()), "both", NO_GRADIENT),
    "no-grad": (_with(forward=torch.no_grad()(Plain.forward)), "both", NO_GRADIENT),
    "inference-mode": (_with(forward=torch.inference_mode()(Plain.forward)), "both", NO_GRADIENT),
    "numpy-inside": (around(after=lambda y: torch.from_numpy(y.detach().numpy())), "both", NO_GRADIENT),
    "quantised": (_quantised, "both", NO_GRADIENT),
    "too-few-outputs": (around(after=lambda y: y[:, :2]), "both", "2 outputs"),
    "too-many-outputs": (around(after=lambda y: y.repeat(1, 250)), "both", "outputs"),
    "one-output": (around(after=lambda y: y[:, :1]), "both", "1 outputs"),
    "a-list": (around(after=lambda y: [y]), "both", "returned list"),
    "a-vector": (around(after=lambda y: y[:, 0]), "both", "(40,) for a batch of 40"),
    "raises": (around(before=_fail(KeyError("mean"))), "both", "the model failed: KeyError"),
    "exits": (around(before=_fail(SystemExit(0))), "both", "the model failed: SystemExit"),
    "has-no-memory": (around(before=_fail(MemoryError("pool"))), "both", "MemoryError"),
    "recursive": (_with(forward=lambda self, x: self.forward(x)), "both", "RecursionError"),
    "build-raises": (_fail(ValueError("width")), "both", "build failed: ValueError"),
    "build-exits": (_fail(SystemExit(0)), "both", "build failed: SystemExit"),
    "no-module": (lambda head: 7, "both", "returned int"),
}


def build(task: Task, *, kind: str, of: str) -> nn.Module:
    """Build a model of a kind."""
    module: nn.Module = KINDS[kind][0](of)
    return module


def taught(task: Task) -> nn.Module:
    """A model that cannot learn."""
    return Plain("attributes")


def train(module: nn.Module, dataset: harness.Dataset, context: object) -> None:
    """Find that something is missing."""
    raise DatasetError("patterns has no training set")


SPECS = f"{__name__}:"


@harness.hookimpl
def harness_datasets() -> list[harness.DatasetSpec]:
    """Patterns."""
    return [harness.DatasetSpec(name="patterns", summary="drawn", load=SPECS + "drawn")]


@harness.hookimpl
def harness_models() -> list[harness.ModelSpec]:
    """One spec per head, and one that cannot be trained."""
    return [
        *(
            harness.ModelSpec(
                name=f"odd-{head}", summary="odd", build=SPECS + "build", head=head, example=SPECS + "drawn"
            )
            for head in ("attributes", "classes")
        ),
        harness.ModelSpec(
            name="unteachable",
            summary="cannot learn",
            source="none",
            build=SPECS + "taught",
            train=SPECS + "train",
            head="attributes",
        ),
    ]
