"""Stored images are judged again here, and what a model says of the originals is computed again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.cases.cases import Cases
from harness.errors import NO_CLEAN_ANSWER
from harness.goals import Objective, TripletObjective, VerificationObjective
from harness.handle import Meter
from harness.judge.region import with_region
from harness.judge.trial import Trial
from harness.judge.verdict import Verdict, judge
from harness.model.observation import observed
from harness.session.verification.contradictions import NO_SOURCE
from harness.session.verification.report import Report
from harness.shards.context import images
from harness.shards.jobs import Job
from harness.shards.records import case_of, decode, measured
from harness.store.parquet import read_parquet
from harness.threat import Threat

Record = dict[str, Any]
Faults = dict[int, list[str]]

DISTANCE = 1e-5
"""What float32 may change in a distance on another machine, as a share of it above 1."""
ANSWER = 1e-4
"""What it may change in a model's answer, as a share of the largest one above 1."""
NEAR = 1e-5
"""An answer this near to the boundary may be decided by it."""
STEPS = 32
"""Answers of models in half precision may change by so many of its steps."""
MEASURE = 1e-3
"""What it may change in a measure or an observation, as a share of it above 1."""
TRIES, UNSEEN = 8, 1e-6
"""So many images, with pixels that differ by so much, are as good as the same: see compare_observations."""


_COMPARED = VerificationObjective | TripletObjective
"""Objectives that know the distance to another image."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What is judged again: the records of a shard, and the case of each."""

    job: Job
    records: list[Record]
    cases: Cases
    steady: bool
    """The model gives the same answers to the same images."""

    @cached_property
    def rounding(self) -> float:
        """Return what the precision of the model's weights may change in its answers, as a share."""
        tensors = self.job.context.model.module.parameters()
        steps = (torch.finfo(tensor.dtype).eps for tensor in tensors if tensor.is_floating_point())
        return STEPS * max(steps, default=0.0)

    @property
    def answer(self) -> float:
        """Return by how much an answer may differ, as a share of the largest."""
        return max(ANSWER, self.rounding)

    @property
    def near(self) -> float:
        """Return how near to the boundary an answer may be decided by rounding errors, as a share."""
        return max(NEAR, self.rounding)


def lend_pictures(subject: Subject, source: Path, faults: Faults) -> None:
    """Give the records of a transfer the images that they are of, and compare what both say of them."""
    names = {"sample_id", "target", "reference", "adversarial", "success", "fault"}
    made = {case_of(record): record for record in read_parquet(source, names).to_pylist()}
    for row, record in enumerate(subject.records):
        own = made.get(case_of(record))
        picture = own["adversarial"] if own else None
        theirs = own["success"] if own else None
        if record["surrogate_success"] != theirs:
            faults[row].append(f"surrogate_success is {theirs}, recorded {record['surrogate_success']}")
        if record["error"] is None:
            record["adversarial"] = picture
            if picture is None:
                faults[row].append("it has an outcome, but its surrogate has no image of it")
            elif own and own["fault"] and own["fault"] != record["fault"]:
                faults[row].append(f'the fault of its image is "{own["fault"]}", recorded {record["fault"]}')
        elif record["error"].startswith(NO_SOURCE) and picture is not None:
            faults[row].append(f'the error is "{record["error"]}", but the surrogate has an image of it')


def compare_originals(subject: Subject, faults: Faults, report: Report) -> None:
    """Compare what the records say of the originals with the model's answers."""
    context = subject.job.context
    rows = [row for row, record in enumerate(subject.records) if record["margin_clean"] is not None]
    if not rows or not subject.steady:
        return
    cases = subject.cases.select(np.array(rows, np.intp))
    clean = context.clean.at(cases.rows)
    objective = context.goal_of(cases).objective(context.model, clean)
    margins, correct = objective.margin(clean), objective.correct.tolist()
    sizes, finite = _sizes(clean), clean.flatten(1).isfinite().all(1).tolist()
    decisions = context.model.decide(clean).tolist() if context.model.head == "attributes" else None
    apart = objective.distances(clean).tolist() if isinstance(objective, _COMPARED) else None
    sure = (clean.abs() > subject.near * sizes[:, None]).tolist()
    for at, row in enumerate(rows):
        record, own = subject.records[row], faults[row]
        margin = float(margins[at])
        own += number("margin_clean", margin, record["margin_clean"], subject.answer * float(sizes[at]))
        near = abs(margin) <= subject.near * float(sizes[at])
        if record["error"] == NO_CLEAN_ANSWER and finite[at] and margin == margin:
            own.append(f'the error is "{record["error"]}", but it is finite')
        if finite[at] and not near and record["clean_correct"] != correct[at]:
            own.append(f"clean_correct is {correct[at]}, recorded {record['clean_correct']}")
        if apart is not None:
            allowed = subject.answer * float(sizes[at])
            own += number("distance_clean", apart[at], record.get("distance_clean"), allowed)
        if decisions is not None:
            own += _decisions("decisions_clean", decisions[at], record.get("decisions_clean"), sure[at])
    if context.observes:
        x = images(context.dataset, cases.rows, context.model.device)
        compare_observations(subject, rows, x, "clean", faults, report)


