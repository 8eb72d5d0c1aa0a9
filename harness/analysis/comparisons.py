"""Analyses read the comparisons of verifiers here: the clean ones, those after attacks, and thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from harness.analysis.attacked_cases import attacked_cases, no_cases
from harness.analysis.reading import Cell, kind_of, parameters_of, read_cells
from harness.metrics.resampling import Compared
from harness.metrics.verification import (
    Codes,
    FoldAccuracy,
    counted,
    fold_accuracy,
    threshold_at_fmr,
    threshold_at_fnmr,
)
from harness.results import Results
from harness.store.parquet import to_frame
from harness.store.scores import compared_models, read_comparisons, read_thresholds

GOALS = ("impersonate", "evade")
CLEAN = "clean"
ATTACKED, CALIBRATION = "attacked", "calibration"
COLUMNS = ("probe_identity", "reference_identity", "same", "split", "fold", "distance")
Place = tuple[str, str]
"""The labels of a data set and a model."""
EVASION = 0.05
"""The error rate at whose thresholds evasion is told."""


@dataclass(frozen=True, eq=False)
class Attacked:
    """The cases of a verifier under one attack, threat and goal, over all seeds."""

    verifier: Verifier
    cells: tuple[Cell, ...]
    goal: str
    cases: pd.DataFrame
    """cell, sample_id, target, identity, reference, distance_clean, distance_adv, threshold, success, and
    ``after``: the distance of the adversarial where it is valid, else of the original, which can always be
    presented. Cases without an outcome are left out."""

    @property
    def attack(self) -> str:
        """Return what the suite calls the attack."""
        return self.cells[0].attack

    @property
    def kind(self) -> str:
        """Return the attack's name in the catalogue."""
        return self.cells[0].attack_kind

    @property
    def surrogate(self) -> str | None:
        """Return the model on which the adversarials were made; None where it was the verifier itself."""
        return self.cells[0].surrogate

    @property
    def threat(self) -> str:
        """Return the threat."""
        return self.cells[0].threat

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Return the parameters of the attack."""
        return self.cells[0].attack_parameters

    @property
    def name(self) -> str:
        """Return what claims call it."""
        return f"{self.attack} on {self.verifier.model}"

    @property
    def coverage(self) -> float | None:
        """Return the share of planned cases that have an outcome; None where the plan is not known."""
        planned = sum(cell.planned for cell in self.cells)
        return len(self.cases) / planned if planned else None

    @property
    def reason(self) -> str | None:
        """Return why numbers of it are missing, where the folder says."""
        return next((cell.problem for cell in self.cells if cell.problem), None)

    @property
    def identity(self) -> dict[str, Any]:
        """Return the columns that tell it from others."""
        return self.verifier.identity | {"attack": self.attack, "threat": self.threat, "goal": self.goal}

    @property
    def stops_early(self) -> bool:
        """Return whether the attack stops once a case reaches its goal: no distance gets smaller then."""
        return bool(self.parameters.get("early_stop", False))

    @cached_property
    def compared(self) -> Compared:
        """Return the attacked comparisons alone, with the distances after the attack."""
        codes = self.verifier.people
        n = len(self.cases)
        return Compared(
            self.cases["after"].to_numpy(np.float64),
            np.full(n, self.goal == "evade"),
            _codes(self.cases["identity"], codes),
            _codes(self.cases["target"], codes),
            len(codes),
        )

    @property
    def whole(self) -> Compared:
        """Return the attacked comparisons with the clean ones of the other kind.

        Intruders under attack stand against the clean genuine comparisons, and attacked genuine comparisons
        against the clean impostors.
        """
        clean = self.verifier.clean
        return clean.part(clean.same != (self.goal == "evade")).together(self.compared)


@dataclass(frozen=True, eq=False)
class Verifier:
    """A verifier is a model on a data set, with its comparisons."""

    dataset: str
    stand_in_for: str | None
    model: str
    kind: str
    """The model's name in the catalogue."""
    parameters: Mapping[str, Any]
    people: Mapping[str, int]
    """The code of each person of the data set."""
    clean: Compared
    """The clean comparisons of the attacked split."""
    fold_accuracy: FoldAccuracy | None
    """Over all clean comparisons, where they have folds."""
    thresholds: pd.DataFrame
    """Its rows of thresholds.parquet, the operating point first."""
    evasion: Mapping[str, float]
    """The thresholds at which 5 % of the genuine ("fnmr") and of the impostor comparisons ("fmr") of the
    calibration split are errors; of the attacked split where there is no calibration."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """How comparisons are made: the table [dataset.comparisons]; empty where the folder does not say."""
    images: str = ""
    """The same of data sets with the same images."""
    attacks: list[Attacked] = field(default_factory=list)
    """On the verifier itself."""
    transfers: list[Attacked] = field(default_factory=list)
    """On other models, whose adversarials it judged: curves and claims leave them out."""

    @property
    def asked(self) -> tuple[float, ...]:
        """Return the thresholds at which rates may be asked for."""
        return tuple(x for x in (*_numbers(self.thresholds), *self.evasion.values()) if x == x)

    @property
    def identity(self) -> dict[str, Any]:
        """Return the columns that tell it from others."""
        return {"dataset": self.dataset, "stand_in_for": self.stand_in_for, "model": self.model}

    @property
    def name(self) -> str:
        """Return what claims call it."""
        return self.model

    @property
    def coverage(self) -> float | None:
        """Return 1: all clean comparisons are made before any attack."""
        return 1.0

    @property
    def reason(self) -> str | None:
        """Return None: nothing of it is missing."""
        return None

    def of(self, goal: str) -> list[Attacked]:
        """Return its attacks with a goal."""
        return [attacked for attacked in self.attacks if attacked.goal == goal]


def read_verifiers(results: Results) -> list[Verifier]:
    """Return the verifiers of a results folder with their comparisons and attacks.

    All models of a data set have the same codes of persons, so that their persons are resampled alike, and so
    have those of data sets with the same images, whose comparisons differ.
    Adversarials that were made on another model are no attacks of a verifier, but its ``transfers``.

    Raises:
        ResultsError: no comparisons are stored, or a file cannot be read.
    """
    pairs = compared_models(results.path)
    cells = [(goal, cell) for goal in GOALS for cell in read_cells(results, goal=goal, transfers=True)]
    thresholds = to_frame(read_thresholds(results.path))
    alike: dict[str, list[Place]] = {}
    for pair in pairs:
        alike.setdefault(_images(results, pair[0]), []).append(pair)
    found = {
        (verifier.dataset, verifier.model): verifier
        for same in alike.values()
        for verifier in _of_images(
            results,
            same,
            [(goal, cell) for goal, cell in cells if cell.dataset in {dataset for dataset, _ in same}],
            thresholds,
        )
    }
    datasets = list(dict.fromkeys(dataset for dataset, _ in pairs))
    return [found[pair] for dataset in datasets for pair in pairs if pair[0] == dataset]


def _images(results: Results, dataset: str) -> str:
    """Return what tells the images of a data set from those of others."""
    cells = results.cells()
    rows = cells[cells["dataset"] == dataset]
    if rows.empty or "dataset_use" not in rows:
        return dataset
    row = rows.iloc[0]
    return repr([row.get(name) for name in ("dataset_use", "dataset_parameters", "dataset_source")])


def _settings(results: Results, dataset: str) -> Mapping[str, Any]:
    """Return the table [dataset.comparisons] of a data set; empty where the folder has none."""
    tables = results.suite.get("suite", {}).get("dataset", [])
    found = [table.get("comparisons") for table in tables if table.get("id") == dataset]
    return found[0] or {} if found else {}


def _of_images(
    results: Results,
    pairs: list[Place],
    cells: list[tuple[str, Cell]],
    thresholds: pd.DataFrame,
) -> Iterable[Verifier]:
    tables = {pair: read_comparisons(results.path, *pair, COLUMNS) for pair in pairs}
    cases = {cell.id: attacked_cases(results, cell) for _, cell in cells if cell.id}
    persons = [table.column(name) for table in tables.values() for name in COLUMNS[:2]]
    named = [name for column in persons for name in column.combine_chunks().dictionary.to_pylist()]
    named += [
        name
        for frame in cases.values()
        for name in pd.unique(frame[["identity", "target"]].to_numpy().ravel())
    ]
    people = {name: code for code, name in enumerate(dict.fromkeys(named))}
    for (dataset, model), table in tables.items():
        rows = thresholds[(thresholds["dataset"] == dataset) & (thresholds["model"] == model)]
        own = [(goal, cell) for goal, cell in cells if (cell.dataset, cell.model) == (dataset, model)]
        verifier = _verifier(results, (dataset, model), table, rows.reset_index(drop=True), people)
        groups: dict[tuple[str, str, str], list[Cell]] = {}
        for goal, cell in own:
            groups.setdefault((goal, cell.attack, cell.threat), []).append(cell)
        for (goal, _, _), same in groups.items():
            frames = [cases[cell.id].assign(cell=cell.id) for cell in same if cell.id]
            joined = pd.concat([frame for frame in frames if len(frame)] or [no_cases()], ignore_index=True)
            found = Attacked(verifier, tuple(same), goal, joined)
            (verifier.attacks if found.surrogate is None else verifier.transfers).append(found)
        yield verifier


def _verifier(
    results: Results,
    names: tuple[str, str],
    table: pa.Table,
    thresholds: pd.DataFrame,
    people: Mapping[str, int],
) -> Verifier:
    dataset, model = names
    cells = results.cells()
    rows = cells[(cells["dataset"] == dataset) & (cells["model"] == model)]
    row: Mapping[Any, Any] = {} if rows.empty else rows.iloc[0].to_dict()
    distances = table.column("distance").to_numpy()
    same = table.column("same").to_numpy()
    probes, references = (_arrow_codes(table.column(name), people) for name in COLUMNS[:2])
    whole = Compared(distances, same, probes, references, len(people))
    attacked = _arrow_codes(table.column("split"), {ATTACKED: 1, CALIBRATION: 0}) == 1
    clean, calibration = whole.part(attacked), whole.part(~attacked)
    chosen = calibration if len(calibration) else clean
    counts = counted(chosen.distances, chosen.same)
    folds = table.column("fold").cast(pa.int64()).fill_null(-1).to_numpy()
    evasion = {"fnmr": threshold_at_fnmr(counts, EVASION), "fmr": threshold_at_fmr(counts, EVASION)}
    stand_in = row.get("stand_in_for")
    return Verifier(
        dataset=dataset,
        stand_in_for=stand_in if isinstance(stand_in, str) else None,
        model=model,
        kind=kind_of(row.get("model_use"), model),
        parameters=parameters_of(row.get("model_parameters")),
        people=people,
        clean=clean,
        fold_accuracy=fold_accuracy(whole.distances, whole.same, folds),
        thresholds=thresholds,
        evasion=evasion,
        settings=_settings(results, dataset),
        images=_images(results, dataset),
    )


def _numbers(thresholds: pd.DataFrame) -> list[float]:
    return [float(value) for value in thresholds["threshold"]]


def _codes(names: pd.Series[str], people: Mapping[str, int]) -> Codes:
    return names.map(dict(people)).to_numpy(np.intp)


def _arrow_codes(column: pa.ChunkedArray, codes: Mapping[str, int]) -> Codes:
    encoded = column.combine_chunks()
    known = np.array([codes.get(name, -1) for name in encoded.dictionary.to_pylist()], np.intp)
    found: Codes = known[encoded.indices.to_numpy()]
    return found
