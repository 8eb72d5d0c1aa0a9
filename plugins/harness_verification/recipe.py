"""Recipes hold what decides the weights of the verifier and of its generator, beside data and seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from harness.precision import Precision
from harness_verification.augmentation import Eraser
from harness_verification.contrastive import Hinge
from harness_verification.image_losses import Scale
from harness_verification.inner_attack import PLACES, InnerAttack

Kind = Literal["proposed", "weak", "doa", "none"]
Kept = Literal["auc", "loss", "last"]
Schedule = Literal["constant", "cosine"]
Area = tuple[float, float]
SMALLEST_AREAS: dict[Kind, Area] = {"weak": (0.02, 0.1)}
USUAL_AREA: Area = (0.02, 0.2)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A Recipe trains F; the defaults are those of the quick preset."""

    recipe: Kind = "proposed"
    """"proposed" pairs images with generated ones, and attacks them in random rectangles; "weak" and "doa"
    pair real ones, and attack in random rectangles and in the square whose occlusion matters most; "none" is
    "proposed" without attacks."""
    places: Annotated[int, Ge(1), Le(PLACES**2)] = 4
    """C, the number of squares that "doa" tries; published: 4 and 10."""
    steps: Annotated[int, Ge(1)] = 400
    batch_size: Annotated[int, Ge(2)] = 32
    """The number of positive pairs of a step, which has as many negative ones."""
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    schedule: Schedule = "cosine"
    """"cosine" falls to a hundredth at the end, "constant" is the published one."""
    amsgrad: bool = True
    """Whether Adam uses the largest second moment so far, as the authors' code does."""
    margin: Annotated[float, Gt(0)] = 10.0
    hinge: Hinge = "distance"
    """What the margin bounds: the distance, as in the authors' code, or its square, as in eq. 2."""
    candidates: Annotated[int, Ge(1)] = 2
    """n_m, the number of other persons of whom the nearest makes the negative pair."""
    shift: Annotated[int, Ge(0), Le(32)] = 5
    """The largest shift in pixels of "proposed", "weak" and "none"; "doa" only mirrors."""
    erased_share: Annotated[float, Ge(0), Le(1)] | None = None
    """The share of images with a rectangle; None: 0.5, and with "weak" 1."""
    erased_area: tuple[float, float] | None = None
    """The smallest and largest area of a rectangle; None: 0.02 to 0.2, and with "weak" to 0.1."""
    attack_steps: Annotated[int, Ge(0)] = 5
    attack_step_size: Annotated[float, Gt(0)] = 32 / 255
    """The size of an attack's step; published: 10 steps of 16/255."""
    start_steps: Annotated[int, Ge(0)] = 1200
    """The number of steps, before all others, on clean real pairs: all those of a batch of 16 persons with
    four images each. All recipes share them; published: 0."""
    start_rate: Annotated[float, Gt(0)] = 3e-3
    """The highest learning rate of these steps."""
    validate_every: Annotated[int, Ge(1)] = 25
    held_out: Annotated[int, Ge(1)] = 12
    """The number of training persons to validate on, whom nothing else sees; published: 100."""
    people: Annotated[int, Ge(2)] | None = None
    """The largest number of persons whom F learns from; published: 2000. The generator sees all."""
    keep: Kept = "last"
    """The weights to keep: those of the best AU-ROC or the smallest loss of clean pairs in validation, or the
    last. After a start on clean pairs the best clean ones are those that attacks have changed least."""
    generated_pairs: bool = False
    """Whether distances of real and of generated pairs are measured at the end (figure 3), for which recipes
    without a generator train one too."""
    body_weights: str | None = None
    """A file of VGG-16's convolutions to start from, for networks without batch normalisation."""
    precision: Precision = "mixed"
    """"mixed" computes passes in bfloat16 if the processor supports it, and keeps weights in float32."""

    @property
    def generates(self) -> bool:
        """Say whether negative pairs are generated."""
        return self.recipe in ("proposed", "none")

    @property
    def eraser(self) -> Eraser:
        """Return what draws the rectangles of a step."""
        usual = 1.0 if self.recipe == "weak" else 0.5
        share = usual if self.erased_share is None else self.erased_share
        return Eraser(share, self.erased_area or SMALLEST_AREAS.get(self.recipe, USUAL_AREA))

    @property
    def attack(self) -> InnerAttack:
        """Return the attack of a step; it makes no step with "none"."""
        return InnerAttack(0 if self.recipe == "none" else self.attack_steps, self.attack_step_size)


@dataclass(frozen=True, kw_only=True)
class GeneratorRecipe:
    """A GeneratorRecipe trains LORD; the defaults are those of the quick preset."""

    generator_epochs: Annotated[int, Ge(1)] = 24
    """The epochs of the first stage, which finds codes; published: 200."""
    encoder_epochs: Annotated[int, Ge(1)] = 10
    """The epochs of the second stage, which teaches the encoders; published: 200."""
    generator_batch: Annotated[int, Ge(2)] = 32
    generator_rate: Annotated[float, Gt(0)] = 4e-3
    """The first stage's highest learning rate of the generator; published: 3e-4."""
    lowest_rate: Annotated[float, Gt(0)] = 1e-5
    """The first stage's last learning rate."""
    code_factor: Annotated[float, Gt(0)] = 10.0
    """How much larger the codes' learning rate is."""
    encoder_rate: Annotated[float, Gt(0)] = 1e-3
    """The second stage's learning rate; published: 1e-4."""
    content_noise: Annotated[float, Ge(0)] = 0.1
    """σ of the noise on content codes; published: 1."""
    content_decay: Annotated[float, Ge(0)] = 3e-4
    """λ, the weight of the squared length of content codes; published: 1e-3."""
    code_weight: Annotated[float, Ge(0)] = 1.0
    """The weight of the codes' squared errors in the second stage; published: 1e4 in one code, else 10."""
    perceptual_weights: str | None = None
    """A file of VGG-16's convolutions, whose features compare images; None: SSIM and L1 do."""
    perceptual_scale: Scale = "imagenet"
