"""Networks that no attack was developed on, of three heads and two sizes, trained as usual or by PGD.

Digits are those of MNIST where MNIST_ROOT names it, else those of scikit-learn; faces are drawn. Each network
is trained for less than a minute, from a seed of its own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import harness
from harness.dataset import Dataset
from harness.goals import Evade, FlipAttribute, Goal, Impersonate, Untargeted
from harness.model import Model

ATTRIBUTES = ("Bangs", "Wearing_Hat", "Mouth_Slightly_Open", "Young", "Wearing_Lipstick")
THRESHOLD = 0.6
"""The distance of unit vectors below which two faces are taken for one person's."""


@dataclass(frozen=True)
class Unseen:
    """A head, a size, and how far in L2 the adversarials of the training are; 0 for none."""

    head: str
    side: int
    hardened: float = 0.0
    evades: bool = False

    def __str__(self) -> str:
        told = [self.head, f"{self.side}x{self.side}"]
        return " ".join(told + ["evasion"] * self.evades + ["PGD"] * bool(self.hardened))


@dataclass(frozen=True)
class Sizes:
    """How much there is to learn and to attack, and how long searches are."""

    batches: int
    images: int
    cases: int
    long: int  # steps of the long search
    steps: int  # of DDN
    peers: int  # of Foolbox's DDN and FMN
    searches: tuple[int, int]  # of Foolbox's CW-L2, each with so many iterations


@dataclass(frozen=True, eq=False)
class Setting:
    """A network, and images whose goals are not reached yet."""

    model: Model
    x: Tensor  # (B, C, side, side) on the 8-bit grid
    goal: Goal


