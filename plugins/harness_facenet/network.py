"""FaceNet (Schroff et al. 2015) maps faces to points of the unit sphere, on a backbone of choice."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness_facenet.mobile import MobileFace
from harness_facenet.resnet import ResNet

Backbone = Literal["resnet50", "resnet18", "mobilefacenet"]


@dataclass(frozen=True, kw_only=True)
class Design:
    """A Design is the architecture; the defaults are those of the quick preset."""

    backbone: Backbone = "resnet18"
    """Published: "resnet50". "mobilefacenet" is like that network, for images of any size."""
    width: Annotated[int, Ge(1)] = 12
    """The channels of the first stage; published: 64."""
    small_stem: bool = True
    """Whether a ResNet begins with one 3x3 convolution, for small images, in place of 7x7 and a pooling."""
    dimensions: Annotated[int, Ge(2)] = 128
    """The length of an embedding."""
    image_size: tuple[int, int] | None = (40, 40)
    """The height and width to which images are resized inside the network; None: they are not."""

    @property
    def identity(self) -> dict[str, Any]:
        """Return what the weights depend on."""
        return asdict(self)


class FaceNet(nn.Module):
    """A FaceNet maps images (B, C, H, W) in [0, 1] to embeddings (B, 128) of length 1.

    It has the backbone's parameters, and 128 linear outputs with bias in place of the classifier: for
    ResNet50 23,508,032 and 262,272.
    """

    body: ResNet | MobileFace

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.design = design
        if design.backbone == "mobilefacenet":
            self.body = MobileFace(design.width)
        else:
            self.body = ResNet(design.backbone, design.width, small_stem=design.small_stem)
        self.embedding = nn.Linear(self.body.features, design.dimensions)
        self.training_notes: dict[str, Any] = {}
        """What training measured, for the card."""

    def forward(self, x: Tensor) -> Tensor:
        embeddings: Tensor = self.embedding(self.represent(x))
        if embeddings.dtype in (torch.bfloat16, torch.float16):  # lengths need more digits than these have
            embeddings = embeddings.float()
        return F.normalize(embeddings, dim=1)

    def represent(self, x: Tensor) -> Tensor:
        """Return the backbone's features (B, F), which the contrastive pre-training learns through."""
        size = self.design.image_size
        if size is not None and x.shape[2:] != size:
            x = F.interpolate(x, size, mode="bilinear", antialias=True)
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        x = (x - 0.5) / 0.5  # the convention of FaceNet's weights: (pixel - 127.5) / 128, nearly
        # Channels last is about twice as fast on CPUs.
        features: Tensor = self.body(x.contiguous(memory_format=torch.channels_last))
        return features


class Projector(nn.Sequential):
    """A Projector maps features (B, F) to those that the contrastive loss compares: two layers (SimCLR)."""

    def __init__(self, features: int, hidden: int, width: int) -> None:
        super().__init__(
            nn.Linear(features, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, width)
        )
