"""The stages of the recipes are kept parts, each of which goes on epoch by epoch after a kill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.files import digest_of_file
from harness.model import frozen
from harness.randomness import derived_seed
from harness.training import Context, StateDict
from harness.training.epochs import Loss, Measure, Stage, learn
from harness.training.persons import Persons, Rows
from harness.training.unfinished import train_part
from harness_facenet.losses import nt_xent, triplet_gap, triplet_terms
from harness_facenet.measuring import HeldOut
from harness_facenet.network import Design, FaceNet, Projector
from harness_facenet.norms import NormSet, using, with_two_norms
from harness_facenet.recipe import CONTRASTIVE, STANDARD, TUNING, Recipe
from harness_facenet.triplets import epoch_rows, triplets_of
from harness_facenet.views import Draw, ViewRecipe

UNKNOWN = -1
"""The number of the person whom an image without a label shows."""


class Stages:
    """Stages are the trainings of a FaceNet; each returns its weights and what was measured of it.

    A result has the network under "net." and the measurements under "curve". Its identity holds all that it
    depends on, and nothing else, so that models share the stages that they have in common.
    """

    def __init__(
        self,
        design: Design,
        recipe: Recipe,
        views: ViewRecipe,
        learned: Persons,
        unseen: Persons,
        context: Context,
        judging: NormSet,
    ) -> None:
        """Prepare the stages.

        Args:
            learned, unseen: the persons to learn from, and those whose triplets are measured.
            judging: the set of batch norms that measurements use, where there are two.
        """
        self.design, self.recipe, self.views = design, recipe, views
        self.learned, self.unseen, self.context, self.judging = learned, unseen, context, judging
        self.share = (0.0, 1.0)
        """Where the next stage stands in the whole training."""
        self.labels = self._labels()

    @property
    def steps(self) -> int:
        """Return the number of steps of an epoch."""
        images = min(len(self.learned.who), self.recipe.epoch_images or len(self.learned.who))
        return max(1, images // self.recipe.batch_size)

    def identities(self) -> dict[str, dict[str, Any]]:
        """Return what each stage depends on."""
        recipe = self.recipe
        weights = recipe.start_weights
        begun = {**self.design.identity, "start": weights and digest_of_file(Path(weights))}
        standard = {**begun, **recipe.chosen(*STANDARD), "part": "standard"}
        contrastive = {
            **begun,
            **recipe.chosen(*CONTRASTIVE),
            "views": asdict(self.views),
            "part": "contrastive",
        }
        before = {"adversarial": standard, "contrastive": contrastive}.get(recipe.recipe, begun)
        tuning = {"before": before, **recipe.chosen(*TUNING), "judging": self.judging, "part": "tuning"}
        return {"standard": standard, "contrastive": contrastive, "tuning": tuning}

    # --- clean triplets -----------------------------------------------------------------------------------

    def standard(self, net: FaceNet) -> StateDict:
        """Return a network that learned from clean triplets."""
        return train_part(self.context, self.identities()["standard"], partial(self._standard, net))

    def _standard(self, net: FaceNet, state: Path | None) -> StateDict:
        recipe = self.recipe

        def loss(step: int) -> Tensor:
            x, positive, negative = self._triplets("standard", step)
            return self._of_triplets(net, [x], positive, negative)

        stage = Stage("standard", recipe.standard_epochs, recipe.standard_rate, self.share)
        curve = self._learn(stage, {"net": net}, loss, state, self._measured(net))
        return {"curve": curve, **_named(net)}

    # --- attacked triplets: algorithm 2 -------------------------------------------------------------------

    def tuning(self, net: FaceNet) -> StateDict:
        """Return a network with two sets of batch norms that learned from attacked triplets.

        Args:
            net: has two sets.
        """
        return train_part(self.context, self.identities()["tuning"], partial(self._tuning, net))

    def _tuning(self, net: FaceNet, state: Path | None) -> StateDict:
        recipe = self.recipe

        def loss(step: int) -> Tensor:
            x, positive, negative = self._triplets("tuning", step)
            attacked = self._attacked_anchor(net, x, positive, negative, step)
            return self._of_triplets(net, [x, attacked], positive, negative)

        stage = Stage("tuning", recipe.tuning_epochs, recipe.tuning_rate, self.share)
        curve = self._learn(stage, {"net": net}, loss, state, self._measured(net))
        return {"curve": curve, **_named(net)}

    def _attacked_anchor(
        self, net: FaceNet, x: Tensor, positive: Tensor, negative: Tensor, step: int
    ) -> Tensor:
        """Return x + δ (B, C, H, W), whose triplet loss is large, by the batch norms of attacked images."""
        with frozen(net), using(net, "adversarial"):
            with torch.no_grad():
                p, n = net(positive), net(negative)

            def rising(images: Tensor) -> Tensor:
                return triplet_gap(net(images), p, n, squared=self.recipe.squared).sum()

            return self.recipe.attack.attacked(x, rising, self._random("attack", step))

    def _of_triplets(self, net: FaceNet, anchors: list[Tensor], positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss of anchors, each kind of them with the same positives and negatives.

        The anchor of algorithm 2 is the concatenation of x and x + δ along the batch, with positive and
        negative repeated. Each half passes with its own batch norms, so that both sets are of whole triplets.
        """
        terms = []
        for anchor, chosen in zip(anchors, _SETS, strict=False):
            with using(net, chosen):
                a, p, n = net(torch.cat([anchor, positive, negative])).chunk(3)
            terms.append(triplet_terms(a, p, n, margin=self.recipe.margin, squared=self.recipe.squared))
        return torch.cat(terms).mean()

    # --- attacked views: algorithm 1 ----------------------------------------------------------------------

    def contrastive(self, net: FaceNet) -> StateDict:
        """Return a network with two sets of batch norms that learned from attacked pairs of views.

        Args:
            net: has two sets.
        """
        return train_part(self.context, self.identities()["contrastive"], partial(self._contrastive, net))

    def _contrastive(self, net: FaceNet, state: Path | None) -> StateDict:
        recipe = self.recipe
        features = net.body.features
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(self.context.seed, "projector") % 2**31)
            projector = with_two_norms(Projector(features, features, recipe.projector_width))
        projector = projector.to(self.context.device)

        def loss(step: int) -> Tensor:
            first, second, known = self._views(step)
            attacked = self._attacked_view(net, projector, first, second, known, step)
            with using(net, "clean"), using(projector, "clean"):
                clean = projector(net.represent(first))
            with using(net, "adversarial"), using(projector, "adversarial"):
                adversarial = projector(net.represent(attacked))
            return nt_xent(clean, adversarial, recipe.temperature, known)

        stage = Stage("contrastive", recipe.pretraining_epochs, recipe.pretraining_rate, self.share)
        curve = self._learn(stage, {"net": net, "projector": projector}, loss, state, None)
        return {"curve": curve, **_named(net)}

    def _attacked_view(
        self,
        net: FaceNet,
        projector: nn.Module,
        first: Tensor,
        second: Tensor,
        known: Tensor | None,
        step: int,
    ) -> Tensor:
        """Return the second views (B, C, H, W), changed to be unlike the first: instance by instance."""
        with frozen(net), frozen(projector):
            with torch.no_grad(), using(net, "clean"), using(projector, "clean"):
                clean = projector(net.represent(first))

            def rising(images: Tensor) -> Tensor:
                with using(net, "adversarial"), using(projector, "adversarial"):
                    found = projector(net.represent(images))
                return nt_xent(clean, found, self.recipe.temperature, known) * len(images)

            return self.recipe.attack.attacked(second, rising, self._random("attack", step))

    def _views(self, step: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the two views (B, C, H, W) of a step's images, and the persons that are known (B,)."""
        rows, device = self._rows("contrastive", step), self.context.device
        random = self._random("views", step)
        x = self.learned.images(rows, device)
        draw = self.views.draw(random, len(rows))
        other: Draw = draw if self.recipe.second_view == "same" else self.views.draw(random, len(rows))
        if not self.recipe.labels:
            return draw.of(x), other.of(x), None
        partners, known = self._partners(rows, random)
        return draw.of(x), other.of(self.learned.images(partners, device)), torch.from_numpy(known).to(device)

    def _partners(self, rows: Rows, random: np.random.Generator) -> tuple[Rows, Rows]:
        """Return for each image another one that is known to show its person, or itself; and who is known."""
        known = self.labels[rows]
        partners = rows.copy()
        for place, person in enumerate(known.tolist()):
            if person != UNKNOWN:
                alike = np.flatnonzero(self.labels == person)
                others = alike[alike != rows[place]]
                if len(others):
                    partners[place] = random.choice(others)
        return partners, known

    def _labels(self) -> Rows:
        """Return (N,) the person of each image whose label is known, drawn by the seed; or UNKNOWN."""
        random = np.random.default_rng(derived_seed(self.context.seed, "labels"))
        known = random.random(len(self.learned.who)) < self.recipe.labels
        return np.where(known, self.learned.who, UNKNOWN)

    # --- what they share ----------------------------------------------------------------------------------

    def _learn(
        self,
        stage: Stage,
        modules: Mapping[str, nn.Module],
        loss: Loss,
        state: Path | None,
        measure: Measure | None,
    ) -> Tensor:
        recipe = self.recipe
        parameters = [parameter for module in modules.values() for parameter in module.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=stage.rate)
        return learn(
            stage,
            modules,
            loss,
            optimizer,
            steps=self.steps,
            rate=lambda step, steps: recipe.rate(stage.rate, step, steps),
            precision=recipe.precision,
            context=self.context,
            state=state,
            measure=measure,
            key=f"a lower {RATES[stage.name]}",
        )

    def _measured(self, net: FaceNet) -> Measure:
        held_out = HeldOut(self.unseen, self.recipe.attack, self.context.seed, self.context.device)

        def measure(epoch: int) -> tuple[float, ...]:
            with using(net, self.judging):
                return held_out.measure(net, net)

        return measure

    def _triplets(self, stage: str, step: int) -> tuple[Tensor, Tensor, Tensor]:
        triplets = triplets_of(self.learned, self._rows(stage, step), self._random(f"{stage}-triplets", step))
        x, positive, negative = triplets.images(self.learned, self.context.device)
        mirrored = torch.from_numpy(self._random(f"{stage}-flips", step).random((3, len(x))) < 0.5)
        x, positive, negative = (
            torch.where(flags.to(images.device).view(-1, 1, 1, 1), images.flip(3), images)
            for flags, images in zip(mirrored, (x, positive, negative), strict=True)
        )
        return x, positive, negative

    def _rows(self, stage: str, step: int) -> Rows:
        """Return the rows (B,) of a step's images: its part of the epoch's order."""
        epoch, place = divmod(step - 1, self.steps)
        order = epoch_rows(self.learned, self._random(f"{stage}-order", epoch), self.recipe.epoch_images)
        return order[place * self.recipe.batch_size : (place + 1) * self.recipe.batch_size]

    def _random(self, what: str, number: int) -> np.random.Generator:
        return np.random.default_rng(derived_seed(self.context.seed, what, number))


RATES = {"standard": "standard_rate", "tuning": "tuning_rate", "contrastive": "pretraining_rate"}
_SETS: tuple[NormSet, NormSet] = ("clean", "adversarial")


def _named(net: nn.Module) -> StateDict:
    return {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
