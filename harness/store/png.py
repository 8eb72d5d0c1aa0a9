"""Images are stored as PNG, without loss."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

_FILTER = getattr(cv2, "IMWRITE_PNG_FILTER", None)  # since OpenCV 4.12
_SETTINGS = [
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY),
    *(() if _FILTER is None else (_FILTER, cv2.IMWRITE_PNG_FILTER_AVG)),
]
"""Hardly anything repeats in perturbed photographs: OpenCV looks for that by default, which takes longer, and
for larger files."""


def encode(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return pixels (C, H, W) as PNG, without loss; C is 1, or 3 for RGB."""
    planes = pixels.transpose(1, 2, 0)
    fine, encoded = cv2.imencode(".png", planes[..., ::-1] if planes.shape[2] == 3 else planes, _SETTINGS)
    if not fine:
        raise ValueError("the image cannot be written as PNG")
    return bytes(encoded)


def decode(picture: bytes, channels: int) -> npt.NDArray[np.uint8]:
    """Return the pixels (C, H, W) of a PNG that ``encode`` wrote.

    Raises:
        ValueError: it is no readable PNG.
    """
    mode = cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_GRAYSCALE
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), mode)
    if pixels is None:
        raise ValueError("the stored adversarial is no readable PNG")
    planes = pixels[..., ::-1].transpose(2, 0, 1) if channels == 3 else pixels[None]
    return np.ascontiguousarray(planes, np.uint8)
