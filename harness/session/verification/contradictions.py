"""Contradictions are what no record can say, whatever the attack did: they are found without a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Any

from harness.errors import NO_ANSWER, NO_CLEAN_ANSWER, UNUSABLE_IMAGE

Record = Mapping[str, Any]

TOLERANCE = 2e-5
"""Of distances: float32 arithmetic, and the judge's own tolerance."""
NO_SOURCE = "no adversarial of the surrogate"
"""How the error of a transferred case begins that has no image."""
_OUTCOME = ("clean_correct", "reached", "valid", "success", "linf", "l2", "l0", "margin_clean", "margin_adv")
_AFTER = (
    *("reached", "reached_unrounded", "valid", "success", "linf", "l2", "l0", "margin_adv", "distance_adv"),
)
_COST = ("forwards", "backwards", "seconds")
_BEFORE = (
    "clean_correct",
    "margin_clean",
    "decisions_clean",
    "distance_clean",
    "fault",
    *_COST,
    "found",
    "zero_gradients",
)


@dataclass(frozen=True)
class Rules:
    """What the cell says of its records."""

    norm: str | None
    eps: float | None
    sees_gradients: bool
    keeps: bool
    """Each judged image is stored."""
    transferred: bool
    shape: tuple[int, int, int]
    """Of the images: channels, height, width."""
    measures: Mapping[str, tuple[float | None, float | None]]
    """The columns of the measures, with the least and the most that a success must keep."""
    observes: tuple[str, ...] = ()
    """What the model says of images beside its scores."""


def contradictions(record: Record, rules: Rules) -> list[str]:
    """Return what a record says that cannot be, in words."""
    if record["error"] is not None:
        return [*_of_error(record, rules), *_of_cost(record, rules)]
    missing = [name for name in (*_OUTCOME, *_COST) if record[name] is None]
    if missing:
        return [f"{missing[0]} is null, and there is no error"]
    checks = (_of_outcome, _of_distances, _of_comparison, _of_cost, _of_measures)
    return [fault for check in checks for fault in check(record, rules)]


def _of_outcome(record: Record, rules: Rules) -> Iterator[str]:
    reached, valid, success, fault = (record[name] for name in ("reached", "valid", "success", "fault"))
    if success != (reached and valid):
        yield f"success is {success}, but reached is {reached} and valid is {valid}"
    if fault and valid:
        yield f'valid is True, but the fault is "{fault}"'
    if fault and success:
        yield f'success is True, but the fault is "{fault}"'
    if not valid and not fault:
        yield "valid is False, but there is no fault"
    if reached and record.get("reached_unrounded") is False:
        yield "the goal is reached after rounding, but not before"
    if reached != (record["margin_adv"] > 0) and record["margin_adv"] != 0:
        yield f"reached is {reached}, but margin_adv is {record['margin_adv']:g}"
    if rules.keeps and record["adversarial"] is None:
        yield f"success is {success}, but no adversarial is stored"
    if not rules.transferred and record.get("surrogate_success") is not None:
        yield "it has surrogate_success, but is no transfer"


def _of_distances(record: Record, rules: Rules) -> Iterator[str]:
    linf, l2, l0 = record["linf"], record["l2"], record["l0"]
    channels, height, width = rules.shape
    if not all(isfinite(value) and value >= 0 for value in (linf, l2, l0)):
        yield f"linf {linf}, l2 {l2} and l0 {l0} are no distances"
        return
    slack = TOLERANCE * max(1.0, l2)
    if len({linf == 0, l2 == 0, l0 == 0}) > 1:
        yield f"of linf {linf:g}, l2 {l2:g} and l0 {l0} some are zero and some are not"
    elif l0 > height * width or not linf - slack <= l2 <= linf * sqrt(channels * l0) + slack:
        yield f"linf {linf:g}, l2 {l2:g} and l0 {l0} belong to no image of {channels}x{height}x{width}"
    size = l2 if rules.norm == "l2" else linf
    if record["valid"] and rules.eps is not None and size > rules.eps + slack:
        yield f"valid is True, but {rules.norm} {size:g} is over the budget of {rules.eps:g}"


