"""Analyses read the comparisons of verifiers here: the clean ones, those after attacks, and thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from harness.analysis.reading import Cell, kind_of, parameters_of, read_cells, recorded
from harness.metrics.resampling import Compared, Resampled
from harness.metrics.verification import Codes, counted, threshold_at_fmr, threshold_at_fnmr
from harness.results import Results
from harness.store.parquet import to_frame
from harness.store.scores import compared_models, read_comparisons, read_thresholds

GOALS = ("impersonate", "evade")
CLEAN = "clean"
ATTACKED, CALIBRATION = "attacked", "calibration"
CASE = ("target", "identity", "reference", "distance_clean", "distance_adv", "threshold")
"""What records of comparisons have beside those of every case."""
READ = ("sample_id", *CASE, "valid", "success", "error")
COLUMNS = ("probe_identity", "reference_identity", "same", "split", "fold", "distance")
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

    @cached_property
    def curve(self) -> Resampled:
        """Return the attacked comparisons with the clean ones of the other kind.

        Intruders under attack stand against the clean genuine comparisons, and attacked genuine comparisons
        against the clean impostors.
        """
        clean = self.verifier.clean.compared
        others = clean.part(clean.same != (self.goal == "evade"))
        return Resampled(others.together(self.compared), self.verifier.asked)


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
    clean: Resampled
    """The clean comparisons of the attacked split."""
    calibration: Compared
    folds: npt.NDArray[np.int64]
    """(N,) the fold of each clean comparison; -1 where it has none."""
    thresholds: pd.DataFrame
    """Its rows of thresholds.parquet, the operating point first."""
    evasion: Mapping[str, float]
    """The thresholds at which 5 % of the genuine ("fnmr") and of the impostor comparisons ("fmr") of the
    calibration split are errors; of the attacked split where there is no calibration."""
    attacks: list[Attacked] = field(default_factory=list)

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

    All models of a data set have the same codes of persons, so that their persons are resampled alike.
    Adversarials that were made on another model are left out.

    Raises:
        ResultsError: no comparisons are stored, or a file cannot be read.
    """
    pairs = compared_models(results.path)
    cells = [(goal, cell) for goal in GOALS for cell in read_cells(results, goal=goal)]
    thresholds = to_frame(read_thresholds(results.path))
    return [
        verifier
        for dataset in dict.fromkeys(dataset for dataset, _ in pairs)
        for verifier in _of_dataset(
            results,
            dataset,
            [model for name, model in pairs if name == dataset],
            [(goal, cell) for goal, cell in cells if cell.dataset == dataset],
            thresholds,
        )
    ]


def _of_dataset(
    results: Results,
    dataset: str,
    models: list[str],
    cells: list[tuple[str, Cell]],
    thresholds: pd.DataFrame,
) -> Iterable[Verifier]:
    tables = {model: read_comparisons(results.path, dataset, model, COLUMNS) for model in models}
    cases = {cell.id: _cases(results, cell) for _, cell in cells if cell.id}
    persons = [table.column(name) for table in tables.values() for name in COLUMNS[:2]]
    named = [name for column in persons for name in column.combine_chunks().dictionary.to_pylist()]
    named += [
        name
        for frame in cases.values()
        for name in pd.unique(frame[["identity", "target"]].to_numpy().ravel())
    ]
    people = {name: code for code, name in enumerate(dict.fromkeys(named))}
    for model, table in tables.items():
        rows = thresholds[(thresholds["dataset"] == dataset) & (thresholds["model"] == model)]
        own = [(goal, cell) for goal, cell in cells if cell.model == model]
        verifier = _verifier(results, (dataset, model), table, rows.reset_index(drop=True), people)
        groups: dict[tuple[str, str, str], list[Cell]] = {}
        for goal, cell in own:
            groups.setdefault((goal, cell.attack, cell.threat), []).append(cell)
        for (goal, _, _), same in groups.items():
            frames = [cases[cell.id].assign(cell=cell.id) for cell in same if cell.id]
            joined = pd.concat([frame for frame in frames if len(frame)] or [_none()], ignore_index=True)
            verifier.attacks.append(Attacked(verifier, tuple(same), goal, joined))
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
    evasion = {"fnmr": threshold_at_fnmr(counts, EVASION), "fmr": threshold_at_fmr(counts, EVASION)}
    folds = table.column("fold").cast(pa.int64()).fill_null(-1).to_numpy()[attacked]
    stand_in = row.get("stand_in_for")
    asked = (*_numbers(thresholds), *evasion.values())
    return Verifier(
        dataset=dataset,
        stand_in_for=stand_in if isinstance(stand_in, str) else None,
        model=model,
        kind=kind_of(row.get("model_use"), model),
        parameters=parameters_of(row.get("model_parameters")),
        people=people,
        clean=Resampled(clean, [x for x in asked if x == x]),
        calibration=calibration,
        folds=folds,
        thresholds=thresholds,
        evasion=evasion,
    )


def _cases(results: Results, cell: Cell) -> pd.DataFrame:
    """Return the cases of a cell that have an outcome."""
    held = recorded(results, cell)
    if not held.issuperset(CASE):
        return _none()
    frame = results.samples(columns=list(READ), where={"cell": cell.id})
    known = frame["error"].isna() & frame["distance_adv"].notna() & frame["success"].notna()
    frame = frame[known & frame["identity"].notna() & frame["target"].notna()].reset_index(drop=True)
    valid = frame["valid"].fillna(False).astype(bool)
    after = frame["distance_adv"].where(valid, frame["distance_clean"]).astype(float)
    frame = frame.assign(after=after, success=frame["success"].astype(bool))
    return frame[list(_none())]


def _none() -> pd.DataFrame:
    texts = {
        name: pd.Series(dtype=object) for name in ("cell", "sample_id", "target", "identity", "reference")
    }
    numbers = ("distance_clean", "distance_adv", "threshold", "after")
    floats = {name: pd.Series(dtype=float) for name in numbers}
    return pd.DataFrame(texts | floats | {"success": pd.Series(dtype=bool)})


def _numbers(thresholds: pd.DataFrame) -> list[float]:
    return [float(value) for value in thresholds["threshold"]] if "threshold" in thresholds else []


def _codes(names: pd.Series[str], people: Mapping[str, int]) -> Codes:
    return names.map(dict(people)).to_numpy(np.intp)


def _arrow_codes(column: pa.ChunkedArray, codes: Mapping[str, int]) -> Codes:
    encoded = column.combine_chunks()
    known = np.array([codes.get(name, -1) for name in encoded.dictionary.to_pylist()], np.intp)
    found: Codes = known[encoded.indices.to_numpy()]
    return found
