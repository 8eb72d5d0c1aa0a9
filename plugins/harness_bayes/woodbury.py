"""Squared Mahalanobis distances to Gaussians with covariances A A' + D are computed by matrix products.

Woodbury's identity is (A A' + D)^-1 = D^-1 - W W' with W = D^-1 A C^-1' and C C' = I + A' D^-1 A.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Products:
    """Products holds what is the same for all batches, in one dtype, for means μ minus their centre."""

    centre: Tensor
    """(D,) the mean of the means."""
    precisions: Tensor
    """(K, D) the diagonals of D^-1."""
    linear: Tensor
    """(K + K L, D): -2 D^-1 μ of each component, then the columns of each W."""
    squared: Tensor
    """(K,) μ' D^-1 μ."""
    projected: Tensor
    """(K, L) W' μ."""

    @classmethod
    def of(cls, means: Tensor, noise: Tensor, inner: Tensor) -> Products:
        """Compute the products of means (K, D), noise variances (K, D) and W' (K, L, D)."""
        centre = means.detach().mean(0)
        means = means - centre
        precisions = noise.reciprocal()
        scaled = means * precisions
        return cls(
            centre,
            precisions,
            torch.cat([-2 * scaled, inner.flatten(0, 1)]),
            (means * scaled).sum(1),
            torch.einsum("kd,kld->kl", means, inner),
        )

    def __call__(self, x: Tensor) -> Tensor:
        """Return (B, K) (x - μ_k)' (A_k A_k' + D_k)^-1 (x - μ_k) of x (B, D)."""
        components, latent = self.projected.shape
        x = x - self.centre
        terms = x @ self.linear.T  # (B, K + K L)
        inner = terms[:, components:].view(len(x), components, latent) - self.projected
        return x.square() @ self.precisions.T + terms[:, :components] + self.squared - inner.square().sum(2)


def inner_factors(factors: Tensor, deviations: Tensor) -> tuple[Tensor, Tensor]:
    """Return W' (K, L, D) and log det(A A' + D) (K,) of A (K, D, L) and √D (K, D), differentiable.

    I + A' D^-1 A is factorised in float64. Numbers that are not finite give NaN, and no error.
    """
    white = (factors / deviations[:, :, None]).mT  # (K, L, D)
    identity = torch.eye(white.shape[1], dtype=torch.float64, device=white.device)
    root, _ = torch.linalg.cholesky_ex((white @ white.mT).double() + identity)  # (K, L, L)
    inverse = torch.linalg.solve_triangular(root, identity.expand_as(root), upper=False).to(white)
    log_determinants = 2 * root.diagonal(dim1=1, dim2=2).log().sum(1).to(white) + 2 * deviations.log().sum(1)
    return inverse @ white / deviations[:, None, :], log_determinants
