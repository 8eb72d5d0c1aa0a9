"""PatchedImages have some components replaced by a patch; gradient ascent in tanh space finds the patch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from harness.errors import AttackError
from harness.goals import Objective
from harness.handle import Handle
from harness.threat import Threat
from harness_attacks.adam import Adam
from harness_attacks.best_images import Best
from harness_attacks.oracle import NOISE
from harness_attacks.tanh_space import from_tanh, steepness

Loss = Literal["margin", "squared-distance"]
"""The value to ascend: the goal's margin; or, for embeddings, the squared distance to the anchor, with the
sign that the goal asks for (other heads have no distance, and use the margin)."""


@dataclass(frozen=True)
class Climb:
    """A Climb holds the settings of a gradient ascent."""

    iterations: int
    learning_rate: float
    loss: Loss
    mirror: bool
    """Whether to ascend the mean over the image and its mirror image."""
    early_stop: bool = True
    """Whether a case leaves once its rounded image reaches the goal in float32."""


@dataclass(frozen=True, eq=False)
class PatchedImages:
    """PatchedImages are images of cases, each with a patch; a case may have several rows."""

    model: Handle
    """The handle, focused on the objective."""
    x: Tensor  # (B, C, H, W)
    objective: Objective
    threat: Threat
    spots: Tensor  # (B, N) the components of the flattened image that are replaced

    def take(self, rows: Tensor, spots: Tensor | None = None) -> PatchedImages:
        """Return some rows (K,), with other spots (K, N) if given."""
        return replace(
            self,
            model=self.model.take(rows),
            x=self.x[rows],
            objective=self.objective.take(rows),
            threat=self.threat.take(rows),
            spots=self.spots[rows] if spots is None else spots,
        )

    def covered(self, images: Tensor) -> Tensor:
        """Return (B, N) the components of images (B, C, H, W) at the spots."""
        return images.flatten(1).gather(1, self.spots)

    def with_patch(self, values: Tensor) -> Tensor:
        """Return the images (B, C, H, W) with these values (B, N) at the spots."""
        return self.x.flatten(1).scatter(1, self.spots, values).view_as(self.x)

    def uphill(self, values: Tensor, climb: Climb) -> tuple[Tensor, Tensor]:
        """Return the margin (B,) of the images with values (B, N), and the gradient (B, N) to ascend."""
        images = self.with_patch(values)
        margin, gradient = self._gradient(images, climb.loss)
        if climb.mirror:
            gradient = (gradient + self._gradient(images.flip(3), climb.loss)[1].flip(3)) / 2
        # Values that are not finite must not stay in Adam's moments.
        return margin, self.covered(gradient).nan_to_num_(0, 0, 0)

    def _gradient(self, images: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """Return the margin (B,) of images (B, C, H, W), and the gradient (B, C, H, W) to ascend."""
        margin = torch.empty(len(images), device=images.device)

        def value(outputs: Tensor) -> Tensor:  # (B,)
            own = self.objective.margin(outputs)
            margin.copy_(own.detach())
            if loss == "margin" or self.model.head != "embedding":
                return own
            squared = self.objective.loss(outputs).square()
            return torch.where(self.objective.ascend, squared, -squared)

        return margin, self.model.gradient(images, value)[1]

    def stored(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the margin (B,) of the rounded images, and whether they reach the goal (B,)."""
        images = self.threat.round(self.with_patch(values))
        with torch.no_grad():
            outputs = self.model.precise()(images)
        margin = self.objective.margin(outputs)
        return margin, self.objective.reached(outputs) & (margin > NOISE)

    def climb(self, start: Tensor, climb: Climb, floor: Tensor) -> Best:
        """Ascend from a start (B, N) in tanh space, and return the best patches.

        Args:
            floor: (B,) the margins of the attack's best images before this ascent, for cost curves only.
        """
        found, tests = Best.of(from_tanh(start)), _Tests(len(start), start.device)
        rows = torch.arange(len(start), device=start.device)
        work, position = self, start
        adam = Adam(len(start), start.shape[1], start.device)
        for step in range(climb.iterations):
            if not len(rows):
                return found
            values = from_tanh(position)
            margin, gradient = work.uphill(values, climb)
            higher = found.keep(rows, values, margin, torch.zeros_like(rows, dtype=torch.bool))
            work.model.found(torch.nonzero(higher & (margin > floor[rows])).flatten())
            position = position + climb.learning_rate * adam.step(gradient * steepness(values))
            if climb.early_stop:
                likely = torch.nonzero((margin > 0) & tests.due(rows, step)).flatten()
                work.confirm(found, rows, likely, values)
                tests.failed(rows[likely][~found.reached[rows[likely]]], step)
                staying = torch.nonzero(~found.reached[rows]).flatten()
                if len(staying) < len(rows):
                    work, rows, position = work.take(staying), rows[staying], position[staying]
                    adam.take(staying)
        # The best patch so far was not rounded, and perhaps not tested in float32: test it and the last one.
        passed = Best(found.values[rows], found.margin[rows], found.reached[rows])
        found.margin[rows] = -torch.inf
        work.confirm(found, rows, torch.arange(len(rows), device=rows.device), from_tanh(position))
        better = torch.nonzero(passed.margin > found.margin[rows]).flatten()
        work.confirm(found, rows, better, passed.values)
        return found

    def confirm(self, found: Best, rows: Tensor, chosen: Tensor, values: Tensor) -> None:
        """Test rounded values (B, N) of the chosen rows (K,); in ``found``, row b is ``rows[b]``."""
        if len(chosen):
            here = self.take(chosen)
            better = found.keep(rows[chosen], values[chosen], *here.stored(values[chosen]))
            here.model.found(torch.nonzero(better & found.reached[rows[chosen]]).flatten())


