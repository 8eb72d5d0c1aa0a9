"""PatchedImages have some components replaced by a patch; gradient ascent in tanh space finds the patch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from harness.errors import AttackError, ContractError
from harness.goals import Objective, VerificationObjective
from harness.handle import Handle
from harness.threat import Threat
from harness_attacks.adam import Adam
from harness_attacks.best_images import Best
from harness_attacks.oracle import NOISE
from harness_attacks.patch_views import Views
from harness_attacks.tanh_space import from_tanh, steepness

Loss = Literal["margin", "squared-distance"]
"""The value to ascend: the goal's margin; or, for embeddings, the squared distance to the anchor, with the
sign that the goal asks for (other heads have no distance, and use the margin)."""
Anchor = Literal["direct", "indirect"]
"""What an embedding is moved to, or from: that of the reference image, or of an image which the model draws
of the same person (Arvinte et al., 4.4). What is reached, and kept, is decided by the reference alone."""


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


class Slope(NamedTuple):
    """A Slope says how high images with patches are, and where it goes up."""

    margin: Tensor  # (B,) of the goal
    value: Tensor  # (B,) what is ascended, with that of the mirror images where they count
    gradient: Tensor  # (B, N)


@dataclass(frozen=True, eq=False)
class PatchedImages:
    """PatchedImages are images of cases, each with a patch; a case may have several rows."""

    model: Handle
    """The handle, focused on the objective."""
    x: Tensor  # (B, C, H, W)
    objective: Objective
    threat: Threat
    spots: Tensor  # (B, N) the components of the flattened image that are replaced
    pursued: Objective
    """The objective whose value is ascended; ``objective`` decides what is reached, and what is best."""
    views: Views | None = None
    """Transformations over whose mean the value is ascended; None: the images as they are."""

    def take(self, rows: Tensor, spots: Tensor | None = None) -> PatchedImages:
        """Return some rows (K,), with other spots (K, N) if given."""
        objective = self.objective.take(rows)
        return replace(
            self,
            model=self.model.take(rows),
            x=self.x[rows],
            objective=objective,
            threat=self.threat.take(rows),
            spots=self.spots[rows] if spots is None else spots,
            pursued=objective if self.pursued is self.objective else self.pursued.take(rows),
            views=None if self.views is None else self.views.take(rows),
        )

    def towards(self, anchor: Anchor) -> PatchedImages:
        """Return the same images, which pursue the given anchor.

        Raises:
            AttackError: there is no indirect anchor.
        """
        if anchor == "direct":
            return self
        if not isinstance(self.objective, VerificationObjective):
            raise AttackError(f'anchor = "indirect" is for embeddings; the model has {self.model.head}')
        references = self.objective.references
        if references is None:
            raise AttackError('anchor = "indirect" needs the reference images: give the goal references=…')
        try:
            with torch.no_grad():
                anchors = self.model.precise().indirect_anchor(references)
        except ContractError as error:
            raise AttackError(f'anchor = "indirect": {error}') from error
        return replace(self, pursued=replace(self.objective, anchors=anchors))

    def covered(self, images: Tensor) -> Tensor:
        """Return (B, N) the components of images (B, C, H, W) at the spots."""
        return images.flatten(1).gather(1, self.spots)

    def with_patch(self, values: Tensor) -> Tensor:
        """Return the images (B, C, H, W) with these values (B, N) at the spots."""
        return self.x.flatten(1).scatter(1, self.spots, values).view_as(self.x)

    def uphill(self, values: Tensor, climb: Climb) -> Slope:
        """Return what is to be ascended at the images with values (B, N), and in which direction."""
        images = self.with_patch(values)
        slope = self._slope(images, climb.loss)
        if climb.mirror and not self._mirrored:
            other = self._slope(images.flip(3), climb.loss)
            gradient = (slope.gradient + other.gradient.flip(3)) / 2
            slope = Slope(slope.margin, (slope.value + other.value) / 2, gradient)
        # Values that are not finite must not stay in Adam's moments.
        return slope._replace(gradient=self.covered(slope.gradient).nan_to_num_(0, 0, 0))

    def level(self, values: Tensor, climb: Climb) -> Slope:
        """Return the same as ``uphill``, without a direction and so without a backward pass."""
        images = self.with_patch(values)
        with torch.no_grad():
            outputs = self.model(images)
            value = self._value(outputs, climb.loss)
            if climb.mirror and not self._mirrored:
                value = (value + self._value(self.model(images.flip(3)), climb.loss)) / 2
        return Slope(self.objective.margin(outputs), value, torch.empty(0))

    @property
    def _mirrored(self) -> bool:
        """Tell whether the model itself looks at mirror images."""
        return isinstance(self.pursued, VerificationObjective) and self.pursued.each is not None

    def _slope(self, images: Tensor, loss: Loss) -> Slope:
        """Return the slope at images (B, C, H, W), with a gradient (B, C, H, W)."""
        if self.views is None:
            return self._slope_seen(images, loss, self.model)
        views, total = self.views, None
        for view in range(len(views)):  # one after the other: the memory is that of a single pass
            one = self._slope_seen(images, loss, partial(self._answered, view))
            total = one if total is None else Slope(*(a + b for a, b in zip(total, one, strict=True)))
        assert total is not None
        return Slope(*(part / len(views) for part in total))

    def _answered(self, view: int, images: Tensor) -> Tensor:
        """Return the outputs (B, M) for images under a transformation."""
        assert self.views is not None
        return self.model(self.views.seen(images, view))

    def _slope_seen(self, images: Tensor, loss: Loss, answered: Callable[[Tensor], Tensor]) -> Slope:
        margin = torch.empty(len(images), device=images.device)

        def value(outputs: Tensor) -> Tensor:  # (B,)
            margin.copy_(self.objective.margin(outputs.detach()))
            return self._value(outputs, loss)

        return Slope(margin, *self.model.gradient(images, value, outputs=answered))

    def _value(self, outputs: Tensor, loss: Loss) -> Tensor:
        """Return (B,) what is to be ascended, of a model's outputs."""
        if loss == "margin" or not isinstance(self.pursued, VerificationObjective):
            return self.pursued.margin(outputs)
        squared = self.pursued.views(outputs).square().mean(1)
        return torch.where(self.pursued.ascend, squared, -squared)

    def stored(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the margin (B,) of the rounded images, and whether they reach the goal (B,)."""
        images = self.threat.round(self.with_patch(values))
        with torch.no_grad():
            outputs = self.model.precise()(images)
            margin = self.objective.margin(outputs)
            reached = self.objective.reached(outputs) & (margin > NOISE)
            for view in range(0 if self.views is None else len(self.views)):
                seen = replace(self, model=self.model.precise())._answered(view, images)
                margin = margin + self.objective.margin(seen)
        return margin / (1 if self.views is None else 1 + len(self.views)), reached

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
            slope = work.uphill(values, climb)
            margin = slope.margin
            higher = found.keep(rows, values, margin, torch.zeros_like(rows, dtype=torch.bool))
            work.model.found(torch.nonzero(higher & (margin > floor[rows])).flatten())
            position = position + climb.learning_rate * adam.step(slope.gradient * steepness(values))
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
    return PatchedImages(model.focus(objective), x, objective, replace(threat, mask=None), nowhere, objective)
