"""The cascade: what its two layers compute, what one score costs, where it looks, and its gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from harness.errors import ModelError
from harness.testing import model_checks
from harness.training import Task
from harness_paw.cascade import Cascade, blocks
from harness_paw.crop import hard_crops, smoothed
from harness_paw.models import build_grid, build_part_only, build_paw, build_whole_only

from .conftest import BUILDS, DESIGN, NAMES

TASK = Task((3, 24, 20), NAMES)
SMALL = {
    "subnet_width": 2,
    "localiser_width": 2,
    "maps": 2,
    "poolings": 2,
    "localiser_poolings": 2,
    "crop_share": 0.5,
}


def made(model: str, **build: Any) -> Any:
    """A model whose weights and statistics are drawn, also those of the two layers."""
    torch.manual_seed(0)
    module = BUILDS[model](TASK, **{"design": DESIGN, **build})
    for name, tensor in module.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith(("running_mean", "shift")) or "switch" in name or "relation" in name:
            tensor.normal_(0, 0.3)
        elif name.startswith("parts.") and tensor.ndim > 2:
            tensor.add_(0.3 * torch.randn_like(tensor) * tensor.std())
    return module.eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 3, 24, 20, generator=torch.Generator().manual_seed(1))


def subnet_scores(module: Cascade, x: Tensor) -> list[list[list[float]]]:
    """s_ij of each image: the whole image's subnet first."""
    parts = module.parts(module.part_images(x))
    return torch.cat([module.whole(x)[:, None], parts], 1).tolist()  # type: ignore[no-any-return]


def test_all_subnets_are_combined_as_published(images: Tensor) -> None:
    """r_j = sum_i W_ij s_ij and o_j = sum_k A_jk r_k, in plain sums."""
    module = made("paw")
    weights, bias = module.switch_weight.tolist(), module.switch_bias.tolist()
    relation, last = module.relation_weight.tolist(), module.relation_bias.tolist()
    for found, s in zip(module(images).tolist(), subnet_scores(module, images), strict=True):
        r = [sum(weights[i][j] * s[i][j] for i in range(4)) + bias[j] for j in range(3)]
        o = [sum(relation[j][k] * r[k] for k in range(3)) + last[j] for j in range(3)]
        assert found == pytest.approx(o, abs=1e-4)


def test_part_and_whole_are_combined_alone(images: Tensor) -> None:
    """r_jk = W_0k s_0k + W_jk s_jk and o_j = sum_k A_jk r_jk, in plain sums."""
    module = made("paw", switch="part-and-whole")
    weights, bias = module.switch_weight.tolist(), module.switch_bias.tolist()
    relation, last = module.relation_weight.tolist(), module.relation_bias.tolist()
    for found, s in zip(module(images).tolist(), subnet_scores(module, images), strict=True):
        o = [
            sum(
                relation[j][k] * (weights[0][k] * s[0][k] + weights[j + 1][k] * s[j + 1][k] + bias[k])
                for k in range(3)
            )
            + last[j]
            for j in range(3)
        ]
        assert found == pytest.approx(o, abs=1e-4)


def test_untrained_layers_average_the_subnets(images: Tensor) -> None:
    torch.manual_seed(0)
    module = build_paw(TASK, design=DESIGN).eval()
    expected = torch.tensor(subnet_scores(module, images)).mean(1)
    assert torch.allclose(module(images), expected, atol=1e-5)
    module = build_paw(TASK, design=DESIGN, switch="part-and-whole").eval()
    scores = torch.tensor(subnet_scores(module, images))
    own = scores[:, 1:].diagonal(dim1=1, dim2=2)
    assert torch.allclose(module(images), (own + scores[:, 0]) / 2, atol=1e-5)


def test_part_only_is_the_own_parts_score(images: Tensor) -> None:
    module = made("paw-part-only")
    expected = module.parts(module.part_images(images))[:, torch.arange(3), torch.arange(3)]
    assert torch.equal(module(images), expected)


