"""The study reads the cascade's models, and those beside it, from their cards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.analysis.reading import Cell, kind_of, read_cells
from harness.errors import HarnessError
from harness.metrics import NOTHING, Estimate, mean
from harness.metrics.paired import difference, paired_tests
from harness.results import Results

PAW, PART, WHOLE, GRID = "paw", "paw-part-only", "paw-whole-only", "paw-grid"
FAMILY = (PAW, PART, WHOLE, GRID)
UNALIGNED = ("celeba-unaligned", "unaligned-faces")
TEACHER = "localisation"
"""The stage whose network is TNet, from which the whole image's subnet learns."""


@dataclass(frozen=True, eq=False)
class Net:
    """A Net is a model for attributes on one data set, as its card describes it."""

    dataset: str
    stand_in_for: str | None
    aligned: bool
    dataset_kind: str
    """The data set's name in the catalogue."""
    cropped: bool
    """Whether its images are cut to an annotated box, as those of CUB-200 may be."""
    name: str
    kind: str
    """Its name in the catalogue."""
    parameters: Mapping[str, Any]
    outputs: tuple[str, ...]
    card: Mapping[str, Any]
    coverage: float = 1.0
    reason: str | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """Return the columns that tell it from others."""
        return {"dataset": self.dataset, "stand_in_for": self.stand_in_for, "model": self.name}

    @property
    def notes(self) -> Mapping[str, Any]:
        """Return what its training measured; empty where it kept nothing."""
        found = self.card.get("training")
        return found if isinstance(found, Mapping) else {}

    @property
    def multi_net(self) -> bool:
        """Return whether its localisation network learned beside a classification branch."""
        return bool(self.parameters.get("multi_net", True))

    @property
    def hard(self) -> bool:
        """Return whether the places of its crops are constant for the gradient, as published."""
        return str(self.parameters.get("crop", "hard")) == "hard"

    @property
    def subnet(self) -> str:
        """Return the architecture of its subnets."""
        return str(self.parameters.get("subnet", "snet3"))

    @property
    def accuracy(self) -> Mapping[str, float]:
        """Return the accuracy by attribute on the images that its card was scored on: test images, if any."""
        found = self.card.get("accuracy_by_attribute")
        return found if isinstance(found, Mapping) else {}

    @property
    def mean_accuracy(self) -> float | None:
        """Return the mean accuracy over attributes on these images."""
        return float(np.mean(list(self.accuracy.values()))) if self.accuracy else None

    def stage(self, name: str) -> Mapping[str, float]:
        """Return the accuracy by attribute, on validation images, after a stage; empty where not measured."""
        found = self.notes.get("stages", {}).get(name, {}).get("accuracy", {})
        return found if isinstance(found, Mapping) else {}

    def like(self, other: Net) -> bool:
        """Say whether two models agree in all parameters that both have."""
        shared = self.parameters.keys() & other.parameters.keys()
        return all(bool(self.parameters[name] == other.parameters[name]) for name in shared)


@dataclass(frozen=True, eq=False)
class Study:
    """The study holds the models of one data set, and where there is one, of its aligned twin."""

    results: Results
    dataset: str
    stand_in_for: str | None
    nets: tuple[Net, ...]
    """Of all data sets, those of this one first."""
    cells: tuple[Cell, ...]
    """Those of this data set that flip attributes, transfers included."""

    @property
    def identity(self) -> dict[str, Any]:
        """Return the columns that tell it from others."""
        return {"dataset": self.dataset, "stand_in_for": self.stand_in_for}

    def of(self, kind: str, *, subnet: str | None = None) -> list[Net]:
        """Return the models of a kind on this data set, those of the cascade as the paper has them.

        Models without multi-net learning, with soft crops or with subnets other than that of the suite's
        first `paw` are left out.

        Args:
            subnet: another architecture of the subnets.
        """
        wanted = self.usual_subnet if subnet is None else subnet
        return [
            net
            for net in self.nets
            if (net.dataset, net.kind) == (self.dataset, kind)
            and (kind not in FAMILY or (net.multi_net and net.hard and net.subnet == wanted))
        ]

    @property
    def usual_subnet(self) -> str:
        """Return the architecture of the subnets of the first `paw`, else that of the published one."""
        return next((n.subnet for n in self.nets if (n.dataset, n.kind) == (self.dataset, PAW)), "snet3")

    def pairs(self, one: str, other: str) -> list[tuple[Net, Net]]:
        """Return models of two kinds that agree in the parameters that both have, as a recipe's."""
        return [(a, b) for a in self.of(one) for b in self.of(other) if b.kind not in FAMILY or a.like(b)]

    def twins(self, kind: str) -> list[tuple[Net, Net]]:
        """Return models of this data set, where it is not aligned, each with that of an aligned one."""
        others = [net for net in self.nets if net.aligned and net.kind == kind]
        return [
            (own, other)
            for own in self.of(kind)
            for other in others
            if not own.aligned and own.parameters == other.parameters
        ]


