"""The rows of a model are read here, one cell in memory at a time: its attacks, and what they come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.catalog import Entry
from harness.errors import HarnessError
from harness.leaderboard.evidence import (
    COLUMNS as FLAG_COLUMNS,
    Evidence,
    Traces,
    budgets_of,
    evidence_of,
    traces_of,
)
from harness.leaderboard.finders import COLUMN as FOUND_BY, finders_of, shares
from harness.leaderboard.flags import OF_MODELS, label, raised
from harness.leaderboard.ranking import (
    CLEAN,
    WORST_CASE,
    Scores,
    ranked,
    robustness,
    scores_of,
    successes,
    with_keys_of,
)
from harness.leaderboard.rows import Row, attack_row, clean_row, metric_cells, worst_row
from harness.leaderboard.threats import OVERALL, BoardThreat, threat_of, threats_of
from harness.leaderboard.worst_case import NO_CASES, Worst, WorstCase, worse, worst_of
from harness.metrics import NOTHING, Estimate
from harness.metrics.core import NUMBERS
from harness.metrics.outcomes import OUTCOMES, Codebook, Outcomes, from_table, joined
from harness.specs import MetricSpec
from harness.store.clusters import cluster_column
from harness.store.parquet import read_records, to_frame

Entries = Mapping[str, Entry[MetricSpec]]

CONSTANT = "constant"
"""The trait of models that answer every image alike: nothing can attack them, and they are nobody's rival."""


@dataclass(frozen=True, eq=False)
class Source:
    """What a board is made from, and what it is to have."""

    folder: Path
    entries: Entries
    """Metrics of plugins, by board column."""
    overall: bool
    """A worst case over all threats, too."""


@dataclass(frozen=True)
class _Read:
    """What the records of a cell say."""

    threat: BoardThreat
    cases: Outcomes
    traces: Traces
    planned: int
    counted: bool
    """How many are planned is known; else there are as many as have a record, or more."""
    complete: bool
    """Every planned case has a record."""
    error: str | None
    finders: Mapping[str, int]
    """How many successes each member of an ensemble found."""


def placed(found: tuple[int, bool] | None, rank: str, tied: str) -> Row:
    """Return a rank, where there is one, as columns of these names."""
    return {} if found is None else {rank: found[0], tied: found[1]}


def rows_of_model(
    source: Source, cells: list[Row], codebook: Codebook, always: set[str]
) -> tuple[list[Row], list[Scores | None]]:
    """Return the rows of one data set, model and goal, and what each reached, for its rank among models.

    Args:
        always: flags of all rows.
    """
    rows: list[Row] = []
    scores: list[Scores | None] = []
    wins: list[Scores | None] = []
    evidence: list[Evidence] = []
    worst = _WorstCases([OVERALL, *threats_of(cells)] if source.overall else threats_of(cells))
    budgets = budgets_of(cells)
    for (attack, threat), group in groupby(cells, key=lambda cell: (cell["attack"], cell["threat"])):
        same = list(group)  # more than one where seeds are crossed
        reads = [_read(source.folder, cell, codebook) for cell in same]
        tried = worst.add(reads)
        traces = sum((read.traces for read in reads), Traces())
        first = evidence[0] if evidence else None
        evidence.append(evidence_of(same[0], tried, traces, budgets, codebook, first))
        cases = joined([read.cases for read in reads])
        numbers = _row_of_attack(source, same, reads, cases, codebook)
        rows.append(_identity(cells[0], attack, threat, same) | numbers)
        robust = robustness(cases) if cases.covered.any() else None
        scores.append(with_keys_of(robust, scores[0] if scores else None))
        won = successes(cases) if (cases.covered & cases.correct).any() else None
        wins.append(with_keys_of(won, wins[0] if wins else None))
    ranks = ranked(rows, wins, (), codebook)
    rows = [row | placed(rank, "attack_rank", "attack_tied") for row, rank in zip(rows, ranks, strict=True)]
    flags = [always | own for own in raised(evidence)]

    cases, planned = worst.clean(codebook)
    rows.append(_identity(cells[0], CLEAN, "none", []) | clean_row(cases, planned))
    scores.append(scores_of(cases, cases.correct, ~cases.known) if cases.known.any() else None)
    told = [always]
    for one in worst.of:
        cases, planned = one.concluded(codebook)
        members = [cell for cell in cells if one.threat == OVERALL or threat_of(cell).asks(one.threat)]
        row = _identity(cells[0], WORST_CASE, one.threat.label, members) | worst_row(cases, planned)
        rows.append(row | {"error": one.error})
        scores.append(robustness(cases) if cases.covered.any() else None)
        names = {(cell["attack"], cell["threat"]) for cell in members}
        told.append(always.union(*(
            own for own, row in zip(flags, rows, strict=False) if (row["attack"], row["threat"]) in names
        )))  # fmt: skip
    flagged = [row | {"flags": label(own)} for row, own in zip(rows, [*flags, *told], strict=True)]
    baseline = CONSTANT in (cells[0].get("model_traits") or "").split(",")
    return flagged, [None] * len(flagged) if baseline or always & OF_MODELS else scores


