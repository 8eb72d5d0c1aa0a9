"""Alignment finds the homography that maximises the enhanced correlation coefficient (ECC) of two images.

It follows the forward additive scheme of Evangelidis and Psarakis 2008, "Parametric Image Alignment Using
Enhanced Correlation Coefficient Maximization", section 3. Each column of a homography's Jacobian is one of
three planes times a power of x or y, so that all sums over pixels that a step needs are moments of products
of planes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness_similarity.chunks import chunks
from harness_similarity.homography import CENTRED, Lattice, Workspace, places

LEAST_CONTRAST = 4e-6
"""The standard deviation up to which an image in [0, 1] counts as constant: a thousandth of 1/255."""

EXPECTED = 0.02
"""The search ends with a step whose expected gain, by the linearised problem, is below this share of the
precision. PASS is then within .002 of OpenCV's, which searches longer (tests/similarity)."""

FAR = 1e-4
"""After a first step that is expected to gain more than this, the next ones look at a quarter of the pixels,
until one is expected to gain less."""

_FULL_STEPS = 2  # at least so many look at all pixels after that
_LARGE = 128 * 128  # pixels; a quarter of fewer leads too far astray: PASS of 72 x 88 changed by .002
_STUCK = 0.99  # the least share of the gain of one step before that is a sign of going round in circles

# The homography [[h1, h2, h3], [h4, h5, h6], [h7, h8, 1]] maps (x, y) to (X, Y) at depth d. The planes are
# A = dI/dX / d, B = dI/dY / d and A X + B Y. For each column, in the order of h, the list has the plane and
# the powers of x and y that it is multiplied by. The last two columns have a minus (equation 25).
_COLUMNS = (
    *((plane, p, q) for plane in (0, 1) for p, q in ((1, 0), (0, 1), (0, 0))),
    (2, 1, 0),
    (2, 0, 1),
)
_SIGNS = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -1.0, -1.0)

# Planes are multiplied with one another, with the image and with the template. Each product has the moments
# of 1, x, x^2 times 1, y, y^2.
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
_PRODUCTS = len(_PAIRS) + 3 + 3
_POWERS = 3


@dataclass(frozen=True, eq=False)
class Alignment:
    """An Alignment holds the results of aligning each of B images."""

    warps: Tensor
    """(B, 3, 3) float64, from positions in the template to positions in the image, as in ``Places``."""
    correlation: Tensor
    """(B,) float64, the correlation before the last step."""
    found: Tensor
    """(B,) bool: False if an image is constant, or if no step could raise the correlation."""


@dataclass(frozen=True, eq=False)
class _View:
    """A _View is what a search looks at: all pixels of the templates, or fewer."""

    images: Tensor
    """(N, 3, H, W) images and their gradients across and down, always with all pixels."""
    template: Tensor
    """(N, h, w) the templates at the pixels of the lattice."""
    lattice: Lattice
    space: Workspace
    powers: tuple[Tensor, Tensor]
    """(3, h) and (w, 3) float64, the powers 0 to 2 of the coordinates of rows and of columns."""

    @classmethod
    def of(cls, images: Tensor, template: Tensor, apart: int = 1) -> _View:
        """Return the view of pixels so far apart of images (N, 3, H, W) and templates (N, H, W)."""
        lattice = Lattice.of(template, apart)
        template = template[:, ::apart, ::apart].contiguous()
        space = Workspace.like(template[next(iter(chunks(template)), slice(0))])
        exponents = torch.arange(_POWERS, device=template.device)
        down, across = (axis[:, None] ** exponents for axis in (lattice.y, lattice.x))
        return cls(images, template, lattice, space, (down.T, across.double()))


