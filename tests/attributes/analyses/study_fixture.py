"""Writes tiny results of attribute models by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.results import Results, read_results
from harness.store.png import encode
from harness.store.schema import ANNOTATION_SCHEMA, CELL_SCHEMA, ORIGINAL_SCHEMA, record_schema

NAMES = ["Male", "Smiling", "Young"]


def case(
    sample: str,
    target: str = "Young",
    *,
    similar: float | None = None,
    right: bool | None = True,
    also: Sequence[str] = (),
    outputs: Sequence[str] = NAMES,
    **values: Any,
) -> dict[str, Any]:
    """A case: flipped with PASS ``similar``, or not flipped where that is None.

    Before, every attribute is absent; an adversarial turns the target and those in ``also`` on.
    """
    flipped = similar is not None
    changed = {target, *also} if flipped else set(also)
    row: dict[str, Any] = {
        "sample_id": sample,
        "goal": "flip",
        "target": target,
        "clean_correct": right,
        "reached": flipped,
        "valid": True,
        "success": flipped,
        "linf": 3 / 255 if flipped else 0.0,
        "l2": 1.5 if flipped else 0.0,
        "forwards": 4,
        "backwards": 1,
        "seconds": 0.1,
        "decisions_clean": [False] * len(outputs),
        "decisions_adv": [name in changed for name in outputs],
        "pass": similar,
    }
    return row | values


def broken(sample: str, target: str = "Young", **values: Any) -> dict[str, Any]:
    """A case whose attack raised: no outcome."""
    row = case(sample, target, error="RuntimeError: no", **values)
    return row | dict.fromkeys(["reached", "valid", "success", "decisions_adv", "linf", "l2", "pass"])


def cell(
    cases: Iterable[Mapping[str, Any]],
    /,
    *,
    model: str = "separate",
    attack: str = "ffa",
    search: str | None = "line",
    kind: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    **values: Any,
) -> dict[str, Any]:
    """A cell of ``attack`` on ``model`` and its records; ``kind`` is the model's name in the catalogue."""
    cases = list(cases)
    row: dict[str, Any] = {
        "dataset": "faces",
        "model": model,
        "attack": attack if search is None else f"{attack}[search={search}]",
        "threat": "linf minimal",
        "goal": "flip",
        "seed": 0,
        "status": "done",
        "cases": len(cases),
        "model_use": f"attributes/{kind or model.partition('[')[0]}",
        "model_parameters": json.dumps(parameters or {}),
        "attack_use": f"attacks/{attack}",
        "attack_parameters": json.dumps({} if search is None else {"search": search}),
        "records": cases,
    }
    row |= values
    row.setdefault("cell", "-".join(str(row[name]) for name in ("dataset", "model", "attack", "threat")))
    return row


def transferred(
    source: Mapping[str, Any], cases: Iterable[Mapping[str, Any]], **values: Any
) -> dict[str, Any]:
    """A cell in which a model judges the adversarials of ``source``."""
    row = cell(cases, **values)
    own = {"surrogate": source["model"], "source": source["cell"]}
    return (
        row | own | {"attack": f"{source['attack']} from {source['model']}", "cell": f"{row['cell']}-moved"}
    )


def card(
    accuracy: Mapping[str, float], *, majority: float | None = None, images: int = 100
) -> dict[str, Any]:
    """A card that tells the accuracy by attribute, and the trivial classifier's, the same for each."""
    told: dict[str, Any] = {
        "accuracy_by_attribute": dict(accuracy),
        "scored_on": "test",
        "scored_images": images,
    }
    if majority is not None:
        told["majority_by_attribute"] = dict.fromkeys(accuracy, majority)
    return told


def write(
    folder: Path,
    cells: Iterable[Mapping[str, Any]],
    *,
    cards: Mapping[str, Mapping[str, Any]] | None = None,
    outputs: Mapping[str, Sequence[str]] | None = None,
    originals: Mapping[str, bytes] | None = None,
    people: Mapping[str, int] | None = None,
) -> Results:
    """A folder of results; a cell's records are split into two shards.

    Args:
        cards: by the model's label.
        outputs: what a model answers, by its label; NAMES where it is not named.
        originals: PNG by sample id, of every data set.
        people: the person that an image shows, by sample id, in every data set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cells = list(cells)
    (folder / "suite.json").write_text(json.dumps({"schema": 1, "name": "tiny", "seed": 0}), encoding="utf-8")
    rows = [{name: value for name, value in row.items() if name != "records"} for row in cells]
    pq.write_table(pa.Table.from_pylist(rows, schema=CELL_SCHEMA), folder / "cells.parquet")
    for row in cells:
        measured = any("pass" in record for record in row["records"])
        schema = record_schema(("pass",) if measured else ())
        for shard, part in enumerate((row["records"][::2], row["records"][1::2])):
            if part:
                place = folder / "samples" / row["cell"]
                place.mkdir(parents=True, exist_ok=True)
                pq.write_table(pa.Table.from_pylist(part, schema=schema), place / f"part-{shard:05}.parquet")
    models = {
        (row["dataset"], row["model"]): {
            "dataset": row["dataset"],
            "model": row["model"],
            "use": row["model_use"],
            "parameters": json.loads(row["model_parameters"]),
            "weights": "digest",
            "outputs": list((outputs or {}).get(row["model"], NAMES)),
            "card": dict((cards or {}).get(row["model"], {})),
        }
        for row in cells
    }
    (folder / "models.json").write_text(json.dumps(list(models.values())), encoding="utf-8")
    if originals is not None:
        held = [
            {"dataset": dataset, "sample_id": sample, "original": picture}
            for dataset in {row["dataset"] for row in cells}
            for sample, picture in originals.items()
        ]
        pq.write_table(pa.Table.from_pylist(held, schema=ORIGINAL_SCHEMA), folder / "originals.parquet")
    if people is not None:
        told = [
            {"dataset": dataset, "sample_id": sample, "name": "identity", "value": float(person)}
            for dataset in {row["dataset"] for row in cells}
            for sample, person in people.items()
        ]
        pq.write_table(pa.Table.from_pylist(told, schema=ANNOTATION_SCHEMA), folder / "annotations.parquet")
    return read_results(folder)


def picture(value: int, height: int = 8, width: int = 6) -> bytes:
    """A PNG of one colour."""
    return encode(np.full((3, height, width), value, np.uint8))


def texts(figure: Any) -> str:
    """All that is written in a figure: titles, labels, ticks, legends, annotations."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    return "\n".join(found.get_text() for found in figure.findobj(Text) if found.get_visible())
