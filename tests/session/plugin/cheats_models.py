"""A model that depends on the process that builds it."""

from __future__ import annotations

import math
import os

import torch
from torch import nn

from harness.training import Task


def build(task: Task) -> nn.Module:
    """A linear model with a bias of its process."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(task.shape), 2))
    with torch.no_grad():
        module[1].bias.fill_(float(os.getpid()))
    return module
