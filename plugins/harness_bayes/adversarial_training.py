"""The CNN is trained adversarially by TRADES (Zhang et al. 2019) or on PGD's images (Madry et al. 2018).

TRADES, https://arxiv.org/abs/1901.08573, eq. 5 and algorithm 1, minimises

    cross-entropy(f(x), y) + β KL(f(x) || f(x')),    x' the image in the ball around x with the largest KL,

and training on PGD's images, https://arxiv.org/abs/1706.06083, eq. 2.1, minimises the cross-entropy of the
image in the ball with the largest one. The Bayes-optimal study (section 3, figure 8) states no norm, no
radius and no β. It measures robustness in L2, so the default here is an L2 ball, with a radius below 1.5: up
to this, it calls changes of faces of 64 x 64 pixels almost invisible. The default of TRADES is L-infinity,
with eps = 0.031, 10 steps of 0.007 and β = 6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness.dataset import Dataset
from harness.threat import Threat, l2, linf
from harness.training import Context
from harness_bayes.cnn import Cnn
from harness_bayes.two_class_recipe import DEFAULT, Recipe, cross_entropy, fit

Norm = Literal["l2", "linf"]
START = 1e-3
"""The deviation of the noise with which TRADES begins its search, because KL has no gradient at x itself."""
REACH = 2.5
"""The total length of the default steps, in eps."""


@dataclass(frozen=True, kw_only=True)
class Ball:
    """A Ball says where the worst image is searched, and how."""

    norm: Norm = "l2"
    eps: Annotated[float, Gt(0), Lt(1e6)]
    """The radius."""
    steps: Annotated[int, Ge(1)] = 3
    """The number of steps of the search."""
    step_size: Annotated[float, Gt(0), Lt(1e6)] | None = None
    """The step size in the units of the norm; None: 2.5 eps / steps, so that the steps can cross the ball."""

    @property
    def step(self) -> float:
        """Return the step size that is used."""
        return self.step_size or REACH * self.eps / max(self.steps, 1)

    @property
    def identity(self) -> dict[str, Any]:
        """Return all that decides the result of a search."""
        return {**asdict(self), "step_size": self.step}

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Bring images (B, C, H, W) into the ball around ``x`` and into [0, 1]."""
        return Threat(self.norm, self.eps).project(x_adv, x)

    def random(self, x: Tensor, noise: torch.Generator) -> Tensor:
        """Return random images (B, C, H, W) in the ball; in L2, direction and distance are uniform."""
        if self.norm == "linf":
            change = (2 * _uniform(x.shape, noise, x) - 1) * self.eps
        else:
            direction = _normal(x.shape, noise, x)
            length = self.eps * _uniform(torch.Size([len(x)]), noise, x)  # (B,)
            change = direction * (length / l2(direction).clamp_min(1e-12)).view(-1, 1, 1, 1)
        return self.project(x + change, x)

    def worst(self, network: nn.Module, x: Tensor, start: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
        """Ascend the loss from ``start`` (B, C, H, W), and return the images at the end.

        The network is in eval mode during the search, and no weight receives a gradient.

        Args:
            loss: a function of outputs (B, K) that returns the loss (B,) to ascend.
        """
        training = network.training
        network.eval()
        x_adv = self.project(start, x)
        for _ in range(self.steps):
            x_adv.requires_grad_()
            (gradient,) = torch.autograd.grad(loss(network(x_adv).float()).sum(), x_adv)
            x_adv = self.project(x_adv.detach() + self._step(gradient), x)
        network.train(training)
        return x_adv.detach()

    def _step(self, gradient: Tensor) -> Tensor:
        if self.norm == "linf":
            return self.step * gradient.sign()
        # The gradient is scaled first, because the squares of small values would become 0; 0 stays 0.
        gradient = gradient / linf(gradient).clamp_min(1e-30).view(-1, 1, 1, 1)
        return gradient * (self.step / l2(gradient).clamp_min(1e-12)).view(-1, 1, 1, 1)


def divergence(outputs: Tensor, others: Tensor) -> Tensor:
    """Return (B,) KL(softmax(outputs) || softmax(others)) of logits (B, K) and (B, K)."""
    own = outputs.log_softmax(1)
    return (own.exp() * (own - others.log_softmax(1))).sum(1)


def trades_loss(
    network: nn.Module, x: Tensor, labels: Tensor, noise: torch.Generator, *, ball: Ball, beta: float
) -> Tensor:
    """Return cross-entropy + β KL(f(x) || f(x')), averaged over the batch; if β = 0, x' is not searched."""
    if beta == 0:
        return cross_entropy(network, x, labels, noise)
    training = network.training
    network.eval()
    with torch.no_grad():
        wanted = network(x).float()
    network.train(training)
    start = x + START * _normal(x.shape, noise, x)
    x_adv = ball.worst(network, x, start, lambda outputs: divergence(wanted, outputs))
    outputs, others = network(x).float(), network(x_adv).float()
    return F.cross_entropy(outputs, labels) + beta * divergence(outputs, others).mean()


def pgd_loss(network: nn.Module, x: Tensor, labels: Tensor, noise: torch.Generator, *, ball: Ball) -> Tensor:
    """Return the mean cross-entropy of the worst images that a search from random ones finds in the ball."""

    def loss(outputs: Tensor) -> Tensor:
        return F.cross_entropy(outputs, labels, reduction="none")

    return cross_entropy(network, ball.worst(network, x, ball.random(x, noise), loss), labels, noise)


def train_trades(
    module: Cnn,
    dataset: Dataset,
    context: Context,
    *,
    beta: Annotated[float, Ge(0), Lt(1e6)] = 6.0,
    ball: Ball = Ball(eps=1.0),
    recipe: Recipe = DEFAULT,
) -> None:
    """Train in place by TRADES.

    Args:
        beta: the weight of equal outputs near an image; 0 is the training of the plain CNN.
        ball: the ball in which images should have equal outputs.

    Raises:
        DatasetError: there is no training set.
        ModelError: the data set does not have two classes, or training diverged.
    """

    def loss(network: nn.Module, x: Tensor, labels: Tensor, noise: torch.Generator) -> Tensor:
        return trades_loss(network, x, labels, noise, ball=ball, beta=beta)

    fit(module, dataset, loss, recipe, context, {**module.design, **ball.identity, "beta": beta})


def train_pgd(
    module: Cnn,
    dataset: Dataset,
    context: Context,
    *,
    ball: Ball = Ball(eps=0.5),
    recipe: Recipe = DEFAULT,
) -> None:
    """Train in place on PGD's images.

    Args:
        ball: the ball in which PGD searches, from a random start. With twice this radius, a quick network
            of faces learns nothing in six epochs.

    Raises:
        DatasetError: there is no training set.
        ModelError: the data set does not have two classes, or training diverged.
    """

    def loss(network: nn.Module, x: Tensor, labels: Tensor, noise: torch.Generator) -> Tensor:
        return pgd_loss(network, x, labels, noise, ball=ball)

    fit(module, dataset, loss, recipe, context, {**module.design, **ball.identity})


def _normal(shape: torch.Size, noise: torch.Generator, like: Tensor) -> Tensor:
    """Return normal numbers that are drawn on the CPU, so that they are the same for every device."""
    return torch.randn(shape, generator=noise).to(like)


def _uniform(shape: torch.Size, noise: torch.Generator, like: Tensor) -> Tensor:
    return torch.rand(shape, generator=noise).to(like)