class _Tests:
    """_Tests says when each row's rounded image is tested: after each failure, it waits twice as many steps.

    An ascent of n steps makes at most n.bit_length() tests of a case.
    """

    def __init__(self, rows: int, device: torch.device) -> None:
        self._due = torch.zeros(rows, dtype=torch.int64, device=device)
        self._wait = torch.ones_like(self._due)

    def due(self, rows: Tensor, step: int) -> Tensor:
        """Tell (K,) which rows (K,) are to be tested."""
        return self._due[rows] <= step

    def failed(self, rows: Tensor, step: int) -> None:
        """Postpone the next test of rows (K,)."""
        self._due[rows] = step + self._wait[rows]
        self._wait[rows] *= 2


def spots(masks: Tensor, channels: int) -> Tensor:
    """Return (K, C * N) the components of a flattened image (C, H, W) that lie in each mask (K, H, W).

    If masks have different sizes, smaller ones have their first pixel more than once.

    Raises:
        AttackError: a mask is empty.
    """
    flat = masks.flatten(1)  # (K, HW)
    size = flat.sum(1)  # (K,)
    if not (size > 0).all():
        raise AttackError("the region holds no pixel; give a mask that is True somewhere")
    widest = int(size.max()) if len(size) else 0
    pixels = flat.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :widest]
    beyond = torch.arange(widest, device=pixels.device) >= size[:, None]
    pixels = torch.where(beyond, pixels[:, :1], pixels)
    offsets = torch.arange(channels, device=pixels.device) * flat.shape[1]
    return (offsets[:, None] + pixels[:, None]).flatten(1)


def without_spots(model: Handle, x: Tensor, objective: Objective, threat: Threat) -> PatchedImages:
    """Return all cases of a batch, without spots.

    Raises:
        AttackError: there is no region, or a budget beside it.
    """
    if threat.mask is None:
        raise AttackError("a patch needs a region, such as harness.threats.Region(mask)")
    if threat.eps is not None:
        raise AttackError(f"eps = {threat.eps:g} does not bound a patch, which replaces pixels; leave it out")
    nowhere = torch.empty(len(x), 0, dtype=torch.int64, device=x.device)
    return PatchedImages(model.focus(objective), x, objective, replace(threat, mask=None), nowhere)