@pytest.mark.parametrize("crop", ["hard", "soft"])
@pytest.mark.parametrize(
    ("model", "build"),
    [("paw", {"switch": "part-and-whole"}), ("paw-part-only", {})],
)
def test_one_score_costs_what_it_needs(
    images: Tensor, monkeypatch: pytest.MonkeyPatch, crop: str, model: str, build: Any
) -> None:
    module = made(model, crop=crop, **build)
    columns = torch.tensor([0, 2, 1, 2, 0, 0])
    expected = module(images).gather(1, columns[:, None])[:, 0]
    widths = []  # the subnets that see each image

    def counted(x: Tensor, weight: Tensor, *rest: Any, **more: Any) -> Tensor:
        if more.get("groups", 1) > 1 and weight.shape[2] == 3 and weight.shape[1] == 3:
            widths.append(x.shape[0] * x.shape[1] // 3 / len(images))
        return convolve(x, weight, *rest, **more)

    convolve = F.conv2d
    monkeypatch.setattr(F, "conv2d", counted)
    found = module.select(images, columns)
    assert torch.allclose(found, expected, atol=1e-5)
    assert widths == [1]


def test_what_needs_all_subnets_offers_no_score_alone() -> None:
    assert not hasattr(made("paw"), "select")
    assert not hasattr(made("paw-grid"), "select")


def test_soft_crops_are_near_hard_ones_and_share_their_weights(images: Tensor) -> None:
    hard, soft = made("paw"), made("paw", crop="soft")
    soft.load_state_dict(hard.state_dict())
    (_, one), (_, other) = hard.localise(images), soft.localise(images)
    cell = 4
    assert (one - other).abs().max() <= cell
    assert not torch.equal(one, other)


def test_the_gradient_of_a_soft_crop_passes_through_the_place(images: Tensor) -> None:
    """The localisation network is in the gradient's way with "soft", and not with "hard"."""
    for crop, passes in (("hard", False), ("soft", True)):
        module = made("paw-part-only", crop=crop)
        seen: list[Tensor] = []
        features = module.localiser.features

        def watched(x: Tensor, features: Any = features, seen: list[Tensor] = seen) -> Tensor:
            found: Tensor = features(x)
            seen.append(found)
            return found

        module.localiser.features = watched
        x = images.clone().requires_grad_()
        scores = module(x)
        assert seen[0].requires_grad == passes
        scores.sum().backward()
        assert x.grad is not None
        assert x.grad.abs().max() > 0


def test_the_localisation_network_stays_in_eval_mode() -> None:
    module = made("paw").train()
    assert module.parts.training
    assert module.training
    assert not module.localiser.training


def test_centres_are_where_the_crops_were_taken(images: Tensor) -> None:
    module = made("paw")
    heatmaps, centres = module.localise(images)
    assert heatmaps.shape == (6, 3, 12, 10)
    assert torch.equal(hard_crops(images, centres, 8), module.part_images(images))
    plain = module.localiser.heatmaps(module.localiser.features(images))
    assert torch.equal(heatmaps, smoothed(plain, module.design.smoothing))
    assert module.design.smoothing > 0


def test_blocks_are_those_of_a_grid_row_by_row() -> None:
    x = torch.arange(2 * 3 * 9 * 12).view(2, 3, 9, 12)
    found = blocks(x)
    assert found.shape == (2, 16, 3, 2, 3)
    for number in range(16):
        row, column = 2 * (number // 4), 3 * (number % 4)
        assert torch.equal(found[:, number], x[:, :, row : row + 2, column : column + 3])
    even = torch.arange(10.0).view(1, 1, 10, 1).expand(1, 1, 10, 4)
    assert blocks(even)[0, 0, 0, :, 0].tolist() == [1, 2]  # one of the two left-over rows at either end


def test_a_grid_has_no_heatmaps(images: Tensor) -> None:
    with pytest.raises(TypeError, match="a grid has no heatmaps"):
        made("paw-grid").localise(images)


def test_images_are_resized_inside_the_model() -> None:
    design = replace(DESIGN, image_size=(16, 16))
    module = build_paw(TASK, design=design).eval()
    x = torch.rand(2, 3, 24, 20)
    small = F.interpolate(x, size=(16, 16), mode="bilinear", align_corners=False)
    assert torch.equal(module(x), module(small))


def test_the_loss_is_the_cross_entropy_of_the_sigmoid() -> None:
    module = build_whole_only(TASK, design=DESIGN)
    scores, labels = torch.randn(5, 3), torch.randn(5, 3).sign()
    expected = F.binary_cross_entropy_with_logits(scores, (labels > 0).float(), reduction="none")
    assert torch.allclose(module.training_loss(scores, labels), expected, atol=1e-6)


@pytest.mark.parametrize("build", [build_paw, build_part_only, build_whole_only, build_grid])
def test_a_task_without_attributes_is_refused(build: Any) -> None:
    with pytest.raises(ModelError, match="the cascade needs a data set with attributes"):
        build(Task((3, 24, 20)))


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("paw", {}),
        ("paw", {"switch": "part-and-whole", "crop": "soft"}),
        ("paw-part-only", {}),
        ("paw-whole-only", {}),
        ("paw-grid", {}),
    ],
)
def test_the_contract_of_models_is_kept(model: str, more: dict[str, Any]) -> None:
    results = [case.result() for case in model_checks(model, params={**SMALL, **more})]
    assert [(result.check, result.line) for result in results if result.status == "failed"] == []
    passed = {result.check for result in results if result.status == "passed"}
    assert {"gradients", "precision", "batch-independence", "weights", "devices"} <= passed
    assert ("select" in passed) == (model == "paw-part-only" or "switch" in more)
    assert ("observe" in passed) == (model in ("paw", "paw-part-only"))
