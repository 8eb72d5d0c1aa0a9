"""A universal patch is learned on some images and used on all (Brown et al. 2017; Arvinte et al., C).

The same pixels replace the region of every image, during learning and afterwards. (The published code adds
them to the image during learning, and replaces pixels only afterwards: these are two different attacks.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from harness.errors import AttackError
from harness.goals import Objective
from harness.handle import Handle
from harness.randomness import CaseRandom
from harness.threat import Threat
from harness_attacks.adam import Adam
from harness_attacks.best_images import Best
from harness_attacks.patched_images import Climb, Loss, PatchedImages, Slope, spots, without_spots
from harness_attacks.tanh_space import from_tanh, steepness

SMOOTHING = 0.25
"""The width of the smoothed decision, relative to the mean absolute margin."""


def universal_patch(
    model: Handle,
    x: Tensor,
    objective: Objective,
    threat: Threat,
    *,
    rng: CaseRandom,
    fit: Tensor,
    iterations: Annotated[int, Ge(1)] = 200,
    learning_rate: Annotated[float, Gt(0)] = 0.05,
    mini_batch: Annotated[int, Ge(1)] = 64,
    mirror: bool = False,
    loss: Loss | Literal["success"] = "success",
    report: Literal["last", "best"] = "last",
) -> Tensor:
    """Return images (B, C, H, W) with the patch of their group, or the originals if none was learned.

    Cases with the same goal (``objective.groups``) have one patch. It begins grey, and Adam ascends the loss
    on the images to learn on.

    Args:
        fit: (B,) bool, the images to learn on.
        iterations: the number of Adam's steps, each on one mini-batch.
        learning_rate: the learning rate in tanh space, where grey is 0, black -7.25 and white +7.25.
        mini_batch: the number of images at once; each pass through all images has an order of its own.
        mirror: ascend the mean over images and mirror images, for a verifier that uses both.
        loss: ascend the smoothed share of images that reach the goal; or the mean margin; or, for embeddings,
            the mean squared distance to the anchor, as published. Both means also reward changes to images
            that reach the goal anyway, and to those that no patch can bring there.
        report: the patch after the last step, or the best one on the images to learn on: by the loss, or by
            the share of them that reach the goal if the loss is "success". Patches are compared at the
            beginning of each pass through these images.

    Raises:
        AttackError: there is no region, it is empty, or it is not the same for all images.
    """
    patched = without_spots(model, x, objective, threat)
    if threat.mask is None or threat.mask.ndim != 2:
        raise AttackError("universal-patch needs one mask (H, W) for all images")
    climb = Climb(iterations, learning_rate, "margin" if loss == "success" else loss, mirror)
    here = spots(threat.mask.to(x.device)[None], x.shape[1])  # (1, N)
    groups, fit = objective.groups.to(x.device), fit.to(x.device)
    x_adv = x.clone(memory_format=torch.contiguous_format)
    for group in torch.unique(groups[fit]):
        learning = torch.nonzero(fit & (groups == group)).flatten()
        lesson = Lesson(patched, here, learning, climb, mini_batch, decisive=loss == "success")
        patch = lesson.learned(rng.take(learning), best=report == "best")
        x_adv.view(len(x), -1)[torch.nonzero(groups == group), here] = patch
    return x_adv


@dataclass(frozen=True, eq=False)
class Lesson:
    """A Lesson is what one patch is learned on, and how."""

    patched: PatchedImages
    here: Tensor  # (1, N) the spots
    learning: Tensor  # (K,) the cases
    climb: Climb
    mini_batch: int
    decisive: bool
    """Whether to ascend the mean of sigmoid(margin / scale); the scale is a share of the mean |margin|."""

    def learned(self, rng: CaseRandom, *, best: bool) -> Tensor:
        """Learn the patch (1, N), and return the last one, or the best at the beginning of any pass."""
        position = torch.zeros(self.here.shape, device=self.here.device)  # grey
        adam = Adam(1, self.here.shape[1], self.here.device)
        found = Best.of(from_tanh(position))
        batches = shuffled(rng, self.mini_batch)
        per_pass = -(-len(self.learning) // self.mini_batch)
        for step in range(self.climb.iterations):
            values, rows = from_tanh(position), self.learning[next(batches).to(self.here.device)]
            slope = self._worn(rows).uphill(values.expand(len(rows), -1), self.climb)
            if best and step % per_pass == 0:
                self._compare(found, values, slope if per_pass == 1 else None)
            gradient = slope.gradient
            if self.decisive:
                gradient = gradient * undecided(slope.margin)[:, None]
            step_up = adam.step(gradient.mean(0, keepdim=True) * steepness(values))
            position += self.climb.learning_rate * step_up
        if best:
            self._compare(found, from_tanh(position))
        return found.values if best else from_tanh(position)

    def _worn(self, rows: Tensor) -> PatchedImages:
        return self.patched.take(rows, self.here.expand(len(rows), -1))

    def _compare(self, found: Best, values: Tensor, slope: Slope | None = None) -> None:
        """Keep the patch (1, N) if it is better on all images to learn on; ``slope`` is theirs, if known."""
        parts = torch.split(self.learning, self.mini_batch)
        slopes = (self._worn(rows).level(values.expand(len(rows), -1), self.climb) for rows in parts)
        known = list(slopes) if slope is None else [slope]
        heights = torch.cat([(each.margin > 0).float() if self.decisive else each.value for each in known])
        first = torch.zeros(1, dtype=torch.int64, device=values.device)
        found.keep(first, values, heights.nanmean()[None], first > 0)


def undecided(margin: Tensor) -> Tensor:
    """Return (B,) the derivative of sigmoid(margin / scale), without a common factor; it is large near 0."""
    share = torch.sigmoid(margin / (SMOOTHING * margin.abs().nanmean()).clamp_min(1e-30)).nan_to_num(0)
    return share * (1 - share)


def shuffled(rng: CaseRandom, size: int) -> Iterator[Tensor]:
    """Yield mini-batches of row numbers, pass after pass.

    Their order comes from the random numbers of the cases, so it does not depend on the order of the rows.
    """
    while True:
        yield from torch.split(rng.uniform(()).argsort(), size)
