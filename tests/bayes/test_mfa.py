"""Mixtures of factor analysers against dense Gaussians of scipy, torch and mpmath, and least squares."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings, strategies as st
from safetensors.torch import load_file, save_file
from scipy.special import logsumexp, softmax
from scipy.stats import multivariate_normal
from torch import Tensor

from harness.errors import HarnessError, ModelError
from harness_bayes import mfa as module
from harness_bayes.mfa import PARTS, Mfa
from harness_bayes.woodbury import Products

Floats = npt.NDArray[np.float64]


def mixture(
    components: int, dimension: int, latent: int, seed: int = 0, noise: float = 0.1, scale: float = 1.0
) -> Mfa:
    draws = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draws, dtype=torch.float64)

    return Mfa(
        normal(components).log_softmax(0),
        scale * normal(components, dimension),
        normal(components, dimension, latent),
        noise * (0.5 + torch.rand(components, dimension, generator=draws, dtype=torch.float64)),
    )


def points(mfa: Mfa, number: int, seed: int = 1) -> Tensor:
    """Samples of the mixture (number, D)."""
    draws = torch.Generator().manual_seed(seed)
    components, dimension, latent = mfa.factors.shape
    return mfa.generate(
        torch.randint(components, (number,), generator=draws),
        torch.randn(number, latent, generator=draws, dtype=torch.float64),
        torch.randn(number, dimension, generator=draws, dtype=torch.float64),
    )


def covariance(mfa: Mfa, component: int) -> Tensor:
    factors = mfa.factors[component]
    return factors @ factors.T + mfa.noise[component].diag()


def dense(mfa: Mfa, x: Tensor) -> Floats:
    """log π_k + log N(x; …), (B, K)."""
    columns = [
        float(log_weight)
        + np.atleast_1d(multivariate_normal(mean.numpy(), covariance(mfa, index).numpy()).logpdf(x.numpy()))
        for index, (log_weight, mean) in enumerate(zip(mfa.log_weights, mfa.means, strict=True))
    ]
    return np.stack(columns, 1)


def by_digits(mfa: Mfa, x: Tensor) -> Floats:
    """The same in 80 digits, for one component."""
    with mpmath.workdps(80):
        loadings = mpmath.matrix(mfa.factors[0].tolist())
        wide = loadings * loadings.T + mpmath.diag([mpmath.mpf(value) for value in mfa.noise[0].tolist()])
        values = []
        for row in x.tolist():
            residual = mpmath.matrix(row) - mpmath.matrix(mfa.means[0].tolist())
            distance = (residual.T * mpmath.lu_solve(wide, residual))[0]
            values.append(
                -(distance + mpmath.log(mpmath.det(wide)) + len(row) * mpmath.log(2 * mpmath.pi)) / 2
            )
        return np.array([[float(value)] for value in values])


@given(
    components=st.integers(1, 4),
    dimension=st.integers(2, 6),
    latent=st.integers(0, 7),
    noise=st.sampled_from([1e-4, 0.01, 1.0, 100.0]),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 50.0]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_densities_are_those_of_dense_gaussians(
    components: int, dimension: int, latent: int, noise: float, scale: float, seed: int
) -> None:
    mfa = mixture(components, dimension, latent, seed, noise, scale)
    x = torch.cat([points(mfa, 5), torch.randn(3, dimension, dtype=torch.float64)])
    expected = dense(mfa, x)
    np.testing.assert_allclose(mfa.log_joint(x), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(mfa.log_likelihood(x), logsumexp(expected, 1), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(mfa.responsibilities(x), softmax(expected, 1), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("noise", [1e-12, 1e-6, 1e6])
@pytest.mark.parametrize("loading", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_extreme_scales_lose_no_digits(noise: float, loading: float, offset: float) -> None:
    mfa = mixture(1, 4, 2, 3, noise)
    factors = mfa.factors * loading
    factors[:, :, 1] *= 1e-3  # one direction is much narrower than the other
    mfa = replace(mfa, means=mfa.means + offset, factors=factors)
    x = points(mfa, 4)
    np.testing.assert_allclose(mfa.log_joint(x), by_digits(mfa, x), rtol=1e-6)


@pytest.mark.parametrize("latent", [0, 3])
def test_distances_agree_with_and_without_multiplying_out(
    latent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mfa = mixture(3, 50, latent, noise=1e-4)
    x = points(mfa, 8)
    products = mfa.log_joint(x)
    monkeypatch.setattr(module, "LARGEST_PRODUCT", 0.0)
    residuals = replace(mfa).log_joint(x)
    torch.testing.assert_close(products, residuals, rtol=1e-9, atol=1e-7)
    assert not torch.equal(products, residuals)  # these are two ways indeed


def test_components_that_are_far_apart_are_not_multiplied_out() -> None:
    mfa = replace(mixture(2, 3, 1, noise=1e-6), means=torch.tensor([[0.0] * 3, [1e6] * 3]).double())
    x = mfa.means + 1e-3
    np.testing.assert_allclose(mfa.log_joint(x).diagonal(), dense(mfa, x).diagonal(), rtol=1e-6)


@pytest.mark.parametrize("largest", [1e10, 0.0])
def test_gradients_are_those_of_the_dense_form(largest: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_PRODUCT", largest)
    mfa = mixture(3, 6, 2, noise=0.01)
    covariances = torch.stack([covariance(mfa, component) for component in range(3)])
    gaussians = torch.distributions.MultivariateNormal(mfa.means, covariances)
    x = points(mfa, 7).requires_grad_()
    weights = torch.randn(7, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    expected = torch.autograd.grad(((gaussians.log_prob(x[:, None]) + mfa.log_weights) * weights).sum(), x)[0]
    found = torch.autograd.grad((mfa.log_joint(x) * weights).sum(), x)[0]
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    torch.autograd.gradcheck(mfa.log_likelihood, x)
    torch.autograd.gradcheck(mfa.responsibilities, x)


def test_float32_images_get_float64_densities_and_float32_gradients() -> None:
    mfa = mixture(2, 6, 2)
    x = points(mfa, 3).float().requires_grad_()
    values = mfa.log_joint(x)
    assert values.dtype == torch.float64
    torch.testing.assert_close(values, mfa.log_joint(x.double()), rtol=0, atol=0)
    assert torch.autograd.grad(values.sum(), x)[0].dtype == torch.float32


def test_images_are_taken_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    mfa = mixture(3, 10, 2)
    x = points(mfa, 50)
    joint, distances = mfa.log_joint(x), mfa.subspace_distances(x)
    seen: list[int] = []
    whole = Products.__call__

    def watched(self: Products, block: Tensor) -> Tensor:
        seen.append(len(block))
        return whole(self, block)

    monkeypatch.setattr(Products, "__call__", watched)
    monkeypatch.setattr(module, "BLOCK", 84)  # numbers: 7 images of 12
    torch.testing.assert_close(mfa.log_joint(x), joint)
    torch.testing.assert_close(mfa.subspace_distances(x), distances)
    assert seen == [7] * 7 + [1]
    assert mfa.log_joint(x[:0]).shape == mfa.subspace_distances(x[:0]).shape == (0, 3)


def test_samples_have_the_moments_of_their_component() -> None:
    mfa = mixture(2, 4, 2, noise=0.3)
    number = 20_000
    draws = torch.Generator().manual_seed(4)
    component = torch.ones(number, dtype=torch.int64)
    z = torch.randn(number, 2, generator=draws, dtype=torch.float64)
    x = mfa.generate(component, z, torch.randn(number, 4, generator=draws, dtype=torch.float64))
    expected = covariance(mfa, 1)
    spread = expected.diagonal()
    torch.testing.assert_close(
        x.mean(0), mfa.means[1], rtol=0, atol=float(5 * (spread.max() / number).sqrt())
    )
    # Standard error of a covariance of Gaussians: √((Σii Σjj + Σij²) / N).
    errors = ((spread[:, None] * spread + expected.square()) / number).sqrt()
    assert ((x.T.cov() - expected).abs() < 5 * errors).all()


def test_a_sample_depends_on_its_own_row_only() -> None:
    mfa = mixture(5, 301, 7)
    draws = torch.Generator().manual_seed(4)
    component = torch.randint(5, (40,), generator=draws)
    z, noise = torch.randn(40, 7, generator=draws), torch.randn(40, 301, generator=draws)
    together = mfa.generate(component, z, noise)
    alone = [mfa.generate(component[row, None], z[row, None], noise[row, None]) for row in range(40)]
    assert torch.equal(together, torch.cat(alone))
    assert together.dtype == torch.float64
    first = mfa.means[component[0]] + mfa.factors[component[0]] @ z[0].double()
    torch.testing.assert_close(together[0], first + mfa.noise[component[0]].sqrt() * noise[0])


@pytest.mark.parametrize("latent", [0, 1, 3, 6])
def test_subspace_distances_are_those_of_least_squares(latent: int) -> None:
    mfa = mixture(3, 6, latent)
    mfa.factors[2] = 0  # to the mean
    mfa.factors[1, :, -1:] = 2 * mfa.factors[1, :, :1]  # rank-deficient, but for one column
    x = points(mfa, 6)
    for component in range(3):
        residual = (x - mfa.means[component]).numpy().T
        z = np.linalg.lstsq(mfa.factors[component].numpy(), residual)[0] if latent else np.zeros((0, 6))
        expected = np.linalg.norm(residual - mfa.factors[component].numpy() @ z, axis=0)
        found = mfa.subspace_distances(x)[:, component]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(
        mfa.subspace_distances(x)[:, 2], torch.linalg.vector_norm(x - mfa.means[2], dim=1)
    )


def test_points_on_a_subspace_are_at_no_distance() -> None:
    mfa = mixture(1, 50, 3)
    x = mfa.means + 1e3 * torch.randn(4, 3, dtype=torch.float64) @ mfa.factors[0].T
    assert mfa.subspace_distances(x).max() < 1e-9


def test_joined_mixtures_are_weighted_sums() -> None:
    one, two = mixture(2, 5, 3, 0), mixture(1, 5, 1, 1)
    both = one.joined(two, 0.2)
    assert both.factors.shape == (3, 5, 3)
    x = torch.cat([points(one, 3), points(two, 3)])
    expected = 0.8 * one.log_likelihood(x).exp() + 0.2 * two.log_likelihood(x).exp()
    torch.testing.assert_close(both.log_likelihood(x).exp(), expected)
    torch.testing.assert_close(both.subspace_distances(x)[:, 2:], two.subspace_distances(x))


@pytest.mark.parametrize("weight", [0.0, 1.0, float("nan")])
def test_a_joined_weight_is_a_share(weight: float) -> None:
    with pytest.raises(ModelError, match="must be between 0 and 1"):
        mixture(1, 2, 1).joined(mixture(1, 2, 1), weight)


def test_mixtures_of_other_sizes_are_not_joined() -> None:
    with pytest.raises(ModelError, match="of 2 and 3 numbers cannot be joined; fit both"):
        mixture(1, 2, 1).joined(mixture(1, 3, 1), 0.5)


@pytest.mark.parametrize("latent", [0, 2])
def test_a_state_comes_back_from_a_file(tmp_path: Path, latent: int) -> None:
    mfa, other = mixture(2, 5, latent), mixture(3, 4, 1)
    turned = replace(mfa, factors=mfa.factors.mT.contiguous().mT)  # not contiguous
    save_file({**turned.state("0."), **other.state("1.")}, tmp_path / "mixtures.safetensors")
    state = load_file(tmp_path / "mixtures.safetensors")
    for prefix, expected in (("0.", mfa), ("1.", other)):
        found = Mfa.from_state(state, prefix)
        assert all(torch.equal(getattr(found, name), getattr(expected, name)) for name in PARTS)


def spoilt(name: str, value: Any) -> dict[str, Tensor]:
    state = mixture(2, 5, 2).state("")
    state[name] = value if isinstance(value, Tensor) else state[name].fill_(value)
    return state


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ({}, "no tensor one.log_weights, one.means, one.factors, one.noise; fit it again"),
        (spoilt("means", torch.zeros(2, 4)), r"shapes .*\(2, 4\).* disagree; expected"),
        (spoilt("log_weights", torch.zeros(3)), "disagree"),
        (spoilt("noise", torch.ones(2, 5, 1)), "disagree"),
        (spoilt("factors", torch.zeros(2, 5)), r"factors are \(2, 5\)"),
        (spoilt("factors", torch.zeros(0, 5, 2)), "at least one component"),
        (spoilt("means", float("nan")), "means has numbers that are not finite"),
        (spoilt("factors", float("inf")), "factors has numbers that are not finite"),
        (spoilt("log_weights", -float("inf")), "log_weights has numbers that are not finite"),
        (spoilt("noise", 0.0), "noise is 0 somewhere; variances must be greater than 0"),
        (spoilt("noise", -1.0), "noise is -1 somewhere"),
        (spoilt("log_weights", 0.0), "the logarithm of the weights' sum is 0.69"),
    ],
)
def test_a_state_that_is_no_mixture_is_refused(state: dict[str, Tensor], fault: str) -> None:
    with pytest.raises(ModelError, match=fault) as caught:
        Mfa.from_state({"one." + name: tensor for name, tensor in state.items()}, "one.")
    assert "one." in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mixture_is_float64() -> None:
    mfa = mixture(2, 5, 2)
    with pytest.raises(HarnessError, match=r"means is torch.float32; expected torch.float64"):
        replace(mfa, means=mfa.means.float())
    half = {name: tensor.float() for name, tensor in mfa.state("").items()}
    assert Mfa.from_state(half, "").means.dtype == torch.float64


def test_a_mixture_stays_on_its_device() -> None:
    mfa = mixture(2, 5, 2)
    assert mfa.to("cpu") is mfa


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_densities_are_the_same_on_a_gpu() -> None:
    mfa = mixture(3, 20, 4, noise=0.01)
    x = points(mfa, 9)
    there = mfa.to("cuda")
    torch.testing.assert_close(there.log_joint(x.cuda()).cpu(), mfa.log_joint(x))
    torch.testing.assert_close(there.subspace_distances(x.cuda()).cpu(), mfa.subspace_distances(x))
