"""PaW: subnets see the localised parts and the whole image, and two layers combine their scores."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness_paw.crop import CropMode, corners, hard_crops, hard_places, smoothed, soft_crops, soft_places
from harness_paw.layers import Design
from harness_paw.subnet import Subnet
from harness_paw.subnets import Subnets

Regions = Literal["localised", "grid"]
Switch = Literal["all", "part-and-whole"]
Combination = Literal["all", "part-and-whole", "own-part"]
BLOCKS = 4
"""The blocks of the grid along each side of the image."""


class Scored(nn.Module):
    """A Scored module has a name for each attribute, and the sigmoid's cross-entropy as its loss."""

    def __init__(self, attribute_names: tuple[str, ...], design: Design) -> None:
        super().__init__()
        self.attribute_names, self.design = attribute_names, design
        self.training_notes: dict[str, Any] = {}
        """What training measured, for the card."""

    def training_loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy (B, M) of the sigmoid of scores with labels, -1 or +1 (L_attr).

        The paper's L_attr lacks its minus sign.
        """
        return F.softplus(-labels * scores)

    def resized(self, x: Tensor) -> Tensor:
        """Return images (B, C, H, W) at the size that the networks expect."""
        size = self.design.image_size
        if size is None or x.shape[2:] == size:
            return x
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class Whole(Scored):
    """A Whole is the subnet g_0 alone, on the whole image (whole-only, and the models of Table 3)."""

    def __init__(self, channels: int, attribute_names: tuple[str, ...], design: Design) -> None:
        super().__init__(attribute_names, design)
        count = len(attribute_names)
        self.whole = Subnet(channels, design.subnet_layers(count), count)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.whole(self.resized(x))  # (B, M)
        return scores


class Cascade(Scored):
    """A Cascade maps images (B, C, H, W) in [0, 1] to scores (B, M) by subnets on M parts and on the whole.

    The localisation network's weights are buffers: it chooses the parts and gives no score, the published
    11 M parameters do not count it, and no training after its own changes it.
    """

    def __init__(
        self,
        channels: int,
        attribute_names: tuple[str, ...],
        design: Design,
        *,
        regions: Regions = "localised",
        combination: Combination = "all",
        crop: CropMode = "hard",
    ) -> None:
        """Make an untrained cascade.

        Args:
            regions: "grid" has a subnet for each of 4x4 blocks of the image, and no localisation.
            combination: "all" combines all subnets, as published; "part-and-whole" those of the attribute's
                own part and of the whole image; "own-part" takes the score of the own part's subnet.
            crop: "hard" keeps the place of a crop constant for the gradient, "soft" lets the gradient pass.
        """
        super().__init__(attribute_names, design)
        self.regions, self.combination, self.crop = regions, combination, crop
        count = len(attribute_names)
        layers = design.subnet_layers(count)
        self.localiser = None
        if regions == "localised":
            self.localiser = as_buffers(Subnet(channels, design.localiser_layers(count), count)).eval()
        parts = BLOCKS**2 if regions == "grid" else count
        self.parts = Subnets(parts, channels, layers, count)
        if combination == "own-part":
            return
        self.whole = Subnet(channels, layers, count)
        # The region switch layer: row 0 is the whole image's subnet, row i the i-th part's.
        used = parts + 1 if combination == "all" else 2
        self.switch_weight = nn.Parameter(torch.full((parts + 1, count), 1 / used))  # (M + 1, M)
        self.switch_bias = nn.Parameter(torch.zeros(count))
        self.relation_weight = nn.Parameter(torch.eye(count))  # (M, M), o = r @ weight.T + bias
        self.relation_bias = nn.Parameter(torch.zeros(count))

    def train(self, mode: bool = True) -> Cascade:
        """Set the mode of everything but the localisation network, which stays as it is."""
        super().train(mode)
        if self.localiser is not None:
            self.localiser.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        x = self.resized(x)
        return self.combined(x, self.part_images(x))

    def combined(self, x: Tensor, parts: Tensor) -> Tensor:
        """Return the scores (B, M) of images (B, C, H, W), resized, and of their parts (B, G, C, h, w)."""
        part_scores: Tensor = self.parts(parts)  # (B, G, M)
        if self.combination == "own-part":
            return part_scores.diagonal(dim1=1, dim2=2)
        whole: Tensor = self.whole(x)  # (B, M)
        return self.switched(torch.cat([whole[:, None], part_scores], 1))

    def switched(self, scores: Tensor) -> Tensor:
        """Return the final scores (B, M) of the scores s_ij (B, G + 1, M) of all subnets.

        "all" is r_j = sum_i W_ij s_ij and o_j = sum_k A_jk r_k. With "part-and-whole", attribute j has
        only the scores that its own part's subnet and that of the whole image give to every attribute:
        r_jk = W_0k s_0k + W_jk s_jk and o_j = sum_k A_jk r_jk.
        """
        weighed = scores * self.switch_weight  # (B, G + 1, M)
        if self.combination == "all":
            return F.linear(weighed.sum(1) + self.switch_bias, self.relation_weight, self.relation_bias)
        own = (weighed[:, 1:] * self.relation_weight).sum(2)  # (B, M)
        shared = weighed[:, 0] + self.switch_bias
        return own + F.linear(shared, self.relation_weight, self.relation_bias)

    def localise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the heatmaps (B, M, h, w) of images (B, C, H, W), and (B, M, 2) the centres of crops.

        Centres are rows and columns in pixels of x, of crops that are shifted to stay inside the image.
        """
        seen = self.resized(x)
        size, side = _size(seen), self.design.crop_side(*_size(seen))
        heatmaps, places = self._found(seen)
        corner = corners(places, side, size)
        if self.crop == "hard":
            corner = corner.round()
        ratio = torch.tensor(
            [x.shape[2] / size[0], x.shape[3] / size[1]], device=x.device, dtype=corner.dtype
        )
        return heatmaps, (corner + side / 2) * ratio

    def observe(self, x: Tensor, columns: Tensor) -> Tensor:
        """Return (B, 2) row and column of the centre of the crop of attribute ``columns[b]``, in pixels.

        They are not a number where ``columns[b]`` is -1: the case is about no attribute.
        """
        _, centres = self.localise(x)  # (B, M, 2)
        chosen = columns.clamp_min(0)[:, None, None].expand(-1, 1, 2)
        return centres.gather(1, chosen)[:, 0].masked_fill((columns < 0)[:, None], float("nan"))

    def part_images(self, x: Tensor) -> Tensor:
        """Return the parts (B, G, C, h, w) of images (B, C, H, W), resized: crops, or blocks of the grid."""
        return blocks(x) if self.regions == "grid" else self._crops(x)

    def places(self, x: Tensor) -> Tensor:
        """Return (B, M, 2) where the heatmaps of images, resized, are largest, without a gradient."""
        with torch.no_grad():
            return hard_places(self._heatmaps(x), _size(x))

    def _crops(self, x: Tensor, columns: Tensor | None = None) -> Tensor:
        """Return the crops (B, M, C, s, s) of all attributes, or (B, 1, C, s, s) of columns (B,)."""
        side = self.design.crop_side(*_size(x))
        _, places = self._found(x)
        if columns is not None:
            places = places.gather(1, columns[:, None, None].expand(-1, 1, 2))
        if self.crop == "hard":
            return hard_crops(x, places, side)
        return soft_crops(x, corners(places, side, _size(x)), side)

    def _found(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return heatmaps (B, M, h, w) and places (B, M, 2) of images, resized."""
        if self.crop == "hard":
            with torch.no_grad():
                heatmaps = self._heatmaps(x)
            return heatmaps, hard_places(heatmaps, _size(x))
        heatmaps = self._heatmaps(x)
        return heatmaps, soft_places(heatmaps, _size(x))

    def _heatmaps(self, x: Tensor) -> Tensor:
        if self.localiser is None:
            raise TypeError("a grid has no heatmaps: its parts are the same blocks of every image")
        # Places are compared and summed, which bfloat16 is too coarse for.
        found = self.localiser.heatmaps(self.localiser.features(x)).to(x.dtype)
        return smoothed(found, self.design.smoothing)


class SelectiveCascade(Cascade):
    """A SelectiveCascade computes one attribute's score from two subnets, or from one ("own-part").

    A cascade that combines all subnets cannot: with "all", every score s_ik has a part in each final one.
    """

    def select(self, x: Tensor, columns: Tensor) -> Tensor:
        """Return (B,) the score of attribute ``columns[b]`` of image b.

        It costs the localisation, the subnet of the attribute's own part and, with "part-and-whole", that of
        the whole image.
        """
        x = self.resized(x)
        own = self.parts.chosen(self._crops(x, columns)[:, 0], columns)  # (B, M)
        if self.combination == "own-part":
            return own.gather(1, columns[:, None])[:, 0]
        whole: Tensor = self.whole(x)
        switch = self.switch_weight
        mixed = own * switch[1:][columns] + whole * switch[0] + self.switch_bias  # (B, M)
        return (mixed * self.relation_weight[columns]).sum(1) + self.relation_bias[columns]


def as_buffers(module: Subnet) -> Subnet:
    """Return a module whose parameters have become buffers."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, parameter.detach())
    return module


def blocks(x: Tensor) -> Tensor:
    """Return the 4x4 blocks (B, 16, C, h, w) of images (B, C, H, W), row by row.

    Where 4 does not divide a side, the rest is left out, half of it at either end.
    """
    height, width = x.shape[2] // BLOCKS, x.shape[3] // BLOCKS
    top, left = (x.shape[2] - BLOCKS * height) // 2, (x.shape[3] - BLOCKS * width) // 2
    x = x[:, :, top : top + BLOCKS * height, left : left + BLOCKS * width]
    found = x.reshape(*x.shape[:2], BLOCKS, height, BLOCKS, width)  # (B, C, 4, h, 4, w)
    return found.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[2], x.shape[3]
