"""Images are sampled from two mixtures; each is a function of a seed, a partition and its number there."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakValueDictionary

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
"""The largest number of bytes of images that are kept for a pair of mixtures: 21,800 faces of 64 x 64."""

Labels = npt.NDArray[np.int64]
Place = tuple[int, npt.NDArray[np.float64]]
"""The component of an image, and its latent factors (L,)."""


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
                # One at a time, an image stays in the cache.
                for place, sample in zip(part, samples.numpy(), strict=True):
                    np.clip(sample, 0, 1, out=sample)
                    sample *= 255
                    images[place] = np.rint(sample, out=sample).reshape(self.shape)
        return images

    def components(self, partition: str, index: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Return the component (B,) of its class that each image is sampled from."""
        sides = labels_of(index).tolist()
        streams = [self._stream(partition, int(number)) for number in index]
        drawn = [self._places(side, [stream])[0][0] for side, stream in zip(sides, streams, strict=True)]
        return np.array(drawn, np.intp)

    def _samples(self, partition: str, index: npt.NDArray[np.intp], side: int) -> Tensor:
        """Return float64 (B, D) samples of one class."""
        density = self.densities[side]
        _, dimension, latent = density.factors.shape
        component = np.empty(len(index), np.int64)
        z = np.empty((len(index), latent))
        noise = np.empty((len(index), dimension), np.float32)
        streams = [self._stream(partition, int(number)) for number in index]
        for place, found in enumerate(self._places(side, streams)):
            component[place], z[place] = found
            streams[place].standard_normal(dtype=np.float32, out=noise[place])
        return density.generate(torch.from_numpy(component), torch.from_numpy(z), torch.from_numpy(noise))

    def _places(self, side: int, streams: Sequence[np.random.Generator]) -> list[Place]:
        """Return the components and the latent factors (L,) of the next images of some streams."""
        top = self._bounds[side][-1]
        places = [self._drawn(side, top, stream) for stream in streams]
        # The factors of a component are a megabyte: one component after the other, they stay in the cache.
        for at in sorted(range(len(places)), key=lambda at: places[at][0]):
            places[at] = self._accepted(side, places[at], streams[at])
        return places

    def _drawn(self, side: int, top: float, stream: np.random.Generator) -> Place:
        """Draw a component, of those whose weights sum to ``top``, and the latent factors of an image."""
        bounds = self._bounds[side]
        component = min(int(np.searchsorted(bounds, top * stream.random(), side="right")), len(bounds) - 1)
        return component, stream.standard_normal(self.densities[side].factors.shape[2])

    def _accepted(self, side: int, drawn: Place, stream: np.random.Generator) -> Place:
        """Return what was drawn, or what is drawn again until clipping moves it by no more than the limit."""
        bounds, density = self._bounds[side], self.densities[side]
        inner = len(bounds) - self.outliers  # the components whose samples may be drawn again
        best = math.inf, drawn
        for trial in range(TRIES):
            if trial:  # it was not an outlier, and must not become one: outliers keep their share
                drawn = self._drawn(side, bounds[inner - 1], stream)
            component, z = drawn
            if component >= inner or math.isinf(self.limit):
                return drawn
            point = density.factors[component].numpy() @ z + density.means[component].numpy()  # (D,)
            moved = float(np.linalg.norm(point - point.clip(0, 1)))
            if moved <= self.limit:
                return drawn
            best = min(best, (moved, drawn), key=lambda tried: tried[0])
        return best[1]

    def _stream(self, partition: str, number: int) -> np.random.Generator:
        key = self._keys.get(partition)
        if key is None:
            digest = hashlib.sha256(f"{self.seed}\x1f{partition}".encode()).digest()
            key = self._keys[partition] = np.frombuffer(digest[:16], np.uint64)
        # The lowest word counts the blocks of one image's numbers, so that no two images share numbers.
        return np.random.Generator(np.random.Philox(key=key, counter=[0, number, 0, 0]))

    def kept(self) -> KeptImages:
        """Return what keeps these images; data sets of the same ones share it."""
        digest = hashlib.sha256(repr((self.shape, self.seed, self.limit, self.outliers)).encode())
        for density in self.densities:
            for tensor in density.state("").values():
                digest.update(tensor.numpy().tobytes())
        return _KEPT.setdefault(digest.digest(), KeptImages(self))

    @cached_property
    def _keys(self) -> dict[str, npt.NDArray[np.uint64]]:
        return {}

    @cached_property
    def _bounds(self) -> tuple[npt.NDArray[np.float64], ...]:
        """Return for each class (K,) the cumulative sums of the weights."""
        return tuple(density.log_weights.exp().cumsum(0).numpy() for density in self.densities)


class KeptImages:
    """KeptImages draws images and keeps the first ones, since several models learn from the same."""

    def __init__(self, images: DrawnImages) -> None:
        """Keep nothing yet."""
        self._images = images
        self._kept: dict[tuple[str, int], UInt8Images] = {}
        self._capacity = KEPT_BYTES // math.prod(images.shape)

    def draw(self, partition: str, index: npt.NDArray[np.intp]) -> UInt8Images:
        """Return uint8 (B, C, H, W) what ``DrawnImages.draw`` returns."""
        images = np.empty((len(index), *self._images.shape), np.uint8)
        names = [(partition, number) for number in index.tolist()]
        found = [self._kept.get(name) for name in names]
        missing = np.array([place for place, image in enumerate(found) if image is None], np.intp)
        images[missing] = self._images.draw(partition, index[missing])
        for place, image in enumerate(found):
            if image is not None:
                images[place] = image
            elif len(self._kept) < self._capacity:
                self._kept[names[place]] = images[place].copy()
        return images


_KEPT: WeakValueDictionary[bytes, KeptImages] = WeakValueDictionary()
"""By what decides the images; it holds what some open data set draws from."""
