"""Images carry a patch where some components are replaced; a climb in tanh space finds what goes there."""

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
"""What is climbed: the goal's margin; or, of embeddings, the squared distance to the anchor, up or down as
the goal asks (other heads know no distance, and climb the margin)."""


@dataclass(frozen=True)
class Climb:
    """How far and along what to climb."""

    iterations: int
    learning_rate: float
    loss: Loss
    mirror: bool
    """Climb the mean over the image and its mirror image."""
    early_stop: bool = True
    """A case leaves once its image, as it would be stored, reaches the goal in float32."""


@dataclass(frozen=True, eq=False)
class PatchedImages:
    """Images of cases with a patch each, one row each; a case may have several rows."""

    model: Handle
    """Focused on the objective."""
    x: Tensor  # (B, C, H, W)
    objective: Objective
    threat: Threat
    spots: Tensor  # (B, N) which components of the flattened image are replaced

    def take(self, rows: Tensor, spots: Tensor | None = None) -> PatchedImages:
        """Some rows (K,), with other spots (K, N) where given."""
        return replace(
            self,
            model=self.model.take(rows),
            x=self.x[rows],
            objective=self.objective.take(rows),
            threat=self.threat.take(rows),
            spots=self.spots[rows] if spots is None else spots,
        )

    def covered(self, images: Tensor) -> Tensor:
        """(B, N) the components of images (B, C, H, W) at the spots."""
        return images.flatten(1).gather(1, self.spots)

    def with_patch(self, values: Tensor) -> Tensor:
        """The images (B, C, H, W) with these values (B, N) at the spots."""
        return self.x.flatten(1).scatter(1, self.spots, values).view_as(self.x)

    def uphill(self, values: Tensor, climb: Climb) -> tuple[Tensor, Tensor]:
        """The margin (B,) of the images with these values (B, N), and the slope (B, N) of what is climbed."""
        images = self.with_patch(values)
        margin, slope = self._slope(images, climb.loss)
        if climb.mirror:
            slope = (slope + self._slope(images.flip(3), climb.loss)[1].flip(3)) / 2
        # An answer that is not a number must not stay in Adam's moments.
        return margin, self.covered(slope).nan_to_num_(0, 0, 0)

    def _slope(self, images: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """The margin (B,) of images (B, C, H, W), and the gradient (B, C, H, W) of what is climbed."""
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
        """The margin (B,) of the images as they would be stored, and whether they reach the goal (B,)."""
        images = self.threat.round(self.with_patch(values))
        with torch.no_grad():
            outputs = self.model.precise()(images)
        margin = self.objective.margin(outputs)
        return margin, self.objective.reached(outputs) & (margin > NOISE)

    def climb(self, start: Tensor, climb: Climb, floor: Tensor) -> Best:
        """The best patches on the way from a start (B, N) in tanh space.

        Args:
            floor: (B,) the margins that count as better images than the attack had, for cost curves only.
        """
        found, tests = Best.of(from_tanh(start)), _Tests(len(start), start.device)
        rows = torch.arange(len(start), device=start.device)
        work, position = self, start
        adam = Adam(len(start), start.shape[1], start.device)
        for step in range(climb.iterations):
            if not len(rows):
                return found
            values = from_tanh(position)
            margin, slope = work.uphill(values, climb)
            higher = found.keep(rows, values, margin, torch.zeros_like(rows, dtype=torch.bool))
            work.model.found(torch.nonzero(higher & (margin > floor[rows])).flatten())
            position = position + climb.learning_rate * adam.step(slope * steepness(values))
            if climb.early_stop:
                likely = torch.nonzero((margin > 0) & tests.due(rows, step)).flatten()
                work.confirm(found, rows, likely, values)
                tests.failed(rows[likely][~found.reached[rows[likely]]], step)
                staying = torch.nonzero(~found.reached[rows]).flatten()
                if len(staying) < len(rows):
                    work, rows, position = work.take(staying), rows[staying], position[staying]
                    adam.take(staying)
        # What seemed best on the way was neither stored nor, perhaps, asked in float32: the last one and it.
        passed = Best(found.values[rows], found.margin[rows], found.reached[rows])
        found.margin[rows] = -torch.inf
        work.confirm(found, rows, torch.arange(len(rows), device=rows.device), from_tanh(position))
        better = torch.nonzero(passed.margin > found.margin[rows]).flatten()
        work.confirm(found, rows, better, passed.values)
        return found

    def confirm(self, found: Best, rows: Tensor, chosen: Tensor, values: Tensor) -> None:
        """Test values (B, N) of the chosen rows (K,) as stored; in ``found``, row b is ``rows[b]``."""
        if len(chosen):
            here = self.take(chosen)
            better = found.keep(rows[chosen], values[chosen], *here.stored(values[chosen]))
            here.model.found(torch.nonzero(better & found.reached[rows[chosen]]).flatten())


class _Tests:
    """When each row's image is tested as stored: each time that this fails, twice as many steps later.

    A climb of n steps makes no more than n.bit_length() tests of a case.
    """

    def __init__(self, rows: int, device: torch.device) -> None:
        self._due = torch.zeros(rows, dtype=torch.int64, device=device)
        self._wait = torch.ones_like(self._due)

    def due(self, rows: Tensor, step: int) -> Tensor:
        """(K,) bool for rows (K,)."""
        return self._due[rows] <= step

    def failed(self, rows: Tensor, step: int) -> None:
        """Put off the next test of rows (K,)."""
        self._due[rows] = step + self._wait[rows]
        self._wait[rows] *= 2


def spots(masks: Tensor, channels: int) -> Tensor:
    """(K, C * N) which components of a flattened image (C, H, W) lie in each of the masks (K, H, W).

    Where masks are of different sizes, the smaller name their first pixel more than once.

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
    """All cases of a batch, with no spots yet.

    Raises:
        AttackError: there is no region, or a budget beside it.
    """
    if threat.mask is None:
        raise AttackError("a patch needs a region, such as harness.threats.Region(mask)")
    if threat.eps is not None:
        raise AttackError(f"a patch replaces pixels and keeps to no eps = {threat.eps:g}; leave it out")
    nowhere = torch.empty(len(x), 0, dtype=torch.int64, device=x.device)
    return PatchedImages(model.focus(objective), x, objective, replace(threat, mask=None), nowhere)
