"""Bayes-optimal classifier: against densities of scipy, near its boundary, and as the zoo keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from torch import Tensor

from harness.dataset import Dataset
from harness.errors import HarnessError, ModelError
from harness.model import wrap_model
from harness.testing import Case, model_checks
from harness.training import Task
from harness.zoo.trained import obtain
from harness.zoo.weights import load_weights
from harness_bayes.bayes_optimal import BayesOptimal, build, example, train, train_mfa
from harness_bayes.mfa import Mfa
from harness_bayes.mixture_data import MixtureDataset
from tests.bayes.two_class_problems import SPECS, Kept, accuracy, choice, mixture, of_one_class, problem
from tests.flat import flat

DEVICE = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def drawn() -> MixtureDataset:
    return problem()


@pytest.fixture(scope="module")
def optimal(drawn: MixtureDataset) -> BayesOptimal:
    module = build(Task.of(drawn))
    train(module, drawn, Kept().context())
    return module.eval()


def images(count: int = 12, seed: int = 0) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def joint_of_scipy(density: Mfa, x: Tensor) -> np.ndarray[Any, Any]:
    """(B, K) log π_k + log N(x; component k), by dense covariances."""
    vectors = x.flatten(1).double().numpy()
    columns = []
    parts = zip(density.log_weights, density.means, density.factors, density.noise, strict=True)
    for weight, mean, factors, noise in parts:
        covariance = (factors @ factors.T + torch.diag(noise)).numpy()
        columns.append(float(weight) + multivariate_normal(mean.numpy(), covariance).logpdf(vectors))
    return np.stack(columns, 1)


def test_logits_differ_by_the_log_ratio_of_densities(drawn: MixtureDataset, optimal: BayesOptimal) -> None:
    x = images()
    one, other = (logsumexp(joint_of_scipy(density, x), axis=1) for density in drawn.densities)
    logits = optimal(x)
    assert logits.dtype == torch.float32
    assert np.allclose((logits[:, 1] - logits[:, 0]).numpy(), other - one, rtol=1e-6, atol=1e-4)
    assert torch.allclose(logits.sum(1), torch.zeros(len(x)))
    decided = logits.argmax(1).numpy()
    assert (decided == (other > one)).all()
    assert len(set(decided.tolist())) == 2  # of these images, some are of either class


def test_components_are_joint_densities(drawn: MixtureDataset, optimal: BayesOptimal) -> None:
    x = images()
    joint = np.concatenate([joint_of_scipy(density, x) for density in drawn.densities], 1)
    found = optimal.components(x)
    assert found.shape == (12, 5)
    assert np.allclose((found - found[:, :1]).numpy(), joint - joint[:, :1], rtol=1e-5, atol=1e-3)
    assert optimal.component_classes.tolist() == [0, 0, 1, 1, 1]
    assert optimal.component_classes.dtype == torch.int64
    for side in (0, 1):
        own = found[:, optimal.component_classes == side].logsumexp(1)
        assert torch.allclose(own, optimal(x)[:, side], rtol=1e-5, atol=1e-3)


def test_a_handle_shows_the_components(optimal: BayesOptimal) -> None:
    from harness.handle import Handle

    handle = Handle(wrap_model(optimal, "classes"), 12)
    assert handle.has_components
    assert torch.equal(handle.components(images()), optimal.components(images()))
    assert handle.component_classes.tolist() == [0, 0, 1, 1, 1]


def test_decisions_near_the_boundary_survive_float32() -> None:
    """Log densities near 1e5 that differ by thousandths: as float32 numbers both are the same."""
    dimension, deviation = 64 * 64 * 3, 1e-3
    noise = torch.full((1, dimension), deviation**2, dtype=torch.float64)
    means = [torch.full((1, dimension), value, dtype=torch.float64) for value in (0.4, 0.6)]
    none, zeros = torch.zeros(1, dimension, 0, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    module = BayesOptimal((3, 64, 64))
    from harness_bayes.bayes_optimal import _take

    _take(module, (Mfa(zeros, means[0], none, noise), Mfa(zeros, means[1], none, noise)))
    x = torch.full((2, 3, 64, 64), 0.5)
    x[0, 0, 0, 0] -= 1e-5
    x[1, 0, 0, 0] += 1e-5
    # the difference of the log densities is 2 * 0.2 * change / deviation^2 / 2
    logits = module(x)
    change = float(x[1, 0, 0, 0]) - 0.5
    assert float(logits[1, 1] - logits[1, 0]) == pytest.approx(0.2 * change / deviation**2, rel=1e-3)
    assert logits.argmax(1).tolist() == [0, 1]
    assert float(module.derived()[0].log_likelihood(x[:1].flatten(1)).abs()) > 1e5


def test_gradients_are_exact(drawn: MixtureDataset, optimal: BayesOptimal) -> None:
    x = images(3).double().requires_grad_()
    logits = optimal(x)
    assert logits.dtype == torch.float64
    (slope,) = torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), x)
    expected = []
    for side in (0, 1):
        start = x.detach().flatten(1).requires_grad_()
        density, value = drawn.densities[side], 0.0
        parts = zip(density.log_weights, density.means, density.factors, density.noise, strict=True)
        each = [
            weight
            + torch.distributions.MultivariateNormal(mean, factors @ factors.T + torch.diag(noise)).log_prob(
                start
            )
            for weight, mean, factors, noise in parts
        ]
        value = torch.stack(each, 1).logsumexp(1).sum()
        expected.append(torch.autograd.grad(value, start)[0])
    wanted = (expected[1] - expected[0]).view_as(slope)
    assert torch.allclose(slope, wanted, rtol=1e-9, atol=1e-9 * float(wanted.abs().max()))
    half = images(3).requires_grad_()
    pair = optimal(half)
    (rough,) = torch.autograd.grad((pair[:, 1] - pair[:, 0]).sum(), half)
    assert torch.allclose(rough, wanted.float(), rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))


def test_autocast_changes_nothing(optimal: BayesOptimal) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        coarse = optimal(images())
    assert torch.equal(coarse, optimal(images()))


def test_it_is_the_best_on_its_own_data(drawn: MixtureDataset, optimal: BayesOptimal) -> None:
    assert accuracy(optimal, drawn) == 1.0


def test_any_other_data_set_is_refused(drawn: MixtureDataset) -> None:
    own = {name: getattr(drawn, name) for name in (field.name for field in fields(Dataset))}
    with pytest.raises(ModelError, match="known densities, which drawn has not") as caught:
        train(build(Task.of(drawn)), Dataset(**own), Kept().context())
    assert "\n" not in str(caught.value)


def test_without_densities_it_answers_nothing(drawn: MixtureDataset) -> None:
    with pytest.raises(ModelError, match="has no densities; train it"):
        build(Task.of(drawn))(images())


def test_other_numbers_of_classes_are_refused() -> None:
    with pytest.raises(ModelError, match="cannot distinguish 3"):
        build(Task((1, 8, 8), class_names=("a", "b", "c")))


def test_the_zoo_keeps_it(
    drawn: MixtureDataset, optimal: BayesOptimal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    first = obtain(choice("bayes-optimal"), drawn, 0, DEVICE)
    again = obtain(choice("bayes-optimal"), drawn, 0, DEVICE)
    assert first.digest == again.digest
    assert torch.equal(again.model.module(images()), optimal(images()))
    assert first.card["accuracy"] == 1.0
    # what somebody wrote to it is undone, also where it had answered with it
    module = again.model.module
    module.get_buffer("first_means").add_(0.2)
    assert not torch.equal(module(images()), optimal(images()))
    again.restore()
    assert torch.equal(module(images()), optimal(images()))


def test_weights_of_other_images_are_refused(optimal: BayesOptimal, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(dict(optimal.state_dict()), tmp_path / "weights.safetensors")
    with pytest.raises(ModelError, match="do not fit"):
        load_weights(build(Task((1, 9, 9))), tmp_path / "weights.safetensors", "here")


def test_new_weights_are_noticed(optimal: BayesOptimal) -> None:
    module, x = deepcopy(optimal), images()
    before = module(x)
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state["second_means"] += 0.1
    module.load_state_dict(state)
    assert not torch.allclose(module(x), before)
    other = problem(seed=3)
    train(module, other, Kept().context())
    fresh = build(Task.of(other))
    train(fresh, other, Kept().context())
    assert torch.equal(module(x), fresh(x))


def test_one_class_of_different_size_after_another() -> None:
    """A module that has had densities takes others with more components and factors."""
    module = build(Task((1, 8, 8)))
    from harness_bayes.bayes_optimal import _take

    for components, latent in ((2, 3), (4, 1), (1, 5)):
        _take(module, (mixture(components, 64, latent, 1, 0.1), mixture(1, 64, latent, 2, 0.1)))
        assert module(images()).shape == (12, 2)
        assert len(module.component_classes) == components + 1


class TestFitted:
    def test_it_learns_the_classes(self, drawn: MixtureDataset) -> None:
        kept = Kept()
        module = build(Task.of(drawn))
        flat(train_mfa)(module, drawn, kept.context(), components=3, latent=3, steps=5)
        assert accuracy(module.eval(), drawn) >= 0.95
        assert module.component_classes.tolist() == [0, 0, 0, 1, 1, 1]
        shares = [share for share, _ in kept.reports]
        assert shares == sorted(shares)
        assert shares[-1] == 1.0

    def test_each_class_is_kept(self, drawn: MixtureDataset) -> None:
        kept = Kept(stop=lambda share: share > 0.6)
        with pytest.raises(KeyboardInterrupt):
            flat(train_mfa)(build(Task.of(drawn)), drawn, kept.context(), components=1, latent=2, steps=3)
        assert [made["class"] for made in kept.made] == [0]
        kept.stop = lambda share: False
        module = build(Task.of(drawn))
        flat(train_mfa)(module, drawn, kept.context(), components=1, latent=2, steps=3)
        assert [made["class"] for made in kept.made] == [0, 1]

    def test_components_follow_the_images(self, drawn: MixtureDataset) -> None:
        module = build(Task.of(drawn))
        options: dict[str, Any] = {"samples_per_component": 50, "latent": 1, "steps": 0}
        flat(train_mfa)(module, drawn, Kept().context(), **options)
        assert module.component_classes.bincount().tolist() == [2, 2]  # 120 images of each class
        flat(train_mfa)(module, drawn, Kept().context(), images=90, **options)
        assert module.component_classes.bincount().tolist() == [1, 1]

    def test_one_class_is_refused(self, drawn: MixtureDataset) -> None:
        with pytest.raises(ModelError, match=r"images of the classes \[0\]"):
            flat(train_mfa)(build(Task.of(drawn)), of_one_class(drawn), Kept().context())

    def test_too_few_images_are_refused(self, drawn: MixtureDataset) -> None:
        with pytest.raises(HarnessError) as caught:
            flat(train_mfa)(build(Task.of(drawn)), drawn, Kept().context(), images=4, components=9, latent=2)
        assert "\n" not in str(caught.value)

    def test_real_images_will_do(self, drawn: MixtureDataset) -> None:
        own = {name: getattr(drawn, name) for name in (field.name for field in fields(Dataset))}
        module = build(Task.of(drawn))
        flat(train_mfa)(module, Dataset(**own), Kept().context(), components=1, latent=3, steps=0)
        assert accuracy(module.eval(), drawn) > 0.9


@pytest.mark.parametrize(
    "case", model_checks(replace(SPECS["bayes-optimal"], example="harness_bayes.bayes_optimal:example"))
)
def test_contract(case: Case) -> None:
    case()


def test_the_example_is_drawn_from_its_densities() -> None:
    dataset = example()
    module = build(Task.of(dataset))
    train(module, dataset, Kept().context())
    assert accuracy(module.eval(), dataset) == 1.0
