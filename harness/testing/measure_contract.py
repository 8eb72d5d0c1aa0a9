"""The measure contract: one number per pair of images, which no other pair changes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness.catalog import Entry, catalog
from harness.errors import HarnessError, ManifestError
from harness.parameters import check, keyword_parameters
from harness.specs import MeasureSpec
from harness.testing.contract import Case, Check, cases, require, spoken
from harness.testing.problems.problem import generator


@dataclass(frozen=True, eq=False)
class MeasureSubject:
    """A measure with its parameters."""

    entry: Entry[MeasureSpec]
    parameters: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As the catalogue shows it."""
        return self.entry.spec.name

    @property
    def variants(self) -> Sequence[str]:
        """One."""
        return ("",)

    def measure(self, x_adv: Tensor, x: Tensor) -> npt.NDArray[np.float64]:
        """(B,) of pairs (B, C, H, W)."""
        try:
            found = self.entry.load(self.entry.spec.run)(x_adv, x, **self.parameters)
        except HarnessError:
            raise
        except Exception as error:
            require(False, f"it raised {spoken(error)}")
        numbers = np.asarray(found, np.float64)
        require(
            numbers.shape == (len(x),), f"it returned {numbers.shape} for {len(x)} pairs; return ({len(x)},)"
        )
        return numbers


def numbers(subject: MeasureSubject, variant: str) -> None:
    """A finite number per pair, of one pair or several, of equal images too."""
    x_adv, x = _pairs()
    for some in (slice(0, 4), slice(0, 1)):
        for changed, name in ((x_adv, "different"), (x, "equal")):
            found = subject.measure(changed[some].clone(), x[some].clone())
            require(np.isfinite(found).all(), f"it is {found.tolist()} for {name} images")


def companions(subject: MeasureSubject, variant: str) -> None:
    """A pair's number does not depend on the pairs beside it, and is the same when it is asked again."""
    x_adv, x = _pairs()
    together = subject.measure(x_adv, x)
    alone = np.concatenate([subject.measure(x_adv[row : row + 1], x[row : row + 1]) for row in range(4)])
    apart = float(np.abs(alone - together).max() / max(1.0, np.abs(together).max()))
    require(apart <= 1e-5, f"pairs one by one differ by {apart:.3g} from pairs together")
    require((subject.measure(x_adv, x) == together).all(), "it differs when it is asked again")


def inputs(subject: MeasureSubject, variant: str) -> None:
    """It changes neither image."""
    x_adv, x = _pairs()
    kept = x_adv.clone(), x.clone()
    subject.measure(x_adv, x)
    require(torch.equal(x_adv, kept[0]) and torch.equal(x, kept[1]), "it changes its images in place")


MEASURE_CHECKS = (Check(numbers), Check(companions), Check(inputs))


def measure_checks(
    measure: str | Entry[MeasureSpec],
    *,
    params: Mapping[str, Any] | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
) -> list[Case]:
    """The checks of a measure, each to be called without arguments; arguments as of ``attack_checks``."""
    entry = catalog().measures[measure] if isinstance(measure, str) else measure
    known = keyword_parameters(entry.load(entry.spec.run))
    resolved = check(f"measure {entry.spec.name}", params or {}, known, ManifestError)
    return cases(MeasureSubject(entry, resolved), MEASURE_CHECKS, only, skip)


def _pairs() -> tuple[Tensor, Tensor]:
    """Four smooth images (4, 3, 64, 56) on the 8-bit grid, and noisy ones."""
    draws = generator(7)
    coarse = torch.rand(4, 3, 8, 7, generator=draws)
    x = F.interpolate(coarse, size=(64, 56), mode="bicubic", align_corners=False).clamp(0, 1)
    x_adv = (x + 0.05 * torch.randn(x.shape, generator=draws)).clamp(0, 1)
    return torch.round(x_adv * 255) / 255, torch.round(x * 255) / 255
