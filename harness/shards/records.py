"""A judged batch becomes record columns here, measures included."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.cases.cases import Cases
from harness.dataset import Dataset
from harness.goals import TripletObjective, VerificationObjective
from harness.judge.trial import Trial
from harness.judge.verdict import Verdict
from harness.model.observation import observed
from harness.plan.measures import MeasureChoice
from harness.precision import exact
from harness.shards.context import CellContext
from harness.store import png


class ToldError(Exception):
    """An attack's process told of an error; the text is the one by which records name it."""


class ToldMemoryError(ToldError, MemoryError):
    """An attack's process had too little memory for a batch."""


def failure(error: Exception) -> str:
    """Return the text by which records name an error."""
    if isinstance(error, ToldError):
        return str(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def case_of(record: Mapping[str, Any]) -> tuple[str, str | None, str | None]:
    """Return what tells a record from the others of its shard: image, target and reference."""
    return record["sample_id"], record["target"], record.get("reference")


def names_of(dataset: Dataset, cases: Cases) -> list[tuple[str, str | None, str | None]]:
    """Return the same of cases that have no record yet."""
    ids = [dataset.ids[row] for row in cases.rows]
    if cases.references is None:
        return [(name, target, None) for name, target in zip(ids, cases.targets, strict=True)]
    compared = [dataset.ids[row] for row in cases.references]
    return list(zip(ids, cases.targets, compared, strict=True))


def pairs_of(context: CellContext, cases: Cases) -> dict[str, list[Any]]:
    """Return the record columns that say what is compared, of embeddings; none of other cases."""
    if cases.references is None or context.verifier is None:
        return {}
    columns: dict[str, list[Any]] = {
        "reference": [context.dataset.ids[row] for row in cases.references],
        "identity": [context.verifier.drawn.people[int(row)] for row in cases.rows],
        "threshold": [context.verifier.threshold] * len(cases),
    }
    if cases.negatives is not None:
        columns["threshold"] = [context.verifier.drawn.settings.margin] * len(cases)
        columns["negative"] = [context.dataset.ids[row] for row in cases.negatives]
    return columns


def columns_of(context: CellContext, batch: Cases, trial: Trial) -> dict[str, list[Any]]:
    """Return the record columns of a batch that was judged, with measures and observations."""
    measures = {measure: measured(measure, trial) for measure in context.measures}
    verdict, objective = _constrained(trial.verdict, measures), trial.objective
    failed = [bool(error) for error in verdict.errors]

    def outcome(values: Tensor) -> list[Any]:
        return [None if bad else value for bad, value in zip(failed, values.tolist(), strict=True)]

    columns: dict[str, list[Any]] = {
        "clean_correct": [
            bool(right) if known else None
            for right, known in zip(
                objective.correct.tolist(), trial.clean.flatten(1).isfinite().all(1).tolist(), strict=True
            )
        ],
        "reached": outcome(verdict.reached),
        "reached_unrounded": [None] * len(batch) if verdict.unrounded is None else outcome(verdict.unrounded),
        "valid": outcome(verdict.valid),
        "success": outcome(verdict.success),
        "fault": [fault or None for fault in verdict.faults],
        "linf": outcome(verdict.linf),
        "l2": outcome(verdict.l2),
        "l0": outcome(verdict.l0),
        "margin_clean": objective.margin(trial.clean).tolist(),
        "margin_adv": outcome(verdict.margin),
        "forwards": trial.forwards.tolist(),
        "backwards": trial.backwards.tolist(),
        "seconds": [trial.seconds / len(batch)] * len(batch),
        "found": [None if passes < 0 else passes for passes in trial.meter.found.tolist()],
        "zero_gradients": trial.meter.zero_gradients.tolist(),
        "found_by": trial.meter.names_of_finders(),
        "error": [error or None for error in verdict.errors],
    }
    if context.model.head == "attributes":
        columns["decisions_clean"] = context.model.decide(trial.clean).tolist()
        columns["decisions_adv"] = outcome(context.model.decide(verdict.outputs))
    if isinstance(objective, VerificationObjective | TripletObjective):
        columns["distance_clean"] = objective.distances(trial.clean).tolist()
        columns["distance_adv"] = outcome(objective.distances(verdict.outputs))
    if context.observes:
        columns |= _observed(context, batch, trial, outcome)
    if context.cell.keep:
        kept = pictures(verdict.adversarials.cpu())
        columns["adversarial"] = [None if bad else picture for bad, picture in zip(failed, kept, strict=True)]
    for measure, values in measures.items():
        columns[measure.column] = values
    return columns


def _observed(
    context: CellContext, batch: Cases, trial: Trial, outcome: Callable[[Tensor], list[Any]]
) -> dict[str, list[Any]]:
    """Return what the model says of the originals and of the judged images beside its scores."""
    asked = torch.from_numpy(batch.columns)
    found: dict[str, list[Any]] = {}
    for when, x in (("clean", trial.x), ("adv", trial.verdict.adversarials)):
        numbers = observed(context.model, context.observes, x, asked).cpu()
        for name, column in zip(context.observes, numbers.T, strict=True):
            values = column.tolist() if when == "clean" else outcome(column)
            known = [value if value is not None and isfinite(value) else None for value in values]
            found[f"{name}_{when}"] = known
    return found


def _constrained(verdict: Verdict, measures: Mapping[MeasureChoice, list[float | None]]) -> Verdict:
    """Return the verdict in which a success that breaks a bound of a measure is not valid."""
    for measure, values in measures.items():
        low, high = measure.at_least, measure.at_most
        if low is None and high is None:
            continue
        faults, kept = list(verdict.faults), []
        for case, value in enumerate(values):
            fault = ""
            if value is not None and low is not None and not value >= low:
                fault = f"{measure.column} below {low:g}"
            elif value is not None and high is not None and not value <= high:
                fault = f"{measure.column} above {high:g}"
            kept.append(not fault)
            faults[case] = faults[case] or fault
        verdict = verdict.restricted(torch.tensor(kept, device=verdict.valid.device), tuple(faults))
    return verdict


def measured(measure: MeasureChoice, trial: Trial) -> list[float | None]:
    """Return a measure of each successful case; None for others, which have no adversarial to measure."""
    successful = trial.verdict.success
    values: list[float | None] = [None] * len(successful)
    if successful.any():
        pair = trial.verdict.adversarials[successful], trial.x[successful]
        with exact(trial.x.device):
            found = measure.entry.call(measure.entry.spec.run, *pair, values=measure.parameters)
        found = np.asarray(found.detach().cpu() if isinstance(found, Tensor) else found)
        for case, value in zip(torch.nonzero(successful).flatten().tolist(), found, strict=True):
            values[case] = float(value)
    return values


def pictures(images: Tensor) -> list[bytes]:
    """Return images (B, C, H, W) on the 8-bit grid as PNG, without loss; C is 1 or 3."""
    parts = np.array_split((images * 255).round_().to(torch.uint8).numpy(), torch.get_num_threads())
    with ThreadPoolExecutor(len(parts)) as threads:  # OpenCV lets others compute meanwhile
        made = threads.map(lambda part: [png.encode(pixels) for pixels in part], parts)
        return [picture for part in made for picture in part]


def decode(picture: bytes, channels: int) -> Tensor:
    """Return the image (C, H, W), float32 in [0, 1], of a PNG that ``pictures`` made.

    Raises:
        ValueError: it is no readable PNG.
    """
    return torch.from_numpy(png.decode(picture, channels)).float() / 255
