"""LORD is trained in two stages: codes are found with the generator, then encoders learn to find them."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import ModelError
from harness.precision import Precision, passes
from harness.randomness import derived_seed
from harness.training import Context, StateDict
from harness.training.persons import Persons
from harness.training.schedules import cosine
from harness.training.unfinished import Unfinished, part, run, train_part
from harness_verification.image_losses import image_loss
from harness_verification.lord import CLASS, CONTENT, Design, Lord, shrunk
from harness_verification.recipe import GeneratorRecipe

BETAS = (0.5, 0.999)
"""Adam's, in both stages."""
DEVIATION = 0.05
"""Codes begin uniform in plus or minus this."""


class Codes(nn.Module):
    """Codes are those of every training image, content (N, 128), and of every person (P, 256)."""

    def __init__(self, images: int, people: int) -> None:
        super().__init__()
        self.content = nn.Parameter(torch.empty(images, CONTENT).uniform_(-DEVIATION, DEVIATION))
        self.persons = nn.Parameter(torch.empty(people, CLASS).uniform_(-DEVIATION, DEVIATION))


def trained_lord(
    persons: Persons,
    design: Design,
    recipe: GeneratorRecipe,
    context: Context,
    precision: Precision,
    identity: dict[str, Any],
    share: tuple[float, float],
) -> Lord:
    """Return LORD trained on persons, from the cache if it was trained before.

    Args:
        identity: what decides the persons, beside data set and seed.
        share: where the training stands in the whole, before and after.

    Raises:
        ModelError: the training diverged, or weights of the perceptual loss cannot be read.
    """
    own = {**identity, **asdict(design), **asdict(recipe), "precision": precision}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(context.seed, "lord"))
        lord = Lord(len(persons), design).to(context.device)
        codes = Codes(len(persons.who), len(persons)).to(context.device)
    stages = _Stages(lord, codes, persons, recipe, context, precision)
    whole = recipe.generator_epochs + recipe.encoder_epochs
    middle = share[0] + (share[1] - share[0]) * recipe.generator_epochs / whole
    found = train_part(context, {"part": "codes", **own}, partial(stages.find_all, (share[0], middle)))
    lord.generator.load_state_dict(part(found, "generator."))
    codes.load_state_dict(part(found, "codes."))
    lord.persons.copy_(codes.persons.detach())
    taught = train_part(context, {"part": "generator", **own}, partial(stages.teach_all, (middle, share[1])))
    lord.load_state_dict(taught)
    return lord.eval().requires_grad_(False)


class _Stages:
    """_Stages make the steps of both stages."""

    def __init__(
        self,
        lord: Lord,
        codes: Codes,
        persons: Persons,
        recipe: GeneratorRecipe,
        context: Context,
        precision: Precision,
    ) -> None:
        self.lord, self.codes, self.persons, self.recipe = lord, codes, persons, recipe
        self.context, self.precision = context, precision
        self.loss = image_loss(recipe.perceptual_weights, recipe.perceptual_scale, context.device)
        self.steps_of_epoch = -(-len(persons.who) // recipe.generator_batch)
        self.who = torch.from_numpy(persons.who).to(context.device)

    def find_all(self, share: tuple[float, float], state: Path | None) -> StateDict:
        """Train the first stage, and return the generator and the codes."""
        generator, codes = self.lord.generator, self.codes
        groups = [{"params": list(generator.parameters())}, {"params": list(codes.parameters())}]
        optimizer = torch.optim.Adam(groups, lr=self.recipe.generator_rate, betas=BETAS)
        begun = Unfinished(modules={"generator": generator, "codes": codes}, optimizer=optimizer)
        steps = self.recipe.generator_epochs * self.steps_of_epoch
        run(begun, steps, partial(self.find, optimizer), self.context, "codes", share, state)
        found = {f"generator.{name}": tensor for name, tensor in generator.state_dict().items()}
        return found | {f"codes.{name}": tensor for name, tensor in codes.state_dict().items()}

    def teach_all(self, share: tuple[float, float], state: Path | None) -> StateDict:
        """Train the second stage, and return LORD."""
        optimizer = torch.optim.Adam(self.lord.parameters(), lr=self.recipe.encoder_rate, betas=BETAS)
        begun = Unfinished(modules={"lord": self.lord}, optimizer=optimizer)
        steps = self.recipe.encoder_epochs * self.steps_of_epoch
        run(begun, steps, partial(self.teach, optimizer), self.context, "encoders", share, state)
        return dict(self.lord.state_dict())

    def find(self, optimizer: torch.optim.Optimizer, step: int) -> str:
        """Make a step of the first stage: the generator and the codes of a batch of images."""
        recipe, device = self.recipe, self.context.device
        steps = recipe.generator_epochs * self.steps_of_epoch
        rate = cosine(step, steps, recipe.generator_rate, min(recipe.lowest_rate, recipe.generator_rate))
        for group, factor in zip(optimizer.param_groups, (1.0, recipe.code_factor), strict=True):
            group["lr"] = rate * factor
        rows, x = self._batch("codes", step)
        content = self.codes.content[rows]
        draw = torch.Generator().manual_seed(derived_seed(self.context.seed, "content noise", step))
        noise = torch.randn(content.shape, generator=draw).to(device) * recipe.content_noise
        with passes(self.precision, device):
            drawn = self.lord.generator.draw(content + noise, self.codes.persons[self.who[rows]])
        found = self._compared(drawn, x)
        decay = content.square().sum(1).mean()
        self._descend(optimizer, found + recipe.content_decay * decay)
        return f"loss {found.item():.3f}"

    def teach(self, optimizer: torch.optim.Optimizer, step: int) -> str:
        """Make a step of the second stage: the encoders learn the codes, and the generator goes on."""
        recipe, lord = self.recipe, self.lord
        steps = recipe.encoder_epochs * self.steps_of_epoch
        for group in optimizer.param_groups:
            group["lr"] = cosine(step, steps, recipe.encoder_rate, recipe.encoder_rate / 100)
        rows, x = self._batch("encoders", step)
        with passes(self.precision, self.context.device):
            content, person = lord.content(x), lord.person(x)
            drawn = lord.generator.draw(content, person)
        found = self._compared(drawn, x)
        wrong = (content.float() - self.codes.content[rows].detach()).square().mean()
        wrong = wrong + (person.float() - lord.persons[self.who[rows]]).square().mean()
        self._descend(optimizer, found + recipe.code_weight * wrong)
        return f"loss {found.item():.3f}, codes {wrong.item():.4f}"

    def _batch(self, stage: str, step: int) -> tuple[Tensor, Tensor]:
        """Return the rows (B,) of a step, and their images (B, 3, 64, 64)."""
        epoch, place = divmod(step - 1, self.steps_of_epoch)
        draw = np.random.default_rng(derived_seed(self.context.seed, stage, epoch))
        order = draw.permutation(len(self.persons.who))
        rows = order[place * self.recipe.generator_batch : (place + 1) * self.recipe.generator_batch]
        return torch.from_numpy(rows).to(self.context.device), self.persons.images(rows, self.context.device)

    def _compared(self, drawn: Tensor, x: Tensor) -> Tensor:
        """Return the mean loss of images (B, 3, edge, edge) that were drawn."""
        found = self.loss(drawn.float(), shrunk(x, drawn.shape[2])).mean()
        if not isfinite(found.item()):
            raise ModelError(
                f"the generator diverged: the loss is {found.item()}; "
                f"give a lower generator_rate than {self.recipe.generator_rate:g}"
            )
        return found

    def _descend(self, optimizer: torch.optim.Optimizer, value: Tensor) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(value)
        optimizer.step()
