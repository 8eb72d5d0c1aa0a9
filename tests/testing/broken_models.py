"""Models that break one promise each, and the sound ones that they were made from."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class Sound(nn.Module):
    """Attribute scores (B, M) of two logits each, by a network with batch normalisation and dropout."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.attribute_names = names
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()
        )
        self.dropout = nn.Dropout(0.5)
        self.output = nn.Linear(128, 2 * len(names))

    def pairs(self, x: Tensor) -> Tensor:
        return self.output(self.dropout(self.body(2 * x - 1))).unflatten(1, (-1, 2))  # (B, M, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.pairs(x).diff(dim=2)[:, :, 0]

    def select(self, x: Tensor, columns: Tensor) -> Tensor:
        return self.logits(x, columns).diff(dim=1)[:, 0]

    def logits(self, x: Tensor, columns: Tensor) -> Tensor:
        return self.pairs(x)[torch.arange(len(x)), columns]

    @staticmethod
    def training_loss(scores: Tensor, labels: Tensor) -> Tensor:
        return F.softplus(-labels * scores)


def sound(task):
    return Sound(task.attribute_names)


def made_from(**methods: Any) -> Any:
    """A build function of the sound model with other methods."""
    kind = type("Broken", (Sound,), methods)
    return lambda task: kind(task.attribute_names)


def of_scores(change: Any) -> Any:
    """A build function of the sound model whose scores (B, M) are changed: ``change(module, x, scores)``."""
    return made_from(
        forward=lambda self, x: change(self, x, Sound.forward(self, x)), select=None, logits=None
    )


class Rounded(torch.autograd.Function):
    """Rounded to tenths, with twice the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return 2 * slope


def initialised(extra: Any) -> Any:
    """A build function of the sound model after ``extra(module)``, and scores shifted by ``module.extra``."""

    def init(self: Any, names: tuple[str, ...]) -> None:
        Sound.__init__(self, names)
        extra(self)

    def forward(self: Any, x: Tensor) -> Tensor:
        return Sound.forward(self, x) + self.extra

    return made_from(__init__=init, forward=forward, select=None, logits=None)


def set_weight_by_the_clock(module: Any) -> None:
    module.extra = nn.Parameter(torch.tensor(np.random.default_rng().random(), dtype=torch.float32))


def set_number_by_the_seed(module: Any) -> None:
    module.extra = float(torch.randn(()))


def set_plain_tensor(module: Any) -> None:
    module.extra = torch.ones(4)


def set_shared_weight(module: Any) -> None:
    module.extra = nn.Parameter(torch.zeros(4))
    module.register_buffer("again", module.extra.data.view(2, 2))


def stays_awake(self: Any, mode: bool = True) -> Any:
    Sound.train(self, mode)
    self.body[1].train()
    return self


def wakes(self: Any, x: Tensor) -> Tensor:
    scores = Sound.forward(self, x)
    self.body[1].train()
    return scores


def counts(self: Any, x: Tensor) -> Tensor:
    self.body[1].num_batches_tracked += 1
    return Sound.forward(self, x)


def drifts(self: Any, x: Tensor) -> Tensor:
    self.output.weight.data *= 0.9
    return Sound.forward(self, x)


def hides(self: Any, x: Tensor) -> Tensor:
    os.umask(0o077 if os.umask(0) == 0o027 else 0o027)
    return Sound.forward(self, x)


def standardises(self: Any, x: Tensor) -> Tensor:
    return Sound.forward(self, (x - x.mean()) / x.std()) if len(x) else Sound.forward(self, x)


def normalises(self: Any, x: Tensor) -> Tensor:
    return Sound.forward(self, x / x.flatten(1).norm(dim=1).view(-1, 1, 1, 1))


def remembers(self: Any, x: Tensor) -> Tensor:
    self.last = getattr(self, "last", torch.zeros(())) * 0.9 + x.mean() * 0.1
    return Sound.forward(self, x) + self.last


def statistics_of_the_batch(self: Any, names: tuple[str, ...]) -> None:
    Sound.__init__(self, names)
    self.body[1] = nn.BatchNorm2d(8, track_running_stats=False)


def of_pixels(change: Any) -> Any:
    """A build function of the sound network behind another preparation of the pixels: ``change(x)``."""

    def prepared(self: Any, x: Tensor) -> Tensor:
        return self.output(self.dropout(self.body(change(x)))).unflatten(1, (-1, 2)).diff(dim=2)[:, :, 0]

    return made_from(forward=prepared, select=None, logits=None)


def caffe(x: Tensor) -> Tensor:
    return x - x.new_tensor([123.68, 116.78, 103.94]).view(1, 3, 1, 1)


def trimmed(x: Tensor) -> Tensor:
    return (x - x.amin()) / (x.amax() - x.amin() + 1e-6)


class Embedding(nn.Module):
    """Embeddings (B, 6), compared by their distance."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], 6))
        self.threshold = 1.0

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Unrooted(Embedding):
    """With a distance whose gradient is infinite where embeddings meet."""

    @staticmethod
    def distance(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().sum(1).sqrt()


class Similar(Embedding):
    """With a similarity in place of a distance."""

    @staticmethod
    def distance(a: Tensor, b: Tensor) -> Tensor:
        return F.cosine_similarity(a, b)


class Together(Embedding):
    """With one distance for the batch."""

    @staticmethod
    def distance(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).norm()


def embedding(task):
    return Embedding(task.shape)


def classes(task):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * task.shape[1] * task.shape[2], len(task.class_names)))


class Classifier(nn.Module):
    """Logits (B, K), which a function may change."""

    def __init__(self, count: int, change: Any = None, names: Any = None) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(4))
        self.output = nn.Linear(128, count)
        self.change = change or (lambda logits: logits)
        if names:
            self.class_names = names

    def forward(self, x: Tensor) -> Tensor:
        return self.change(self.output(self.body(x).flatten(1)))


def of_logits(change: Any) -> Any:
    """A build function of a sound classifier whose logits (B, K) are changed: ``change(logits)``."""
    return lambda task: Classifier(len(task.class_names), change)


class Fitted(nn.Module):
    """Scores of a table that training fills in, and decisions only."""

    def forward(self, x: Tensor) -> Tensor:
        return self.table.sign() * x.detach().flatten(1).mean(1, keepdim=True)


def unfitted(task):
    return Fitted()


def fit(module, dataset, context):
    module.register_buffer("table", torch.from_numpy(dataset.attributes.mean(0)) - 0.5)
