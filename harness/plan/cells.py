"""A plan holds cells, dataset x model x attack x threat x goal, and the pairs that are skipped."""

from __future__ import annotations

from dataclasses import dataclass

from harness.catalog import Choice
from harness.manifest import Suite
from harness.plan.attacks import AttackChoice
from harness.plan.datasets import DatasetChoice
from harness.plan.measures import MeasureChoice
from harness.plan.models import ModelChoice
from harness.specs import AnalysisSpec


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """A cell is one dataset x model x attack x threat x goal; the seed is the suite's."""

    dataset: DatasetChoice
    model: ModelChoice
    attack: AttackChoice
    goal: str
    keep: bool = False
    """Whether the adversarials are stored: the suite asks for them, or other models are to judge them."""
    source: Cell | None = None
    """Transfer: the cell whose adversarials this one's model, the victim, judges; nothing is attacked."""

    @property
    def attack_label(self) -> str:
        """Return what boards call the attack: in a transfer, "ffa from separate"."""
        return attack_label(self.attack, self.source.model if self.source else None)


@dataclass(frozen=True, slots=True, eq=False)
class Skipped:
    """A skipped combination is not run, for a reason that is told."""

    dataset: DatasetChoice
    model: ModelChoice
    attack: AttackChoice
    reason: str
    surrogate: ModelChoice | None = None

    @property
    def attack_label(self) -> str:
        """Return what boards would call the attack."""
        return attack_label(self.attack, self.surrogate)


def attack_label(attack: AttackChoice, surrogate: ModelChoice | None) -> str:
    """Return the label of an attack, with the model that it saw where another one is judged."""
    return f"{attack.label} from {surrogate.label}" if surrogate else attack.label


@dataclass(frozen=True, eq=False)
class Plan:
    """A plan is a suite resolved against the catalogue."""

    suite: Suite
    sources: tuple[DatasetChoice, ...]
    """Data sets that others are made from."""
    datasets: tuple[DatasetChoice, ...]
    models: tuple[ModelChoice, ...]
    attacks: tuple[AttackChoice, ...]
    measures: tuple[MeasureChoice, ...]
    analyses: tuple[Choice[AnalysisSpec], ...]
    cells: tuple[Cell, ...]
    skipped: tuple[Skipped, ...]

    @property
    def trainings(self) -> list[tuple[DatasetChoice, ModelChoice]]:
        """Return the data sets and models of all cells, each pair once."""
        return list(dict.fromkeys((cell.dataset, cell.model) for cell in self.cells))
