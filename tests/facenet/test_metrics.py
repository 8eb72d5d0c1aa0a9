"""SA, RA and S&R against counts by hand, at the margin and at zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.metrics import NOTHING, rate
from harness_facenet import harness_metrics, triplet_metrics as metrics


def records(**changes: Any) -> pd.DataFrame:
    """Eight triplets of four persons with the margin .2: five right clean, and two under attack."""
    clean = [-0.5, -0.4, -0.3, -0.2, -0.1, 0.1, 0.15, 0.3]
    after = [-0.1, -0.05, 0.1, 0.19, 0.21, 0.4, 0.5, 0.6]
    columns: dict[str, Any] = {
        "sample_id": [f"{row}" for row in range(8)],
        "goal": ["triplet"] * 8,
        "margin_clean": clean,
        "margin_adv": after,
        "threshold": [0.2] * 8,
        "valid": [True] * 8,
        "error": [None] * 8,
        "cluster": list("aabbccdd"),
    }
    return pd.DataFrame({**columns, **changes})


def test_accuracies_are_shares_of_triplets() -> None:
    found = records()
    assert metrics.standard_accuracy(found).value == pytest.approx(5 / 8)
    assert metrics.robust_accuracy(found).value == pytest.approx(2 / 8)
    assert metrics.both_accuracy(found).value == pytest.approx(7 / 16)
    assert metrics.standard_accuracy_at_zero(found).value == pytest.approx(7 / 8)
    assert metrics.robust_accuracy_at_zero(found).value == pytest.approx(4 / 8)
    assert metrics.both_accuracy_at_zero(found).value == pytest.approx(11 / 16)


def test_intervals_are_over_persons() -> None:
    """Persons whose triplets agree are four cases, not eight."""
    found = records(margin_adv=[-1, -1, -1, -1, 1, 1, 1, 1])
    assert metrics.robust_accuracy(found) == rate(np.repeat([True, False], 4), list("aabbccdd"))
    wide, narrow = metrics.robust_accuracy(found), metrics.robust_accuracy(found.assign(cluster=range(8)))
    assert None not in (wide.low, narrow.low)
    assert wide.low < narrow.low  # type: ignore[operator]


def test_an_invalid_adversarial_leaves_the_clean_image() -> None:
    found = records(valid=[True, True, False, True, True, True, True, True])
    assert metrics.robust_accuracy(found).value == pytest.approx(3 / 8)


def test_other_cases_and_errors_do_not_count() -> None:
    mixed = records(goal=["triplet"] * 4 + ["evade"] * 4, error=[None, "x"] + [None] * 6)
    assert metrics.standard_accuracy(mixed).n == 3
    assert metrics.standard_accuracy(records(goal=["evade"] * 8)) == NOTHING
    assert metrics.both_accuracy(records().iloc[:0]) == NOTHING


def test_every_spec_names_a_function() -> None:
    specs = harness_metrics()
    assert len(specs) == 6
    for spec in specs:
        module, _, name = spec.run.partition(":")
        assert module == "harness_facenet.triplet_metrics"
        assert callable(getattr(metrics, name))
        assert {*metrics.COLUMNS, "cluster"} == set(spec.columns)
    assert metrics.right(records(), at_margin=True)[0].sum() == 5
