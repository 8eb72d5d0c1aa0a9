"""What a training step does to images: rectangles, shifts, attacks in masks, and DOA's squares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.dataset import Dataset
from harness.training.persons import split_persons
from harness_verification.augmentation import Eraser, filled, moved
from harness_verification.face_crop import crops_of
from harness_verification.inner_attack import InnerAttack, distances, squares, worst_squares
from harness_verification.recipe import Recipe


def edges(mask: Tensor) -> tuple[int, int]:
    rows, columns = torch.nonzero(mask[0], as_tuple=True)
    height, width = int(rows.max() - rows.min() + 1), int(columns.max() - columns.min() + 1)
    assert int(mask.sum()) == height * width
    return height, width


@pytest.mark.parametrize(
    ("recipe", "share", "areas"),
    [("proposed", 0.5, (0.02, 0.2)), ("none", 0.5, (0.02, 0.2)), ("weak", 1.0, (0.02, 0.1))],
)
def test_rectangles_have_the_published_areas_and_aspects(
    recipe: str, share: float, areas: tuple[float, float]
) -> None:
    eraser = Recipe(recipe=recipe).eraser  # type: ignore[arg-type]
    assert (eraser.share, eraser.area, eraser.aspect) == (share, areas, (0.5, 2.0))
    masks = eraser.masks(np.random.default_rng(0), 600)
    assert masks.shape == (600, 1, 64, 64)
    found = masks[masks.flatten(1).any(1)]
    assert len(found) / 600 == pytest.approx(share, abs=0.06)
    sizes = np.array([edges(mask) for mask in found])
    area, aspect = sizes.prod(1) / 4096, sizes[:, 0] / sizes[:, 1]
    assert areas[0] * 0.85 < area.min() < areas[0] * 1.4
    assert areas[1] * 0.85 < area.max() < areas[1] * 1.1
    assert 0.42 < aspect.min() < 0.62
    assert 1.6 < aspect.max() < 2.4
    assert abs((area * 4096).mean() / 4096 - sum(areas) / 2) < 0.01  # uniform


def test_noise_fills_the_rectangle_alone() -> None:
    x = torch.full((4, 3, 64, 64), 0.5)
    masks = Eraser(1.0, (0.1, 0.2)).masks(np.random.default_rng(0), 4)
    noisy = filled(x, masks, np.random.default_rng(1))
    outside = (~masks).expand_as(x)
    assert torch.equal(noisy[outside], x[outside])
    inside = noisy[masks.expand_as(x)]
    assert 0 <= inside.min() < 0.01
    assert 0.99 < inside.max() <= 1
    assert inside.mean().item() == pytest.approx(0.5, abs=0.03)


def test_images_are_shifted_and_half_of_them_mirrored() -> None:
    columns = (torch.arange(64.0) / 64).expand(400, 3, 64, 64)
    found = moved(columns, np.random.default_rng(0), shift=5)
    slopes = found[:, 0, 30, 33] - found[:, 0, 30, 30]
    assert (slopes < 0).float().mean().item() == pytest.approx(0.5, abs=0.08)
    plain = found[slopes > 0][:, 0, 30, 30] * 64 - 30
    assert sorted(set(plain.round().int().tolist())) == list(range(-5, 6))
    assert torch.equal(moved(columns, np.random.default_rng(0), shift=0, flip=False), columns)


def embed(x: Tensor) -> Tensor:
    """Means of 8 x 8 blocks: what the attack should change is plain."""
    return 10 * torch.nn.functional.avg_pool2d(x, 8).flatten(1)


@pytest.mark.parametrize("away", [True, False])
def test_the_attack_moves_distances_and_stays_inside_the_mask(away: bool) -> None:
    x = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    masks = Eraser(1.0, (0.1, 0.2)).masks(np.random.default_rng(0), 4)
    masks[2] = False
    anchors = embed(torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
    attacked = InnerAttack(6, 16 / 255).run(embed, x, masks, anchors, away=away)
    assert torch.equal(attacked[2], x[2])
    outside = (~masks).expand_as(x)
    assert torch.equal(attacked[outside], x[outside])
    assert 0 <= attacked.min() <= attacked.max() <= 1
    change = distances(embed(attacked), anchors) - distances(embed(x), anchors)
    rest = torch.tensor([0, 1, 3])
    assert (change[rest] > 0.1).all() if away else (change[rest] < -0.1).all()


def test_a_step_is_the_sign_of_the_gradient() -> None:
    x = torch.full((1, 3, 64, 64), 0.5)
    masks = torch.ones(1, 1, 64, 64, dtype=torch.bool)
    anchors = embed(torch.zeros(1, 3, 64, 64))
    attacked = InnerAttack(2, 16 / 255).run(embed, x, masks, anchors, away=False)
    assert torch.allclose(attacked, torch.full_like(x, 0.5 - 32 / 255))


def test_doa_has_81_squares() -> None:
    masks = squares(torch.device("cpu"))
    assert masks.shape == (81, 1, 64, 64)
    assert {edges(mask) for mask in masks} == {(20, 20)}
    corners = {tuple(torch.nonzero(mask[0])[0].tolist()) for mask in masks}
    assert corners == {(2 + 5 * row, 2 + 5 * column) for row in range(9) for column in range(9)}


@pytest.mark.parametrize("away", [True, False])
def test_the_worst_square_is_that_of_an_exhaustive_search(away: bool) -> None:
    x = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.2
    x[0, :, 30:46, 20:36] = 1.0
    x[1, :, 4:20, 40:56] = 1.0
    anchors = embed(x) if away else embed(torch.full_like(x, 0.5))
    anchors = anchors + 0.01  # a gradient needs a distance
    shown = torch.where(squares(x.device)[:, None], 0.5, x)  # (81, 3, 3, 64, 64)
    apart = torch.stack([distances(embed(each), anchors) for each in shown])  # (81, 3)
    best = apart.argmax(0) if away else apart.argmin(0)
    found = worst_squares(embed, x, anchors, away=away, places=81)
    assert torch.equal(found, squares(x.device)[best])


def test_few_places_are_those_with_the_largest_gradients() -> None:
    weight = torch.zeros(64, 64)
    weight[32:42, 32:42] = 1.0
    weight[2:12, 2:12] = 0.5

    def one(x: Tensor) -> Tensor:
        return (x.mean(1) * weight).flatten(1).sum(1, keepdim=True)

    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mask = worst_squares(one, x, one(x) + 1, away=True, places=1)[0, 0]
    assert mask[32:42, 32:42].all()
    assert not mask[2:12, 2:12].any()


def test_training_and_validation_persons_differ_and_are_of_the_training_partition(dataset: Dataset) -> None:
    assert dataset.identities is not None
    for seed in range(3):
        learned, unseen = split_persons(dataset, crops_of, held_out=2, people=4, seed=seed)
        assert (len(learned), len(unseen), len(learned.rows_of)) == (6, 2, 4)
        seen = [part.crops.flatten(2).float().mean(2).round() for part in (learned, unseen)]
        assert torch.cdist(*seen).min() > 0
        assert len(learned.who) + len(unseen.who) == len(dataset.rows("train"))


def test_pairs_are_of_one_person_and_of_two(dataset: Dataset) -> None:
    learned, _ = split_persons(dataset, crops_of, held_out=2, people=None, seed=0)
    random = np.random.default_rng(0)
    rows = learned.draw(random, 20)
    assert len(set(learned.who[learned.draw(random, 5)].tolist())) == 5
    others = learned.others(random, rows)
    assert (learned.who[rows] == learned.who[others]).all()
    assert (rows != others).all()
    strangers = learned.strangers(random, rows, 2)
    assert strangers.shape == (2, 20)
    assert (learned.who[strangers] != learned.who[rows]).all()
