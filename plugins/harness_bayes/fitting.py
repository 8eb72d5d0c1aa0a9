"""Learning a mixture of factor analysers from images, by stochastic gradients of the likelihood.

Richardson and Weiss 2018 (https://arxiv.org/abs/1805.12462), sections 3 and 4; 2021 (https://arxiv.org/abs/2002.10563),
appendix B.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite, log, pi, prod

import torch
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
class FitRecipe:
    """How long and how fast to train."""

    steps: int
    learning_rate: float
    batch_size: int
    mirrored: bool
    decay: bool


PAPER = FitRecipe(steps=10_000, learning_rate=5e-5, batch_size=256, mirrored=True, decay=False)
"""The defaults of the study's public code."""
QUICK = FitRecipe(steps=80, learning_rate=2e-3, batch_size=256, mirrored=True, decay=True)
"""Some seconds for some thousand images of 64 x 64."""


def fit_mfa(
    images: Tensor,
    *,
    components: int,
    latent: int,
    steps: int,
    learning_rate: float,
    batch_size: int,
    seed: int,
    device: torch.device,
    report: Callable[[float, str], None],
    mirror: tuple[int, int, int] | None = None,
    decay: bool = True,
) -> Mfa:
    """The mixture with the greatest likelihood that was found.

    Noise has a deviation of at least 1e-3, and of at most 1, so that equal images, or pixels that never
    change, have a density. The likelihood of the images is never less than where training begins.

    Args:
        images: (N, D) float32, in [0, 1].
        components: K.
        latent: L, factors of each component.
        steps: of Adam; 0 keeps the factor analyses of k-means' clusters.
        learning_rate: of Adam.
        batch_size: images in a step.
        seed: decides the outcome, with the number of threads; no global generator is read or changed.
        device: where to compute; the mixture comes back on the CPU.
        report: told the share done, and the mean log-likelihood of the last batch, after every step.
        mirror: channels, height and width of D, to learn mirror images (left to right), too.
        decay: whether the learning rate falls to 0, along a line, so that the last steps no longer scatter.

    Raises:
        ModelError: there are too few images, a pixel is not finite, a parameter is out of range, or the
            likelihood is no longer finite.
    """
    _check(images, components, latent, steps, learning_rate, batch_size, mirror)
    draws = torch.Generator().manual_seed(derived_seed(seed, "order"))
    samples = Images(images, mirror, device)
    report(0.0, "k-means and factor analyses")
    start = clustered(samples, components, latent, draws, derived_seed(seed, "k-means") % 2**32)
    if not steps:
        return _mixture(_parameters(start)).to("cpu")
    return _trained(samples, start, draws, steps, learning_rate, batch_size, report, decay).to("cpu")


def _trained(
    images: Images,
    start: Start,
    draws: torch.Generator,
    steps: int,
    learning_rate: float,
    batch_size: int,
    report: Callable[[float, str], None],
    decay: bool,
) -> Mfa:
    """The best of the mixtures on the way, by their likelihood of the same images."""
    judged = torch.randperm(len(images), generator=draws)[:JUDGED]
    parameters = _parameters(start)
    kept = _mixture(parameters)
    best = _judged(kept, images, judged, batch_size)
    optimizer = torch.optim.Adam(parameters, learning_rate)
    for step, rows in zip(range(1, steps + 1), _batches(len(images), batch_size, draws), strict=False):
        if decay:
            optimizer.param_groups[0]["lr"] = learning_rate * (1 - (step - 1) / steps)
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
                f"give a lower learning_rate than {learning_rate:g}"
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


def _check(
    images: Tensor,
    components: int,
    latent: int,
    steps: int,
    learning_rate: float,
    batch_size: int,
    mirror: tuple[int, int, int] | None,
) -> None:
    bounds = {
        "components": (components, 1),
        "latent": (latent, 0),
        "steps": (steps, 0),
        "batch_size": (batch_size, 1),
    }
    for name, (value, bound) in bounds.items():
        if value < bound:
            raise ModelError(f"fitting a mixture: {name} = {value} must be at least {bound}")
    if not 0 < learning_rate < float("inf"):
        raise ModelError(f"fitting a mixture: learning_rate = {learning_rate} must be greater than 0")
    if images.ndim != 2 or not images.is_floating_point() or not images.shape[1]:
        raise ModelError(
            f"fitting a mixture: images are {images.dtype} {tuple(images.shape)}; expected float (N, D)"
        )
    number, dimension = images.shape
    if mirror is not None and prod(mirror) != dimension:
        raise ModelError(f"fitting a mixture: mirror = {mirror} has not the {dimension} numbers of an image")
    least = max(components, latent + 1)
    if number < least:
        raise ModelError(
            f"fitting a mixture: {number} images are few for {components} components of {latent} factors; "
            f"give at least {least}, or fewer components and factors"
        )
    for rows in torch.split(torch.arange(number), batch_size):
        wrong = torch.nonzero(~images[rows].isfinite().all(1))
        if len(wrong):
            image = int(rows[wrong[0]])
            raise ModelError(f"fitting a mixture: image {image} has pixels that are not finite; leave it out")
