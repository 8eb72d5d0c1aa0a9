"""A recipe holds what decides the weights of a FaceNet, beside its design, the data and the seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from harness.precision import Precision
from harness.training.schedules import one_cycle
from harness_facenet.inner_attack import InnerAttack

Kind = Literal["standard", "adversarial", "contrastive", "scratch", "given"]
SecondView = Literal["same", "other"]
Schedule = Literal["constant", "one-cycle"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A Recipe trains in stages, each of which is kept; the defaults are those of the quick preset.

    An epoch shows ``epoch_images`` images as anchors, or all of them. What the paper does not state is said
    to be so; docs/facenet.md says why it is what it is.
    """

    recipe: Kind = "contrastive"
    """"standard" learns from clean triplets; "adversarial" goes on from there with attacked ones (algorithm
    2); "contrastive" learns from attacked pairs of views (algorithm 1), and then from attacked triplets;
    "scratch" does the latter without the former; "given" learns nothing, and needs ``start_weights``."""
    start_weights: str | None = None
    """A file of weights to begin with, of this network or of torchvision's ResNet; None: from scratch."""
    batch_size: Annotated[int, Ge(2)] = 48
    """Published: 128."""
    epoch_images: Annotated[int, Ge(2)] | None = 960
    """The number of images that an epoch shows, drawn anew in each; None: all, as published."""
    schedule: Schedule = "one-cycle"
    """The learning rate in a stage: "one-cycle" rises and falls to 0; "constant" is the convention."""
    precision: Precision = "mixed"
    """"mixed" computes passes in bfloat16 if the processor supports it, and keeps weights in float32."""
    held_out: Annotated[int, Ge(2)] = 12
    """The number of training persons whose triplets are measured after each epoch, and learned from never."""
    # Triplets.
    margin: Annotated[float, Ge(0)] = 0.2
    """Not stated; FaceNet's."""
    squared: bool = True
    """Whether the loss compares squared distances, as FaceNet does; not stated."""
    standard_epochs: Annotated[int, Ge(1)] = 16
    """Published: 250."""
    standard_rate: Annotated[float, Gt(0)] = 3e-3
    """Not stated; 1e-3 by convention."""
    tuning_epochs: Annotated[int, Ge(1)] = 8
    """The epochs of triplet adversarial training; published: 250, and 50 after pre-training."""
    tuning_rate: Annotated[float, Gt(0)] = 2e-3
    """Not stated; 1e-3 by convention."""
    # Attacked views.
    pretraining_epochs: Annotated[int, Ge(1)] = 12
    """Published: 500."""
    pretraining_rate: Annotated[float, Gt(0)] = 3e-3
    """Not stated; 1e-3 by convention."""
    temperature: Annotated[float, Gt(0)] = 0.5
    """τ of NT-Xent; not stated; SimCLR's."""
    second_view: SecondView = "same"
    """What is attacked and paired with a view: the view itself, as in algorithm 1, or another view of the
    image, as SimCLR pairs them."""
    projector_width: Annotated[int, Ge(2)] = 64
    """The outputs of the projector; not stated; 128 in ``paper``."""
    labels: Annotated[float, Ge(0), Le(1)] = 0.0
    """The share of images whose person the pre-training knows: pairs are then of two images of the person
    (section 4.4). Which pairs the paper makes of labels is not stated."""
    # The attack inside training.
    eps: Annotated[float, Gt(0)] = 8 / 255
    """ε, published."""
    attack_step_size: Annotated[float, Gt(0)] = 4 / 255
    """α; published: 2/255."""
    attack_steps: Annotated[int, Ge(1)] = 3
    """Published: 7."""

    @property
    def attack(self) -> InnerAttack:
        """Return the attack of a step."""
        return InnerAttack(self.eps, self.attack_step_size, self.attack_steps)

    def rate(self, highest: float, step: int, steps: int) -> float:
        """Return the learning rate of a step of a stage, counted from 1."""
        return highest if self.schedule == "constant" else one_cycle(step, steps, highest)

    def chosen(self, *names: str) -> dict[str, object]:
        """Return the fields that a stage depends on: those of every stage, and the named ones."""
        common = ("batch_size", "epoch_images", "schedule", "precision", "held_out")
        return {name: getattr(self, name) for name in (*common, *names)}


TRIPLETS = ("margin", "squared")
ATTACK = ("eps", "attack_step_size", "attack_steps")
STANDARD = (*TRIPLETS, "standard_epochs", "standard_rate")
CONTRASTIVE = (
    *(*ATTACK, "pretraining_epochs", "pretraining_rate", "temperature", "second_view"),
    *("projector_width", "labels"),
)
TUNING = (*TRIPLETS, *ATTACK, "tuning_epochs", "tuning_rate")
"""The fields that each stage depends on, beside those of every stage and of the stage before."""