def align(moving: Tensor, template: Tensor, *, iterations: int, precision: float) -> Alignment:
    """Find the homographies that warp images (B, H, W) onto templates (B, H, W), both in [0, 1] and smooth.

    The conventions are OpenCV's if the paper has none. A search begins at the identity; it ends after
    ``iterations`` steps, or with the step before which the correlation changed by less than ``precision``. It
    also ends, earlier than OpenCV's, with a step whose expected gain is far below the precision, or below it
    and no smaller than that of the step before. It fails if the correlation is not a number or the step would
    not raise it. The image is surrounded by black. The correlation is taken over the pixels that map into the
    image, up to half a pixel beyond the centres of its outermost pixels; pixels up to another half pixel
    outside still count in the projections of the image, including the mean. Gradients are central
    differences, 0 across the border.

    Images whose search has ended leave the batch. Steps far from the end look at a quarter of the
    pixels, if images are large.
    """
    count, height, width = template.shape
    images = template.new_empty(count, 3, height, width)
    for part in chunks(moving):
        _add_gradient(moving[part], images[part])
    view = _View.of(images, template)
    warps = torch.eye(3, dtype=torch.float64, device=template.device).repeat(count, 1, 1)
    correlation = torch.full((count,), -torch.inf, dtype=torch.float64, device=template.device)
    expected = torch.full_like(correlation, torch.inf)
    found = torch.ones(count, dtype=torch.bool, device=template.device)
    left = torch.full((count,), iterations, device=template.device)
    active, moved = left.nonzero()[:, 0], False
    while len(active):
        now, gain, fine = _advance(view, warps, active, moved)
        settled = (now - correlation[active]).abs() < precision
        settled |= gain < torch.where(gain > expected[active] * _STUCK, precision, precision * EXPECTED)
        correlation[active], expected[active], found[active] = now, gain, fine
        left[active] -= 1
        active = active[fine & ~settled & (left[active] > 0)]
        if not moved and height * width >= _LARGE:
            far = active[(expected[active] > FAR) & (left[active] > _FULL_STEPS)]
            correlation[far] = -torch.inf  # that of another place
            _approach(view, warps, far, left, precision)
        moved = True
    return Alignment(warps, correlation, found)


def _approach(view: _View, warps: Tensor, active: Tensor, left: Tensor, precision: float) -> None:
    """Go on with some images, by every second pixel of every second row, until little is to be gained.

    Their steps are subtracted from those that are left.
    """
    if not len(active):
        return
    view = _View.of(view.images, view.template, apart=2)
    while len(active):
        _, gain, fine = _advance(view, warps, active)
        left[active] -= 1
        active = active[fine & (gain > FAR) & (left[active] > _FULL_STEPS)]


