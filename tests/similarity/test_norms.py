"""Norms that are measured besides those of every record."""

from __future__ import annotations

import pytest
import torch

from harness import catalog
from harness_similarity.norms import l1, rmse


def test_norms() -> None:
    x = torch.full((2, 3, 2, 2), 0.5)
    changed = x.clone()
    changed[0, 0, 0, 0] += 0.25
    changed[0, 1, 1, 1] -= 0.125
    assert l1(changed, x).tolist() == [0.375, 0]
    assert rmse(changed, x).tolist() == pytest.approx([255 * ((0.25**2 + 0.125**2) / 12) ** 0.5, 0])
    assert rmse(x + 3 / 255, x).tolist() == pytest.approx([3, 3], rel=1e-5)


@pytest.mark.parametrize(("name", "revision"), [("pass", 3), ("ssim", 2), ("l1", 1), ("rmse", 1)])
def test_measures_can_be_found(name: str, revision: int) -> None:
    entry = catalog().measures[name]
    assert entry.load(entry.spec.run) is not None
    assert entry.spec.revision == revision
