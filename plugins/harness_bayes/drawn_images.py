"""Images are sampled from two mixtures; each is a function of a seed, a partition and its number there."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.dataset import UInt8Images
from harness_bayes.mfa import Mfa

TRIES = 100
"""The largest number of trials; then the sample is taken that clipping moves least."""
_AT_ONCE = 128  # images: several per component, and 40 MB of noise for faces. Threads would make it slower.

KEPT_BYTES = 1 << 28
"""The largest number of bytes of images that a data set keeps: 21,800 faces of 64 x 64 pixels."""

Labels = npt.NDArray[np.int64]


def labels_of(index: npt.NDArray[np.intp]) -> Labels:
    """Return the class (B,) of the images with numbers ``index`` (B,); classes alternate, to be balanced."""
    return np.asarray(index % 2, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class DrawnImages:
    """DrawnImages samples images of class 0 and class 1.

    The densities are correct only for samples that clipping hardly moves. So a sample whose point on its
    component's subspace is farther than ``limit`` from [0, 1] is drawn again, together with its component;
    for all other samples, this multiplies the density by one constant.
    """

    densities: tuple[Mfa, Mfa]
    shape: tuple[int, int, int]
    """The channels, height and width of every image."""
    seed: int
    limit: float
    """The largest L2 distance; infinite if all samples are accepted."""
    outliers: int = 0
    """The number of last components of each class whose samples are all accepted."""

    def draw(self, partition: str, index: npt.NDArray[np.intp]) -> UInt8Images:
        """Return uint8 (B, C, H, W) samples of the densities, clipped to [0, 1] and rounded to k/255."""
        images = np.empty((len(index), *self.shape), np.uint8)
        labels = labels_of(index)
        for side in (0, 1):
            where = np.flatnonzero(labels == side)
            for start in range(0, len(where), _AT_ONCE):
                part = where[start : start + _AT_ONCE]
                samples = self._samples(partition, index[part], side)
                images[part] = np.rint(samples.clamp_(0, 1).mul_(255).numpy()).reshape(-1, *self.shape)
        return images

    def components(self, partition: str, index: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Return the component (B,) of its class that each image is sampled from."""
        sides = labels_of(index).tolist()
        streams = [self._stream(partition, int(number)) for number in index]
        drawn = [self._place(side, stream)[0] for side, stream in zip(sides, streams, strict=True)]
        return np.array(drawn, np.intp)

    def _samples(self, partition: str, index: npt.NDArray[np.intp], side: int) -> Tensor:
        """Return float64 (B, D) samples of one class."""
        density = self.densities[side]
        _, dimension, latent = density.factors.shape
        component = np.empty(len(index), np.int64)
        z = np.empty((len(index), latent))
        noise = np.empty((len(index), dimension), np.float32)
        for place, number in enumerate(index):
            stream = self._stream(partition, int(number))
            component[place], z[place] = self._place(side, stream)
            stream.standard_normal(dtype=np.float32, out=noise[place])
        return density.generate(torch.from_numpy(component), torch.from_numpy(z), torch.from_numpy(noise))

    def _place(self, side: int, stream: np.random.Generator) -> tuple[int, npt.NDArray[np.float64]]:
        """Return the component and the latent factors (L,) of the next image of a stream."""
        bounds, density = self._bounds[side], self.densities[side]
        inner = len(bounds) - self.outliers  # the components whose samples may be drawn again
        top, best = bounds[-1], (math.inf, 0, np.empty(0))
        for _ in range(TRIES):
            component = min(
                int(np.searchsorted(bounds, top * stream.random(), side="right")), len(bounds) - 1
            )
            z = stream.standard_normal(density.factors.shape[2])
            if component >= inner or math.isinf(self.limit):
                return component, z
            point = density.factors[component].numpy() @ z + density.means[component].numpy()  # (D,)
            moved = float(np.linalg.norm(point - point.clip(0, 1)))
            if moved <= self.limit:
                return component, z
            best = min(best, (moved, component, z), key=lambda tried: tried[0])
            top = bounds[
                inner - 1
            ]  # it was not an outlier, and must not become one: outliers keep their share
        return best[1:]

    def _stream(self, partition: str, number: int) -> np.random.Generator:
        key = self._keys.get(partition)
        if key is None:
            digest = hashlib.sha256(f"{self.seed}\x1f{partition}".encode()).digest()
            key = self._keys[partition] = np.frombuffer(digest[:16], np.uint64)
        # The lowest word counts the blocks of one image's numbers, so that no two images share numbers.
        return np.random.Generator(np.random.Philox(key=key, counter=[0, number, 0, 0]))

    def kept(self, partition: str) -> Callable[[npt.NDArray[np.intp]], UInt8Images]:
        """Return ``draw`` for one partition, which keeps its first images: several models learn from them."""
        kept: dict[int, UInt8Images] = {}
        capacity = KEPT_BYTES // math.prod(self.shape)

        def draw(index: npt.NDArray[np.intp]) -> UInt8Images:
            images = np.empty((len(index), *self.shape), np.uint8)
            found = [kept.get(number) for number in index.tolist()]
            missing = np.array([place for place, image in enumerate(found) if image is None], np.intp)
            images[missing] = self.draw(partition, index[missing])
            for place, image in enumerate(found):
                if image is not None:
                    images[place] = image
                elif index[place] < capacity:
                    kept[int(index[place])] = images[place].copy()
            return images

        return draw

    @cached_property
    def _keys(self) -> dict[str, npt.NDArray[np.uint64]]:
        return {}

    @cached_property
    def _bounds(self) -> tuple[npt.NDArray[np.float64], ...]:
        """Return for each class (K,) the cumulative sums of the weights."""
        return tuple(density.log_weights.exp().cumsum(0).numpy() for density in self.densities)