class _WorstCases:
    """The worst cases of a model, one per threat, and its clean answers grow with each attack."""

    def __init__(self, threats: Iterable[BoardThreat]) -> None:
        self.of = [WorstCase(threat) for threat in threats]
        self._clean, self._planned = NO_CASES, 0

    def add(self, reads: Sequence[_Read]) -> Worst:
        """Add the cells of one attack, and return the worst case of these alone."""
        distinct = [worst_of(read.cases) for read in reads]
        tried, own = reduce(worse, distinct), reads[0].threat
        unfinished = [one.keys for one, read in zip(distinct, reads, strict=True) if not read.complete]
        counts = [read.planned for read in reads]
        planned = max(counts) if all(read.counted for read in reads) else None
        for worst in self.of:
            worst.add(own, tried, unfinished, planned)
        self._clean = worse(self._clean, replace(tried, values={}))
        self._planned = max(self._planned, *counts)
        return tried

    def clean(self, codebook: Codebook) -> tuple[Outcomes, int]:
        """Return all cases of which any record says what the model answered, and how many were planned."""
        held, known = self._clean, self._clean.known
        clusters = codebook.clusters(held.keys)
        nothing = np.zeros(held.keys.size, np.bool_)
        cases = Outcomes(held.keys, clusters, known, known, known & held.correct, nothing, {})
        return cases, max(self._planned, held.keys.size)


def _read(folder: Path, cell: Row, codebook: Codebook) -> _Read:
    table = read_records(folder, cell["cell"], (*OUTCOMES, *NUMBERS, *FLAG_COLUMNS, FOUND_BY))
    n = table.num_rows
    error = cell["error"]
    if not error and n:
        errors = table.column("error").drop_null() if "error" in table.column_names else []
        if len(errors):
            error = f"{len(errors)} of {cell['cases'] or n} cases: {errors[0].as_py()}"
    cases = from_table(table, codebook, NUMBERS)
    return _Read(
        threat=threat_of(cell),
        cases=cases,
        traces=traces_of(table, cases),
        planned=max(cell["cases"] or 0, n),
        counted=cell["cases"] is not None or cell["status"] == "done",
        # A cell that failed before its cases were counted has none, and may have planned any.
        complete=n >= cell["cases"] if cell["cases"] is not None else cell["status"] == "done",
        error=error,
        finders=finders_of(table, cases),
    )


def _identity(first: Row, attack: str, threat: str, cells: list[Row]) -> Row:
    """Return what a row is of; ``first`` is any cell of its model, and ``cells`` are those of the row."""
    same = {name: first[name] for name in ("dataset", "stand_in_for", "model", "goal")}
    failed = sum(cell["status"] == "failed" for cell in cells)
    surrogate = cells[0]["surrogate"] if attack not in (CLEAN, WORST_CASE) else None
    return same | {"attack": attack, "surrogate": surrogate, "threat": threat, "cells_failed": failed}


def _row_of_attack(
    source: Source, cells: list[Row], reads: list[_Read], cases: Outcomes, codebook: Codebook
) -> Row:
    """Return the numbers of the cells of one attack, and of the metrics of plugins, with what went wrong."""
    row = attack_row(cases, sum(read.planned for read in reads))
    finders = sum((Counter(read.finders) for read in reads), Counter())
    row |= {FOUND_BY: shares(finders, cases)} if finders else {}
    errors = [read.error for read in reads]
    for name, entry in source.entries.items():
        estimate, error = _plugin_metric(source.folder, cells, entry, codebook)
        row |= metric_cells(name, entry.spec, estimate)
        errors.append(error)
    return row | {"error": _line(errors)}


def _plugin_metric(
    folder: Path, cells: list[Row], entry: Entry[MetricSpec], codebook: Codebook
) -> tuple[Estimate, str | None]:
    """Return a plugin's metric of a row's records without errors; NOTHING where its columns are absent.

    A metric that fails is NOTHING and says why: it takes no board with it.
    """
    if entry.spec.goals is not None and cells[0]["goal"] not in entry.spec.goals:
        return NOTHING, None
    wanted = {*entry.spec.columns, "error"} | ({"sample_id"} if "cluster" in entry.spec.columns else set())
    parts = [read_records(folder, cell["cell"], wanted) for cell in cells]
    table = pa.concat_tables(parts, promote_options="permissive")
    if table.num_rows and "cluster" in entry.spec.columns:
        clusters = cluster_column(table.column("sample_id"), codebook.people)
        table = table.append_column("cluster", clusters)
    if table.num_rows == 0 or not set(entry.spec.columns) <= set(table.column_names):
        return NOTHING, None
    if "error" in table.column_names:
        table = table.filter(pc.is_null(table.column("error")))
    try:
        frame = to_frame(table.select(list(entry.spec.columns)))
        estimate = entry.load(entry.spec.run)(frame)
        if not isinstance(estimate, Estimate):
            raise TypeError(f"it gave {type(estimate).__name__} instead of a harness.metrics.Estimate")
    except Exception as error:  # whatever a plugin raises
        fault = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
        return NOTHING, f'metric "{entry.qualified}": {fault}'
    return estimate, None


def _line(errors: Iterable[str | None]) -> str | None:
    """Return the distinct errors in one line, or None."""
    told = list(dict.fromkeys(" ".join(error.split()) for error in errors if error))
    return "; ".join(told) or None
