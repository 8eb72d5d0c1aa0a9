"""Writes tiny results of two-class models by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.results import Results, read_results
from harness.store.folder import Store
from harness.store.png import encode
from harness.store.schema import ANNOTATION_SCHEMA, ORIGINAL_SCHEMA, record_schema

USES = {"symmetric": "mfa-symmetric", "asymmetric": "mfa-asymmetric", "real": "two-classes"}


def case(sample: str, l2: float | None = 1.0, *, right: bool | None = True, **values: Any) -> dict[str, Any]:
    """A case that was broken at this L2, or withstood where that is None; a wrong one counts as reached."""
    broken = l2 is not None
    row: dict[str, Any] = {
        "sample_id": sample,
        "goal": "untargeted",
        "clean_correct": right,
        "reached": broken,
        "valid": True,
        "success": broken,
        "l2": l2 if broken else 0.0,
        "linf": 0.1 if broken else 0.0,
        "forwards": 4,
        "backwards": 2,
        "seconds": 0.1,
    }
    return row | values


def wrong(sample: str, **values: Any) -> dict[str, Any]:
    """A case that was misclassified: already reached, with no change."""
    return case(sample, 0.0, right=False, **values)


def raised(sample: str) -> dict[str, Any]:
    """A case whose attack raised: no outcome."""
    return case(sample, error="RuntimeError: no") | dict.fromkeys(
        ["reached", "valid", "success", "l2", "linf"]
    )


def cases(distances: Iterable[float | None], *, prefix: str = "i", **values: Any) -> list[dict[str, Any]]:
    """One case per distance, of samples i000, i001, …"""
    return [case(f"{prefix}{number:03}", l2, **values) for number, l2 in enumerate(distances)]


def cell(
    records: Iterable[Mapping[str, Any]],
    /,
    *,
    model: str = "bayes-optimal",
    kind: str | None = None,
    attack: str = "cw-l2",
    data: str = "symmetric",
    attribute: str | None = "Smiling",
    pair: Sequence[str] | None = None,
    tested_on: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    source: str | None = "faces",
    **values: Any,
) -> dict[str, Any]:
    """A cell of ``attack`` on ``model`` and its records.

    Args:
        kind: the model's name in the catalogue; of the label where it is not given.
        data: "symmetric", "asymmetric", "real", or a name in the catalogue.
    """
    records = list(records)
    told = {"attribute": attribute, "pair": pair}
    if pair:
        told["attribute"] = None
    if data != "real":
        told["tested_on"] = tested_on or "samples"  # type: ignore[assignment]
    task = "".join(pair) if pair else attribute
    row: dict[str, Any] = {
        "dataset": f"{data}{'-to-real' if tested_on == 'real' else ''}[{task}]",
        "model": model,
        "attack": attack,
        "threat": "l2 minimal",
        "norm": "l2",
        "goal": "untargeted",
        "seed": 0,
        "status": "done",
        "cases": len(records),
        "dataset_use": f"bayes/{USES.get(data, data)}",
        "dataset_parameters": json.dumps(told),
        "dataset_source": json.dumps({"label": source, "use": "faces/celeba", "parameters": {}}),
        "model_use": f"bayes/{kind or model.partition('[')[0]}",
        "model_parameters": json.dumps(parameters or {}),
        "attack_use": f"attacks/{attack}",
        "attack_parameters": "{}",
        "records": records,
    }
    row |= values
    row.setdefault("cell", "-".join(str(row[name]) for name in ("dataset", "model", "attack", "threat")))
    return row


def failed(error: str = "no weights", **values: Any) -> dict[str, Any]:
    """A cell that failed before its cases were known."""
    return cell([], status="failed", error=error, **({"cell": "", "cases": None} | values))


def write(
    folder: Path,
    cells: Iterable[Mapping[str, Any]],
    *,
    cards: Mapping[tuple[str, str], Mapping[str, Any]] | None = None,
    originals: Mapping[str, bytes] | None = None,
    annotations: Mapping[str, Mapping[str, float]] | None = None,
    people: Mapping[str, Mapping[str, int]] | None = None,
    numbers: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None,
) -> Results:
    """A folder of results as a run leaves it; a cell's records are split into two shards.

    Args:
        cards: by data set and model, as labels.
        originals: PNG by sample id, of every data set.
        annotations: by data set the subspace distance of each sample.
        people: by data set the person in each sample.
        numbers: other annotations, by name and data set.
    """
    cells = list(cells)
    store = Store(folder)
    store.open()
    store.write_suite({"schema": 1, "name": "tiny", "seed": 0})
    store.write_cells([{name: value for name, value in row.items() if name != "records"} for row in cells])
    for row in cells:
        for shard, part in enumerate((row["records"][::2], row["records"][1::2])):
            if part:
                store.write_part(row["cell"], shard, pa.Table.from_pylist(part, schema=record_schema()))
    store.write_models(_models(cells, cards or {}))
    if originals is not None:
        held = [
            {"dataset": dataset, "sample_id": sample, "original": png}
            for dataset in sorted({row["dataset"] for row in cells})
            for sample, png in originals.items()
        ]
        pq.write_table(pa.Table.from_pylist(held, schema=ORIGINAL_SCHEMA), folder / "originals.parquet")
    notes: dict[str, Mapping[str, Mapping[str, float]]] = {
        "subspace_distance": annotations or {},
        "identity": people or {},
        **(numbers or {}),
    }
    told = [
        {"dataset": dataset, "sample_id": sample, "name": name, "value": float(value)}
        for name, known in notes.items()
        for dataset, own in known.items()
        for sample, value in own.items()
    ]
    if told:
        pq.write_table(pa.Table.from_pylist(told, schema=ANNOTATION_SCHEMA), folder / "annotations.parquet")
    return read_results(folder)


def _models(
    cells: Sequence[Mapping[str, Any]], cards: Mapping[tuple[str, str], Mapping[str, Any]]
) -> list[dict[str, Any]]:
    found = {}
    for row in cells:
        key = (row["dataset"], row["model"])
        if row["cell"]:
            found[key] = {
                "dataset": row["dataset"],
                "model": row["model"],
                "use": row["model_use"],
                "parameters": json.loads(row["model_parameters"]),
                "weights": "digest",
                "outputs": ["no", "yes"],
                "card": dict(cards.get(key, {})),
            }
    return list(found.values())


def picture(pixels: Any, *, height: int = 8, width: int = 8, channels: int = 3) -> bytes:
    """A PNG of one grey level, or of an array (C, H, W)."""
    if np.isscalar(pixels):
        pixels = np.full((channels, height, width), pixels, np.uint8)
    return encode(np.asarray(pixels, np.uint8))


def card(accuracy: float, images: int, on: str = "test") -> dict[str, Any]:
    """What a model scored."""
    return {"accuracy": accuracy, "scored_on": on, "scored_images": images}


def texts(figure: Any) -> str:
    """All that is written in a figure: titles, labels, ticks, legends, annotations."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    return "\n".join(found.get_text() for found in figure.findobj(Text) if found.get_visible())