def read_studies(results: Results) -> list[Study]:
    """Return a study per data set on which models with attributes were trained.

    Raises:
        HarnessError: no model of the cascade is among them.
    """
    cells = read_cells(results, transfers=True)
    nets = _nets(results, cells)
    if not any(net.kind in FAMILY for net in nets):
        raise HarnessError(f"{results.path}: no model is {' or '.join(FAMILY)}; put one into the suite")
    found = []
    for dataset, stand_in_for in dict.fromkeys((net.dataset, net.stand_in_for) for net in nets):
        own = [net for net in nets if net.dataset == dataset]
        others = [net for net in nets if net.dataset != dataset]
        attacked = tuple(cell for cell in cells if cell.dataset == dataset and cell.id)
        found.append(Study(results, dataset, stand_in_for, (*own, *others), attacked))
    return found


def _nets(results: Results, cells: Iterable[Cell]) -> list[Net]:
    described = {cell.dataset: cell for cell in cells}
    found = []
    for row in results.models().to_dict("records"):
        cell = described.get(str(row["dataset"]))
        card = row["card"] if isinstance(row["card"], Mapping) else {}
        if not isinstance(card.get("accuracy_by_attribute"), Mapping):
            continue
        found.append(
            Net(
                dataset=str(row["dataset"]),
                stand_in_for=None if cell is None else cell.stand_in_for,
                aligned=cell is None or _aligned(cell),
                dataset_kind="" if cell is None else cell.dataset_kind,
                cropped=cell is not None and cell.dataset_parameters.get("crop") == "box",
                name=str(row["model"]),
                kind=kind_of(row["use"], str(row["model"])),
                parameters=dict(row["parameters"]),
                outputs=tuple(row["outputs"]),
                card=card,
            )
        )
    return found


def _aligned(cell: Cell) -> bool:
    return cell.dataset_kind not in UNALIGNED and cell.dataset_parameters.get("aligned", True) is not False


# --- numbers ----------------------------------------------------------------------------------------------


def gain(one: Net, other: Net) -> tuple[Estimate, str]:
    """Return the accuracy of one model less that of another, and what it is paired by.

    Where both answer the same attributes and were scored on the same images, it is paired by person (by
    image, where persons are not known); else by attribute, over those of both.
    """
    told = [(net.card.get("right_by_cluster"), net.card.get("images_by_cluster")) for net in (one, other)]
    same = set(one.accuracy) == set(other.accuracy) and told[0][1] == told[1][1]
    if same and told[0][0] and told[1][0]:
        images = np.asarray(told[0][1])
        shares = [np.asarray(right) / (images * len(one.accuracy)) for right, _ in told]
        people = np.repeat(np.arange(len(images)), images)
        return difference(shares[0][people], shares[1][people], people), "by person"
    return by_attribute(one.accuracy, other.accuracy), "by attribute"


def by_attribute(one: Mapping[str, float], other: Mapping[str, float]) -> Estimate:
    """Return the mean of one less that of another over their common attributes, with Student's interval."""
    names = [name for name in one if name in other]
    if not names:
        return NOTHING
    tested = paired_tests(np.array([one[name] for name in names]), np.array([other[name] for name in names]))
    return Estimate(tested["mean_difference"], tested["low"], tested["high"], len(names))


def accuracy_of(net: Net) -> Estimate:
    """Return the mean accuracy of a model, with an interval over persons where its card tells them."""
    right, images = net.card.get("right_by_cluster"), net.card.get("images_by_cluster")
    if not net.accuracy:
        return NOTHING
    if not right or not images:
        return Estimate(net.mean_accuracy, None, None, int(net.card.get("scored_images") or 0))
    sizes = np.asarray(images)
    people = np.repeat(np.arange(len(sizes)), sizes)
    shares = (np.asarray(right) / (sizes * len(net.accuracy)))[people]
    return mean(shares, people)
