"""Writes results folders of verifiers by hand: comparisons, thresholds, records of attacks, pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from harness.results import Results, read_results
from harness.store.folder import Store
from harness.store.png import encode
from harness.store.schema import (
    ANNOTATION_SCHEMA,
    COMPARISON_SCHEMA,
    ORIGINAL_SCHEMA,
    RECORD_SCHEMA,
    THRESHOLD_SCHEMA,
)

DATASET = "faces"
IMAGES = 8
"""Of each person; the first is the reference."""
REGIONS = {
    "eyeglasses": (slice(8, 12), slice(6, 26)),
    "square": (slice(14, 20), slice(12, 18)),
    "universal-patch": (slice(8, 15), slice(6, 26)),
    "distal": (slice(0, 32), slice(0, 32)),
    "random-eyeglasses": (slice(8, 12), slice(6, 26)),
}


@dataclass(frozen=True)
class Fake:
    """A verifier whose distances are drawn: ``gap`` between genuine and impostor ones, less under attacks."""

    label: str = "verifier"
    kind: str = "verifier"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    gap: float = 1.0
    attacks: Mapping[str, float] = field(default_factory=lambda: {"eyeglasses": 0.8})
    """By name in the catalogue: by how much it brings an intruder nearer."""
    evasions: Mapping[str, float] = field(default_factory=dict)
    attack_parameters: Mapping[str, Any] = field(default_factory=dict)


def picture(seed: int) -> np.ndarray:
    """A face-like image (3, 32, 32) of one colour with some noise."""
    random = np.random.default_rng(seed)
    base = random.integers(60, 200, (3, 1, 1)) + random.integers(-8, 8, (3, 32, 32))
    return base.astype(np.uint8)


def sample(person: int, image: int) -> str:
    """A sample id."""
    return f"p{person:02}-{image}.png"


def write(
    folder: Path,
    models: Sequence[Fake] = (Fake(),),
    *,
    persons: int = 12,
    calibration: int = 10,
    folds: int = 0,
    pictures: bool = False,
    annotated: bool = False,
) -> Results:
    """A folder of results of verifiers on one data set."""
    store = Store(folder)
    store.open()
    comparisons, thresholds, cells = [], [], []
    for model in models:
        frame = _comparisons(model, persons, calibration, folds)
        comparisons.append(frame)
        thresholds += _thresholds(model, frame)
        operating = thresholds[-2]["threshold"]
        for goal, strengths in (("impersonate", model.attacks), ("evade", model.evasions)):
            for kind, strength in strengths.items():
                cells.append(_cell(store, model, kind, goal, strength, operating, frame, pictures))
    pq.write_table(
        pa.Table.from_pandas(pd.concat(comparisons), COMPARISON_SCHEMA, preserve_index=False),
        folder / "comparisons.parquet",
        row_group_size=150,  # row groups have dictionaries of their own
    )
    pq.write_table(pa.Table.from_pylist(thresholds, THRESHOLD_SCHEMA), folder / "thresholds.parquet")
    store.write_cells(cells)
    store.write_suite({"suite": {"name": "kit"}, "versions": {}})
    if annotated:
        rows = [
            {"dataset": DATASET, "sample_id": sample(p, i), "name": "Glasses", "value": float(p % 2)}
            for p in range(persons)
            for i in range(IMAGES)
        ]
        pq.write_table(pa.Table.from_pylist(rows, ANNOTATION_SCHEMA), folder / "annotations.parquet")
    if pictures:
        rows = [
            {"dataset": DATASET, "sample_id": sample(p, i), "original": encode(picture(10 * p + i))}
            for p in range(persons)
            for i in range(IMAGES)
        ]
        pq.write_table(pa.Table.from_pylist(rows, ORIGINAL_SCHEMA), folder / "originals.parquet")
    return read_results(folder)


def _comparisons(model: Fake, persons: int, calibration: int, folds: int) -> pd.DataFrame:
    """All images against all references, of the attacked persons and of those of the calibration."""
    random = np.random.default_rng(7)  # the same comparisons are as hard for every model
    rows = []
    for split, start, count in (("attacked", 0, persons), ("calibration", 100, calibration)):
        ease = random.normal(0, 0.15, count)
        for reference in range(count):
            for probe in range(count):
                for image in range(1, IMAGES):
                    same = probe == reference
                    apart = 0.0 if same else model.gap - ease[reference] - ease[probe]
                    rows.append(
                        {
                            "dataset": DATASET,
                            "model": model.label,
                            "probe": sample(start + probe, image),
                            "reference": sample(start + reference, 0),
                            "probe_identity": str(start + probe),
                            "reference_identity": str(start + reference),
                            "same": same,
                            "split": split,
                            "fold": (probe + reference) % folds if folds and split == "attacked" else None,
                            "distance": np.float32(1 + apart + random.normal(0, 0.35)),
                        }
                    )
    return pd.DataFrame(rows).astype({"fold": "Int32"})


def _thresholds(model: Fake, frame: pd.DataFrame) -> list[dict[str, Any]]:
    own = frame[frame["split"] == "calibration"]
    impostors = np.sort(own.loc[~own["same"], "distance"].to_numpy(float))
    rows = []
    for rate in (0.1, 0.01):
        below = int(rate * len(impostors))
        rows.append(
            {
                "dataset": DATASET,
                "model": model.label,
                "fmr": rate,
                "threshold": float(impostors[below]),
                "squared_euclidean": float(impostors[below]),
                "cosine": 0.5,
                "false_matches": below,
                "impostors": len(impostors),
                "genuine": int(own["same"].sum()),
                "identities": 10,
                "empirical_fmr": below / len(impostors),
                "empirical_fnmr": 0.1,
                "fmr_here": 0.1,
                "fnmr_here": 0.1,
                "flag": "few-false-matches" if below < 30 else "",
            }
        )
    return rows


def _cell(
    store: Store,
    model: Fake,
    kind: str,
    goal: str,
    strength: float,
    threshold: float,
    frame: pd.DataFrame,
    pictures: bool,
) -> dict[str, Any]:
    random = np.random.default_rng(len(kind))
    wanted = frame[(frame["split"] == "attacked") & (frame["same"] == (goal == "evade"))]
    wanted = wanted[wanted["probe"].str.endswith(("-1.png", "-2.png"))]
    records = []
    for row in wanted.to_dict("records"):
        moved = strength * random.uniform(0.6, 1.0)
        after = row["distance"] + (moved if goal == "evade" else -moved)
        reached = (after < threshold) == (goal == "impersonate")
        record = {
            "sample_id": row["probe"],
            "goal": goal,
            "target": row["reference_identity"],
            "clean_correct": (row["distance"] < threshold) == (goal == "evade"),
            "reached": reached,
            "valid": True,
            "success": reached,
            "reference": row["reference"],
            "identity": row["probe_identity"],
            "distance_clean": row["distance"],
            "distance_adv": after,
            "threshold": threshold,
            "forwards": 10,
            "backwards": 10,
            "seconds": 0.1,
        }
        if pictures:
            record["adversarial"] = encode(_patched(row["probe"], kind, row["reference_identity"]))
        records.append(record)
    cell = f"{model.label}-{kind}-{goal}"
    store.write_part(cell, 0, pa.Table.from_pylist(records, schema=RECORD_SCHEMA))
    return {
        "cell": cell,
        "dataset": DATASET,
        "model": model.label,
        "attack": kind,
        "threat": "region" if kind in REGIONS else "linf 8/255",
        "goal": goal,
        "seed": 0,
        "status": "done",
        "cases": len(records),
        "dataset_use": "synthetic-faces",
        "dataset_parameters": "{}",
        "model_use": model.kind,
        "model_parameters": json.dumps(model.parameters),
        "attack_use": kind,
        "attack_parameters": json.dumps(model.attack_parameters),
    }


def _patched(probe: str, kind: str, target: str) -> np.ndarray:
    person, image = int(probe[1:3]), int(probe[4])
    made = picture(10 * person + image).copy()
    rows, columns = REGIONS[kind]
    if kind == "square":  # its place differs from case to case
        shift = 4 * (person % 3)
        rows = slice(rows.start - shift, rows.stop - shift)
    seed = int(target) if kind == "universal-patch" else 1000 * person + int(target)
    noise = np.random.default_rng(seed).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    made[:, rows, columns] = noise[:, rows, columns]
    return made


def rewrite(file: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Write the rows of a Parquet file again, changed."""
    table = pq.read_table(file)
    pq.write_table(pa.Table.from_pylist(change(table.to_pylist()), schema=table.schema), file)
