"""Which cells and cases the analyses read, and what is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.errors import HarnessError
from harness.metrics import wilson
from harness_attributes.analyses.study import hits, read_study, searches_of, share

from .study_fixture import broken, case, cell, transferred, write


def test_cells_say_what_their_parameters_say(tmp_path: Path) -> None:
    early = {"loss": "softmax", "checkpoint": 2, "width": 64}
    late = {"width": 64, "loss": "softmax", "checkpoint": "converged"}
    results = write(
        tmp_path,
        [
            cell([case("a")], model="mine", kind="separate", parameters=early),
            cell([case("a")], model="other", kind="separate", parameters=late),
            cell([case("a")], model="moon", search=None, attack="pgd"),
            cell([case("a")], model="moon", goal="untargeted"),
            cell([], model="moon", attack="fgs", status="skipped"),
        ],
    )
    first, second, third = read_study(results).cells
    assert (first.model_kind, first.loss, first.checkpoint, first.early) == ("separate", "softmax", "2", True)
    assert (second.checkpoint, second.early) == ("converged", False)
    assert first.family == second.family != third.family
    assert (third.attack_kind, third.method, third.search, third.loss) == ("pgd", "pgd", "", "euclidean")


def test_a_method_is_the_kind_where_the_kind_is_one(tmp_path: Path) -> None:
    one = [cell([case("a")]), cell([case("a")], search="iterative", attack="ffa")]
    assert {c.method for c in read_study(write(tmp_path / "one", one)).cells} == {"ffa"}
    several = [
        cell([case("a")], attack="ffa"),
        cell([case("a")], cell="x") | {"attack": "ffa[search=line,max_steps=9]"},
        cell([case("a")], cell="y") | {"attack": "ffa[search=line]", "threat": "l2 minimal"},
    ]
    methods = [c.method for c in read_study(write(tmp_path / "several", several)).cells]
    assert methods == ["ffa linf minimal", "ffa[max_steps=9]", "ffa l2 minimal"]


def test_cases_without_an_outcome_are_left_out_and_lower_the_coverage(tmp_path: Path) -> None:
    cases = [
        case("a", similar=0.99),
        broken("b"),
        broken("c", right=None),
        case("f", similar=0.99, error="ContractError: no"),
        case("d", right=None),
        case("e", right=False),
    ]
    study = read_study(write(tmp_path, [cell(cases, cases=8)]))
    (found,) = study.cells
    kept = found.cases
    assert sorted(zip(kept["sample_id"], kept["sign"], strict=True)) == [("a", "+"), ("e", "-")]
    assert found.coverage == 2 / 8


def test_transfers_are_apart(tmp_path: Path) -> None:
    source = cell([case("a")], model="early", kind="separate")
    moved = transferred(source, [case("a")], model="late", kind="separate")
    study = read_study(write(tmp_path, [source, moved]), transfers=True)
    assert [c.model for c in study.cells] == ["early"]
    (found,) = study.transfers
    assert (found.model, found.surrogate, found.source, found.method) == (
        "late",
        "early",
        source["cell"],
        "ffa",
    )


def test_a_threshold_asks_for_pass_and_for_enough_of_it() -> None:
    cases = pd.DataFrame({"success": [True, True, False], "pass": [0.95, 0.949, 0.99]})
    assert hits(cases, 0.95).tolist() == [True, False, False]
    assert hits(cases, 0).tolist() == [True, True, False]


def test_a_threshold_of_float32_is_met_by_itself(tmp_path: Path) -> None:
    # 0.95 in float32 lies below 0.95 in float64.
    study = read_study(write(tmp_path, [cell([case("a", similar=0.95)])]), (0.95,))
    assert hits(study.cells[0].cases, 0.95).tolist() == [True]


def test_shares_are_of_images_where_images_have_many_cases() -> None:
    flags = pd.Series([True, True, False, False])
    apart = share(flags, pd.Series(["a", "b", "c", "d"]))
    assert (apart["count"], apart["n"], apart["rate"]) == (2, 4, 0.5)
    assert (apart["low"], apart["high"]) == pytest.approx(wilson(2, 4))
    together = share(flags, pd.Series(["a", "a", "b", "b"]))
    assert together["high"] - together["low"] > apart["high"] - apart["low"]
    assert share(flags[:0], pd.Series([], dtype=str))["rate"] is None


def test_without_pass_only_a_threshold_of_0_can_be_had(tmp_path: Path) -> None:
    cases = [case("a", similar=0.9), case("b")]
    for row in cases:
        del row["pass"]
    results = write(tmp_path, [cell(cases)])
    study = read_study(results, (0.0,))
    assert hits(study.cells[0].cases, 0.0).sum() == 1
    with pytest.raises(HarnessError, match=r'has no PASS.*use = "pass"') as error:
        read_study(results, (0.0, 0.95))
    assert len(str(error.value).splitlines()) == 1


def test_a_success_whose_pass_is_unknown_is_no_outcome(tmp_path: Path) -> None:
    cases = [case("a", similar=0.99), case("b", similar=0.99) | {"pass": None}, case("c")]
    results = write(tmp_path, [cell(cases)])
    study = read_study(results, (0.95,))
    assert study.cells[0].cases["sample_id"].tolist() == ["a", "c"]
    assert study.cells[0].coverage == pytest.approx(2 / 3)
    assert len(read_study(results).cells[0].cases) == 3


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_thresholds_are_shares(tmp_path: Path, threshold: float) -> None:
    with pytest.raises(HarnessError, match="from 0 to 1"):
        read_study(write(tmp_path, [cell([case("a")])]), (threshold,))


def test_results_that_flip_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="nothing was run that flips attributes"):
        read_study(write(tmp_path, [cell([case("a")], goal="untargeted")]))


def test_the_order_of_searches() -> None:
    assert searches_of(["", "random", "iterative", "line", "line"]) == ["line", "iterative", "random", ""]


def test_readings_of_the_iterative_attack_are_methods_of_their_own(tmp_path: Path) -> None:
    def iterative(label: str, **reading: str) -> dict[str, Any]:
        own = json.dumps({"search": "iterative", **reading})
        return cell([case("a")], attack_parameters=own, cell=label) | {"attack": label}

    line = cell([case("a")]) | {"attack": "ffa-line"}
    cells = [line, iterative("main"), iterative("onward", crossed="onward"), iterative("held", target="held")]
    found = {
        each.attack: (each.method, each.reading) for each in read_study(write(tmp_path / "all", cells)).cells
    }
    assert found == {
        "ffa-line": ("ffa", ""),
        "main": ("ffa", ""),
        "onward": ("ffa[crossed=onward]", "crossed=onward"),
        "held": ("ffa[target=held]", "target=held"),
    }
    alone = read_study(write(tmp_path / "one", [line, iterative("onward", crossed="onward")])).cells
    assert [(each.method, each.reading) for each in alone] == [("ffa", "")] * 2


def test_shares_are_over_persons_where_they_are_known(tmp_path: Path) -> None:
    cases = [case(f"i{number}", similar=0.99 if number % 2 else None) for number in range(20)]
    ends = []
    for folder, people in (("images", None), ("people", {f"i{number}": number % 2 for number in range(20)})):
        (found,) = read_study(write(tmp_path / folder, [cell(cases)], people=people)).cells
        told = share(hits(found.cases, 0), found.cases["cluster"])
        ends.append(told["high"] - told["low"])
    assert ends[1] > 1.5 * ends[0]
