"""F is trained here: a start on clean pairs, then the recipe's steps, validated on persons it never sees."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.dataset import Dataset
from harness.errors import ModelError
from harness.files import digest_of_file
from harness.model import frozen
from harness.precision import passes
from harness.randomness import derived_seed
from harness.training import Context, StateDict
from harness.training.persons import Persons, split_persons
from harness.training.schedules import cosine
from harness.training.unfinished import Unfinished, part, run, train_part
from harness_verification.augmentation import moved
from harness_verification.contrastive import area_under_roc, contrastive
from harness_verification.face_crop import crops_of
from harness_verification.inner_attack import distances
from harness_verification.lord import Design, Lord
from harness_verification.lord_training import trained_lord
from harness_verification.network import Verifier
from harness_verification.notes import notes_of, tensors_of
from harness_verification.pairs import PairMaker, Pairs
from harness_verification.recipe import GeneratorRecipe, Recipe

START_PERSONS, START_IMAGES = 16, 4
"""The persons of a batch of clean pairs, and the images of each."""
WARM_UP = 20
"""The steps in which the learning rate of the start rises."""
MOST_VALIDATED = 2000
"""The largest number of images whose pairs are all compared in a validation."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A Fitted training has its generator, where there is one, and what it measured."""

    lord: Lord | None
    notes: dict[str, Any]


def fit(
    module: Verifier,
    dataset: Dataset,
    recipe: Recipe,
    design: Design,
    generator: GeneratorRecipe,
    context: Context,
) -> Fitted:
    """Train ``module`` in place, and leave it in eval mode.

    The same seed gives the same weights on the same machine with the same number of threads, even after
    interruptions. Recipes share the generator and the start, which are trained once.
    """
    learned, unseen = split_persons(
        dataset, crops_of, held_out=recipe.held_out, people=recipe.people, seed=context.seed
    )
    training = _Training(module, learned, unseen, recipe, context)
    lord = None
    shares = _shares(recipe)
    if recipe.generates or recipe.generated_pairs:
        people = {"held_out": recipe.held_out}
        lord = trained_lord(learned, design, generator, context, recipe.precision, people, shares[0])
    identity = training.identity()
    if recipe.start_steps:
        state = train_part(context, identity["start"], partial(training.start, shares[1]))
        module.load_state_dict(state)
    own = identity["whole"] | ({} if lord is None else {**asdict(design), **asdict(generator)})
    found = train_part(context, own, partial(training.adversarial, lord, shares[2]))
    module.load_state_dict(part(found, "module."))
    module.eval()
    return Fitted(lord, notes_of(found))


def _shares(recipe: Recipe) -> list[tuple[float, float]]:
    """Return where generator, start and the rest stand in the whole, in about the time that they take."""
    first = 0.5 if recipe.generates or recipe.generated_pairs else 0.0
    second = first + (1 - first) * (0.3 if recipe.start_steps else 0.0)
    return [(0.0, first), (first, second), (second, 1.0)]