def compare_observations(
    subject: Subject, rows: list[int], x: Tensor, when: str, faults: Faults, report: Report
) -> None:
    """Compare what the model says of images (B, C, H, W), those of some records, beside its scores.

    What changes in steps, such as the place of a maximum, may be decided by rounding errors. So a number that
    differs is no fault if it is that of an image which nobody can tell from this one; it counts as near.
    """
    model, names = subject.job.context.model, subject.job.context.observes
    if not names or not rows or not subject.steady:
        return
    asked = torch.from_numpy(subject.cases.columns[np.array(rows, np.intp)])
    for at, ours in enumerate(observed(model, names, x, asked).tolist()):
        theirs = {name: subject.records[rows[at]].get(f"{name}_{when}") for name in names}
        wrong = _other_numbers(ours, theirs, when)
        if wrong:
            noise = torch.randn((TRIES, *x.shape[1:]), generator=torch.Generator().manual_seed(0))
            alike = x[at] + UNSEEN * noise.to(x)
            tried = observed(model, names, alike, asked[at].expand(TRIES))
            if all(_other_numbers(each, theirs, when) for each in tried.tolist()):
                faults[rows[at]] += wrong
            else:
                report.near += 1


def _other_numbers(ours: list[float], theirs: dict[str, Any], when: str) -> list[str]:
    """Return which of a case's observations are others than recorded; what is not finite is null there."""
    found: list[str] = []
    for (name, recorded), value in zip(theirs.items(), ours, strict=True):
        if recorded is not None or isfinite(value):
            found += number(f"{name}_{when}", value, recorded, MEASURE * max(1.0, abs(value)))
    return found


def compare_pictures(subject: Subject, faults: Faults, report: Report) -> None:
    """Judge the stored images again, and compare what comes out with the records."""
    context = subject.job.context
    dataset = context.dataset
    pictures: dict[int, Tensor] = {}
    for row, record in enumerate(subject.records):
        if record["adversarial"] is None:
            continue
        try:
            pictures[row] = _picture(record["adversarial"], dataset.shape)
        except ValueError as error:
            faults[row].append(str(error))
    report.compared += len(pictures)
    if not pictures:
        return
    rows, chosen = list(pictures), torch.tensor(list(pictures))
    clean = context.clean.at(subject.cases.rows)
    objective = context.goal_of(subject.cases).objective(context.model, clean).take(chosen)
    attack = context.cell.attack
    threat = with_region(attack.entry, attack.parameters, attack.threat, dataset.shape[1:])
    x = images(dataset, subject.cases.rows[rows], context.model.device)
    x_adv = torch.stack(list(pictures.values())).to(x)
    verdict = judge(context.model, objective, threat, x, x_adv, clean=clean[chosen])
    again = _Again(subject, verdict, threat, x, objective)
    for at, row in enumerate(rows):
        record = subject.records[row]
        if record["error"] is None:
            faults[row] += again.faults(at, record)
            report.near += again.near(at)
    judged = [at for at, row in enumerate(rows) if subject.records[row]["error"] is None]
    compare_observations(
        subject, [rows[at] for at in judged], verdict.adversarials[judged], "adv", faults, report
    )
    _compare_measures(subject, rows, Trial(x, clean[chosen], objective, verdict, Meter(len(x)), 0.0), faults)


