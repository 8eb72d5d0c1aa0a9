"""Adversarial training of the CNN: TRADES (Zhang et al. 2019) and on PGD's images (Madry et al. 2018).

TRADES, https://arxiv.org/abs/1901.08573, eq. 5 and algorithm 1, minimises

    cross-entropy(f(x), y) + β KL(f(x) || f(x')),    x' the image in the ball around x with the largest KL,

and training on PGD's images, https://arxiv.org/abs/1706.06083, eq. 2.1, the cross-entropy of the image in the
ball with the largest one. The Bayes-optimal study (section 3, figure 8) names no norm, no ball and no β. It
measures robustness in L2, so L2 balls are the default here, of radii below the 1.5 up to which it calls
changes of faces of 64 x 64 pixels all but invisible. TRADES' own default is L-infinity, with eps = 0.031, 10
steps of 0.007 and β = 6.
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
"""Deviation of the noise at which TRADES begins its search: at x itself KL has no gradient."""
REACH = 2.5
"""Length of the way that the default steps can go, in eps."""


@dataclass(frozen=True, kw_only=True)
class Ball:
    """Where the worst image is looked for, and how."""

    norm: Norm = "l2"
    eps: Annotated[float, Gt(0), Lt(1e6)]
    """Its radius."""
    steps: Annotated[int, Ge(1)] = 3
    """Of the search."""
    step_size: Annotated[float, Gt(0), Lt(1e6)] | None = None
    """In the units of the norm; None: 2.5 eps / steps, so that the steps can cross the ball."""

    @property
    def step(self) -> float:
        """The step size that is used."""
        return self.step_size or REACH * self.eps / max(self.steps, 1)

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides where a search ends."""
        return {**asdict(self), "step_size": self.step}

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The images (B, C, H, W), moved into the ball around ``x`` and into [0, 1]."""
        return Threat(self.norm, self.eps).project(x_adv, x)

    def random(self, x: Tensor, noise: torch.Generator) -> Tensor:
        """Images (B, C, H, W) in the ball: uniform in L-infinity; in L2 in any direction, at any distance."""
        if self.norm == "linf":
            change = (2 * _uniform(x.shape, noise, x) - 1) * self.eps
        else:
            direction = _normal(x.shape, noise, x)
            length = self.eps * _uniform(torch.Size([len(x)]), noise, x)  # (B,)
            change = direction * (length / l2(direction).clamp_min(1e-12)).view(-1, 1, 1, 1)
        return self.project(x + change, x)

    def worst(self, network: nn.Module, x: Tensor, start: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
        """Where steps uphill from ``start`` (B, C, H, W) end; the network is in eval mode on the way.

        No weight receives a gradient.

        Args:
            loss: of outputs (B, K): (B,), to be made large.
        """
        training = network.training
        network.eval()
        x_adv = self.project(start, x)
        for _ in range(self.steps):
            x_adv.requires_grad_()
            (slope,) = torch.autograd.grad(loss(network(x_adv).float()).sum(), x_adv)
            x_adv = self.project(x_adv.detach() + self._step(slope), x)
        network.train(training)
        return x_adv.detach()

    def _step(self, slope: Tensor) -> Tensor:
        if self.norm == "linf":
            return self.step * slope.sign()
        # Scaled first, for small gradients have squares that vanish; a zero gradient stays where it is.
        slope = slope / linf(slope).clamp_min(1e-30).view(-1, 1, 1, 1)
        return slope * (self.step / l2(slope).clamp_min(1e-12)).view(-1, 1, 1, 1)


def divergence(outputs: Tensor, others: Tensor) -> Tensor:
    """KL(softmax(outputs) || softmax(others)) (B,) of logits (B, K) and (B, K)."""
    own = outputs.log_softmax(1)
    return (own.exp() * (own - others.log_softmax(1))).sum(1)


def trades_loss(
    network: nn.Module, x: Tensor, labels: Tensor, noise: torch.Generator, *, ball: Ball, beta: float
) -> Tensor:
    """Cross-entropy + β KL(f(x) || f(x')), averaged over the batch; where β = 0, x' is not looked for."""
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
    """The mean cross-entropy of the images in the ball that a search from a random one ends at."""

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
        beta: how much equal answers near an image weigh; 0 is the CNN's own training.
        ball: where images should have equal answers.

    Raises:
        DatasetError: there is no training set.
        ModelError: it has not two classes, or training diverged.
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
        ball: where PGD searches, from anywhere in it. From scratch, six epochs in one of twice the radius
            leave a quick network of faces at chance.

    Raises:
        DatasetError: there is no training set.
        ModelError: it has not two classes, or training diverged.
    """

    def loss(network: nn.Module, x: Tensor, labels: Tensor, noise: torch.Generator) -> Tensor:
        return pgd_loss(network, x, labels, noise, ball=ball)

    fit(module, dataset, loss, recipe, context, {**module.design, **ball.identity})


def _normal(shape: torch.Size, noise: torch.Generator, like: Tensor) -> Tensor:
    """Drawn on the CPU, so that every device sees the same numbers."""
    return torch.randn(shape, generator=noise).to(like)


def _uniform(shape: torch.Size, noise: torch.Generator, like: Tensor) -> Tensor:
    return torch.rand(shape, generator=noise).to(like)
