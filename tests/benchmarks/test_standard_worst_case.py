"""The standard attack alone against all other attacks of its suite together, case by case.

pytest tests/benchmarks/test_standard_worst_case.py --benchmark-enable

It runs suites/standard.toml: quick MOON, separate networks, a verifier and a FaceNet, which are trained first
if the cache (HARNESS_CACHE) has none of them. Adversarials of other attacks count if they are inside the
budget, also those of attacks that look for the smallest change.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import harness

SUITE = Path(__file__).parents[2] / "suites" / "standard.toml"
CASE = ["model", "goal", "target", "sample_id", "reference"]
POINTS = 1.0
"""By how many points of the success rate it may stay behind."""
SLACK = 1e-5
"""Of distances, which are stored as float32."""


@dataclass(frozen=True)
class Sizes:
    """How many images are attacked, and on which models."""

    limit: int
    dataset: dict[str, Any]
    models: tuple[str, ...]
    attacks: tuple[str, ...]
    given: dict[str, Any]
    """Parameters of the standard attack."""


FULL = Sizes(24, {}, ("moon", "separate", "verifier", "facenet"), (), {})
TINY = Sizes(
    limit=2,
    dataset={"use": "synthetic-faces", "count": 80, "size": [32, 28], "partition": "test", "sample": 4},
    models=("separate",),
    attacks=("standard", "fgs"),
    given={"steps": 2, "queries": 2},
)


def suite_of(sizes: Sizes) -> dict[str, Any]:
    """The suite at a size."""
    suite = tomllib.loads(SUITE.read_text(encoding="utf-8"))
    if sizes.dataset:
        suite["dataset"] = [sizes.dataset]
    suite["model"] = [table for table in suite["model"] if table["use"] in sizes.models]
    if sizes.attacks:
        suite["attack"] = [table for table in suite["attack"] if table["use"] in sizes.attacks]
    for table in suite["attack"]:
        table |= sizes.given if table["use"] == "standard" else {}
    return suite


def compared(records: pd.DataFrame) -> pd.DataFrame:
    """For each model, goal and threat: success rates, in percent, of the standard attack and of all others.

    Cases are those that were classified correctly before. Each image of another attack counts for every
    threat whose budget it keeps to.
    """
    records = records[records["clean_correct"].astype(bool)].fillna({"reference": ""})
    ensemble = records["attack"].str.startswith("standard")
    others = records[~ensemble & records["success"].astype(bool)]
    rows = []
    for threat, own in records[ensemble].groupby("threat"):
        norm, _, text = str(threat).partition(" ")
        eps = float(Fraction(text))
        fallen = others.loc[others[norm] <= eps + SLACK, CASE].drop_duplicates().assign(fell=True)
        joined = own.merge(fallen, on=CASE, how="left")
        joined["fell"] = joined["fell"].notna()
        for (model, goal), group in joined.groupby(["model", "goal"]):
            rows.append({
                "model": model, "goal": goal, "threat": threat, "cases": len(group),
                "standard": 100 * group["success"].astype(bool).mean(), "others": 100 * group["fell"].mean(),
                "missed": sorted(group.loc[group["fell"] & ~group["success"].astype(bool), "sample_id"]),
            })  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.benchmark(group="the standard attack")
def test_no_other_attacks_together_are_stronger(
    timed: Any, report: Any, sizes: Sizes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_earnest: bool
) -> None:
    if not in_earnest:
        monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    suite = suite_of(sizes)
    results, _ = timed(lambda: harness.run(suite, out=tmp_path / "out", limit=sizes.limit), rounds=1)
    records = results.samples()
    assert records["error"].isna().all()
    table = compared(records)
    assert set(table["model"]) == set(sizes.models)
    for row in table.itertuples():
        name = f"standard on {row.model}, {row.goal}, {row.threat}, {row.cases} cases"
        report(name, row.standard, "%", at_least=row.others - POINTS)
