"""Mixtures of factor analysers are Gaussian mixtures with covariances A A' + D, where D is diagonal.

See Ghahramani and Hinton 1996 (CRG-TR-96-1); for images, Richardson and Weiss 2018
(https://arxiv.org/abs/1805.12462) and 2021 (https://arxiv.org/abs/2002.10563, appendix B.1). In shapes, D is
the dimension of x.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import log, log1p, pi

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from harness.errors import ModelError
from harness_bayes.woodbury import Products

PARTS = ("log_weights", "means", "factors", "noise")
"""The names of the fields, and of the tensors in a state."""
BLOCK = 1 << 22
"""The largest count of numbers in the float64 copy of a block of images."""
LARGEST_PRODUCT = 1e10
"""The largest squared deviation over the noise for which sums that cancel are exact enough (1e-6 of a log
density)."""
NORMALISED = 1e-5
"""The largest absolute value of the logarithm of the sum of the weights."""


@dataclass(frozen=True, eq=False)
class Mfa:
    """An Mfa is a density of vectors (D,); all tensors are float64 and on one device.

    Raises:
        ModelError: the shapes disagree, or a number is not finite, not positive, or not a share.
    """

    log_weights: Tensor
    """(K,) the logarithms of the mixing proportions π."""
    means: Tensor
    """(K, D) the means μ."""
    factors: Tensor
    """(K, D, L) the factors A; they are 0, or L = 0, for a component with a diagonal covariance."""
    noise: Tensor
    """(K, D) the variances on the diagonal of D."""

    def __post_init__(self) -> None:
        fault = _fault(self.log_weights, self.means, self.factors, self.noise)
        if fault:
            raise ModelError(f"mixture of factor analysers: {fault}")

    def log_joint(self, x: Tensor) -> Tensor:
        """Return float64 (B, K) log π_k + log N(x; μ_k, A_k A_k' + D_k) of x (B, D), differentiable."""
        mahalanobis = self._products if self._tame else self._residuals
        return self.log_weights + self._log_scales - self._in_blocks(mahalanobis, x) / 2

    def log_likelihood(self, x: Tensor) -> Tensor:
        """Return float64 (B,) log p(x) of x (B, D), differentiable."""
        return self.log_joint(x).logsumexp(1)

    def responsibilities(self, x: Tensor) -> Tensor:
        """Return float64 (B, K) p(k | x) of x (B, D), differentiable."""
        return self.log_joint(x).softmax(1)

    def generate(self, component: Tensor, z: Tensor, noise: Tensor) -> Tensor:
        """Return float64 samples (B, D); each row depends, to the last bit, on its own row of arguments only.

        Args:
            component: (B,) int64, the component of each sample.
            z: (B, L) standard normal, the latent factors.
            noise: (B, D) standard normal, the noise.
        """
        samples = self.means.new_empty(noise.shape)
        components, latents = component.tolist(), z.tolist()
        term = self.means.new_empty(noise.shape[1:])
        # A product of matrices would be as exact, but its last bits depend on its number of rows. One
        # component after the other, its factors stay in the processor's cache.
        for at in component.argsort(stable=True).tolist():
            index, sample = components[at], samples[at]
            torch.mul(self._deviations[index], noise[at].to(sample), out=sample)
            for weight, factor in zip(latents[at], self._loadings[index].unbind(), strict=True):
                sample += torch.mul(factor, weight, out=term)
            sample += self.means[index]
        return samples

    def subspace_distances(self, x: Tensor) -> Tensor:
        """Return float64 Euclidean distances (B, K) of x (B, D) to μ_k + span(A_k), or to μ_k if A_k = 0."""

        def distances(x: Tensor) -> Tensor:
            columns = []
            for mean, basis in zip(self.means, self._bases, strict=True):
                residual = x - mean
                columns.append(torch.linalg.vector_norm(residual - residual @ basis @ basis.T, dim=1))
            return torch.stack(columns, 1)

        return self._in_blocks(distances, x)

    def state(self, prefix: str) -> dict[str, Tensor]:
        """Return contiguous tensors to be saved, by prefix + field."""
        return {prefix + name: getattr(self, name).detach().contiguous() for name in PARTS}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], prefix: str) -> Mfa:
        """Read the mixture from a ``state``; tensors become float64.

        Raises:
            ModelError: a tensor is missing, the shapes disagree, or the numbers are not a mixture.
        """
        missing = [prefix + name for name in PARTS if prefix + name not in state]
        if missing:
            raise ModelError(f"mixture of factor analysers: no tensor {', '.join(missing)}; fit it again")
        tensors = [state[prefix + name].detach().to(torch.float64) for name in PARTS]
        fault = _fault(*tensors)
        if fault:
            raise ModelError(f'mixture of factor analysers "{prefix}": {fault}; fit it again')
        return cls(*tensors)

    def to(self, device: torch.device | str) -> Mfa:
        """Return this mixture on another device; itself if it is there already."""
        if torch.device(device) == self.means.device:
            return self
        return Mfa(*(getattr(self, name).to(device) for name in PARTS))

    def joined(self, other: Mfa, weight: float) -> Mfa:
        """Join this mixture, with 1 - weight, and another with ``weight``, whose components come last.

        Raises:
            ModelError: the dimensions differ, or ``weight`` is not between 0 and 1.
        """
        if not 0 < weight < 1:
            raise ModelError(f"weight = {weight} of a joined mixture must be between 0 and 1")
        if self.means.shape[1] != other.means.shape[1]:
            raise ModelError(
                f"mixtures of {self.means.shape[1]} and {other.means.shape[1]} numbers cannot be joined; "
                "fit both to images of one size"
            )
        latent = max(self.factors.shape[2], other.factors.shape[2])
        return Mfa(
            torch.cat([self.log_weights + log1p(-weight), other.log_weights + log(weight)]),
            torch.cat([self.means, other.means]),
            torch.cat([F.pad(mfa.factors, (0, latent - mfa.factors.shape[2])) for mfa in (self, other)]),
            torch.cat([self.noise, other.noise]),
        )

    def _in_blocks(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Apply ``function`` to blocks of x (B, D), each in float64, and return (B, K)."""
        components, dimension, latent = self.factors.shape
        size = max(1, BLOCK // max(dimension, components * (latent + 2)))
        # The result is allocated at once; parts of it between freed blocks would fragment the memory.
        whole = self.means.new_empty(len(x), components)
        for rows in range(0, len(x), size):
            whole[rows : rows + size] = function(x[rows : rows + size].to(torch.float64))
        return whole

    @cached_property
    def _loadings(self) -> Tensor:
        """Return (K, L, D) the factors, those of each latent one after the other in memory."""
        return self.factors.mT.contiguous()

    @cached_property
    def _deviations(self) -> Tensor:
        """Return (K, D) the standard deviations of the noise."""
        return self.noise.sqrt()

    @cached_property
    def _whitened(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return U (K, D, L), s (K, L), V' (K, L, L) of D^-1/2 A.

        I + A' D^-1 A = V (1 + s²) V', whose determinant and inverse are exact for small noise too.
        """
        u, s, v = torch.linalg.svd(self.factors / self.noise.sqrt()[:, :, None], full_matrices=False)
        return u, s, v

    @cached_property
    def _log_scales(self) -> Tensor:
        """Return (K,) -log det(2π (A A' + D)) / 2."""
        _, s, _ = self._whitened
        log_determinants = self.noise.log().sum(1) + s.square().log1p().sum(1)
        return -(log_determinants + self.means.shape[1] * log(2 * pi)) / 2

    @cached_property
    def _centre(self) -> Tensor:
        return self.means.mean(0)

    @cached_property
    def _tame(self) -> bool:
        """Tell whether squares may be multiplied out: no component is far from another, in units of noise."""
        spread = (self.means - self._centre).square() + self.factors.square().sum(2) + self.noise  # (K, D)
        return bool((spread @ self.noise.reciprocal().T).max() < LARGEST_PRODUCT)

    @cached_property
    def _products(self) -> Products:
        u, s, _ = self._whitened
        scales = s / s.square().add(1).sqrt()
        return Products.of(
            self.means, self.noise, (u * scales[:, None, :] / self.noise.sqrt()[:, :, None]).mT
        )

    def _residuals(self, x: Tensor) -> Tensor:
        """Return squared Mahalanobis distances (B, K) of x (B, D): |D^-1/2 (x - μ - A z)|² + |z|².

        z is the best one. These sums never cancel, whatever the scales, and a rounding error in z is of
        second order.
        """
        columns = []
        for mean, noise, u, s in zip(self.means, self.noise, *self._whitened[:2], strict=True):
            white = (x - mean) / noise.sqrt()  # (B, D)
            inner = white @ u  # (B, L)
            explained = inner * (s.square() / s.square().add(1))
            latent = inner * (s / s.square().add(1))
            columns.append((white - explained @ u.T).square().sum(1) + latent.square().sum(1))
        return torch.stack(columns, 1)

    @cached_property
    def _bases(self) -> tuple[Tensor, ...]:
        """Return for each component an orthonormal basis (D, rank) of the span of A."""
        u, s, _ = torch.linalg.svd(self.factors, full_matrices=False)
        if not s.shape[1]:
            return tuple(u)
        least = s.amax(1, keepdim=True) * max(self.factors.shape[1:]) * torch.finfo(s.dtype).eps
        return tuple(directions[:, kept] for directions, kept in zip(u, s > least, strict=True))


def _fault(*tensors: Tensor) -> str:
    """Return what is wrong with the tensors of a mixture, and what they should be; "" if nothing is."""
    named = dict(zip(PARTS, tensors, strict=True))
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if len(shapes[2]) != 3 or 0 in shapes[2][:2]:
        return f"factors are {shapes[2]}; expected (K, D, L) of at least one component and one number"
    components, dimension, _ = shapes[2]
    if shapes != [(components,), (components, dimension), shapes[2], (components, dimension)]:
        return f"shapes {', '.join(map(str, shapes))} disagree; expected (K,), (K, D), (K, D, L), (K, D)"
    for name, tensor in named.items():
        if tensor.dtype != torch.float64:
            return f"{name} is {tensor.dtype}; expected torch.float64"
        if not tensor.isfinite().all():
            return f"{name} has numbers that are not finite"
    if not (named["noise"] > 0).all():
        return f"noise is {named['noise'].min():g} somewhere; variances must be greater than 0"
    total = named["log_weights"].logsumexp(0).item()
    if abs(total) > NORMALISED:
        return f"the logarithm of the weights' sum is {total:g}; expected 0"
    return ""
