"""The training of a mixture begins with k-means and a factor analysis of each cluster.

This follows Richardson and Weiss 2018 (https://arxiv.org/abs/1805.12462), section 3.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

LEAST_DEVIATION, LARGEST_DEVIATION = 1e-3, 1.0
"""The bounds of √D on the scale of [0, 1]: without the lower one, a pixel that is black in all images of a
cluster makes the density infinite."""
COORDINATES = 64
"""The number of principal components in which k-means measures distances."""
CHUNK = 512
"""The number of images whose coordinates are computed at once."""
STARTS = 4
"""The number of runs of k-means, of which the best is kept."""
SWEEPS = 4
"""The sweeps of the factor analysis. More would change likelihoods by less than the following training."""


@dataclass(frozen=True, eq=False)
class Images:
    """Images are the images to fit, followed by their mirror images if ``mirror`` is given."""

    pixels: Tensor
    """(N, D) float32."""
    mirror: tuple[int, int, int] | None
    """The channels, height and width of an image, if images are to be mirrored left to right."""
    device: torch.device
    """The device of the images that ``take`` returns."""

    def __len__(self) -> int:
        return len(self.pixels) * (1 if self.mirror is None else 2)

    def take(self, rows: Tensor) -> Tensor:
        """Return images (B, D) of the given rows (B,); rows from N to 2 N are mirror images."""
        number = len(self.pixels)
        taken = self.pixels[rows % number].to(self.device, torch.float32)
        if self.mirror is not None:
            flipped = torch.nonzero(rows >= number).flatten().to(self.device)
            taken[flipped] = taken[flipped].view(-1, *self.mirror).flip(3).flatten(1)
        return taken


@dataclass(frozen=True, eq=False)
class Start:
    """A Start holds the float32 parameters of a mixture before training."""

    shares: Tensor  # (K,)
    means: Tensor  # (K, D)
    factors: Tensor  # (K, D, L)
    deviations: Tensor  # (K, D)


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """A Beginning says of how many images a mixture starts."""

    surveyed: Annotated[int, Ge(2)] = 512
    """The largest number of images from which the principal components are computed in which k-means measures
    distances. The published code clusters 300 images per component, at least 10,000, by random pixels."""
    analysed: Annotated[int, Ge(1)] = 256
    """The largest number of images for the factor analysis of a cluster; 300 on average in the published
    code."""


BEGINNING = Beginning()


def clustered(
    images: Images,
    components: int,
    latent: int,
    draws: torch.Generator,
    seed: int,
    beginning: Beginning = BEGINNING,
) -> Start:
    """Return a mixture of the factor analyses of k-means' clusters.

    A component uses at least 2 (L + 1) images: if its cluster has fewer, those nearest to its centre. A
    cluster that stays empty, because too few images differ, counts as one with one image.

    Args:
        draws: the generator that selects images if there are many.
        seed: the seed of k-means.
        beginning: how many images are used.
    """
    coordinates = principal_coordinates(images, draws, beginning.surveyed)  # (N, C)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # images that are equal
        found = KMeans(components, n_init=STARTS, random_state=seed).fit(coordinates.numpy())
    centres = torch.from_numpy(found.cluster_centers_)
    labels = torch.from_numpy(found.labels_)
    parts = []
    for index in range(components):
        members = torch.nonzero(labels == index).flatten()
        if len(members) < 2 * (latent + 1):
            distances = (coordinates - centres[index]).square().sum(1)
            members = distances.argsort(stable=True)[: 2 * (latent + 1)]
        elif len(members) > beginning.analysed:
            members = members[torch.randperm(len(members), generator=draws)[: beginning.analysed]]
        parts.append(factor_analysis(images.take(members), latent))
    shares = torch.bincount(labels, minlength=components).clamp_min(1).float()
    means, factors, deviations = (torch.stack(tensors) for tensors in zip(*parts, strict=True))
    return Start((shares / shares.sum()).to(means), means, factors, deviations)


def principal_coordinates(images: Images, draws: torch.Generator, number: int) -> Tensor:
    """Coordinates (N, C) of the images in the first principal components of ``number``; on the CPU."""
    surveyed = images.take(torch.randperm(len(images), generator=draws)[:number])
    mean = surveyed.mean(0)
    centred = surveyed - mean
    values, vectors = torch.linalg.eigh((centred @ centred.T).double())
    values, vectors = values[-COORDINATES:], vectors[:, -COORDINATES:]
    scales = values.clamp_min(values[-1] * 1e-9).clamp_min(1e-12).sqrt()  # 0 where all images are equal
    basis = centred.T @ (vectors / scales).float()  # (D, C)
    parts = [(images.take(rows) - mean) @ basis for rows in torch.split(torch.arange(len(images)), CHUNK)]
    return torch.cat(parts).cpu().double()


def factor_analysis(x: Tensor, latent: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (D,), factors (D, L) and deviations √D (D,) of the greatest likelihood of x (N, D), N small.

    Factors and noise are improved by turns (Jöreskog 1967; Barber 2012, algorithm 21.1). scikit-learn's
    ``FactorAnalysis`` does the same, but has no lower bound of the noise, which many pixels reach here.
    Factors that the images do not need are 0.
    """
    mean = x.mean(0)
    centred = (x - mean) / len(x) ** 0.5
    variances = centred.square().sum(0)
    noise = variances.clamp(LEAST_DEVIATION**2, LARGEST_DEVIATION**2)
    factors = x.new_zeros(x.shape[1], latent)
    rank = min(latent, len(x))
    for _ in range(SWEEPS if rank else 0):
        deviations = noise.sqrt()
        white = centred / deviations  # (N, D)
        values, vectors = torch.linalg.eigh((white @ white.T).double())
        values, vectors = values[-rank:], vectors[:, -rank:]
        # Left singular vectors times √((s² - 1) / s²) are right ones times √(s² - 1).
        gains = ((values - 1).clamp_min(0) / values.clamp_min(1)).sqrt()
        factors[:, :rank] = deviations[:, None] * (white.T @ (vectors * gains).to(x))
        noise = (variances - factors.square().sum(1)).clamp(LEAST_DEVIATION**2, LARGEST_DEVIATION**2)
    return mean, factors, noise.sqrt()
