"""Ways in which images are changed before they are compared with their originals; all on the 8-bit grid."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .reference import pictures

Distortion = Callable[[Tensor], Tensor]


def rounded(x: Tensor) -> Tensor:
    return (x.clamp(0, 1) * 255).round() / 255


def noisy(x: Tensor, grey_levels: float = 3) -> Tensor:
    """Each component lighter or darker by that much."""
    signs = torch.randint(0, 2, x.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return rounded(x + signs * grey_levels / 255)


def gaussian_noise(x: Tensor, grey_levels: float) -> Tensor:
    return rounded(x + torch.randn(x.shape, generator=torch.Generator().manual_seed(1)) * grey_levels / 255)


def moved(x: Tensor, matrix: npt.ArrayLike, border: int = cv2.BORDER_REFLECT) -> Tensor:
    """By a 3x3 matrix in pixels, interpolated bicubically."""
    height, width = x.shape[2:]
    matrix = np.asarray(matrix, np.float32)
    images = [
        cv2.warpPerspective(picture, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=border)
        for picture in pictures(x)
    ]
    return of_pictures(images, x)


def shifted(x: Tensor, right: float = 2.3, down: float = 1.7, border: int = cv2.BORDER_REFLECT) -> Tensor:
    return moved(x, [[1, 0, right], [0, 1, down], [0, 0, 1]], border)


def turned(x: Tensor, degrees: float, scale: float = 1.0) -> Tensor:
    height, width = x.shape[2:]
    rotation = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, scale)
    return moved(x, np.vstack([rotation, [0, 0, 1]]))


def blurred(x: Tensor, sigma: float) -> Tensor:
    return of_pictures([cv2.GaussianBlur(picture, (0, 0), sigma) for picture in pictures(x)], x)


def of_pictures(images: list[npt.NDArray[np.float32]], x: Tensor) -> Tensor:
    stacked = torch.from_numpy(np.stack(images).reshape(len(x), *x.shape[2:], x.shape[1]))
    return rounded(stacked.permute(0, 3, 1, 2) / 255)


DISTORTIONS: dict[str, Distortion] = {
    "noise of 3": noisy,
    "noise of 9": lambda x: noisy(x, 9),
    "Gaussian noise of 5": lambda x: gaussian_noise(x, 5),
    "Gaussian noise of 10": lambda x: gaussian_noise(x, 10),
    "shift by (0.5, 0)": lambda x: shifted(x, 0.5, 0),
    "shift by (2.3, 1.7)": shifted,
    "shift by (-1.2, 3.1)": lambda x: shifted(x, -1.2, 3.1),
    "shift by (2.3, 1.7), black moves in": lambda x: shifted(x, border=cv2.BORDER_CONSTANT),
    "shift and noise": lambda x: noisy(shifted(x)),
    "turn by 1": lambda x: turned(x, 1),
    "turn by -2": lambda x: turned(x, -2),
    "turn by 4": lambda x: turned(x, 4),
    "larger by 3 %": lambda x: turned(x, 0, 1.03),
    "perspective": lambda x: moved(x, [[1.02, 0.01, -2], [-0.008, 0.99, 1.5], [2e-5, -1e-5, 1]]),
    "blur of .7": lambda x: blurred(x, 0.7),
    "blur of 1.5": lambda x: blurred(x, 1.5),
    "lighter by 20": lambda x: rounded(x + 20 / 255),
    "darker by 30": lambda x: rounded(x - 30 / 255),
    "flatter": lambda x: rounded((x - 0.5) * 0.7 + 0.5),
    "gamma of 1.4": lambda x: rounded(x**1.4),
    "constant": lambda x: torch.full_like(x, 0.5),
    "negative": lambda x: 1 - x,
    "noise alone": lambda x: torch.rand(x.shape, generator=torch.Generator().manual_seed(2)),
}
