"""Views against plain references: the identity, cut-outs, colours, blur; each draw is its image's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from harness_facenet.views import BLUR_EDGE, GREY, Draw, ViewRecipe, blurred, grey_of, turned

NOTHING = ViewRecipe(crop_scale=(1.0, 1.0), flip=False, jitter_share=0, grey_share=0, blur_share=0)


def images(count: int = 3, edge: int = 12) -> torch.Tensor:
    return torch.rand(count, 3, edge, edge, generator=torch.Generator().manual_seed(0))


def nothing(count: int = 3) -> Draw:
    draw = NOTHING.draw(np.random.default_rng(0), count)
    return replace(draw, size=torch.ones(count, 2), centre=torch.zeros(count, 2))


def test_a_draw_of_nothing_changes_nothing() -> None:
    x = images()
    assert torch.allclose(nothing().of(x), x, atol=1e-5)


def test_mirrored_views_are_mirrored() -> None:
    x = images()
    draw = replace(nothing(), mirrored=torch.tensor([True, False, True]))
    found = draw.of(x)
    assert torch.allclose(found[0], x[0].flip(2), atol=1e-5)
    assert torch.allclose(found[1], x[1], atol=1e-5)


def test_a_cut_out_is_that_part_of_the_image_in_its_size() -> None:
    ramp = torch.linspace(0, 1, 16).repeat(1, 3, 16, 1)  # grows from left to right
    draw = replace(nothing(1), size=torch.tensor([[0.5, 1.0]]), centre=torch.tensor([[0.5, 0.0]]))
    found = draw.of(ramp)[0, 0, 8]
    assert found[0] == pytest.approx(0.5, abs=0.04)
    assert found[-1] == pytest.approx(1.0, abs=0.04)


def test_cut_outs_stay_inside_and_have_the_stated_area() -> None:
    recipe = replace(NOTHING, crop_scale=(0.1, 0.4))
    draw = recipe.draw(np.random.default_rng(1), 500)
    area = draw.size.prod(1)
    assert area.min() >= 0.1 - 1e-6
    assert area.max() <= 0.4 + 1e-6
    assert (draw.centre.abs() + draw.size).max() <= 1 + 1e-6
    ratio = draw.size[:, 0] / draw.size[:, 1]
    assert ratio.min() >= 0.75 - 1e-6
    assert ratio.max() <= 4 / 3 + 1e-6


def test_colours_change_as_stated() -> None:
    x = 0.2 + 0.3 * images()
    grey = sum(weight * x[:, channel] for channel, weight in enumerate(GREY))
    assert torch.allclose(grey_of(x)[:, 0], grey)
    brighter = replace(nothing(), strengths=torch.tensor([[1.2, 1.0, 1.0]] * 3))
    assert torch.allclose(brighter.of(x), 1.2 * x, atol=1e-5)
    contrast = replace(nothing(), strengths=torch.tensor([[1.0, 0.5, 1.0]] * 3))
    middle = grey.mean((1, 2)).view(3, 1, 1, 1)
    assert torch.allclose(contrast.of(x), 0.5 * x + 0.5 * middle, atol=1e-5)
    none = replace(nothing(), strengths=torch.tensor([[1.0, 1.0, 0.0]] * 3))
    assert torch.allclose(none.of(x), grey[:, None].expand_as(x), atol=1e-5)
    assert torch.allclose(replace(nothing(), grey=torch.ones(3).bool()).of(x), none.of(x), atol=1e-5)


def test_a_turned_hue_keeps_the_grey_level_and_a_whole_turn_is_none() -> None:
    x = 0.4 + 0.1 * images()
    third = turned(x, torch.full((3,), 1 / 3))
    assert torch.allclose(grey_of(third), grey_of(x), atol=1e-3)
    assert not torch.allclose(third, x, atol=0.01)
    assert torch.allclose(turned(x, torch.ones(3)), x, atol=1e-4)


def test_the_blur_is_a_gaussian() -> None:
    x = images(2, 24)
    found = blurred(x, torch.tensor([1.5, 0.0]))
    expected = gaussian_filter(x[0].double().numpy(), (0, 1.5, 1.5), mode="nearest", truncate=5 / 1.5)
    assert np.abs(found[0].numpy() - expected).max() < 2e-3
    assert torch.allclose(found[1], x[1], atol=1e-6)


def test_views_do_not_depend_on_the_other_images_of_a_batch() -> None:
    x = images(4)
    draw = ViewRecipe(blur_share=1.0).draw(np.random.default_rng(5), 4)
    whole = draw.of(x)
    assert whole.min() >= 0
    assert whole.max() <= 1
    alone = Draw(**{name: value[2:3] for name, value in vars(draw).items()}).of(x[2:3])
    assert torch.allclose(alone[0], whole[2], atol=1e-3)  # beside a larger σ its kernel is longer
    assert BLUR_EDGE > 12


def test_the_same_numbers_give_the_same_views() -> None:
    recipe, x = ViewRecipe(), images()
    one, same, other = (recipe.draw(np.random.default_rng(seed), 3).of(x) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, atol=0.05)
