"""Which person an image shows and which partition a person is in, as functions of the image's index alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness_faces.streams import IndexArray

_PEOPLE_PER_BLOCK = 20
_IMAGES_PER_PERSON = 30
# Of every hundred people; 37 is coprime to 100, so that the first twenty already hold all three partitions.
_TRAIN, _VALIDATION, _STRIDE = 76, 13, 37


def identity_of(index: IndexArray) -> IndexArray:
    """Identity (N,) of image indices (N,): blocks of 600 images show 20 people 30 times each.

    Within a block people take turns, so that a small data set has many people rather than one.
    """
    block = index // (_PEOPLE_PER_BLOCK * _IMAGES_PER_PERSON)
    return block * _PEOPLE_PER_BLOCK + index % _PEOPLE_PER_BLOCK


def partition_of(identity: IndexArray) -> npt.NDArray[np.str_]:
    """Partition (N,) of identities (N,): 76 % train, 13 % validation, 11 % test, no identity in two."""
    place = identity * _STRIDE % 100
    return np.where(place < _TRAIN, "train", np.where(place < _TRAIN + _VALIDATION, "validation", "test"))
