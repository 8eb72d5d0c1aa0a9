"""The published recipe's parts: decay, optimiser, stopping, balancing."""

from __future__ import annotations

from dataclasses import replace
from pkgutil import resolve_name
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.dataset import Dataset
from harness.errors import ModelError
from harness_attributes import PAPER, harness_models, training_passes
from harness_attributes.moon import balancing_weights
from harness_attributes.recipe import Recipe, fit
from harness_attributes.schedules import inverse_decay, scheduler_of

from .conftest import Surroundings


def recipe(**changes: Any) -> Recipe:
    design = ("architecture", "width", "depth", "dropout")
    return Recipe(**{**{name: value for name, value in PAPER.items() if name not in design}, **changes})


class Spy(nn.Module):
    """A linear model on the mean colour, which keeps what it is shown in training."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)
        self.shown: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.shown.append(x.detach())
        return self.linear(x.mean((2, 3)))


def squared(scores: Tensor, labels: Tensor) -> Tensor:
    return (scores - labels).square()


def fitted(
    dataset: Dataset, how: Recipe, seed: int = 0, weights: Tensor | None = None
) -> tuple[Spy, list[str]]:
    torch.manual_seed(0)
    spy, words = Spy(), []
    fit(
        spy,
        squared,
        dataset,
        np.array([0]),
        how,
        Surroundings(told=words.append).context(seed),
        weights=weights,
    )
    return spy, words


def test_decay_is_caffes() -> None:
    assert inverse_decay(0, gamma=1e-4, power=0.75) == 1
    assert inverse_decay(25_000, gamma=1e-4, power=0.75) == pytest.approx(3.5**-0.75)


def test_each_schedule_has_its_rates() -> None:
    def rates(schedule: Any) -> list[float]:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
        scheduler = scheduler_of(optimizer, schedule, 0.5, 10, gamma=0.5, power=0.75)
        found = []
        for _ in range(10):
            found.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            scheduler.step() if len(found) < 10 else None
        return found

    assert rates("constant") == [0.5] * 10
    assert rates("inverse-decay") == pytest.approx([0.5 * (1 + 0.5 * step) ** -0.75 for step in range(10)])
    one = rates("one-cycle")
    assert max(one[1:4]) == pytest.approx(0.5)
    assert one[-1] < 1e-4


def test_published_training_is_rmsprop_with_inverse_decay(dataset: Dataset) -> None:
    """Against the update written out: v = .98 v + .02 g², θ −= lr (1 + γt)^−.75 g / (√v + 1e-8)."""
    how = recipe(
        epochs=2, patience=None, batch_size=48, learning_rate=1e-3, decay_gamma=0.5, weight_decay=0.01
    )
    spy, _ = fitted(dataset, how)
    torch.manual_seed(0)
    mine = Spy().eval()
    rows = dataset.rows("train")
    assert dataset.attributes is not None
    x = torch.tensor(dataset.images(rows)) / 255
    y = torch.tensor(dataset.attributes[rows][:, :1]) * 2.0 - 1
    means = [torch.zeros_like(parameter) for parameter in mine.parameters()]
    for step in range(2):
        slopes = torch.autograd.grad(squared(mine(x), y).mean(), list(mine.parameters()))
        with torch.no_grad():
            for parameter, slope, mean in zip(mine.parameters(), slopes, means, strict=True):
                slope = slope + 0.01 * parameter
                mean.mul_(0.98).add_(0.02 * slope.square())
                parameter -= 1e-3 * (1 + 0.5 * step) ** -0.75 * slope / (mean.sqrt() + 1e-8)
    for own, expected in zip(spy.parameters(), mine.parameters(), strict=True):
        assert torch.allclose(own, expected, atol=1e-6)


def test_presets_are_parameters_of_build_and_train() -> None:
    from harness.parameters import check, keyword_parameters

    for spec in harness_models():
        known: dict[str, Any] = {}
        for target in (spec.build, spec.train):
            known |= keyword_parameters(resolve_name(target))
        for name, preset in spec.presets.items():
            resolved = check(f"{spec.name}.{name}", preset, known, ValueError)  # type: ignore[arg-type]
            assert resolved.get("rms_decay", 0.98) == 0.98
            assert resolved.get("checkpoint", "converged") == "converged"
        assert list(spec.presets) == ["quick", "paper"]


@pytest.mark.parametrize("name", ["epochs", "patience", "batch_size"])
def test_counts_below_one_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match=rf"^{name} = 0 must be at least 1$"):
        recipe(**{name: 0})


def test_passes_of_training_end_at_the_checkpoint() -> None:
    assert training_passes({"epochs": 10, "checkpoint": "converged"}) == 10
    assert training_passes({"epochs": 10, "checkpoint": 2}) == 2
    assert training_passes({"epochs": 1, "checkpoint": 2}) == 1
    assert training_passes({"attributes": None}) == 0
    assert all(spec.training_passes is training_passes for spec in harness_models())


def test_each_epoch_shows_each_training_image_once_in_an_order_of_the_seed(dataset: Dataset) -> None:
    how = recipe(epochs=2, patience=None, batch_size=20)
    shown = [torch.cat(fitted(dataset, how, seed)[0].shown) for seed in (0, 0, 1)]
    assert torch.equal(shown[0], shown[1])
    assert not torch.equal(shown[0], shown[2])
    first, second = shown[0].split(48)
    assert not torch.equal(first, second)
    originals = torch.tensor(dataset.images(dataset.rows("train"))) / 255
    for epoch in (first, second):
        assert torch.equal(epoch.flatten(1).unique(dim=0), originals.flatten(1).unique(dim=0))


def test_half_of_the_images_are_mirrored_where_asked(dataset: Dataset) -> None:
    plain = torch.cat(fitted(dataset, recipe(epochs=1, patience=None))[0].shown)
    mirrored = torch.cat(fitted(dataset, recipe(epochs=1, patience=None, flip=True))[0].shown)
    same = (mirrored == plain).flatten(1).all(1)
    assert torch.equal(mirrored[~same], plain[~same].flip(3))
    assert 10 < same.sum() < 38


def test_training_stops_when_validation_no_longer_improves_and_keeps_the_best(dataset: Dataset) -> None:
    # A rate far too high: the first epochs overshoot for good, and later ones are worse.
    wild = {"optimizer": "rmsprop", "learning_rate": 0.5, "epochs": 30, "batch_size": 4}
    spy, words = fitted(dataset, recipe(patience=2, **wild))
    last = int(words[-1].split()[1].split("/")[0])
    assert 3 <= last < 30
    best, _ = fitted(dataset, recipe(patience=None, **{**wild, "epochs": last - 2}))
    assert torch.equal(spy.linear.weight, best.linear.weight)
    assert not spy.training


def test_patience_keeps_no_epoch_before_the_second(dataset: Dataset) -> None:
    """Validation labels are turned round, so that each epoch makes the loss larger, and the first is best."""
    assert dataset.attributes is not None
    turned = dataset.attributes.copy()
    turned[dataset.rows("validation")] ^= True
    faces = replace(dataset, attributes=turned)
    how: dict[str, Any] = {"learning_rate": 0.02, "batch_size": 8, "schedule": "constant"}
    plain = {n: fitted(faces, recipe(patience=None, epochs=n, **how))[0] for n in (1, 2, 3)}
    losses = [_validation_loss(spy, faces) for spy in plain.values()]
    assert losses == sorted(losses)
    spy, _ = fitted(faces, recipe(patience=2, epochs=3, **how))
    assert torch.equal(spy.linear.weight, plain[2].linear.weight)
    # A training of one epoch has no other.
    spy, _ = fitted(faces, recipe(patience=2, epochs=1, **how))
    assert torch.equal(spy.linear.weight, plain[1].linear.weight)


def _validation_loss(spy: Spy, dataset: Dataset) -> float:
    rows = dataset.rows("validation")
    assert dataset.attributes is not None
    labels = torch.tensor(dataset.attributes[rows][:, :1]) * 2.0 - 1
    with torch.no_grad():
        return squared(spy(torch.tensor(dataset.images(rows)) / 255), labels).mean().item()


def test_balanced_training_arrives_where_both_sides_weigh_the_same(dataset: Dataset) -> None:
    """Without anything to see, squared error leads to the mean label, 2 · .75 − 1; balanced, to 0."""
    how = recipe(epochs=150, patience=None, learning_rate=1e-2, weight_decay=0.0, batch_size=48)
    present = np.arange(64)[:, None] % 4 > 0
    grey = replace(
        dataset,
        attributes=np.repeat(present, 3, axis=1),
        read=lambda rows: np.zeros((len(rows), 3, 24, 20), np.uint8),
    )
    plain, _ = fitted(grey, how)
    balanced, _ = fitted(grey, how, weights=balancing_weights(present))
    assert plain.linear.bias.item() == pytest.approx(0.5, abs=0.02)
    assert balanced.linear.bias.item() == pytest.approx(0.0, abs=0.02)


def test_balancing_weighs_the_frequent_side_down() -> None:
    """S⁺ = 3/4, 1/5 and 1/2 against T⁺ = 1/2: (1/4 · 1/2) / (3/4 · 1/2) = 1/3, 1/4, and 1."""
    present = np.zeros((20, 5), dtype=bool)
    present[:15, 0] = present[:4, 1] = present[:10, 2] = present[:, 3] = True
    weights = balancing_weights(present)
    assert weights.tolist() == [
        pytest.approx([1, 1 / 4, 1, 1, 1]),
        pytest.approx([1 / 3, 1, 1, 1, 1]),
    ]


def test_balancing_aims_at_the_target_rate() -> None:
    present = np.array([[True], [True], [True], [False]])
    # S⁻T⁺ / (S⁺T⁻) with T⁺ = .6; with T⁺ = .9 the attribute is too rare, and S⁺T⁻ / (S⁻T⁺) when absent.
    assert balancing_weights(present, 0.6)[:, 0].tolist() == pytest.approx([1, 0.25 * 0.6 / (0.75 * 0.4)])
    assert balancing_weights(present, 0.9)[:, 0].tolist() == pytest.approx([0.75 * 0.1 / (0.25 * 0.9), 1])
