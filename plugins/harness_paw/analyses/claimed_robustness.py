"""What must be true of attacks on the cascade before its robustness is believed."""

from __future__ import annotations

from collections.abc import Iterator

from harness.analysis.claims import Claim, Finding, Missing, larger
from harness.analysis.drawing import percent, points
from harness.metrics import rate
from harness.metrics.paired import difference
from harness_paw.analyses.robustness import both, read_attacked
from harness_paw.analyses.study import PAW, Study

CLEAR = 0.01
"""A difference of fewer cases would change no conclusion, as for the flag black-box-stronger."""


def white_box_stronger(study: Study, bars: None) -> Iterator[Finding | Missing]:
    """Attacks on PaW itself succeed at least as often as those that were made on another model."""
    found = read_attacked(study)
    for own in found:
        if own.net not in study.of(PAW) or own.surrogate is not None:
            continue
        for other in found:
            same = (other.attack, other.threat) == (own.attack, own.threat)
            if not same or other.net is not own.net or other.surrogate is None:
                continue
            shared = both(own, other)
            right = shared[shared["right_x"] & shared["right_y"]]
            white, moved = (rate(right[f"success_{side}"], right["cluster"]) for side in ("x", "y"))
            apart = difference(right["success_x"], right["success_y"], right["cluster"])
            judged = larger(
                white,
                moved,
                apart,
                f"{own.attack}, {own.threat}, {own.net.name}, {len(right):,} cases",
                names=("white-box", f"from {other.surrogate}"),
                form=percent,
                apart=points,
                used=(own, other),
            )
            yield _at_least(judged, apart.low) if isinstance(judged, Finding) else judged


def _at_least(judged: Finding, low: float | None) -> Finding:
    """Return a finding that holds, and clearly, where the transferred attack cannot be clearly stronger."""
    if low is not None and low >= -CLEAR:
        return Finding(judged.text, True, True, judged.used)
    return judged


CLAIMS = (
    Claim(
        "white-box attacks on PaW are at least as strong as transferred ones",
        short="white-box ≥ transfer",
        paper="not in the paper: otherwise the argmax that places the crops masks gradients",
        conditions="same attack and threat, cases right before; holds if the white-box attack is clearly "
        "stronger, or the interval of the difference ends above −1 point",
        judge=white_box_stronger,
        missing="no [[transfer]] to `paw` in the suite",
    ),
)
