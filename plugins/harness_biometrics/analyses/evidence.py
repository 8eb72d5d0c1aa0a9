"""Evidence is what claims are judged on: the verifiers of a data set, and differences between their areas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from harness.analysis.claims import Finding, Missing, larger
from harness.analysis.comparisons import Attacked, Verifier
from harness.metrics import verification as v
from harness.metrics.resampling import Number, difference
from harness_biometrics.analyses.recipes import patches_on, recipe_of
from harness_biometrics.analyses.study import Curve, attack_text

Judged = Iterable[Finding | Missing]


def area(value: float) -> str:
    """Return an area as people read it."""
    return f"{value:.3f}"


def gap(value: float) -> str:
    """Return a difference of areas as people read it."""
    return f"{value:+.3f}"


@dataclass(frozen=True, eq=False)
class Evidence:
    """The evidence of a data set."""

    dataset: str
    stand_in_for: str | None
    verifiers: tuple[Verifier, ...]
    elsewhere: tuple[Verifier, ...] = ()
    """The verifiers of all data sets."""
    _areas: dict[int, Number] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """Return what tells it from that of other data sets."""
        return {"dataset": self.dataset, "stand_in_for": self.stand_in_for}

    def trained(self, recipe: str) -> list[Verifier]:
        """Return the models that were trained by a recipe."""
        return [one for one in self.verifiers if recipe_of(one) == recipe]

    def area(self, verifier: Verifier, attacked: Attacked | None = None) -> Number:
        """Return the area under the ROC curve of a model without an attack, or under one."""
        key = id(attacked or verifier)
        if key not in self._areas:
            self._areas[key] = Curve(verifier, attacked).sampled.number(v.auc_roc)
        return self._areas[key]

    def more_robust(self, first: str, second: str) -> Iterator[Finding | Missing]:
        """Compare each model of the first recipe with each of the second, under each of the same patches."""
        for one, other in self._pairs(first, second):
            theirs = {(attacked.attack, attacked.threat): attacked for attacked in patches_on(other)}
            for own in patches_on(one):
                same = theirs.get((own.attack, own.threat))
                if same is not None:
                    yield self._compared(one, other, own, same)

    def more_accurate(self, first: str, second: str) -> Iterator[Finding | Missing]:
        """Compare each model of the first recipe with each of the second, without an attack."""
        for one, other in self._pairs(first, second):
            yield self._compared(one, other, None, None)

    def without(self, key: str, verifier: Verifier) -> Iterator[Verifier]:
        """Yield the same model on the same images, compared in the same way but for one key."""
        rest = {name: value for name, value in verifier.settings.items() if name != key}
        for other in self.elsewhere:
            if (other.images, other.kind, other.parameters) == (
                verifier.images,
                verifier.kind,
                verifier.parameters,
            ):
                told = {name: value for name, value in other.settings.items() if name != key}
                if told == rest and other.settings.get(key) != verifier.settings.get(key):
                    yield other

    def gained(self, one: Verifier, other: Verifier) -> Iterator[Finding | Missing]:
        """Compare the areas of a model in two ways of comparing: clean, and under the same patches."""
        names = one.dataset, other.dataset
        yield self._compared(one, other, None, None, names)
        theirs = {(attacked.attack, attacked.threat): attacked for attacked in patches_on(other)}
        for own in patches_on(one):
            same = theirs.get((own.attack, own.threat))
            if same is not None:
                yield self._compared(one, other, own, same, names)

    def _pairs(self, first: str, second: str) -> Iterator[tuple[Verifier, Verifier]]:
        for one in self.trained(first):
            for other in self.trained(second):
                yield one, other

    def _compared(
        self,
        one: Verifier,
        other: Verifier,
        own: Attacked | None,
        theirs: Attacked | None,
        names: tuple[str, str] | None = None,
    ) -> Finding | Missing:
        sides = (self.area(one, own), self.area(other, theirs))
        return larger(
            sides[0].estimate(),
            sides[1].estimate(),
            difference(*sides),
            "AU-ROC without an attack" if own is None else f"AU-ROC under {attack_text(own)}",
            names=names or (one.model, other.model),
            form=area,
            apart=gap,
            used=(one if own is None else own, other if theirs is None else theirs),
        )
