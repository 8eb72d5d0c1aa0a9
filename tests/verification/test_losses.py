"""Losses and measures: against formulas written out, and against other code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F  # noqa: N812

from harness.errors import ModelError
from harness_verification.contrastive import area_under_roc, contrastive, nearest_of
from harness_verification.fitting import clean_pairs
from harness_verification.image_losses import HEARD, PerceptualLoss, image_loss, similarity_loss, ssim
from harness_verification.inner_attack import distances
from harness_verification.vgg_body import vgg_body


def test_contrastive_loss_of_the_code_hinges_the_distance() -> None:
    positive, negative = torch.tensor([1.0, 3.0]), torch.tensor([4.0, 12.0])
    # (1 + 9) / 2 of positive pairs; ((10 - 4)² + 0) / 2 of negative ones
    assert contrastive(positive, negative, margin=10, hinge="distance").item() == pytest.approx(5 + 18)


def test_contrastive_loss_of_eq_2_hinges_the_squared_distance() -> None:
    positive, negative = torch.tensor([1.0, 3.0]), torch.tensor([2.0, 12.0])
    # (1 + 9) / 2; ((10 - 4) + 0) / 2
    assert contrastive(positive, negative, margin=10, hinge="squared-distance").item() == pytest.approx(8)


def test_the_nearest_candidate_is_the_hardest() -> None:
    assert nearest_of(torch.tensor([[3.0, 1.0, 2.0], [2.0, 4.0, 2.5]])).tolist() == [1, 0, 0]


def test_distances_are_euclidean_and_have_a_gradient_at_zero() -> None:
    a = torch.tensor([[0.0, 3.0], [1.0, 1.0]], requires_grad=True)
    found = distances(a, torch.tensor([[4.0, 0.0], [1.0, 1.0]]))
    assert found.tolist() == pytest.approx([5.0, 0.0], abs=1e-5)
    found.sum().backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()


def test_clean_pairs_are_all_pairs_and_their_gradient_is_the_same_in_every_run() -> None:
    """Threads that add up a gradient in any order once made two trainings of one seed differ."""
    embeddings = torch.randn(64, 128, generator=torch.Generator().manual_seed(0)).requires_grad_()
    who = torch.arange(64) // 4
    same, other = clean_pairs(embeddings, who)
    first, second = torch.triu_indices(64, 64, 1)
    wanted = F.pairwise_distance(embeddings[first], embeddings[second], eps=0)
    torch.testing.assert_close(same, wanted[who[first] == who[second]])
    torch.testing.assert_close(other, wanted[who[first] != who[second]])
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        gradients = set()
        for _ in range(30):
            value = contrastive(*clean_pairs(embeddings, who), margin=20.0, hinge="distance")
            gradients.add(torch.autograd.grad(value, embeddings)[0].numpy().tobytes())
    finally:
        torch.set_num_threads(threads)
    assert len(gradients) == 1


def test_area_under_roc_is_that_of_scikit_learn_with_ties() -> None:
    random = np.random.default_rng(0)
    positive, negative = random.integers(0, 6, 40) / 2, random.integers(1, 9, 60) / 2
    truth = np.r_[np.ones(40), np.zeros(60)]
    expected = roc_auc_score(truth, -np.r_[positive, negative])
    assert area_under_roc(positive, negative) == pytest.approx(expected, abs=1e-12)
    assert area_under_roc(np.zeros(3), np.ones(4)) == 1.0


def test_ssim_of_one_window_is_that_of_scikit_image() -> None:
    random = np.random.default_rng(0)
    a, b = random.random((2, 3, 8, 8))
    own = ssim(torch.from_numpy(a)[None], torch.from_numpy(b)[None]).item()
    # scikit-image's windows are odd, so the whole image is compared with the formula of one window
    means, variances = (a.mean((1, 2)), b.mean((1, 2))), (a.var((1, 2)), b.var((1, 2)))
    shared = (a * b).mean((1, 2)) - means[0] * means[1]
    one, two = 1e-4, 9e-4
    alike = (2 * means[0] * means[1] + one) * (2 * shared + two)
    expected = alike / ((means[0] ** 2 + means[1] ** 2 + one) * (sum(variances) + two))
    assert own == pytest.approx(expected.mean(), abs=1e-9)


def test_ssim_ranks_images_as_scikit_image_does() -> None:
    random = np.random.default_rng(1)
    real = np.kron(random.random((3, 16, 16)), np.ones((4, 4)))
    noisy = [np.clip(real + random.normal(0, noise, real.shape), 0, 1) for noise in (0.02, 0.1, 0.3)]
    own = [ssim(torch.from_numpy(image)[None], torch.from_numpy(real)[None]).item() for image in noisy]
    theirs = [structural_similarity(image, real, channel_axis=0, data_range=1.0) for image in noisy]
    assert own == sorted(own, reverse=True)
    assert np.abs(np.subtract(own, theirs)).max() < 0.08


def test_the_substitute_is_zero_for_equal_images_and_grows() -> None:
    real = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    noisy = real + 0.1 * torch.randn(real.shape, generator=torch.Generator().manual_seed(1))
    assert similarity_loss(real, real).abs().max() < 1e-6
    assert (similarity_loss(noisy, real) > 0.05).all()


def test_the_perceptual_loss_hears_the_published_layers() -> None:
    torch.manual_seed(0)
    body = vgg_body(2, None)
    names = [type(body[number]).__name__ for number in HEARD]
    assert names == ["Conv2d"] * 4 + ["MaxPool2d"]
    real, drawn = torch.rand(2, 2, 3, 32, 32)
    found = PerceptualLoss(body, "imagenet")(drawn, real)
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    expected = torch.zeros(2)
    for number in HEARD:
        ours, theirs = (body[: number + 1]((x - mean) / deviation) for x in (drawn, real))
        expected += (ours - theirs).abs().mean((1, 2, 3)) / 5
    assert torch.allclose(found, expected, atol=1e-5)


def test_caffes_weights_see_blue_first_and_255() -> None:
    seen: list[torch.Tensor] = []
    body = torch.nn.Sequential(torch.nn.Identity())
    body[0].register_forward_hook(lambda layer, given, made: seen.append(given[0]))
    x = torch.zeros(1, 3, 2, 2)
    x[:, 0] = 1.0  # red
    PerceptualLoss(body, "caffe")(x, x)
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx([-103.939, -116.779, 255 - 123.68], abs=1e-3)


def test_a_perceptual_loss_without_its_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"body weights .*vgg\.pt: no such file"):
        image_loss(str(tmp_path / "vgg.pt"), "imagenet", torch.device("cpu"))
