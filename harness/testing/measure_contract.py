"""The contract of measures asks for one number per pair of images, which no other pair changes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness.catalog import Entry, catalog
from harness.errors import HarnessError, ManifestError
from harness.parameters import check
from harness.specs import MeasureSpec
from harness.testing.contract import Case, Check, EntrySubject, cases, one_line, require
from harness.testing.problems.problem import generator


class MeasureSubject(EntrySubject[MeasureSpec]):
    """A MeasureSubject is a measure with its parameters."""

    def measure(self, x_adv: Tensor, x: Tensor) -> npt.NDArray[np.float64]:
        """Return (B,) the numbers of pairs (B, C, H, W)."""
        try:
            found = self.entry.call(self.entry.spec.run, x_adv, x, values=self.parameters)
        except HarnessError:
            raise
        except Exception as error:
            require(False, f"it raised {one_line(error)}")
        numbers = np.asarray(found, np.float64)
        require(
            numbers.shape == (len(x),),
            f"it returned the shape {numbers.shape} for {len(x)} pairs; return ({len(x)},)",
        )
        return numbers


def numbers(subject: MeasureSubject, variant: str) -> None:
    """The measure of each pair is a finite number, for one pair or several, and for equal images too."""
    x_adv, x = _pairs()
    for some in (slice(0, 4), slice(0, 1)):
        for changed, name in ((x_adv, "different"), (x, "equal")):
            found = subject.measure(changed[some].clone(), x[some].clone())
            require(np.isfinite(found).all(), f"it is {found.tolist()} for {name} images")


def batch_independence(subject: MeasureSubject, variant: str) -> None:
    """The number of a pair does not depend on the rest of the batch, and is the same in a second call."""
    x_adv, x = _pairs()
    together = subject.measure(x_adv, x)
    alone = np.concatenate([subject.measure(x_adv[row : row + 1], x[row : row + 1]) for row in range(4)])
    apart = float(np.abs(alone - together).max() / max(1.0, np.abs(together).max()))
    require(apart <= 1e-5, f"pairs one by one differ by {apart:.3g} from the same pairs in a batch")
    require((subject.measure(x_adv, x) == together).all(), "it returns other numbers in a second call")


def inputs(subject: MeasureSubject, variant: str) -> None:
    """The measure changes neither of its images."""
    x_adv, x = _pairs()
    kept = x_adv.clone(), x.clone()
    subject.measure(x_adv, x)
    require(torch.equal(x_adv, kept[0]) and torch.equal(x, kept[1]), "it changes its images in place")


MEASURE_CHECKS = (
    Check(numbers),
    Check(inputs, after=("numbers",)),
    Check(batch_independence, after=("numbers", "inputs")),
)


def measure_checks(
    measure: str | Entry[MeasureSpec],
    *,
    params: Mapping[str, Any] | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
) -> list[Case]:
    """Return the checks of a measure as functions without arguments; see ``attack_checks``."""
    entry = catalog().measures[measure] if isinstance(measure, str) else measure
    resolved = check(f"measure {entry.spec.name}", params or {}, entry.parameters(), ManifestError)
    return cases(MeasureSubject(entry, resolved), MEASURE_CHECKS, only, skip)


def _pairs() -> tuple[Tensor, Tensor]:
    """Return noisy versions of four smooth images (4, 3, 64, 56), and these images, on the 8-bit grid."""
    random = generator(7)
    coarse = torch.rand(4, 3, 8, 7, generator=random)
    x = F.interpolate(coarse, size=(64, 56), mode="bicubic", align_corners=False).clamp(0, 1)
    x_adv = (x + 0.05 * torch.randn(x.shape, generator=random)).clamp(0, 1)
    return torch.round(x_adv * 255) / 255, torch.round(x * 255) / 255
