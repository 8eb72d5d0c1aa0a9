"""The study lists the metrics of verification, and names models, attacks and curves as people read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from harness.analysis.comparisons import CLEAN, Attacked, Verifier, read_verifiers
from harness.errors import HarnessError
from harness.metrics import Estimate, verification as v
from harness.metrics.resampling import Resampled
from harness.results import Results

FMRS = (1e-1, 1e-2, 1e-3, 1e-4)
ENOUGH = 0.05
"""The attack success, and the rate of evasion's thresholds, that tables speak of."""
ATTACKS = {
    "eyeglasses": "eyeglasses",
    "square": "square patch",
    "universal-patch": "eye patch",
    "random-eyeglasses": "random eyeglasses",
}
Measured = Callable[[v.Counts], Any]


@dataclass(frozen=True)
class Metric:
    """A metric of comparisons, with its column."""

    column: str
    measured: Measured
    share: bool = True
    """Whether it cannot leave [0, 1]."""


METRICS = (
    Metric("auc_roc", v.auc_roc),
    Metric("eer", v.eer),
    Metric("average_precision", v.average_precision),
    Metric("average_precision_intruders", partial(v.average_precision, positive="different")),
    Metric("pr_area_of_rates", v.pr_area_of_rates),
    Metric("d_prime", v.d_prime, share=False),
    *(Metric(f"tar_at_fmr_{rate:g}", partial(v.tar_at_fmr, rate=rate)) for rate in FMRS),
)


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve is a verifier's comparisons without an attack, or under one."""

    verifier: Verifier
    attacked: Attacked | None

    @cached_property
    def sampled(self) -> Resampled:
        """Return its comparisons, of both kinds; their replications take memory while the curve lives."""
        own = self.verifier.clean if self.attacked is None else self.attacked.whole
        return Resampled(own, self.verifier.asked)

    @cached_property
    def counts(self) -> v.Counts:
        """Return how many comparisons lie at each distance."""
        own = self.verifier.clean if self.attacked is None else self.attacked.whole
        return v.counted(own.distances, own.same)

    @property
    def identity(self) -> dict[str, Any]:
        """Return the columns that tell it from others."""
        if self.attacked is not None:
            return self.attacked.identity
        return self.verifier.identity | {"attack": CLEAN, "threat": "none", "goal": ""}

    @property
    def surrogate(self) -> str | None:
        """Return the model on which the adversarials were made, where that is another one."""
        return None if self.attacked is None else self.attacked.surrogate

    @property
    def coverage(self) -> float | None:
        """Return the share of its planned cases that have an outcome."""
        return 1.0 if self.attacked is None else self.attacked.coverage

    @property
    def label(self) -> str:
        """Return what a legend calls it."""
        if self.attacked is None:
            return "no attack"
        return attack_text(self.attacked)


def curves(verifier: Verifier, *, transfers: bool = False) -> Iterator[Curve]:
    """Yield the clean comparisons of a verifier, and those under each attack that has an outcome.

    Args:
        transfers: whether to add, at the end, the adversarials of other models that it judged.
    """
    yield Curve(verifier, None)
    for attacked in (*verifier.attacks, *(verifier.transfers if transfers else ())):
        if len(attacked.cases):
            yield Curve(verifier, attacked)


def read_study(results: Results) -> list[Verifier]:
    """Return the verifiers that were compared with anything.

    Raises:
        HarnessError: there are none.
    """
    found = [verifier for verifier in read_verifiers(results) if len(verifier.clean)]
    if not found:
        raise HarnessError(
            f"{results.path}: no comparison of an attacked split is stored; run the suite again"
        )
    return found


def attack_text(attacked: Attacked) -> str:
    """Return an attack as people read it: its name, and what it was for where that is evasion."""
    name = attacked.attack
    head, bracket, rest = name.partition("[")
    name = ATTACKS.get(head, head) + bracket + rest
    return f"{name}, evasion" if attacked.goal == "evade" else name


def looks(verifiers: list[Verifier]) -> Mapping[str, dict[str, Any]]:
    """Return a colour for each attack, the same in all panels; without an attack it is black."""
    from harness.analysis.drawing import COLOURS

    colours = [colour for colour in COLOURS if colour != "#000000"]
    names = [
        curve.label for verifier in verifiers for curve in curves(verifier) if curve.attacked is not None
    ]
    found: dict[str, dict[str, Any]] = {"no attack": {"color": "#000000", "linestyle": "-"}}
    for place, name in enumerate(dict.fromkeys(names)):
        turn, at = divmod(place, len(colours))
        dashes = ("-", (0, (4, 1.5)), (0, (1, 1)))[turn % 3]
        found[name] = {"color": colours[at], "linestyle": dashes}
    return found


def place_text(verifier: Verifier) -> str:
    """Return a data set and what it stands in for."""
    from harness.analysis.drawing import dataset_text

    return dataset_text(verifier.dataset, verifier.stand_in_for)


def told(found: Estimate) -> str:
    """Return a share in percent with its interval, for a sentence."""
    if found.value is None:
        return "unknown"
    if found.low is None or found.high is None:
        return f"{100 * found.value:.1f} %"
    return f"{100 * found.value:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"
