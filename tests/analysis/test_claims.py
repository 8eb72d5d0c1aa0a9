"""Findings by intervals, verdicts by findings, and a table and figure of claims."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from harness.analysis import claims, drawing
from harness.analysis.claims import FAILS, HOLDS, OPEN, Claim, Finding, Missing, larger, told, verdict, within
from harness.metrics import NOTHING, Estimate


@dataclass(frozen=True)
class Item:
    """What a number is of."""

    name: str = "moon on faces"
    coverage: float | None = 1.0
    reason: str | None = None


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> Estimate:
    return Estimate(value, low, high, 0 if value is None else 10)


def test_estimates_in_words() -> None:
    assert told(estimate(0.5, 0.25, 0.75)) == "0.50 [0.25, 0.75]"
    assert told(estimate(0.5, 0.25, 0.75), drawing.percent, drawing.number) == "50.0 % [0.25, 0.75]"
    assert told(estimate(0.5)) == "0.50 (no interval)"
    assert told(NOTHING) == "none"


@pytest.mark.parametrize(
    ("found", "holds", "clear"),
    [
        (estimate(0.4, 0.3, 0.45), True, True),
        (estimate(0.4, 0.3, 0.6), True, False),
        (estimate(0.6, 0.45, 0.7), False, False),
        (estimate(0.6, 0.55, 0.7), False, True),
        (estimate(0.5, 0.4, 0.6), True, False),
        (estimate(0.4), True, False),
    ],
)
def test_a_comparison_is_clear_where_its_interval_is_on_one_side(
    found: Estimate, holds: bool, clear: bool
) -> None:
    judged = within(found, "ratio", at_most=0.5)
    assert isinstance(judged, Finding)
    assert (judged.holds, judged.clear) == (holds, clear)
    assert judged.text == f"ratio {told(found)}"


def test_strict_bounds_and_nothing_to_measure() -> None:
    judged = within(estimate(1.0, 0.9, 1.1), "ratio", at_least=1.0, strict=True)
    assert isinstance(judged, Finding)
    assert not judged.holds
    assert within(NOTHING, "ratio") == Missing("ratio: there is nothing to measure")
    used = (Item(reason="no weights"), Item(), Item(reason="no weights"))
    assert within(NOTHING, "ratio:", used=used) == Missing("ratio: moon on faces: no weights")


@pytest.mark.parametrize(
    ("difference", "holds", "clear"),
    [
        (estimate(0.4, 0.3, 0.5), True, True),
        (estimate(0.05, -0.1, 0.2), True, False),
        (estimate(-0.4, -0.5, -0.3), False, True),
        (estimate(-0.1, -0.2, 0.1), False, False),
        (estimate(0.0, 0.0, 0.0), False, False),
        (estimate(0.4), True, False),
    ],
)
def test_one_estimate_against_another_is_decided_by_their_difference(
    difference: Estimate, holds: bool, clear: bool
) -> None:
    first, second = estimate(0.5, 0.1, 0.9), estimate(0.45, 0.1, 0.9)
    judged = larger(first, second, difference, "rate", names=("A", "B"))
    assert isinstance(judged, Finding)
    assert (judged.holds, judged.clear) == (holds, clear)
    assert judged.text == f"rate: A {told(first)} vs B {told(second)}, difference {told(difference)}"
    assert isinstance(larger(first, NOTHING, difference, "rate"), Missing)
    assert isinstance(larger(first, second, NOTHING, "rate"), Missing)


YES, NO, UNDECIDED = Finding("a", True, True), Finding("c", False, True), Finding("b", True, False)
AGAINST_BUT_UNDECIDED = Finding("d", False, False)


@pytest.mark.parametrize(
    ("found", "expected", "counts"),
    [
        ([YES], HOLDS, (1, 0, 0)),
        ([YES, YES], HOLDS, (2, 0, 0)),
        ([YES, UNDECIDED], OPEN, (1, 1, 0)),
        ([UNDECIDED], OPEN, (0, 1, 0)),
        ([YES, AGAINST_BUT_UNDECIDED], OPEN, (1, 1, 0)),
        ([YES, NO], FAILS, (1, 0, 1)),
        ([UNDECIDED, NO], FAILS, (0, 1, 1)),
    ],
)
def test_only_clear_comparisons_decide(
    found: list[Finding], expected: str, counts: tuple[int, int, int]
) -> None:
    row = verdict(found, "")
    assert row["verdict"] == expected
    assert (row["held"], row["undecided"], row["against"]) == counts
    assert row["comparisons"] == sum(counts)


def test_what_is_missing_is_told() -> None:
    assert "not compared: d" in verdict([YES, Missing("d")], "")["detail"]
    assert verdict([], "nothing") == {
        "ours": "", "comparisons": 0, "held": 0, "undecided": 0, "against": 0, "verdict": OPEN,
        "coverage": None, "detail": "nothing",
    }  # fmt: skip
    assert verdict([Missing("d")], "nothing")["detail"] == "d"


def test_the_detail_tells_what_speaks_against_it_and_what_decides_nothing() -> None:
    row = verdict([UNDECIDED, YES, NO], "", lambda used: [f"of {len(used)}"])
    assert row["ours"] == "b; a; c"
    assert row["detail"] == (
        "1 of 3 comparisons clearly hold. 1 clearly against it: c. 1 within the 95 % interval: b. of 0"
    )


def test_a_verdict_covers_what_its_least_covered_number_covers() -> None:
    half, unknown = Item(coverage=0.5), Item(coverage=None)
    row = verdict([Finding("a", True, True, (Item(), half)), Finding("b", True, True, (half,))], "")
    assert (row["verdict"], row["coverage"]) == (HOLDS, 0.5)
    assert verdict([Finding("a", True, True, (half, unknown))], "")["coverage"] == 0.0
    twice = [Finding("a", True, True, (half,)), Finding("b", True, True, (half,))]
    row = verdict(twice, "", lambda used: [item.name for item in used])
    assert row["detail"] == "2 of 2 comparisons clearly hold. moon on faces"


@dataclass(frozen=True)
class Faces:
    """A subject of claims."""

    task: str
    rates: tuple[Estimate, ...]
    stand_in_for: str | None = None

    @property
    def identity(self) -> dict[str, Any]:
        return {"task": self.task, "stand_in_for": self.stand_in_for}


@dataclass(frozen=True)
class Bars:
    """From where on claims hold."""

    least: float = 0.5

    @property
    def told(self) -> dict[str, str]:
        return {"least": f"{self.least:g}"}


def robust(faces: Faces, bars: Bars) -> Iterator[Finding | Missing]:
    for rate in faces.rates:
        yield within(rate, "rate", at_least=bars.least, used=(Item(),))


ROBUST = Claim(
    "faces are robust",
    paper="yes",
    conditions="at least {least}",
    judge=robust,
    missing="no rate",
    short="robust",
)
SURE = estimate(0.9, 0.8, 0.95)


def test_a_table_has_a_row_for_each_subject_and_claim() -> None:
    subjects = [Faces("Male", (SURE,)), Faces("Wearing_Hat", (), "celeba")]
    table = claims.table([ROBUST, replace(ROBUST, name="again")], subjects, Bars())
    assert list(table) == [
        "task", "stand_in_for", "claim", "paper", "conditions",
        "ours", "comparisons", "held", "undecided", "against", "verdict", "coverage", "detail",
    ]  # fmt: skip
    assert table["claim"].tolist() == ["faces are robust", "again"] * 2
    assert table["verdict"].tolist() == [HOLDS, HOLDS, OPEN, OPEN]
    assert set(table["conditions"]) == {"at least 0.5"}
    assert table["detail"].iloc[-1] == "no rate"


def test_a_figure_has_a_tile_for_each_verdict() -> None:
    failing, doubt = estimate(0.4, 0.3, 0.45), estimate(0.4, 0.3, 0.6)
    subjects = [
        Faces("Male", (SURE,)),
        Faces("Wearing_Hat", (failing, SURE), "celeba"),
        Faces("Young", (SURE, doubt)),
        Faces("Bald", ()),
    ]
    named = [ROBUST, replace(ROBUST, name="long name", short="")]
    table = claims.table(named, subjects, Bars())
    table.loc[0, "coverage"] = 0.5
    figure = claims.figure(table, named)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["robust", "long name"]
    heads = ["Male", "Wearing Hat\n(stand-in\nfor celeba)", "Young", "Bald"]
    assert [label.get_text() for label in axes.get_xticklabels()] == heads
    tiles = ["holds\n1 of 1 (incomplete)", "holds\n1 of 1", *["does not hold\n1 of 2, 1 against"] * 2]
    tiles += [*["cannot be judged\n1 of 2"] * 2, *["cannot be judged"] * 2]
    assert [text.get_text() for text in axes.texts] == tiles
    assert len({patch.get_facecolor() for patch in axes.patches}) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [HOLDS, FAILS, OPEN]
