"""Learning a mixture of factor analysers from images, by stochastic gradients of the likelihood.

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
from harness_bayes.initial import LARGEST_DEVIATION, LEAST_DEVIATION, Images, Start, clustered
from harness_bayes.mfa import Mfa
from harness_bayes.woodbury import Products, inner_factors

JUDGED = 1024
"""Images, at most, by whose likelihood the training is judged."""
JUDGEMENTS = 4
"""How often it is judged, beside the beginning; the best of them is kept."""


@dataclass(frozen=True, kw_only=True)
class MixtureRecipe:
    """How large a mixture is, and how long and how fast to train it."""

    components: Annotated[int, Ge(1)] | None = None
    """None: one per ``samples_per_component`` images, and at least one."""
    samples_per_component: Annotated[int, Ge(1)] = 1000
    """Images."""
    latent: Annotated[int, Ge(1)] = 10
    """Factors of a component."""
    steps: Annotated[int, Ge(0)] = 80
    """Of Adam, after k-means and a factor analysis of each cluster. The default takes some seconds for some
    thousand images of 64 x 64; the published code makes 10,000."""
    learning_rate: Annotated[float, Gt(0)] = 2e-3
    """Of Adam; 5e-5 in the published code."""
    batch_size: Annotated[int, Ge(1)] = 256
    """Images in a step."""
    decay: bool = True
    """Whether the learning rate falls to 0, along a line, so that the last steps no longer scatter; not in
    the published code."""

    def of(self, images: int) -> MixtureRecipe:
        """The same with the number of components that so many images have."""
        count = max(1, images // self.samples_per_component) if self.components is None else self.components
        return replace(self, components=count)

    def identity(self, images: int) -> dict[str, Any]:
        """All that decides a mixture, beside the images and the seed."""
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
    """The mixture with the greatest likelihood that was found.

    Noise has a deviation of at least 1e-3, and of at most 1, so that equal images, or pixels that never
    change, have a density. The likelihood of the images is never less than where training begins.

    Args:
        images: (N, D) float32, in [0, 1].
        recipe: 0 steps keep the factor analyses of k-means' clusters.
        seed: decides the outcome, with the number of threads; no global generator is read or changed.
        device: where to compute; the mixture comes back on the CPU.
        report: told the share done, and the mean log-likelihood of the last batch, after every step.
        mirror: channels, height and width of D, to learn mirror images (left to right), too.

    Raises:
        ModelError: there are too few images, a pixel is not finite, a parameter is out of range, or the
            likelihood is no longer finite.
    """
    components = _checked(images, recipe, mirror)
    draws = torch.Generator().manual_seed(derived_seed(seed, "order"))
    samples = Images(images, mirror, device)
    report(0.0, "k-means and factor analyses")
    start = clustered(samples, components, recipe.latent, draws, derived_seed(seed, "k-means") % 2**32)
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
    """The best of the mixtures on the way, by their likelihood of the same images."""
    steps, batch_size = recipe.steps, recipe.batch_size
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
        if step * JUDGEMENTS // steps > (step - 1) * JUDGEMENTS // steps:
            mixture = _mixture(parameters)
            current = _judged(mixture, images, judged, batch_size)
            if current > best:
                best, kept = current, mixture
        report(step / steps, f"step {step}/{steps}, log-likelihood {shown:.1f}")
    return kept


def mean_log_likelihood(
    x: Tensor, logits: Tensor, means: Tensor, factors: Tensor, deviations: Tensor
) -> Tensor:
    """A number, of x (B, D) and the mixture of softmax(logits) (K,), μ (K, D), A (K, D, L), √D (K, D)."""
    inner, log_determinants = inner_factors(factors, deviations)
    distances = Products.of(means, deviations.square(), inner)(x)  # (B, K)
    scales = logits.log_softmax(0) - (log_determinants + means.shape[1] * log(2 * pi)) / 2  # (K,)
    return (scales - distances / 2).logsumexp(1).mean()


def _parameters(start: Start) -> list[Tensor]:
    """Logits of the shares, means, factors and deviations, as gradients change them."""
    tensors = [start.shares.log(), start.means, start.factors, start.deviations]
    return [tensor.clone().requires_grad_() for tensor in tensors]


def _mixture(parameters: list[Tensor]) -> Mfa:
    logits, means, factors, deviations = (part.detach().double() for part in parameters)
    return Mfa(logits.log_softmax(0), means, factors, deviations.square())


def _judged(mixture: Mfa, images: Images, rows: Tensor, batch_size: int) -> float:
    """The mean log-likelihood of these images."""
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
        raise ModelError(f"fitting a mixture: mirror = {mirror} has not the {dimension} numbers of an image")
    components = recipe.of(number).components or 1
    least = max(components, recipe.latent + 1)
    if number < least:
        raise ModelError(
            f"fitting a mixture: {number} images are few for {components} components of {recipe.latent} "
            f"factors; give at least {least}, or fewer components and factors"
        )
    for rows in torch.split(torch.arange(number), recipe.batch_size):
        wrong = torch.nonzero(~images[rows].isfinite().all(1))
        if len(wrong):
            image = int(rows[wrong[0]])
            raise ModelError(f"fitting a mixture: image {image} has pixels that are not finite; leave it out")
    return components
