"""The verifier F maps faces to embeddings, whose distance says whether two show one person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import ModelError
from harness_verification.face_crop import EDGE, face_crop
from harness_verification.lord import Design, Lord
from harness_verification.vgg_body import vgg_body

POOLINGS = 5


class Verifier(nn.Module):
    """A Verifier maps images (B, C, H, W) in [0, 1] to embeddings (B, 128), which are not normalised.

    One that learned from generated images keeps their generator, as buffers: it is no part of F. So
    ``reconstruct`` draws an image again, and ``indirect_anchor`` embeds that, for attacks.
    """

    generator: Lord | None

    def __init__(
        self, lord_design: Design, *, width: int, depth: int | None, batch_norm: bool, dimensions: int
    ) -> None:
        super().__init__()
        self.lord_design, self.batch_norm = lord_design, batch_norm
        self.design = {"width": width, "depth": depth, "batch_norm": batch_norm, "dimensions": dimensions}
        self.body = vgg_body(width, depth, batch_norm=batch_norm)
        self.embedding = nn.Linear(8 * width * (EDGE >> POOLINGS) ** 2, dimensions)
        self.generator = None
        self.training_notes: dict[str, Any] = {}
        """What training measured, for the card."""
        self.project()

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(face_crop(x))

    def embed(self, crops: Tensor) -> Tensor:
        """Return the embeddings (B, 128) of crops (B, 3, 64, 64)."""
        if self.batch_norm:
            crops = (crops - 0.5) * 4  # about unit variance; the published F takes [0, 1] as it is
        # Channels last is twice as fast on CPUs.
        maps = self.body(crops.contiguous(memory_format=torch.channels_last))  # (B, 512, 2, 2)
        embeddings: Tensor = self.embedding(maps.flatten(1))
        return embeddings

    @torch.no_grad()
    def project(self) -> None:
        """Scale each row of the last layer's weights to an L2 norm of 1, as after every training step."""
        weight = self.embedding.weight
        weight.div_(weight.norm(dim=1, keepdim=True).clamp_min(1e-12))

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return (B, 3, 64, 64) what the generator makes of the faces in images (B, C, H, W).

        Raises:
            ModelError: this verifier has learned without a generator.
        """
        if self.generator is None:
            raise ModelError(
                'this verifier has no generator; give a verifier with recipe = "proposed" or "none"'
            )
        drawn: Tensor = self.generator(face_crop(x))
        return drawn

    def indirect_anchor(self, x: Tensor) -> Tensor:
        """Return the embeddings (B, 128) of the reconstructions of images (B, C, H, W) (section 4.4)."""
        return self.embed(self.reconstruct(x))

    def keep_generator(self, lord: Lord) -> None:
        """Keep a generator, whose weights become buffers."""
        for part in lord.modules():
            for name, parameter in list(part.named_parameters(recurse=False)):
                delattr(part, name)
                part.register_buffer(name, parameter.detach())
        self.generator = lord

    def resize(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Make room for the generator, if weights of these shapes hold one."""
        persons = shapes.get("generator.persons")
        if persons is not None and self.generator is None:
            self.keep_generator(Lord(persons[0], self.lord_design))
