"""A mixture of factor analysers is learned from images by stochastic gradients of the likelihood.

Richardson and Weiss 2018 (https://arxiv.org/abs/1805.12462), sections 3 and 4; 2021 (https://arxiv.org/abs/2002.10563),
appendix B.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from math import isfinite, log, pi, prod
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from harness.errors import ModelError
from harness.randomness import derived_seed
from harness_bayes.initial import LARGEST_DEVIATION, LEAST_DEVIATION, Beginning, Images, Start, clustered
from harness_bayes.mfa import Mfa
from harness_bayes.woodbury import Products, inner_factors

JUDGED = 1024
"""The largest number of images whose likelihood decides which mixture is kept."""


@dataclass(frozen=True, kw_only=True)
class MixtureRecipe(Beginning):
    """A MixtureRecipe says how large a mixture is, and how it is trained."""

    components: Annotated[int, Ge(1)] | None = None
    """The number of components; None: one per ``samples_per_component`` images, and at least one."""
    samples_per_component: Annotated[int, Ge(1)] = 1000
    """The number of images per component."""
    latent: Annotated[int, Ge(1)] = 10
    """The number of factors of a component."""
    steps: Annotated[int, Ge(0)] = 80
    """The number of Adam's steps, after k-means and a factor analysis of each cluster. The default takes some
    seconds for some thousand images of 64 x 64; the published code makes 10,000 steps."""
    learning_rate: Annotated[float, Gt(0)] = 2e-3
    """The learning rate of Adam; 5e-5 in the published code."""
    batch_size: Annotated[int, Ge(1)] = 256
    """The number of images in a step."""
    decay: bool = True
    """Whether the learning rate decreases linearly to 0, which makes the last steps less random; not in the
    published code."""
    judgements: Annotated[int, Ge(0)] = 4
    """How often in training the mixture is compared, by the likelihood of the same images, with the start and
    those before; the best is kept. With 0 it is the last one, as in the published code."""

    def of(self, images: int) -> MixtureRecipe:
        """Return the recipe with the number of components for so many images."""
        count = max(1, images // self.samples_per_component) if self.components is None else self.components
        return replace(self, components=count)

    def identity(self, images: int) -> dict[str, Any]:
        """Return all that decides a mixture, beside the images and the seed."""
        known = asdict(self.of(images))
        return {name: value for name, value in known.items() if name != "samples_per_component"}


QUICK = MixtureRecipe()


def fit_mfa(
    images: Tensor,
    recipe: MixtureRecipe,
    *,
    seed: int,
    device: torch.device,
    report: Callable[[float, str], None],
    mirror: tuple[int, int, int] | None = None,
) -> Mfa:
    """Fit a mixture, and return the one with the greatest likelihood that was found.

    The deviation of the noise is from 1e-3 to 1, so that equal images, or pixels that never change, have a
    density. Unless ``judgements`` is 0, the likelihood of the images is never less than at the start of the
    training.

    Args:
        images: (N, D) float32, in [0, 1].
        recipe: with 0 steps, the factor analyses of k-means' clusters are kept.
        seed: decides the result, together with the number of threads; no global generator is used.
        device: the device for the computation; the returned mixture is on the CPU.
        report: receives the share done and the mean log-likelihood of the last batch, after every step.
        mirror: the channels, height and width of an image, if mirror images (left to right) are learned too.

    Raises:
        ModelError: there are too few images, a pixel is not finite, a parameter is out of range, or the
            likelihood is no longer finite.
    """
    components = _checked(images, recipe, mirror)
    draws = torch.Generator().manual_seed(derived_seed(seed, "order"))
    samples = Images(images, mirror, device)
    report(0.0, "k-means and factor analyses")
    start = clustered(
        samples, components, recipe.latent, draws, derived_seed(seed, "k-means") % 2**32, recipe
    )
    if not recipe.steps:
        return _mixture(_parameters(start)).to("cpu")
    return _trained(samples, start, draws, recipe, report).to("cpu")


def _trained(
    images: Images,
    start: Start,
    draws: torch.Generator,
    recipe: MixtureRecipe,
    report: Callable[[float, str], None],
) -> Mfa:
    """Train, and return the best mixture by the likelihood of the same images, or the last one."""
    steps, batch_size, times = recipe.steps, recipe.batch_size, recipe.judgements
    judged = torch.randperm(len(images), generator=draws)[:JUDGED]
    parameters = _parameters(start)
    kept = _mixture(parameters)
    best = _judged(kept, images, judged, batch_size)
    optimizer = torch.optim.Adam(parameters, recipe.learning_rate)
    for step, rows in zip(range(1, steps + 1), _batches(len(images), batch_size, draws), strict=False):
        if recipe.decay:
            optimizer.param_groups[0]["lr"] = recipe.learning_rate * (1 - (step - 1) / steps)
        optimizer.zero_grad()
        likelihood = mean_log_likelihood(images.take(rows), *parameters)
        torch.autograd.backward(-likelihood)
        optimizer.step()
        with torch.no_grad():
            parameters[-1].clamp_(LEAST_DEVIATION, LARGEST_DEVIATION)
        shown = likelihood.item()
        if not isfinite(shown) or not all(bool(parameter.isfinite().all()) for parameter in parameters):
            raise ModelError(
                f"fitting a mixture diverged in step {step} of {steps}: the log-likelihood is {shown:g}; "
                f"give a lower learning_rate than {recipe.learning_rate:g}"
            )
        if step * times // steps > (step - 1) * times // steps:
            mixture = _mixture(parameters)
            current = _judged(mixture, images, judged, batch_size)
            if current > best:
                best, kept = current, mixture
        report(step / steps, f"step {step}/{steps}, log-likelihood {shown:.1f}")
    return kept if times else _mixture(parameters)


def mean_log_likelihood(
    x: Tensor, logits: Tensor, means: Tensor, factors: Tensor, deviations: Tensor
) -> Tensor:
    """Return the mean over x (B, D), for a mixture of softmax(logits) (K,), μ (K, D), A (K, D, L) and √D."""
    inner, log_determinants = inner_factors(factors, deviations)
    distances = Products.of(means, deviations.square(), inner)(x)  # (B, K)
    scales = logits.log_softmax(0) - (log_determinants + means.shape[1] * log(2 * pi)) / 2  # (K,)
    return (scales - distances / 2).logsumexp(1).mean()


def _parameters(start: Start) -> list[Tensor]:
    """Return the logits of the shares, means, factors and deviations, as parameters to optimise."""
    tensors = [start.shares.log(), start.means, start.factors, start.deviations]
    return [tensor.clone().requires_grad_() for tensor in tensors]


def _mixture(parameters: list[Tensor]) -> Mfa:
    logits, means, factors, deviations = (part.detach().double() for part in parameters)
    return Mfa(logits.log_softmax(0), means, factors, deviations.square())


def _judged(mixture: Mfa, images: Images, rows: Tensor, batch_size: int) -> float:
    """Return the mean log-likelihood of these images."""
    parts = [mixture.log_likelihood(images.take(part)) for part in torch.split(rows, batch_size)]
    return float(torch.cat(parts).mean())


def _batches(number: int, size: int, draws: torch.Generator) -> Iterator[Tensor]:
    """Rows (B,), epoch by epoch, each epoch in an order of its own; without end."""
    while True:
        yield from torch.split(torch.randperm(number, generator=draws), size)


def _checked(images: Tensor, recipe: MixtureRecipe, mirror: tuple[int, int, int] | None) -> int:
    """The number of components, of parameters and images that a mixture can be learned with."""
    for name, bound in {"components": 1, "latent": 0, "steps": 0, "batch_size": 1}.items():
        value = getattr(recipe, name)
        if value is not None and value < bound:
            raise ModelError(f"fitting a mixture: {name} = {value} must be at least {bound}")
    if not 0 < recipe.learning_rate < float("inf"):
        raise ModelError(f"fitting a mixture: learning_rate = {recipe.learning_rate} must be greater than 0")
    if images.ndim != 2 or not images.is_floating_point() or not images.shape[1]:
        raise ModelError(
            f"fitting a mixture: images are {images.dtype} {tuple(images.shape)}; expected float (N, D)"
        )
    number, dimension = images.shape
    if mirror is not None and prod(mirror) != dimension:
        raise ModelError(
            f"fitting a mixture: mirror = {mirror} does not give the {dimension} numbers of an image"
        )
    components = recipe.of(number).components or 1
    least = max(components, recipe.latent + 1)
    if number < least:
        raise ModelError(
            f"fitting a mixture: {number} images are too few for {components} components of {recipe.latent} "
            f"factors; give at least {least}, or fewer components and factors"
        )
    for rows in torch.split(torch.arange(number), recipe.batch_size):
        wrong = torch.nonzero(~images[rows].isfinite().all(1))
        if len(wrong):
            image = int(rows[wrong[0]])
            raise ModelError(f"fitting a mixture: image {image} has pixels that are not finite; leave it out")
    return components
