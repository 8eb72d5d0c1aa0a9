"""A stage makes steps from batches of faces, and its identity says what it depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from harness.training import Context, epochs
from harness.training.epochs import Stage
from harness_paw.cascade import Combination, Regions
from harness_paw.faces import Batch, Faces
from harness_paw.layers import Design
from harness_paw.recipe import Recipe

LOCALISER = (
    *("localiser_width", "localiser_modules", "localiser_depth", "localiser_poolings"),
    *("maps", "image_size"),
)
"""The fields of a design that the localisation network depends on."""
Loss = Callable[[Batch], Tensor]
"""A function of a batch that returns the loss of a step, summed over attributes."""


@dataclass(frozen=True)
class Identities:
    """Identities say what each stage depends on, and nothing else, so that models share equal stages."""

    design: Design
    recipe: Recipe
    attributes: tuple[str, ...] | None = None
    """Those that are learned; None: all of the data set."""

    def localisation(self) -> dict[str, Any]:
        """Return that of stage 1."""
        fields = self._design(*LOCALISER)
        own = self.recipe.chosen(
            *("multi_net", "branch_width", "localiser_epochs", "localiser_rate", "localiser_balance")
        )
        named = {} if self.attributes is None else {"attributes": list(self.attributes)}
        return {"part": "localisation", **fields, **own, **named}

    def whole(self, *, attributes: bool = True) -> dict[str, Any]:
        """Return that of stage 2, or of its hints alone."""
        before = self.localisation()
        if self.design.subnet == "tnet":
            return before
        names = ("hint_epochs", "hint_rate", *(("whole_epochs", "whole_rate") if attributes else ()))
        own = {**self._design("subnet", "subnet_width", "poolings"), **self.recipe.chosen(*names)}
        return {**before, **own, "part": "whole" if attributes else "hint"}

    def parts(self, regions: Regions) -> dict[str, Any]:
        """Return that of stage 3."""
        own = self._design(
            "subnet", "poolings", *(("crop_share", "smoothing") if regions == "localised" else ())
        )
        own |= self.recipe.chosen("part_epochs", "part_rate")
        return {**self.whole(), **own, "part": "parts", "regions": regions}

    def layers(self, regions: Regions, combination: Combination) -> dict[str, Any]:
        """Return that of stage 4."""
        own = self.recipe.chosen("layer_epochs", "layer_rate")
        return {**self.parts(regions), **own, "part": "layers", "combination": combination}

    def end_to_end(self, regions: Regions, combination: Combination) -> dict[str, Any]:
        """Return that of stage 5."""
        own = self.recipe.chosen("final_epochs", "final_rate")
        return {**self.layers(regions, combination), **own, "part": "end-to-end"}

    def _design(self, *names: str) -> dict[str, Any]:
        return {name: getattr(self.design, name) for name in names}


def learn(
    stage: Stage,
    net: nn.Module,
    loss: Loss,
    faces: Faces,
    recipe: Recipe,
    context: Context,
    state: Path | None,
) -> Tensor:
    """Train a network in place, and leave it in eval mode; return the loss (epochs,) of each, per attribute.

    Args:
        state: the file that keeps the state after an epoch; None keeps none.

    Raises:
        ModelError: the loss is no longer finite.
    """

    def of_step(number: int) -> Tensor:
        return loss(faces.batch(stage.name, number))

    curves = epochs.learn(
        stage,
        {"net": net},
        of_step,
        recipe.optimiser(net.parameters(), stage.rate),
        steps=faces.steps,
        rate=lambda number, steps: recipe.rate(stage.rate, number, steps),
        precision=recipe.precision,
        context=context,
        state=state,
        terms=faces.labels.shape[1],
    )
    return curves[:, 0]
