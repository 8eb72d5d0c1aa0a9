"""The attack inside training is PGD on whatever loss is learned: of triplets, or of pairs of views."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class InnerAttack:
    """An InnerAttack makes ascending steps by the gradient's sign, inside the L-infinity ball and [0, 1]."""

    eps: float
    step_size: float
    steps: int

    def attacked(self, x: Tensor, loss: Callable[[Tensor], Tensor], random: np.random.Generator) -> Tensor:
        """Return images (B, C, H, W) that begin uniformly in the ball about ``x`` and ascend a loss.

        Args:
            loss: returns a number of the images, the sum of what each is to ascend.
        """
        noise = torch.from_numpy(random.uniform(-self.eps, self.eps, tuple(x.shape)).astype(np.float32))
        least, most = (x - self.eps).clamp_min(0), (x + self.eps).clamp_max(1)
        found = torch.minimum(torch.maximum(x + noise.to(x.device), least), most)
        for _ in range(self.steps):
            found.requires_grad_(True)
            (gradient,) = torch.autograd.grad(loss(found), found)
            found = found.detach() + self.step_size * gradient.sign()
            found = torch.minimum(torch.maximum(found, least), most)
        return found.detach()