@dataclass(frozen=True, eq=False)
class _Again:
    """A judgement that is made again, with what it is of."""

    subject: Subject
    verdict: Verdict
    threat: Threat
    x: Tensor
    objective: Objective

    def near(self, at: int) -> bool:
        """Say whether an image lies so near to the boundary that float32 decides."""
        size = float(_sizes(self.verdict.outputs[at : at + 1])[0])
        return abs(float(self.verdict.margin[at])) <= self.subject.near * size

    def faults(self, at: int, record: Record) -> Iterator[str]:
        """Return what differs between the judgement of an image and its record."""
        verdict = self.verdict
        if verdict.errors[at]:
            yield f'the error is "{verdict.errors[at]}", recorded none'
            return
        for name in ("linf", "l2"):
            ours = float(getattr(verdict, name)[at])
            yield from number(name, ours, record[name], DISTANCE * max(1.0, ours))
        yield from number("l0", float(verdict.l0[at]), record["l0"], 0.0)
        steady = self.subject.steady
        decided = steady and not self.near(at)
        reached, valid = bool(verdict.reached[at]), bool(verdict.valid[at])
        expected = {"reached": reached} if decided else {}
        if record["fault"]:
            # What broke a bound was the image as it was returned; what is stored is its rounding.
            yield from self._fault(at, record["fault"])
        else:
            expected |= {"valid": valid} | ({"success": reached and valid} if decided else {})
        for name, value in expected.items():
            if record[name] != value:
                yield f"{name} is {value}, recorded {record[name]}"
        if steady:
            outputs = verdict.outputs[at]
            size = float(_sizes(outputs[None])[0])
            allowed = self.subject.answer * size
            yield from number("margin_adv", float(verdict.margin[at]), record["margin_adv"], allowed)
            if isinstance(self.objective, _COMPARED):
                row = torch.tensor([at], device=outputs.device)
                apart = float(self.objective.take(row).distances(outputs[None])[0])
                yield from number("distance_adv", apart, record.get("distance_adv"), allowed)
            if self.subject.job.context.model.head == "attributes":
                decided_now = self.subject.job.context.model.decide(outputs[None])[0].tolist()
                far = (outputs.abs() > self.subject.near * size).tolist()
                yield from _decisions("decisions_adv", decided_now, record.get("decisions_adv"), far)

    def _fault(self, at: int, fault: str) -> Iterator[str]:
        """Return why the stored image cannot be the rounding of one with this fault."""
        image, threat = self.verdict.adversarials[at], self.threat
        if fault == "outside the region" and self.verdict.faults[at] != fault:
            yield f'the fault is "{fault}", but the stored image keeps to it'
        if fault == "outside the box" and not ((image == 0) | (image == 1)).any():
            yield f'the fault is "{fault}", but the stored image touches neither end of the pixel range'
        if fault == "over the budget":
            size = float(threat.distance(image[None] - self.x[at : at + 1])[0])
            if threat.eps is None:
                yield f'the fault is "{fault}", but there is no budget'
            elif size <= threat.eps - self._lost_by_rounding() + DISTANCE:
                yield f'the fault is "{fault}", but the stored image keeps to it'

    def _lost_by_rounding(self) -> float:
        """Return by how much rounding may have shortened what was over the budget and its slack."""
        if self.threat.levels is None or self.threat.norm != "l2":
            return 0.0
        components = self.x[0].numel()
        return 0.5 * sqrt(components) / self.threat.levels - self.threat.rounding_slack(components)


def _compare_measures(subject: Subject, rows: list[int], trial: Trial, faults: Faults) -> None:
    """Measure the successes again, and compare with the records that have a number."""
    for measure in subject.job.context.measures:
        column = measure.column
        held = [(at, row) for at, row in enumerate(rows) if subject.records[row].get(column) is not None]
        if not held:
            continue
        found = measured(measure, trial)
        for at, row in held:
            value, recorded = found[at], subject.records[row][column]
            if value is not None:  # else its success differs, too
                faults[row] += number(column, value, recorded, MEASURE * max(1.0, abs(value)))


def _picture(stored: bytes, shape: tuple[int, int, int]) -> Tensor:
    picture = decode(stored, shape[0])
    if picture.shape != shape:
        raise ValueError(f"the stored adversarial is {tuple(picture.shape)}, the image {shape}")
    return picture


def _sizes(outputs: Tensor) -> Tensor:
    """Return (B,) the largest finite answer to each image, and at least 1."""
    return outputs.abs().nan_to_num(0, 0, 0).flatten(1).amax(1).clamp_min(1)


def number(name: str, ours: float, theirs: Any, tolerance: float) -> list[str]:
    """Return the difference of two numbers, where it is larger than the tolerance."""
    same = theirs is not None and (
        abs(ours - theirs) <= tolerance or ours == theirs or (ours != ours and theirs != theirs)
    )
    return [] if same else [f"{name} is {ours}, recorded {theirs}"]


def _decisions(name: str, ours: list[bool], theirs: list[bool] | None, sure: list[bool]) -> list[str]:
    if theirs is None or len(ours) != len(theirs):
        return [f"{name} are {len(ours)}, recorded {theirs if theirs is None else len(theirs)}"]
    wrong = [at for at, one in enumerate(ours) if sure[at] and one != theirs[at]]
    return [f"{name}[{wrong[0]}] is {ours[wrong[0]]}, recorded {theirs[wrong[0]]}"] if wrong else []


def empty_faults(records: list[Record]) -> Faults:
    """Return a list of faults for each record, with none in it yet."""
    return {row: [] for row in range(len(records))}