class _Training:
    """_Training makes the steps of F."""

    def __init__(
        self, module: Verifier, learned: Persons, unseen: Persons, recipe: Recipe, context: Context
    ) -> None:
        self.module, self.learned, self.unseen = module, learned, unseen
        self.recipe, self.context, self.device = recipe, context, context.device
        self.losses: list[float] = []
        """Those since the last validation."""

    def identity(self) -> dict[str, dict[str, Any]]:
        """Return what decides the start, and what decides the whole."""
        recipe = self.recipe
        weights = recipe.body_weights
        body = {**self.module.design, "body": None if weights is None else digest_of_file(Path(weights))}
        names = ("start_steps", "start_rate", "margin", "hinge", "amsgrad", "precision", "shift")
        chosen = {name: getattr(recipe, name) for name in (*names, "held_out", "people")}
        return {
            "start": {"part": "start", **body, **chosen},
            "whole": {"part": "verifier", **body, **asdict(recipe)},
        }

    def start(self, share: tuple[float, float], state: Path | None) -> StateDict:
        """Train on clean real pairs, and return the weights."""
        optimizer = self._optimizer()
        begun = Unfinished(modules={"verifier": self.module}, optimizer=optimizer)
        step = partial(self._start_step, optimizer)
        run(begun, self.recipe.start_steps, step, self.context, "start", share, state)
        return dict(self.module.state_dict())

    def adversarial(self, lord: Lord | None, share: tuple[float, float], state: Path | None) -> StateDict:
        """Train by the recipe, and return the weights to keep, with what was measured."""
        recipe = self.recipe
        optimizer = self._optimizer()
        maker = PairMaker(self.learned, recipe, self._embed, self.device, lord)
        begun = Unfinished(modules={"verifier": self.module}, optimizer=optimizer)

        def step(number: int) -> str:
            if number == 1:
                self._validate(begun, 0)
            told = self._step(optimizer, maker, number)
            if number % recipe.validate_every == 0 or number == recipe.steps:
                self._validate(begun, number)
            return f"{told}, validation AU-ROC {begun.curves[-1][3]:.3f}"

        run(begun, recipe.steps, step, self.context, recipe.recipe, share, state, every=recipe.validate_every)
        self.module.load_state_dict(begun.best)
        measured = tensors_of(self._embed_frozen, self.learned, self.unseen, recipe, lord, self.context)
        measured["curves"] = torch.tensor(begun.curves, dtype=torch.float64)
        kept = {f"module.{name}": tensor for name, tensor in self.module.state_dict().items()}
        return kept | {f"notes.{name}": tensor for name, tensor in measured.items()}

    def _optimizer(self) -> torch.optim.Adam:
        return torch.optim.Adam(
            self.module.parameters(), lr=self.recipe.learning_rate, amsgrad=self.recipe.amsgrad
        )

    def _start_step(self, optimizer: torch.optim.Optimizer, step: int) -> str:
        random = self._random("start", step)
        rate = cosine(step, self.recipe.start_steps, self.recipe.start_rate, 0.0)
        _set_rate(optimizer, rate * min(step / WARM_UP, 1.0))
        people = min(START_PERSONS, len(self.learned.rows_of))
        chosen = random.choice(len(self.learned.rows_of), people, replace=False)
        own = [self.learned.rows_of[person] for person in chosen]
        rows = np.concatenate(
            [random.choice(there, min(START_IMAGES, len(there)), replace=False) for there in own]
        )
        x = moved(self.learned.images(rows, self.device), random, shift=self.recipe.shift)
        embeddings = self._trained(x)
        who = torch.from_numpy(self.learned.who[rows]).to(self.device)
        same, other = clean_pairs(embeddings, who)
        return f"loss {self._descend(optimizer, same, other):.3f}"

    def _step(self, optimizer: torch.optim.Optimizer, maker: PairMaker, step: int) -> str:
        recipe = self.recipe
        if recipe.schedule == "cosine":
            _set_rate(optimizer, cosine(step, recipe.steps, recipe.learning_rate, recipe.learning_rate / 100))
        with frozen(self.module):
            pairs = maker.make(self._random("pairs", step))
        positive, negative = self._distances(pairs)
        loss = self._descend(optimizer, positive, negative)
        self.losses.append(loss)
        return f"loss {loss:.3f}"

    def _distances(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Return the distances (B,) of positive and of negative pairs, from one pass."""
        images = [pairs.x, pairs.t, pairs.y] + ([] if pairs.u is pairs.y else [pairs.u])
        x, t, y, *more = self._trained(torch.cat(images)).chunk(len(images))
        return distances(x, y), distances(t, more[0] if more else y)

    def _descend(self, optimizer: torch.optim.Optimizer, positive: Tensor, negative: Tensor) -> float:
        recipe = self.recipe
        value = contrastive(positive, negative, margin=recipe.margin, hinge=recipe.hinge)
        shown = value.item()
        if not isfinite(shown):
            raise ModelError(
                f"training diverged: the loss is {shown}; "
                f"give a lower learning_rate than {recipe.learning_rate:g}"
            )
        optimizer.zero_grad()
        torch.autograd.backward(value)
        optimizer.step()
        self.module.project()
        return shown

    def _validate(self, begun: Unfinished, step: int) -> None:
        """Measure loss and AU-ROC of all clean pairs of the unseen persons, and keep the best weights."""
        loss, area = self._on_unseen()
        trained = float(np.mean(self.losses)) if self.losses else nan
        self.losses = []
        begun.curves.append((float(step), trained, loss, area))
        value = {"auc": area, "loss": -loss, "last": float(step)}[self.recipe.keep]
        if step and value > begun.best_value:  # the start is no result of the recipe
            begun.best_value = value
            begun.best = {name: tensor.clone() for name, tensor in self.module.state_dict().items()}

    def _on_unseen(self) -> tuple[float, float]:
        rows = np.arange(len(self.unseen.who))[:MOST_VALIDATED]
        parts = [self.unseen.images(some, self.device) for some in np.array_split(rows, -(-len(rows) // 256))]
        embeddings = torch.cat([self._embed_frozen(images) for images in parts]).cpu()
        first, second = np.triu_indices(len(rows), 1)
        apart = torch.pdist(embeddings.double())
        same = self.unseen.who[first] == self.unseen.who[second]
        mask = torch.from_numpy(same)
        loss = contrastive(apart[mask], apart[~mask], margin=self.recipe.margin, hinge=self.recipe.hinge)
        return loss.item(), area_under_roc(apart[mask].numpy(), apart[~mask].numpy())

    def _trained(self, crops: Tensor) -> Tensor:
        self.module.train()
        return self._embed(crops)

    def _embed(self, crops: Tensor) -> Tensor:
        with passes(self.recipe.precision, self.device):
            return self.module.embed(crops).float()

    def _embed_frozen(self, crops: Tensor) -> Tensor:
        """Return embeddings (B, D) as those who use the trained F get them."""
        with frozen(self.module), torch.no_grad():
            return self.module.embed(crops).float()

    def _random(self, what: str, step: int) -> np.random.Generator:
        return np.random.default_rng(derived_seed(self.context.seed, what, step))


def clean_pairs(embeddings: Tensor, who: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distances of all pairs of embeddings (B, D) that show one person, and of all that show two.

    The gradient is the same in every run. If embeddings were listed once per pair, threads would add up its
    terms in any order.

    Args:
        who: (B,) the person of each embedding.
    """
    apart = distances(embeddings[:, None], embeddings[None])  # (B, B)
    once = torch.ones_like(apart, dtype=torch.bool).triu(1)
    same = who[:, None] == who[None]
    return apart.masked_select(once & same), apart.masked_select(once & ~same)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