def _advance(view: _View, warps: Tensor, active: Tensor, moved: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Change the warps of the active images by a step.

    Args:
        moved: whether warps may differ from the identity.

    Returns:
        of each active image the correlation before the step, the expected gain, and whether the step exists.
    """
    sums = []
    for part in chunks(view.template[: len(active)]):
        rows = _rows(active[part])
        sums.append(_sums(view, rows, warps[rows] if moved else None))
    moments, norms = (torch.cat(parts) for parts in zip(*sums, strict=True))
    change, now, gain, fine = _step(moments, norms)
    fine &= (norms[:, :2] > LEAST_CONTRAST**2 * view.template[0].numel()).all(1)
    warps[active] += change
    return now, gain, fine


def _rows(active: Tensor) -> slice | Tensor:
    """Return an index of some rows; it is a slice if they are neighbours, which copies nothing."""
    first, last = int(active[0]), int(active[-1])
    return slice(first, last + 1) if last - first + 1 == len(active) else active


def _sums(view: _View, rows: slice | Tensor, warps: Tensor | None) -> tuple[Tensor, Tensor]:
    """Compute all sums over pixels that a step needs.

    Args:
        view: the images and templates.
        rows: an index of B of these.
        warps: (B, 3, 3) their warps; None before the first step, in which nothing is warped.

    Returns:
        (B, 12, 3, 3) moments of the products, by powers of y and of x; (B, 3) squared norms of image and
        template and their inner product, after subtraction of their means, over the pixels inside the image;
        both float64.
    """
    images, template = view.images[rows], view.template[rows]
    space = view.space.of(len(template))
    other, own = space.spare
    if warps is None:
        mean, other_mean = (_total(planes) / template[0].numel() for planes in (images[:, 0], template))
        image = torch.sub(images[:, 0], _per_image(mean), out=space.inside)
        template = torch.sub(template, _per_image(other_mean), out=own)
        valid = image
        across, down = images[:, 1], images[:, 2]
        turn = torch.mul(across, view.lattice.x * 2 - 1, out=space.x)
        turn.add_(torch.mul(down, view.lattice.y[:, None] * 2 - 1, out=other))
    else:
        at = places(warps, view.lattice, space)
        image, across, down = at.sample(images).unbind(1)
        covered = at.inside()
        pixels = _total(covered)
        mean = _total(torch.mul(image, covered, out=other)) / pixels
        image.sub_(torch.mul(covered, _per_image(mean), out=other))
        template = torch.mul(template, covered, out=own)
        mean = _total(template) / pixels
        template.sub_(torch.mul(covered, _per_image(mean), out=other))
        valid = covered.mul_(image)
        across.mul_(at.inverse_depth)
        down.mul_(at.inverse_depth)
        turn = at.x.mul_(across).add_(at.y.mul_(down))
    planes = across, down, turn
    factors = [(planes[one], planes[two]) for one, two in _PAIRS]
    factors += [(plane, of) for of in (image, template) for plane in planes]
    # Each product is still in the cache when its moments are computed, so they are made one at a time.
    by_row, by_column = view.powers
    powers = by_row.expand(len(template), -1, -1)
    sums = template.new_empty(_PRODUCTS, len(template), _POWERS, len(by_column))  # of each column
    for place, (one, two) in enumerate(factors):
        torch.bmm(powers, torch.mul(one, two, out=other), out=sums[place])
    moments = sums.double() @ by_column
    pairs = (valid, valid), (template, template), (valid, template)
    norms = [_total(torch.mul(one, two, out=other)) for one, two in pairs]
    return moments.transpose(0, 1), torch.stack(norms, 1)


def _step(moments: Tensor, norms: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the change (B, 3, 3) of each warp, the correlation (B,) before it, its gain, and if all exist.

    These are equations 18 to 20 of Evangelidis and Psarakis 2008, from the sums of ``_sums``. The gain is
    that of the linearised problem, in which the step leads to the largest correlation: that of the template
    with the space that the image and its Jacobian span.
    """
    flat = moments.flatten(1)
    hessian = flat[:, _HESSIAN].view(-1, 8, 8)
    projections = flat[:, _PROJECTIONS].view(-1, 2, 8)
    # A matrix without an inverse gives values that are not finite; they are detected below.
    of_image, of_template = torch.linalg.solve_ex(hessian, projections.transpose(1, 2))[0].unbind(2)
    image, template, inner = norms.unbind(1)
    correlation = inner / (image * template).sqrt()
    scale = image - (projections[:, 0] * of_image).sum(1)
    fall = inner - (projections[:, 1] * of_image).sum(1)
    change = (of_template * (scale / fall)[:, None] - of_image) * flat.new_tensor(_SIGNS)
    fine = (fall > 0) & correlation.isfinite() & change.isfinite().all(1)
    change = torch.cat([change, torch.zeros_like(change[:, :1])], 1).view(-1, 3, 3)
    change = flat.new_tensor(CENTRED).inverse() @ change
    reach = (projections[:, 1] * of_template).sum(1) + fall.square() / scale
    gain = (reach / template).sqrt() - correlation
    return torch.where(fine[:, None, None], change, 0.0), correlation, gain, fine


def _add_gradient(image: Tensor, planes: Tensor) -> None:
    """Write images (B, H, W) and their central differences, across and down, to planes (B, 3, H, W).

    The differences are per unit of the coordinates of ``Places``.
    """
    height, width = image.shape[1:]
    planes[:, 0] = image
    planes[:, 1, :, :: width - 1] = 0
    planes[:, 2, :: height - 1] = 0
    torch.sub(image[:, :, 2:], image[:, :, :-2], out=planes[:, 1, :, 1:-1]).mul_((width - 1) / 4)
    torch.sub(image[:, 2:], image[:, :-2], out=planes[:, 2, 1:-1]).mul_((height - 1) / 4)


def _total(planes: Tensor) -> Tensor:
    """Return (B,) float64 sums of planes (B, H, W), rows first, so that they do not depend on the batch."""
    return planes.sum(2).double().sum(1)


def _per_image(values: Tensor) -> Tensor:
    """Return values (B,) as float32 (B, 1, 1)."""
    return values.float()[:, None, None]


def _moment(plane: int, q: int, p: int) -> int:
    """Return the index of a product's moment of y^q x^p among all moments."""
    return (plane * _POWERS + q) * _POWERS + p


_HESSIAN = [
    _moment(_PAIRS.index((min(i, j), max(i, j))), q + s, p + r)
    for i, p, q in _COLUMNS
    for j, r, s in _COLUMNS
]
_PROJECTIONS = [_moment(len(_PAIRS) + 3 * of + i, q, p) for of in (0, 1) for i, p, q in _COLUMNS]
