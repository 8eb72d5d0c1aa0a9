"""Each recipe makes the pairs of its training steps in its own way, and attacks one image of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.training.persons import Persons, Rows
from harness_verification.augmentation import filled, moved
from harness_verification.contrastive import nearest_of
from harness_verification.inner_attack import Embed, distances, worst_squares
from harness_verification.lord import Lord
from harness_verification.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs are (x, y) of one person and (t, u) of two, each (B, 3, 64, 64); x and t are attacked."""

    x: Tensor
    y: Tensor
    t: Tensor
    u: Tensor


@dataclass(frozen=True, eq=False)
class PairMaker:
    """A PairMaker makes the pairs of a recipe's steps."""

    persons: Persons
    recipe: Recipe
    embed: Embed
    """The network in training, which mines negatives and is attacked; it changes with every step."""
    device: torch.device
    lord: Lord | None
    """The generator, for recipes that generate pairs."""

    def make(self, random: np.random.Generator) -> Pairs:
        """Return the attacked pairs of a step, which draws from ``random``."""
        rows = self.persons.draw(random, self.recipe.batch_size)
        strangers = self.persons.strangers(random, rows, self.recipe.candidates)  # (each, B)
        if self.lord is not None and self.recipe.generates:
            return self._generated(self.lord, random, rows, strangers)
        if self.recipe.recipe == "doa":
            return self._occluded(random, rows, strangers)
        return self._weak(random, rows, strangers)

    def _generated(self, lord: Lord, random: np.random.Generator, rows: Rows, strangers: Rows) -> Pairs:
        """Pair images with generated ones of the same content: reconstructions, and swaps (section 2)."""
        codes = lord.persons[torch.from_numpy(self.persons.who[rows]).to(self.device)]  # (B, 256)
        x, masks = self._augmented(random, rows)
        y = self._drawn(lord, x, codes)
        x = self._attacked(x, masks, self._features(y), away=True)
        found = []
        for others in strangers:
            t, inside = self._augmented(random, others)
            u = self._drawn(lord, t, codes)
            found.append((t, u, inside, distances(self._features(t), self._features(u))))
        t, u, inside = (_chosen(found, part) for part in range(3))
        return Pairs(x, y, self._attacked(t, inside, self._features(u), away=False), u)

    def _weak(self, random: np.random.Generator, rows: Rows, strangers: Rows) -> Pairs:
        """Pair real images, attacked in random rectangles (eq. 6); y is the anchor of both pairs.

        As in the authors' code, only x is moved, and t gets only the rectangle.
        """
        y = self._read(self.persons.others(random, rows))
        anchors = self._features(y)
        x, masks = self._augmented(random, rows)
        found = []
        for others in strangers:
            t = self._read(others)
            inside = self.recipe.eraser.masks(random, len(others)).to(self.device)
            t = filled(t, inside, random)
            found.append((t, y, inside, distances(self._features(t), anchors)))
        t, _, inside = (_chosen(found, part) for part in range(3))
        x = self._attacked(x, masks, anchors, away=True)
        return Pairs(x, y, self._attacked(t, inside, anchors, away=False), y)

    def _occluded(self, random: np.random.Generator, rows: Rows, strangers: Rows) -> Pairs:
        """Pair real images, attacked in the square that matters most (Wu et al. 2020; appendix A)."""
        y = self._read(self.persons.others(random, rows))
        anchors = self._features(y)
        x = moved(self._read(rows), random, shift=0)
        images = [self._read(others) for others in strangers]
        found = [(t, y, y, distances(self._features(t), anchors)) for t in images]
        t = _chosen(found, 0)
        pair = []
        for image, away in ((x, True), (t, False)):
            masks = worst_squares(self.embed, image, anchors, away=away, places=self.recipe.places)
            pair.append(self._attacked(filled(image, masks, random), masks, anchors, away=away))
        return Pairs(pair[0], y, pair[1], y)

    def _augmented(self, random: np.random.Generator, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return images that are moved and partly replaced by noise, and the masks of that part."""
        x = moved(self._read(rows), random, shift=self.recipe.shift)
        masks = self.recipe.eraser.masks(random, len(rows)).to(self.device)
        return filled(x, masks, random), masks

    def _attacked(self, x: Tensor, masks: Tensor, anchors: Tensor, *, away: bool) -> Tensor:
        return self.recipe.attack.run(self.embed, x, masks, anchors, away=away)

    def _read(self, rows: Rows) -> Tensor:
        return self.persons.images(rows, self.device)

    def _features(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.embed(x)

    def _drawn(self, lord: Lord, content_of: Tensor, codes: Tensor) -> Tensor:
        with torch.no_grad():
            return lord.swapped(content_of, codes).float()


def _chosen(found: list[tuple[Tensor, Tensor, Tensor, Tensor]], part: int) -> Tensor:
    """Return of each image the part that belongs to its nearest candidate."""
    best = nearest_of(torch.stack([candidate[3] for candidate in found]))  # (B,)
    parts = torch.stack([candidate[part] for candidate in found])  # (each, B, …)
    return parts[best, torch.arange(len(best), device=best.device)]
