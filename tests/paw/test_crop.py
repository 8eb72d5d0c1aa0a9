"""Places and crops, against upsampling the heatmap, slicing the image and torch's own sampling."""

from __future__ import annotations

import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from harness_paw.crop import corners, hard_crops, hard_places, smoothed, soft_crops, soft_places

SIZE = (24, 32)


@pytest.fixture
def heatmaps() -> Tensor:
    return torch.randn(5, 4, 6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def test_the_place_is_where_the_upsampled_heatmap_is_largest(heatmaps: Tensor) -> None:
    """By an odd factor, so that a pixel lies at each cell's centre.

    Upsampling repeats the outermost cells to the border: there it finds the first of the equal pixels.
    """
    size = (30, 40)
    upsampled = F.interpolate(heatmaps, size=size, mode="bilinear", align_corners=False)
    best = upsampled.flatten(2).argmax(2)
    pixels = torch.stack([best // size[1], best % size[1]], 2) + 0.5
    places = hard_places(heatmaps, size)
    assert places.shape == (5, 4, 2)
    assert (places - pixels).abs().max() <= 2
    inner = ((places > 5) & (places < torch.tensor(size) - 5)).all(2)
    assert inner.sum() > 5
    assert torch.equal(places[inner], pixels[inner].double())


def test_heatmaps_are_smoothed_inside_the_image_at_half_cells(heatmaps: Tensor) -> None:
    """On a lattice of quarters of cells, a cell's middle is its third point; half cells' are beside it."""

    def blurred(values: Tensor) -> Tensor:
        lattice = torch.zeros(*values.shape[:2], 4 * values.shape[2], 4 * values.shape[3]).double()
        lattice[..., 2::4, 2::4] = values
        found = gaussian_filter(lattice.numpy(), (0, 0, 6.0, 6.0), mode="constant", truncate=20)
        return torch.from_numpy(found[..., 1::2, 1::2])

    expected = blurred(heatmaps) / blurred(torch.ones_like(heatmaps))
    assert expected.shape[2:] == (2 * heatmaps.shape[2], 2 * heatmaps.shape[3])
    assert (smoothed(heatmaps, 1.5) - expected).abs().max() < 1e-12
    assert torch.equal(smoothed(heatmaps, 0.0), heatmaps)


def test_crops_are_slices_that_are_shifted_to_stay_inside(images: Tensor) -> None:
    places = torch.tensor([[12.0, 16.0], [0.0, 0.0], [24.0, 32.0], [4.0, 31.0]]).expand(5, 4, 2)
    corner = [(8, 12), (0, 0), (16, 24), (0, 24)]
    crops = hard_crops(images, places, 8)
    assert crops.shape == (5, 4, 3, 8, 8)
    for place, (row, column) in enumerate(corner):
        assert torch.equal(crops[:, place], images[:, :, row : row + 8, column : column + 8])


def test_the_gradient_of_a_hard_crop_reaches_its_pixels_alone(images: Tensor) -> None:
    images.requires_grad_()
    places = torch.tensor([[12.0, 16.0], [12.0, 20.0]]).expand(5, 2, 2)
    hard_crops(images, places, 8).sum().backward()
    expected = torch.zeros(SIZE)
    expected[8:16, 12:20] += 1
    expected[8:16, 16:24] += 1
    assert images.grad is not None
    assert torch.equal(images.grad[0, 0], expected)


def test_soft_crops_at_whole_pixels_are_hard_ones(images: Tensor) -> None:
    places = torch.randint(0, 24, (5, 4, 2), generator=torch.Generator().manual_seed(2)).float()
    corner = corners(places, 8, SIZE)
    assert torch.equal(soft_crops(images, corner, 8), hard_crops(images, places, 8))


def test_soft_crops_are_bilinear_samples(images: Tensor) -> None:
    """Against grid_sample, with gradients of image and corners."""
    corner = torch.tensor([[3.3, 7.75], [0.0, 24.0], [9.5, 0.25]]).expand(5, 3, 2).double().clone()
    x = images.double()
    found, grads = [], []
    for sample in (soft_crops, _sampled):
        own, start = x.clone().requires_grad_(), corner.clone().requires_grad_()
        crops = sample(own, start, 8)
        (crops * torch.linspace(-1, 1, crops.numel(), dtype=torch.float64).view_as(crops)).sum().backward()
        found.append(crops)
        grads.append((own.grad, start.grad))
    assert torch.allclose(found[0], found[1], atol=1e-12)
    assert torch.allclose(grads[0][0], grads[1][0], atol=1e-12)
    between = [0, 2]  # at whole pixels the slope changes
    assert torch.allclose(grads[0][1][:, between], grads[1][1][:, between], atol=1e-9)


def _sampled(x: Tensor, corner: Tensor, side: int) -> Tensor:
    step = torch.arange(side, dtype=x.dtype)
    rows = (corner[..., :1] + step) / (SIZE[0] - 1) * 2 - 1  # (B, M, side)
    columns = (corner[..., 1:] + step) / (SIZE[1] - 1) * 2 - 1
    grid = torch.stack(torch.broadcast_tensors(columns[:, :, None], rows[..., None]), 4)
    crops = [F.grid_sample(x, grid[:, place], align_corners=True) for place in range(corner.shape[1])]
    return torch.stack(crops, 1)


def test_a_soft_place_is_within_a_cell_and_its_gradient_is_right(heatmaps: Tensor) -> None:
    places = soft_places(heatmaps, SIZE)
    assert ((places - hard_places(heatmaps, SIZE)).abs() < 4).all()
    heatmaps.requires_grad_()
    (gradient,) = torch.autograd.grad(soft_places(heatmaps, SIZE)[0, 0, 0], heatmaps)
    assert gradient[0, 0].abs().max() > 0
    assert gradient[1:].abs().max() == 0
    # The weights sum to 1, so that a constant changes nothing.
    assert gradient[0, 0].sum().abs() < 1e-9
    assert torch.autograd.gradcheck(lambda maps: soft_places(maps, SIZE), heatmaps[:1, :1])


def test_a_soft_place_lies_between_two_equal_cells() -> None:
    heatmap = torch.zeros(1, 1, 6, 8, dtype=torch.float64)
    heatmap[0, 0, 2, 3] = heatmap[0, 0, 2, 4] = 9.0
    assert torch.allclose(soft_places(heatmap, SIZE)[0, 0], torch.tensor([10.0, 16.0]).double(), atol=1e-3)
    assert hard_places(heatmap, SIZE)[0, 0].tolist() == [10.0, 14.0]
    flat = soft_places(torch.zeros(1, 1, 6, 8), SIZE)
    assert flat.isfinite().all()
