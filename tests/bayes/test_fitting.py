"""Fitting mixtures against scikit-learn's factor analysis and Gaussian mixtures, and on degenerate data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import FactorAnalysis
from sklearn.mixture import GaussianMixture
from torch import Tensor

from harness.errors import ModelError
from harness_bayes import fitting, initial
from harness_bayes.fitting import QUICK, MixtureRecipe, fit_mfa, mean_log_likelihood
from harness_bayes.initial import LEAST_DEVIATION, Images, factor_analysis
from harness_bayes.mfa import PARTS, Mfa
from harness_bayes.model_specs import PAPER_MIXTURE

CPU = torch.device("cpu")


def fit(images: Tensor, **changed: Any) -> Mfa:
    settings: dict[str, Any] = {
        "components": 1,
        "latent": 2,
        "steps": 40,
        "learning_rate": 2e-3,
        "batch_size": 64,
    }
    surroundings = {"seed": 0, "device": CPU, "report": lambda share, text: None, "mirror": None}
    more = {name: changed.pop(name, value) for name, value in surroundings.items()}
    return fit_mfa(images, MixtureRecipe(**{**settings, **changed}), **more)


def known(components: int, dimension: int, latent: int, seed: int = 0) -> Mfa:
    """Well-separated components around the middle of the range."""
    draws = torch.Generator().manual_seed(seed)
    return Mfa(
        torch.randn(components, generator=draws).double().mul(0.3).log_softmax(0),
        0.5 + 0.2 * torch.randn(components, dimension, generator=draws).double(),
        0.1 * torch.randn(components, dimension, latent, generator=draws).double(),
        (0.03 + 0.04 * torch.rand(components, dimension, generator=draws).double()).square(),
    )


def drawn(mfa: Mfa, number: int, seed: int) -> Tensor:
    """Samples (N, D) float32."""
    draws = torch.Generator().manual_seed(seed)
    component = torch.multinomial(mfa.log_weights.exp(), number, replacement=True, generator=draws)
    z = torch.randn(number, mfa.factors.shape[2], generator=draws)
    return mfa.generate(component, z, torch.randn(number, mfa.means.shape[1], generator=draws)).float()


def likelihood(mfa: Mfa, x: Tensor) -> float:
    return mfa.log_likelihood(x).mean().item()


def test_a_factor_analysis_has_the_likelihood_that_scikit_learn_finds() -> None:
    truth = known(1, 30, 3)
    x, unseen = drawn(truth, 400, 1), drawn(truth, 2000, 2)
    peer = FactorAnalysis(3, tol=1e-9, max_iter=10_000, svd_method="lapack").fit(x.double().numpy())
    best = peer.score(x.double().numpy())
    mean, factors, deviations = (part.double() for part in factor_analysis(x, 3))
    ours = Mfa(torch.zeros(1).double(), mean[None], factors[None], deviations.square()[None])
    # Its four rounds come to within 1 % of what there is to gain over a Gaussian without factors.
    alone = Mfa(ours.log_weights, ours.means, ours.factors * 0, x.double().var(0, correction=0)[None])
    assert best - likelihood(ours, x) < 0.01 * (best - likelihood(alone, x))
    trained = fit(x, latent=3, steps=400, batch_size=400, learning_rate=1e-3)
    assert likelihood(trained, x) == pytest.approx(best, abs=0.02)
    assert likelihood(trained, x) <= best + 1e-4
    assert likelihood(trained, unseen) == pytest.approx(peer.score(unseen.double().numpy()), abs=0.05)


def test_a_known_mixture_is_recovered() -> None:
    truth = known(4, 24, 2)
    x, unseen = drawn(truth, 3000, 1), drawn(truth, 3000, 2)
    found = fit(x, components=4, steps=300)
    assert (
        likelihood(truth, unseen) - likelihood(found, unseen) < 0.1
    )  # its 392 parameters are of 3000 images
    assert likelihood(found, x) > likelihood(truth, x)
    peer = GaussianMixture(4, n_init=3, random_state=0).fit(x.double().numpy())
    assert likelihood(found, unseen) > peer.score(unseen.double().numpy())  # whose covariances are full
    order = torch.cdist(truth.means, found.means).argmin(1)
    assert sorted(order.tolist()) == [0, 1, 2, 3]
    torch.testing.assert_close(found.log_weights[order].exp(), truth.log_weights.exp(), rtol=0, atol=0.03)
    torch.testing.assert_close(found.noise[order].sqrt(), truth.noise.sqrt(), rtol=0.25, atol=0)
    spans = [found.factors[index] @ found.factors[index].T for index in order]
    expected = truth.factors @ truth.factors.mT
    assert (torch.stack(spans) - expected).norm() < 0.2 * expected.norm()


@pytest.mark.parametrize(("latent", "components"), [(2, 3), (0, 2)])
def test_the_trained_likelihood_is_the_density_that_is_kept(latent: int, components: int) -> None:
    mfa = known(components, 12, latent)
    x = drawn(mfa, 50, 3).double()
    parameters = [mfa.log_weights + 3, mfa.means, mfa.factors, mfa.noise.sqrt()]
    for parameter in parameters:
        parameter.requires_grad_()
    value = mean_log_likelihood(x, *parameters)
    torch.testing.assert_close(value, mfa.log_likelihood(x).mean())
    # Against the gradients of the dense form.
    covariances = parameters[2] @ parameters[2].mT + parameters[3].square().diag_embed()
    gaussians = torch.distributions.MultivariateNormal(parameters[1], covariances)
    joint = gaussians.log_prob(x[:, None]) + parameters[0].log_softmax(0)
    expected = torch.autograd.grad(joint.logsumexp(1).mean(), parameters)
    for found, wanted in zip(torch.autograd.grad(value, parameters), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("recipe", [QUICK, replace(QUICK, **PAPER_MIXTURE)], ids=["quick", "paper"])
def test_recipes_climb(recipe: MixtureRecipe) -> None:
    truth = known(3, 48, 2)
    x = drawn(truth, 600, 1)
    common = {
        "components": 3,
        "learning_rate": recipe.learning_rate,
        "batch_size": recipe.batch_size,
        "decay": recipe.decay,
    }
    start = fit(x, **common, steps=0)
    later = [fit(x, **common, steps=steps) for steps in (40, min(recipe.steps, 400))]
    values = [likelihood(mfa, x) for mfa in (start, *later)]
    assert values[0] < values[1] < values[2]


def test_a_harmful_learning_rate_keeps_the_start() -> None:
    x = drawn(known(2, 20, 2), 200, 1)
    start = fit(x, components=2, steps=0)
    worse = fit(x, components=2, steps=8, learning_rate=1.0)
    assert all(torch.equal(getattr(start, name), getattr(worse, name)) for name in PARTS)


def test_the_last_mixture_is_kept_where_none_is_judged() -> None:
    x = drawn(known(2, 20, 2), 200, 1)
    wild = {"components": 2, "steps": 8, "learning_rate": 1.0}
    assert likelihood(fit(x, **wild, judgements=0), x) < likelihood(fit(x, **wild), x) - 10
    x = drawn(known(3, 48, 2), 600, 1)
    calm = {"components": 3, "steps": 40}  # the last step is judged, and is better than the start
    both = [fit(x, **calm, judgements=times).means for times in (0, 1)]
    torch.testing.assert_close(*both)


def test_the_start_is_of_as_many_images_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    analysed: list[int] = []

    def count(x: Tensor, latent: int) -> tuple[Tensor, Tensor, Tensor]:
        analysed.append(len(x))
        return factor_analysis(x, latent)

    monkeypatch.setattr(initial, "factor_analysis", count)
    x = drawn(known(1, 20, 2), 700, 1)
    for more in ({}, {"analysed": 300}, {"analysed": 1000}):
        fit(x, steps=0, **more)
    assert analysed == [256, 300, 700]
    for number, components in ((30, 30), (700, 64)):  # of 30 images there are no more components
        found = initial.principal_coordinates(Images(x, None, CPU), torch.Generator(), number)
        assert found.shape == (700, components)
    usual, other = (fit(x, components=3, steps=0, surveyed=number) for number in (512, 9))
    assert not torch.equal(usual.means, other.means)


def test_mirror_images_are_learnt_too() -> None:
    x = drawn(known(2, 3 * 4 * 5, 2), 300, 1)
    flipped = x.view(-1, 3, 4, 5).flip(3).flatten(1)
    plain = fit(x, components=4)
    both = fit(x, components=4, mirror=(3, 4, 5))
    assert likelihood(plain, x) - likelihood(plain, flipped) > 10
    assert likelihood(both, flipped) == pytest.approx(likelihood(both, x), abs=3)
    images = Images(x, (3, 4, 5), CPU)
    assert len(images) == 600
    assert torch.equal(
        images.take(torch.tensor([299, 0, 300, 599])), torch.stack([x[299], x[0], flipped[0], flipped[299]])
    )
    assert torch.equal(x, drawn(known(2, 3 * 4 * 5, 2), 300, 1))  # as they were


def test_the_seed_decides_and_global_generators_stay() -> None:
    x = drawn(known(3, 20, 2), 300, 1)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    one = fit(x, components=3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # type: ignore[index]  # noqa: NPY002
    torch.manual_seed(6)
    again, other = fit(x, components=3), fit(x, components=3, seed=1)
    assert all(torch.equal(getattr(one, name), getattr(again, name)) for name in PARTS)
    assert not torch.equal(one.means, other.means)
    # The order of the images is drawn, too: one component has no other choice.
    assert not torch.equal(fit(x).means, fit(x, seed=1).means)


def test_progress_is_reported_after_every_step() -> None:
    told: list[tuple[float, str]] = []
    x = drawn(known(1, 10, 1), 100, 1)
    found = fit(x, latent=1, steps=5, report=lambda share, text: told.append((share, text)))
    assert [share for share, _ in told] == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    word, value = told[-1][1].rsplit(" ", 1)
    assert word == "step 5/5, log-likelihood"
    assert float(value) == pytest.approx(likelihood(found, x), abs=5)


def test_noise_stays_within_its_bounds() -> None:
    x = drawn(known(1, 10, 1), 100, 1)
    x[:, 3] = 0.25  # a pixel that never changes
    x[:, 4] = 10 * x[:, 5]  # one that is far outside of the range, and goes with another
    found = fit(x, latent=1, learning_rate=0.1)
    assert found.noise.min().sqrt() == pytest.approx(LEAST_DEVIATION)
    assert found.noise.max() <= 1
    assert found.noise[0, 3].sqrt() == pytest.approx(LEAST_DEVIATION)


def degenerate() -> dict[str, tuple[Tensor, dict[str, Any]]]:
    x = drawn(known(2, 16, 2), 60, 1)
    return {
        "a constant class": (torch.full((40, 16), 0.5), {"components": 3, "latent": 4}),
        "black images": (torch.zeros(40, 16), {"components": 2}),
        "one image, no factors": (x[:1], {"latent": 0}),
        "duplicates": (x[:3].repeat(10, 1), {"components": 5, "latent": 3}),
        "as many components as images": (x[:8], {"components": 8, "latent": 3}),
        "as many images as factors, plus one": (x[:6], {"components": 2, "latent": 5}),
        "a cluster of one image": (torch.cat([x[:30] * 0.01, x[:1] + 5]), {"components": 2, "latent": 4}),
        "pixels that go together": (x[:, :1].expand(60, 16).contiguous(), {"latent": 5}),
        "more factors than pixels": (x[:, :3].contiguous(), {"latent": 5}),
        "one pixel": (x[:, :1].contiguous(), {"components": 2, "latent": 1}),
        "a batch larger than the data": (x, {"batch_size": 1000}),
    }


@pytest.mark.parametrize("name", degenerate())
def test_degenerate_images_have_a_density(name: str) -> None:
    x, settings = degenerate()[name]
    found = fit(x, **settings)
    assert found.log_likelihood(x).isfinite().all()
    assert found.noise.min() >= 0.999 * LEAST_DEVIATION**2
    assert likelihood(found, x) >= likelihood(fit(x, **settings, steps=0), x) - 1e-6
    if name in ("a constant class", "black images"):
        assert (found.means - x[0]).abs().max() < 1e-3
    if name == "a cluster of one image":
        assert found.log_weights.exp().min() == pytest.approx(1 / 31, rel=0.2)
        assert found.responsibilities(x)[-1].max() > 0.999


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        (
            {"images": torch.rand(1, 16)},
            "1 images are too few for 1 components of 2 factors; give at least 3",
        ),
        ({"images": torch.rand(0, 16)}, "0 images are too few"),
        ({"components": 41}, "40 images are too few for 41 components .* give at least 41"),
        ({"latent": 40}, "give at least 41, or fewer components and factors"),
        ({"components": 0}, "components = 0 must be at least 1"),
        ({"latent": -1}, "latent = -1 must be at least 0"),
        ({"steps": -1}, "steps = -1 must be at least 0"),
        ({"batch_size": 0}, "batch_size = 0 must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0 must be greater than 0"),
        ({"learning_rate": float("nan")}, "learning_rate = nan must be"),
        (
            {"images": torch.zeros(40, 3, 4)},
            r"images are torch.float32 \(40, 3, 4\); expected float \(N, D\)",
        ),
        ({"images": torch.zeros(40, 16, dtype=torch.uint8)}, "torch.uint8"),
        ({"mirror": (3, 2, 2)}, r"mirror = \(3, 2, 2\) does not give the 16 numbers of an image"),
        (
            {"images": torch.rand(40, 16).index_fill_(0, torch.tensor(7), float("nan"))},
            "image 7 has pixels that",
        ),
        (
            {"images": torch.rand(40, 16).index_fill_(0, torch.tensor(39), float("inf"))},
            "image 39 has pixels",
        ),
    ],
)
def test_what_cannot_be_fitted_is_refused(changed: dict[str, Any], fault: str) -> None:
    images = changed.get("images", torch.rand(40, 16))
    with pytest.raises(ModelError, match=fault) as caught:
        fit(images, **{name: value for name, value in changed.items() if name != "images"})
    assert "\n" not in str(caught.value)


def test_a_training_that_diverges_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def broken(*arguments: Tensor) -> Tensor:
        calls.append(1)
        return mean_log_likelihood(*arguments) * (float("nan") if len(calls) == 3 else 1)

    monkeypatch.setattr(fitting, "mean_log_likelihood", broken)
    with pytest.raises(ModelError, match="diverged in step 3 of 40: the log-likelihood is nan; give a lower"):
        fit(drawn(known(2, 16, 2), 60, 1))


def test_huge_steps_end_in_one_line() -> None:
    with pytest.raises(ModelError, match=r"diverged in step .* give a lower learning_rate than 1e"):
        fit(drawn(known(2, 16, 2), 60, 1), learning_rate=1e30)


def test_a_small_cluster_is_filled_up_with_its_nearest_images() -> None:
    x = drawn(known(1, 16, 2), 31, 1)
    x[30] += 1  # k-means puts it into a cluster of its own
    found = fit(x, components=2, latent=4, steps=0)
    alone = int(found.log_weights.argmin())
    assert found.log_weights[alone].exp() == pytest.approx(1 / 31)
    nearest = torch.cdist(x[30:], x)[0].argsort()[:10]
    torch.testing.assert_close(found.means[alone], x[nearest].mean(0).double(), rtol=0, atol=1e-5)


def test_a_start_has_the_covariance_that_scikit_learn_finds() -> None:
    draws = torch.Generator().manual_seed(8)
    loadings = torch.randn(10, 2, generator=draws)
    x = torch.randn(400, 2, generator=draws) @ loadings.T + 0.4 * torch.randn(400, 10, generator=draws)
    _, factors, deviations = factor_analysis(x, 2)
    found = factors @ factors.T + deviations.square().diag()
    expected = FactorAnalysis(2, tol=1e-8, max_iter=5000).fit(x.numpy()).get_covariance()
    np.testing.assert_allclose(found.numpy(), expected, atol=0.02)
