"""sklearn-digits, the 8x8 handwritten digits that come with scikit-learn, is the substitute for MNIST."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from harness.dataset import Dataset, UInt8Images

FORMAT = "sklearn-digits 1"
"""A part of the fingerprint, to be increased when the same digits give other pixels or labels."""
LARGEST = 16
"""The value of full ink in the file."""
TEST_EVERY = 7
"""One digit in so many is a test image, as in MNIST; coprime to 10, as some digits are in order, 0 to 9."""


def load() -> Dataset:
    """Load all 1,797 digits; values of 0 to 16 become 0 to 255, and every seventh image is a test image."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    ink = np.asarray(bunch.images)  # (N, 8, 8), whole numbers
    pixels = np.rint(ink * (255 / LARGEST)).astype(np.uint8)[:, None]  # (N, 1, 8, 8)
    labels = np.asarray(bunch.target, dtype=np.int64)
    digest = hashlib.sha256(f"{FORMAT} {pixels.shape}".encode())
    digest.update(pixels.tobytes())
    digest.update(labels.astype("<i8").tobytes())

    def read(rows: npt.NDArray[np.intp]) -> UInt8Images:
        return np.asarray(pixels[rows])

    held_out = np.arange(len(pixels)) % TEST_EVERY == TEST_EVERY - 1
    return Dataset(
        name="sklearn-digits",
        ids=[f"digit-{row:04d}" for row in range(len(pixels))],
        shape=(1, *pixels.shape[2:]),
        read=read,
        fingerprint=digest.hexdigest(),
        labels=labels,
        class_names=tuple(str(name) for name in bunch.target_names),
        partitions=np.where(held_out, "test", "train"),
    )
