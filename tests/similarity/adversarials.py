"""Adversarials of a small network that is fitted to the images themselves in a second or two."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import harness
from harness.dataset import Dataset
from harness.goals import FlipAttribute
from harness.threat import Linf, Minimal, Threat

ATTACKS: dict[str, tuple[Threat, dict[str, object]]] = {
    "ffa": (Minimal("linf"), {}),
    "pgd": (Linf(16 / 255), {"steps": 20}),
}


def faces(dataset: Dataset, count: int, attribute: str = "Male") -> tuple[Tensor, Tensor]:
    """(B, 3, H, W) in [0, 1] and (B,) whether the attribute is present; so many images, evenly spread."""
    rows = np.linspace(0, len(dataset) - 1, count).astype(np.intp)
    assert dataset.attributes is not None
    present = dataset.attributes[rows, dataset.attribute_names.index(attribute)]
    return torch.from_numpy(dataset.images(rows)).float() / 255, torch.from_numpy(present) > 0


def adversarials(x: Tensor, present: Tensor, attack: str) -> Tensor:
    """(B, 3, H, W): what the attack made of each image, hit or not."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 8, 5, stride=3), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU()]
        module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(5), nn.Flatten(), nn.Linear(16 * 25, 1))
        optimiser = torch.optim.Adam(module.parameters(), 3e-3)
        for _ in range(60):
            loss = F.soft_margin_loss(module(x)[:, 0], present.float() * 2 - 1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    model = harness.wrap_model(module.eval().requires_grad_(False), "attributes", names=["Male"])
    threat, parameters = ATTACKS[attack]
    goal = FlipAttribute(torch.zeros(len(x), dtype=torch.long), present)
    outcome = harness.attack(attack, model, x, goal=goal, threat=threat, **parameters)
    assert outcome.success.float().mean() > 0.5
    return outcome.adversarials