def _of_comparison(record: Record, rules: Rules) -> Iterator[str]:
    """Yield what contradicts itself in a record of embeddings; other records are of no comparison."""
    names = ("reference", "identity", "distance_clean", "distance_adv", "threshold")
    held = [name for name in names if record.get(name) is not None]
    if not held:
        return
    lacking = [name for name in names if name not in held]
    if lacking:
        yield f"{lacking[0]} is null, but it has a {held[0]}"
        return
    if record.get("negative") is not None:
        return  # the margin of a triplet has the distance to its negative, too, which records do not have
    threshold = record["threshold"]
    for when in ("clean", "adv"):
        gap, margin = abs(threshold - record[f"distance_{when}"]), record[f"margin_{when}"]
        if abs(gap - abs(margin)) > TOLERANCE * max(1.0, abs(threshold), record[f"distance_{when}"]):
            yield f"margin_{when} is {margin:g}, but distance and threshold are {gap:g} apart"


def _of_cost(record: Record, rules: Rules) -> Iterator[str]:
    spent = {name: record[name] for name in (*_COST, "found", "zero_gradients") if name in record}
    known = {name: value for name, value in spent.items() if value is not None}
    for name, value in known.items():
        if not isfinite(value) or value < 0:
            yield f"{name} is {value}"
    if known.get("found", 0) > max(known.get("forwards", 0), 0):
        yield f"found is {known['found']}, but forwards is {known.get('forwards', 0)}"
    if known.get("zero_gradients", 0) > max(known.get("backwards", 0), 0):
        yield f"zero_gradients is {known['zero_gradients']}, but backwards is {known.get('backwards')}"
    if rules.transferred:
        if any(known.get(name) for name in _COST):
            yield "it cost something, but is a transfer"
    elif known.get("backwards") and not rules.sees_gradients:
        yield f"backwards is {known['backwards']}, but the attack sees no gradients"


def _of_measures(record: Record, rules: Rules) -> Iterator[str]:
    fault = record["fault"] or ""
    blamed = fault.partition(" below ")[0].partition(" above ")[0]
    for name, (low, high) in rules.measures.items():
        if name not in record:
            continue
        value = record[name]
        if value is None:
            if record["success"] or (blamed == name and not rules.transferred):
                yield f"{name} is null, but it is measured of such a case"
            continue
        outside = (low is not None and not value >= low) or (high is not None and not value <= high)
        if not record["success"] and blamed not in rules.measures:
            yield f"{name} is {value:g}, but only successes are measured"
        elif record["success"] and outside:
            yield f"success is True, but {name} is {value:g}, which is out of its bounds"
        elif blamed == name and not outside:
            yield f'{name} is {value:g}, but the fault is "{fault}"'


def _of_error(record: Record, rules: Rules) -> Iterator[str]:
    error = record["error"]
    if not error.strip():
        yield "the error has no text"
    after = [name for name in (*_AFTER, "decisions_adv", "adversarial") if record.get(name) is not None]
    own = [*rules.measures, *(f"{name}_adv" for name in rules.observes)]
    after += [name for name in own if record.get(name) is not None]
    if after:
        value = "there" if after[0] == "adversarial" else record[after[0]]
        yield f"{after[0]} is {value}, but there is an error"
    costs = [record[name] is not None for name in _COST]
    judged = error in (NO_ANSWER, NO_CLEAN_ANSWER, UNUSABLE_IMAGE) or error.startswith(NO_SOURCE)
    if judged and not all(costs):
        yield f'the cost is null, but the error is "{error}", which the judge found after the attack'
    if not judged:
        before = [*_BEFORE, *(f"{name}_clean" for name in rules.observes)]
        held = [name for name in before if record.get(name) is not None]
        if held:
            yield f"{held[0]} is {record[held[0]]}, but the attack ended with an error"