class Embedding(nn.Module):
    """The outputs of a network as unit vectors (B, D)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.module(x), dim=1)


def network(channels: int, side: int, outputs: int) -> nn.Module:
    """Strided convolutions and SiLU down to 4x4 (B, outputs)."""
    layers: list[nn.Module] = [nn.Conv2d(channels, 16, 5, stride=2, padding=2), nn.SiLU()]
    width, side = 16, side // 2
    while side > 4:
        wider = min(2 * width, 64)
        layers += [nn.Conv2d(width, wider, 3, padding=1, stride=2), nn.BatchNorm2d(wider), nn.SiLU()]
        width, side = wider, side // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * side * side, outputs))


def images(data: Dataset, rows: np.ndarray, side: int) -> Tensor:
    """Return images (B, C, side, side) on the 8-bit grid."""
    found = torch.from_numpy(data.images(rows)).float() / 255
    if found.shape[2:] != (side, side):
        found = F.interpolate(found, size=(side, side), mode="bilinear", align_corners=False)
    return torch.round(found * 255) / 255


def data_of(kind: Unseen) -> Dataset:
    """Open digits for classes, and drawn faces for the other heads."""
    if kind.head != "classes":
        from harness_faces import synthetic

        return synthetic.load(size=(kind.side, kind.side), count=6000, seed=23)
    if os.environ.get("MNIST_ROOT"):
        from harness_faces import mnist

        return mnist.load(root=os.environ["MNIST_ROOT"])
    from harness_faces import sklearn_digits

    return sklearn_digits.load()


def truths(data: Dataset, rows: np.ndarray, head: str) -> Tensor:
    """Return classes (B,), attributes (B, 5) or persons (B,)."""
    if head == "attributes":
        assert data.attributes is not None
        columns = [data.attribute_names.index(name) for name in ATTRIBUTES]
        return torch.from_numpy(data.attributes[rows][:, columns])
    found = data.labels if head == "classes" else data.identities
    assert found is not None
    return torch.from_numpy(found[rows])


def loss_of(head: str, outputs: Tensor, truth: Tensor) -> Tensor:
    """Return the mean training loss."""
    if head == "classes":
        return F.cross_entropy(outputs, truth)
    if head == "attributes":
        return F.softplus(torch.where(truth, -outputs, outputs)).mean()
    alone = torch.eye(len(outputs), dtype=torch.bool)
    likeness = (outputs @ outputs.T / 0.1).masked_fill(alone, -1e4).log_softmax(1)
    same = (truth[:, None] == truth) & ~alone
    return -(likeness * same).sum() / same.sum().clamp_min(1)


def hardest(module: nn.Module, head: str, x: Tensor, truth: Tensor, far: float) -> Tensor:
    """Return images (B, C, H, W) after three steps of PGD in L2."""
    change = torch.zeros_like(x)
    for _ in range(3):
        start = (x + change).requires_grad_()
        # the images of a batch stand for each other in an embedding's loss: it has no case of its own
        (slope,) = torch.autograd.grad(loss_of(head, module(start), truth), start)
        change = change + far / 2 * F.normalize(slope.flatten(1), dim=1).view_as(x)
        change = change * (far / change.flatten(1).norm(dim=1).clamp_min(far)).view(-1, 1, 1, 1)
    return (x + change).clamp(0, 1).detach()


@cache
def trained(kind: Unseen, sizes: Sizes) -> tuple[nn.Module, Dataset]:
    """Train the network; its seed is decided by what it is."""
    data = data_of(kind)
    rows = data.rows("train")[: sizes.images]
    x, truth = images(data, rows, kind.side), truths(data, rows, kind.head)
    torch.manual_seed(100 + kind.side + 7 * len(kind.head) + round(10 * kind.hardened))
    module = network(x.shape[1], kind.side, {"classes": 10, "attributes": 5, "embedding": 24}[kind.head])
    module = Embedding(module) if kind.head == "embedding" else module
    optimizer, draws = torch.optim.AdamW(module.parameters(), 2e-3), torch.Generator().manual_seed(31)
    for number in range(sizes.batches):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - number / sizes.batches)
        batch = torch.randint(0, len(x), (96 if kind.head == "embedding" else 64,), generator=draws)
        shown, known = x[batch], truth[batch]
        if kind.hardened:
            shown = hardest(module.eval(), kind.head, shown, known, kind.hardened)
            module.train()
        optimizer.zero_grad()
        loss_of(kind.head, module(shown), known).backward()
        optimizer.step()
    return module.eval().requires_grad_(False), data


def setting(kind: Unseen, sizes: Sizes) -> Setting:
    """Return the network, and test images that it answers rightly, with their goals."""
    module, data = trained(kind, sizes)
    rows = data.rows("test")[: 12 * sizes.cases]
    x, truth = images(data, rows, kind.side), truths(data, rows, kind.head)
    with torch.no_grad():
        outputs = module(x)
    if kind.head == "embedding":
        return _pairs(kind, module, x, outputs, truth, sizes.cases)
    model = harness.wrap_model(module, kind.head)  # type: ignore[arg-type]
    if kind.head == "classes":
        right = torch.nonzero(outputs.argmax(1) == truth).flatten()[: sizes.cases]
        return Setting(model, x[right], Untargeted(truth[right]))
    columns = torch.arange(len(x)) % len(ATTRIBUTES)
    answers = (outputs > 0).gather(1, columns[:, None])[:, 0]
    right = torch.nonzero(answers == truth.gather(1, columns[:, None])[:, 0]).flatten()[: sizes.cases]
    return Setting(model, x[right], FlipAttribute(columns[right]))


def _pairs(kind: Unseen, module: nn.Module, x: Tensor, own: Tensor, who: Tensor, cases: int) -> Setting:
    """Return images with the embeddings of others, which they are to be taken for, or of the same person."""
    far, same = torch.cdist(own, own), who[:, None] == who
    other_image = ~torch.eye(len(x), dtype=torch.bool)
    wanted = same & (far < THRESHOLD) & other_image if kind.evades else ~same & (far >= THRESHOLD)
    able = torch.nonzero(wanted.any(1)).flatten()[:cases]
    drawn = torch.rand(wanted.shape, generator=torch.Generator().manual_seed(41))
    other = drawn.masked_fill(~wanted, -1).argmax(1)[able]
    model = harness.wrap_model(module, "embedding", threshold=THRESHOLD)
    return Setting(model, x[able], Evade(own[other]) if kind.evades else Impersonate(own[other]))
