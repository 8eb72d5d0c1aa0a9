"""These norms are measures; every record holds L-infinity, L2 and L0 anyway."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

LEVELS = 255


def l1(x_adv: Tensor, x: Tensor) -> npt.NDArray[np.float64]:
    """Return (B,) the sum of the absolute changes of (B, C, H, W) in [0, 1]."""
    sums: npt.NDArray[np.float64] = (x_adv - x).abs().flatten(1).sum(1).double().cpu().numpy()
    return sums


def rmse(x_adv: Tensor, x: Tensor) -> npt.NDArray[np.float64]:
    """Return (B,) the root mean square change of (B, C, H, W), in 8-bit levels (1/255)."""
    squares = (x_adv - x).double().square().flatten(1).mean(1)
    roots: npt.NDArray[np.float64] = (squares.sqrt() * LEVELS).cpu().numpy()
    return roots
