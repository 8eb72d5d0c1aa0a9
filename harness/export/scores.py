"""Raw scores are exported as files that tools of biometrics read: a folder per data set and model.

Scores are similarities, as these tools expect: higher is more alike. A score is minus the model's distance.

``scores-bob`` writes CSV files of five columns as bob.bio.base reads them (``split_csv_scores``), with
"dev" for the calibration and "eval" for the attacked split. ``scores-pyeer`` writes a genuine and an impostor
file with a score per line, of the attacked split. Both write the scores under each attack beside the clean
ones: of its cases alone, with the distance of the original where an adversarial is not valid.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from harness.errors import ResultsError, nearest
from harness.files import write_whole
from harness.results import Results, read_results
from harness.store.scores import compared_models, comparison_batches

SPLITS = {"dev": "calibration", "eval": "attacked"}
"""The names that bob has for the splits."""
COLUMNS = ("probe_template_id", "probe_subject_id", "bio_ref_template_id", "bio_ref_subject_id", "score")
FIELDS = ("probe", "probe_identity", "reference", "reference_identity", "same", "distance")
READ = ("sample_id", "identity", "reference", "target", "distance_clean", "distance_adv", "valid", "error")
GOALS = ("impersonate", "evade")
Rows = Iterable[Mapping[str, Any]]
"""Comparisons with FIELDS."""


def write_scores(folder: Path, format: str, into: Path) -> list[Path]:
    """Write the scores of all verifiers of a results folder; return the files.

    Raises:
        ResultsError: the format is unknown, or no comparisons are stored.
        UnwritableError: a file cannot be written.
    """
    if format not in SCORES:
        raise ResultsError(f'format "{format}" is unknown; {nearest(format, SCORES)}')
    results = read_results(folder)
    return [
        file
        for dataset, model in compared_models(folder)
        for file in SCORES[format](results, dataset, model, into / _safe(dataset) / _safe(model))
    ]


def _bob(results: Results, dataset: str, model: str, place: Path) -> Iterator[Path]:
    for name, split in SPLITS.items():
        yield _written(place / f"scores-{name}.csv", _clean(results, dataset, model, split), _bob_rows)
    for attack, _, rows in _attacked(results, dataset, model):
        yield _written(place / f"scores-eval-{attack}.csv", rows, _bob_rows)


def _pyeer(results: Results, dataset: str, model: str, place: Path) -> Iterator[Path]:
    for kind, same in (("genuine", True), ("impostor", False)):
        own = (row for row in _clean(results, dataset, model, "attacked") if row["same"] == same)
        yield _written(place / f"{kind}.txt", own, _pyeer_rows)
    for attack, same, rows in _attacked(results, dataset, model):
        kind = "genuine" if same else "impostor"
        yield _written(place / f"{kind}-{attack}.txt", rows, _pyeer_rows)


def _bob_rows(rows: Rows, file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        names = (row[name] for name in FIELDS[:4])
        writer.writerow([*names, _score(row["distance"])])


def _pyeer_rows(rows: Rows, file: TextIO) -> None:
    for row in rows:
        file.write(f"{_score(row['distance'])}\n")


SCORES: Mapping[str, Callable[[Results, str, str, Path], Iterator[Path]]] = {
    "scores-bob": _bob,
    "scores-pyeer": _pyeer,
}
"""What writes the files of a model in each format."""


def _score(distance: float) -> str:
    """Return the similarity as text, with all digits of a float32."""
    return f"{0.0 - distance:.9g}"


def _written(file: Path, rows: Rows, fill: Callable[[Rows, TextIO], None]) -> Path:
    def whole(aside: Path) -> None:
        with aside.open("w", encoding="utf-8", newline="") as opened:
            fill(rows, opened)

    write_whole(file, whole)
    return file


def _clean(results: Results, dataset: str, model: str, split: str) -> Iterator[dict[str, Any]]:
    for batch in comparison_batches(results.path, dataset, model, split):
        for values in zip(*(batch[name] for name in FIELDS), strict=True):
            yield dict(zip(FIELDS, values, strict=True))


def _attacked(results: Results, dataset: str, model: str) -> Iterator[tuple[str, bool, Rows]]:
    """Yield for each cell its name in files, whether its comparisons are genuine, and these."""
    cells = results.cells()
    own = cells[(cells["dataset"] == dataset) & (cells["model"] == model) & cells["goal"].isin(GOALS)]
    several = len(own["seed"].unique()) > 1
    for cell in own[own["status"] != "skipped"].to_dict("records"):
        if not cell["cell"]:
            continue
        cases = results.samples(list(READ), {"cell": cell["cell"]})
        cases = cases[cases["error"].isna() & cases["distance_adv"].notna()]
        seed = f"-seed-{cell['seed']}" if several else ""
        name = _safe(f"{cell['attack']}-{cell['threat']}-{cell['goal']}{seed}")
        yield name, cell["goal"] == "evade", map(_case, cases.to_dict("records"))


def _case(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "probe": row["sample_id"],
        "probe_identity": row["identity"],
        "reference": row["reference"],
        "reference_identity": row["target"],
        "same": row["identity"] == row["target"],
        "distance": row["distance_adv"] if row["valid"] is True else row["distance_clean"],
    }


def _safe(name: str) -> str:
    """Return a name of a file: other characters than letters, digits, and "=,.+-" become "_"."""
    return re.sub(r"[^\w=,.+-]+", "_", name).strip(".") or "_"
