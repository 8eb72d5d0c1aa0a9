"""A decoupled descent follows the gradient and returns to a ball around the original, whose radius changes.

Direction and norm of the change are decoupled: the radius shrinks while the goal is reached and grows while
it is not (Rony et al. 2019, Decoupling Direction and Norm, https://arxiv.org/abs/1811.09600, algorithm 1;
Pintor et al. 2021, Fast Minimum-norm Adversarial Attacks, https://arxiv.org/abs/2102.12827, algorithm 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from harness.goals import ClassObjective, Objective
from harness.randomness import CaseRandom
from harness.threat import Threat, l2
from harness_attacks.oracle import Oracle

Followed = Literal["cross-entropy", "training", "margin"]
"""The value that is ascended."""
Loss = Literal["cross-entropy", "training", "margin", "both"]
"""A value, or the cross-entropy and the margin one after the other."""
BEGUN: dict[Followed, Followed] = {"training": "cross-entropy"}
"""What is followed in the first step, where it is another value."""
ONWARD = 0.1
"""How far the boundary is thought to be where the value does not tell, as a share of the present change."""
TINY = 1e-12
FLAT = 1e-30
"""The largest component of a gradient that counts as 0."""


class Seen(NamedTuple):
    """A Seen holds what one step knows of each of A cases."""

    progress: float
    """The share of all steps that have been made."""
    radius: Tensor
    """(A,) the radius of the ball so far; infinite before the first step."""
    length: Tensor
    """(A,) the norm of the present change."""
    there: Tensor
    """(A,) bool: the present image reaches the goal."""
    nearest: Tensor
    """(A,) the norm of the smallest change that reached the goal so far; infinite if none did."""
    to_plane: Tensor
    """(A,) how far the present image is from the plane on which the value, linearised there, is 0; a
    guess where the value does not tell."""
    plane: Tensor
    """(A,) how far the original is from this plane, without the pixel range."""


Radius = Callable[[Seen], Tensor]
"""A function that returns the radii (A,) of the next balls."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """A Nearest holds the nearest images so far, and is updated in place."""

    images: Tensor  # (A, C, H, W)
    length: Tensor  # (A,) the norms of their changes; infinite where no image has reached the goal

    @classmethod
    def of(cls, x: Tensor) -> Nearest:
        """Return what is known before the first step."""
        return cls(x.clone(), torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device))

    def keep(self, oracle: Oracle, images: Tensor, length: Tensor, there: Tensor) -> None:
        """Keep the images (A, C, H, W) that reach their goals and are the nearest so far, and report them."""
        rows = torch.nonzero(there & (length < self.length)).flatten()
        if len(rows):
            self.images[rows], self.length[rows] = images[rows], length[rows]
            oracle.model.found(rows)


@dataclass(frozen=True)
class Plan:
    """A Plan says how a descent moves."""

    sizes: Sequence[float]
    """The length of each step, in L2."""
    relative: bool
    """Lengths are shares of what the largest change inside the ball measures in L2."""
    radius: Radius
    """How the radius changes."""
    onto: bool
    """Every change is brought to the sphere, and not only those outside into the ball."""


def descend(
    oracle: Oracle,
    x: Tensor,
    threat: Threat,
    near: Nearest,
    loss: Followed,
    plan: Plan,
    rng: CaseRandom | None = None,
) -> None:
    """Follow the gradient of a value from the originals, and keep the nearest images in ``near``.

    Args:
        oracle: that of the images; its handle computes in the attack's precision.
        x: (A, C, H, W) the originals, which have not reached their goals.
        near: (A,) rows; updated.
        rng: that of the images. With it, a case whose gradient is 0 at the original sets out at random, as
            where a person evades the very image that is enrolled.
    """
    free = _free(threat, x)
    room = torch.maximum(x, 1 - x) if free is None else torch.maximum(x, 1 - x) * free
    farthest = threat.distance(room)  # no image is farther away
    # a change of 1 in every component that may change, in L2
    ball = l2((room > 0).to(x)) if threat.norm == "linf" else torch.ones_like(farthest)
    change = torch.zeros_like(x)
    radius = torch.full_like(farthest, torch.inf)
    for number, size in enumerate(plan.sizes):
        image = (x + change).clamp_(0, 1)
        # The training loss does not tell where the boundary is; the first radius needs a value that does.
        margin, height, gradient = followed(oracle, image, loss if number else BEGUN.get(loss, loss))
        gradient = gradient.nan_to_num_(0, 0, 0)
        if free is not None:
            gradient.mul_(free)
        length, there = threat.distance(change), margin > 0
        near.keep(oracle, image, length, there)
        gradient, scale = _scaled(gradient)
        if not number:
            if rng is not None:
                gradient, scale = _set_out(gradient, scale, margin, free, rng)
            height = margin  # the cross-entropy's value may be positive before the goal is reached
        to_plane, plane = _distances(height / scale, gradient, change, threat)
        if loss == "training" and number:
            to_plane = ONWARD * length
        radius = plan.radius(
            Seen(number / len(plan.sizes), radius, length, there, near.length, to_plane, plane)
        )
        radius = radius.minimum(farthest)
        pace = size * radius * ball if plan.relative else torch.full_like(radius, size)
        step = gradient.mul_((pace / l2(gradient).clamp_min(TINY)).view(-1, 1, 1, 1))
        change = _inside(change + step, radius, threat, plan.onto)
        change = (x + change).clamp_(0, 1) - x


def _set_out(
    gradient: Tensor, scale: Tensor, margin: Tensor, free: Tensor | None, rng: CaseRandom
) -> tuple[Tensor, Tensor]:
    """Return gradients (A, C, H, W), random where they are 0, and scales (A,) for a boundary not far away."""
    flat = torch.nonzero(scale <= FLAT).flatten()
    if len(flat):
        drawn = rng.take(flat).normal(gradient.shape[1:]).to(gradient)
        gradient[flat] = drawn if free is None else drawn * free.expand_as(gradient)[flat]
        scale = scale.index_put((flat,), (margin[flat].abs() / l2(gradient[flat]).clamp_min(TINY)))
    return gradient, scale


def followed(oracle: Oracle, images: Tensor, loss: Followed) -> tuple[Tensor, Tensor, Tensor]:
    """Return the margins (A,), the values (A,) to ascend and their gradients (A, C, H, W) at some images."""
    objective, margin = oracle.objective, torch.empty(len(images), device=images.device)

    def value(outputs: Tensor) -> Tensor:
        with torch.no_grad():  # a graph that is not followed would stay
            own = objective.margin(outputs)
            margin.copy_(torch.where(objective.reached(outputs), own, -own.abs()))
        return height_of(objective, loss, outputs)

    height, gradient = oracle.model.gradient(images, value)
    return margin - oracle.confidence, height - oracle.confidence, gradient


def height_of(objective: Objective, loss: Followed, outputs: Tensor) -> Tensor:
    """Return the value (A,) of outputs (A, M) that is ascended to reach the goal.

    The cross-entropy of classes is softplus(h), where h is the logarithm of the summed exponentials of the
    other logits, less the own one. Here h itself is returned: its gradient has the same direction, does not
    vanish where the decision is sure, and h is near 0 at the boundary. A decision between two values has one
    number alone, so that h is the margin.
    """
    if loss == "training":
        training = objective.loss(outputs)
        return torch.where(objective.ascend, training, -training)
    if loss == "margin" or not isinstance(objective, ClassObjective):
        return objective.margin(outputs)
    classes = objective.classes[:, None]
    own = outputs.gather(1, classes)[:, 0]
    others = outputs.scatter(1, classes, -torch.inf).logsumexp(1)
    return own - others if objective.towards else others - own


def _free(threat: Threat, x: Tensor) -> Tensor | None:
    """Return 1 where pixels may change and 0 elsewhere, of a shape that goes with (A, C, H, W)."""
    return None if threat.mask is None else threat.mask.to(x)


def _scaled(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients with a largest component of 1, and (A,) by what they were divided.

    The squares of small components would vanish; a gradient of 0 stays 0.
    """
    scale = gradient.flatten(1).abs().amax(1).clamp_min(FLAT)
    return gradient / scale.view(-1, 1, 1, 1), scale


def _distances(height: Tensor, gradient: Tensor, change: Tensor, threat: Threat) -> tuple[Tensor, Tensor]:
    """Return the distances (A,) from the image and from the original to the plane where the value is 0."""
    flat = gradient.flatten(1)
    slope = flat.abs().sum(1) if threat.norm == "linf" else l2(gradient)  # the dual norm
    slope = slope.clamp_min(TINY)
    along = (flat * change.flatten(1)).sum(1)
    return height.abs() / slope, (along - height) / slope


def _inside(change: Tensor, radius: Tensor, threat: Threat, onto: bool) -> Tensor:
    """Return changes (A, C, H, W) inside balls of some radii (A,), or on their spheres."""
    bound = radius.view(-1, 1, 1, 1)
    if threat.norm == "linf" and not onto:
        return change.clamp(-bound, bound)
    share = bound / threat.distance(change).clamp_min(TINY).view(-1, 1, 1, 1)
    return change * (share if onto else share.clamp_max(1))
