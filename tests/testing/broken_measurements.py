"""Metrics, analyses and converters that break one promise each, and sound ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from harness.analysis import Analysis
from harness.errors import HarnessError
from harness.metrics import NOTHING, Estimate, mean, rate

CALLS = [0]


def share(records: pd.DataFrame) -> Estimate:
    """Sound: the share of successes with a small change."""
    hits = records["success"].astype(bool) & (records["linf"] < 3 / 255)
    return rate(hits, records["sample_id"])


def raises_on_nothing(records: pd.DataFrame) -> Estimate:
    value = float(records["linf"][records["success"].astype(bool)].iloc[0])
    return Estimate(value, None, None, len(records))


def divides_by_nothing(records: pd.DataFrame) -> Estimate:
    return Estimate(float(records["success"].sum() / np.float64(len(records))), None, None, len(records))


def returns_a_number(records: pd.DataFrame) -> Any:
    return float(len(records))


def returns_text(records: pd.DataFrame) -> Estimate:
    return Estimate("0.5", None, None, 0)  # type: ignore[arg-type]


def swaps_the_limits(records: pd.DataFrame) -> Estimate:
    found = share(records)
    return Estimate(found.value, found.high, found.low, found.n)


def counts_too_many(records: pd.DataFrame) -> Estimate:
    return NOTHING if records.empty else Estimate(0.5, None, None, 1000)


def reads_another_column(records: pd.DataFrame) -> Estimate:
    return mean(records["l2"])


def takes_the_first(records: pd.DataFrame) -> Estimate:
    return NOTHING if records.empty else Estimate(float(records["linf"].iloc[-1]), None, None, 1)


def draws(records: pd.DataFrame) -> Estimate:
    return NOTHING if records.empty else Estimate(float(np.random.default_rng().random()), None, None, 1)


def fills_in_place(records: pd.DataFrame) -> Estimate:
    records["linf"] = records["linf"] * 255
    return share(records)


# --- analyses ---------------------------------------------------------------------------------------------


def tally(results: Any) -> Analysis:
    """Sound: how often each model was fooled."""
    cases = results.samples(["success"])
    counts = cases.groupby("model")["success"].sum() if len(cases) else {}
    return Analysis(pd.DataFrame({"model": list(dict(counts)), "fooled": list(dict(counts).values())}))


def says_why(results: Any) -> Analysis:
    if not len(results.samples(["success"])):
        raise HarnessError(f"{results.path}: nothing was attacked")
    return tally(results)


def needs_a_success(results: Any) -> Analysis:
    cases = results.samples(["linf", "success"])
    smallest = cases["linf"][cases["success"].fillna(False).astype(bool)].min()
    return Analysis(pd.DataFrame({"levels": [int(smallest * 255)]}))


def needs_a_record(results: Any) -> Analysis:
    return Analysis(pd.DataFrame({"first": [results.samples(["linf"])["linf"].iloc[0]]}))


def returns_a_frame(results: Any) -> Any:
    return tally(results).table


def returns_rows(results: Any) -> Analysis:
    return Analysis([{"a": 1}])  # type: ignore[arg-type]


def numbers_its_columns(results: Any) -> Analysis:
    return Analysis(pd.DataFrame(np.zeros((2, 2))))


def holds_objects(results: Any) -> Analysis:
    return Analysis(pd.DataFrame({"what": [object(), 1]}))


def counts_its_calls(results: Any) -> Analysis:
    CALLS[0] += 1
    return Analysis(pd.DataFrame({"call": [CALLS[0]]}))


def writes_beside(results: Any) -> Analysis:
    (results.path / "more.csv").write_text("1")
    return tally(results)


# --- converters -------------------------------------------------------------------------------------------


class Shown:
    """A model of another library."""

    def __init__(self, model: Any, change: Any = None) -> None:
        self.model, self.change = model, change

    def __call__(self, x: torch.Tensor) -> Any:
        scores = self.model.scores(x)
        if self.model.head == "attributes":
            scores = torch.cat([-scores, scores], 1) / 2
        if self.model.access == "decisions":
            scores = torch.nn.functional.one_hot(scores.argmax(1), scores.shape[1]).float()
        return self.change(scores) if self.change else scores


def shows(model: Any) -> Any:
    """Sound."""
    return Shown(model)


def shows_probabilities(model: Any) -> Any:
    """Sound as well."""
    return Shown(model, lambda scores: scores.softmax(1))


def for_no_attributes(model: Any) -> Any:
    if model.head == "attributes":
        raise HarnessError("it is for classes only")
    return Shown(model)


def rounds(model: Any) -> Any:
    return Shown(model, lambda scores: scores.round(decimals=1))


def clips(model: Any) -> Any:
    return Shown(model, lambda scores: scores.clamp(-0.1, 0.1))


def drops_a_class(model: Any) -> Any:
    return Shown(model, lambda scores: scores[:, :-1])


def reverses(model: Any) -> Any:
    return Shown(model, lambda scores: scores.flip(1))


def answers_with_words(model: Any) -> Any:
    return Shown(model, lambda scores: ["no"] * len(scores))


def fails(model: Any) -> Any:
    raise TypeError("unexpected model")


def shows_all(model: Any) -> Any:
    from dataclasses import replace

    return Shown(replace(model, access="gradients"))


class Awake(Shown):
    def __call__(self, x: torch.Tensor) -> Any:
        self.model.module.eval()
        return super().__call__(x)


def leaves_eval_mode(model: Any) -> Any:
    return Awake(model)


class Dark(Shown):
    def __call__(self, x: torch.Tensor) -> Any:
        self.model.module.weight.data.mul_(1.000001)
        return super().__call__(x)


def trains(model: Any) -> Any:
    return Dark(model)
