"""Photographs to compare."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor

HEIGHT, WIDTH = 218, 178  # of CelebA's aligned images


@pytest.fixture(scope="session")
def portraits() -> Tensor:
    """(3, 3, 218, 178): parts of a photograph that comes with scikit-image, on the 8-bit grid."""
    photograph = data.astronaut()
    corners = [(0, 100), (150, 60), (30, 250)]
    parts = [photograph[top : top + 262, left : left + 214] for top, left in corners]
    resized = [cv2.resize(part, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for part in parts]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255
