"""The index of an image alone decides which person it shows, and in which partition this person is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness_faces.streams import IndexArray

_PEOPLE_PER_BLOCK = 20
_IMAGES_PER_PERSON = 30
# Numbers of every hundred people; 37 is coprime to 100, so that the first twenty have all three partitions.
_TRAIN, _VALIDATION, _STRIDE = 76, 13, 37


def identity_of(index: IndexArray) -> IndexArray:
    """Return the identities (N,) of image indices (N,); blocks of 600 images show 20 people 30 times each.

    Within a block people alternate, so that a small data set has many people and not one.
    """
    block = index // (_PEOPLE_PER_BLOCK * _IMAGES_PER_PERSON)
    return block * _PEOPLE_PER_BLOCK + index % _PEOPLE_PER_BLOCK


def partition_of(identity: IndexArray) -> npt.NDArray[np.str_]:
    """Return the partitions (N,) of identities (N,): 76 % train, 13 % validation and 11 % test."""
    place = identity * _STRIDE % 100
    return np.where(place < _TRAIN, "train", np.where(place < _TRAIN + _VALIDATION, "validation", "test"))
