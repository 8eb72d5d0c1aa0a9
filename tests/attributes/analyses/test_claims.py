"""The paper's claims: holds, does not hold or cannot be judged, as the numbers say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.analysis.claims import FAILS, HOLDS, OPEN, verdict
from harness.errors import HarnessError
from harness.metrics import NOTHING, Estimate
from harness_attributes.analyses.claims import ANSWERS, CLAIMS, run
from harness_attributes.analyses.evidence import larger, within

from .study_fixture import broken, case, cell, transferred, write

N = 40
NAMES = {claim.judge.__name__: claim.name for claim in CLAIMS}


def cases(flipped: int, wrong: int = 0, *, of: int = N, similar: float = 0.97, **values: Any) -> list[Any]:
    """The first ``flipped`` of the right cases and the first ``wrong`` of the wrong ones are flipped."""
    right = [case(f"r{i}", similar=similar if i < flipped else None, **values) for i in range(of)]
    other = [
        case(f"w{i}", right=False, similar=similar if i < wrong else None, **values) for i in range(of // 4)
    ]
    return right + other


def judged(tmp_path: Path, cells: list[dict[str, Any]], **values: Any) -> dict[str, dict[str, Any]]:
    """Rows by claim, with unknown claims and states refused."""
    table = run(write(tmp_path, cells), **values).table
    assert len(table) == len(CLAIMS)
    assert set(table["verdict"]) <= {HOLDS, FAILS, OPEN}
    assert table["holds"].tolist() == [ANSWERS[verdict] for verdict in table["verdict"]]
    return {row["claim"]: row for row in table.to_dict("records")}


def holds(tmp_path: Path, claim: str, cells: list[dict[str, Any]]) -> str:
    return str(judged(tmp_path, cells)[NAMES[claim]]["holds"])


def test_one_model_leaves_most_unmeasured(tmp_path: Path) -> None:
    found = judged(tmp_path, [cell(cases(20, 9))])
    measured = {name for name, row in found.items() if row["holds"] != "not measured"}
    assert measured == {NAMES["natural_more"], NAMES["natural_common"]}
    missing = found[NAMES["moon_more"]]
    assert missing["comparisons"] == 0
    assert missing["ours"] == ""
    assert "not run on both MOON and separate networks" in missing["detail"]


def test_ffa_against_fgs(tmp_path: Path) -> None:
    ahead = [cell(cases(20)), cell(cases(10), attack="fgs")]
    row = judged(tmp_path / "yes", ahead)[NAMES["more_than_fgs"]]
    assert (row["holds"], row["comparisons"], row["held"]) == ("yes", 4, 4)
    assert "separate, line search, τ = 0: FFA+ 50.0 %" in row["ours"]
    behind = [cell(cases(10)), cell(cases(20), attack="fgs")]
    row = judged(tmp_path / "no", behind)[NAMES["more_than_fgs"]]
    assert (row["holds"], row["held"]) == ("no", 1)  # at 0.99 neither flips anything
    assert "against it: separate, line search, τ = 0: FFA+ 25.0 %" in row["detail"]


def test_one_threshold_against_it_is_enough(tmp_path: Path) -> None:
    # FFA flips more, FGS with higher PASS.
    cells = [cell(cases(20, similar=0.97)), cell(cases(19, similar=0.999), attack="fgs")]
    row = judged(tmp_path, cells)[NAMES["more_than_fgs"]]
    assert (row["holds"], row["held"]) == ("no", 3)
    assert "3 of these only within the 95 % interval" in row["detail"]


def test_the_advantage_must_grow_at_every_step(tmp_path: Path) -> None:
    def attack(by_pass: dict[float, int], kind: str) -> dict[str, Any]:
        values = [similar for similar, count in by_pass.items() for _ in range(count)]
        rows = [case(f"r{i}", similar=values[i] if i < len(values) else None) for i in range(N)]
        return cell(rows, attack=kind)

    # Ahead by 2, 6, 10 and 14 cases.
    ffa = attack({0.995: 20, 0.97: 2, 0.92: 2, 0.5: 2}, "ffa")
    fgs = attack({0.995: 6, 0.97: 6, 0.92: 6, 0.5: 6}, "fgs")
    row = judged(tmp_path / "yes", [ffa, fgs])[NAMES["widening"]]
    assert (row["holds"], row["held"]) == ("yes", 3)
    assert "5.0 → 15.0 points, widening: 10.0 points" in row["ours"]
    flat = [attack({0.995: 20}, "ffa"), attack({0.995: 10}, "fgs")]
    row = judged(tmp_path / "no", flat)[NAMES["widening"]]
    assert (row["holds"], row["held"]) == ("no", 0)  # the same advantage at every step does not widen


@pytest.mark.parametrize(("line", "iterative", "answer"), [(10, 20, "yes"), (10, 10, "yes"), (20, 10, "no")])
def test_iterative_against_line(tmp_path: Path, line: int, iterative: int, answer: str) -> None:
    cells = [cell(cases(line)), cell(cases(iterative), search="iterative")]
    assert holds(tmp_path, "iterative_more", cells) == answer


@pytest.mark.parametrize(("right", "wrong", "answer"), [(20, 9, "yes"), (20, 5, "no"), (20, 1, "no")])
def test_wrong_against_right(tmp_path: Path, right: int, wrong: int, answer: str) -> None:
    assert holds(tmp_path, "natural_more", [cell(cases(right, wrong))]) == answer


def test_softmax_and_moon_against_euclidean(tmp_path: Path) -> None:
    def model(name: str, flipped: int, wrong: int, **values: Any) -> dict[str, Any]:
        return cell(cases(flipped, wrong, similar=0.995), model=name, **values)

    softmax = {"kind": "separate", "parameters": {"loss": "softmax"}}
    yes = [model("separate", 10, 3), model("soft", 20, 6, **softmax), model("moon", 30, 8)]
    found = judged(tmp_path / "yes", yes)
    assert found[NAMES["softmax_more"]]["holds"] == "yes"
    assert found[NAMES["softmax_more"]]["comparisons"] == 8
    assert found[NAMES["moon_more"]]["holds"] == "yes"
    no = [model("separate", 20, 3), model("soft", 30, 3, **softmax), model("moon", 20, 8)]
    found = judged(tmp_path / "no", no)
    assert found[NAMES["softmax_more"]]["holds"] == "no"  # wrong cases are flipped as often
    assert found[NAMES["moon_more"]]["holds"] == "no"  # as often is not more often


def test_models_are_compared_on_the_attributes_of_both(tmp_path: Path) -> None:
    hard = [case(f"r{i}", "Male") for i in range(N)]  # of MOON alone, and never flipped
    cells = [cell(cases(20)), cell([*cases(30), *hard], model="moon")]
    row = judged(tmp_path, cells)[NAMES["moon_more"]]
    assert row["holds"] == "yes"
    assert "moon 75.0 %" in row["ours"]


@pytest.mark.parametrize(("also", "answer"), [(["Male", "Smiling"], "yes"), ([], "no")])
def test_attributes_that_flip_together(tmp_path: Path, also: list[str], answer: str) -> None:
    def flips(others: list[str]) -> list[dict[str, Any]]:
        rows = [case(f"r{i}", name, similar=0.99) for i in range(8) for name in ("Male", "Smiling")]
        young = [case(f"r{i}", "Young", similar=0.99, also=others) for i in range(8)]
        return rows + young

    cells = [cell(flips([])), cell(flips(also), model="moon")]
    row = judged(tmp_path, cells)[NAMES["together"]]
    assert row["holds"] == answer
    assert f"moon {33.3 if also else 0.0} %" in row["ours"]


def checkpoints(early: list[Any], late: list[Any], moved: list[Any] | None = None) -> list[dict[str, Any]]:
    first = cell(early, model="early", kind="separate", parameters={"checkpoint": 2})
    last: dict[str, Any] = {"model": "late", "kind": "separate", "parameters": {"checkpoint": "converged"}}
    return [first, cell(late, **last), *([] if moved is None else [transferred(first, moved, **last)])]


def test_further_training(tmp_path: Path) -> None:
    row = judged(tmp_path / "more", checkpoints(cases(10), cases(12)))
    assert row[NAMES["not_more_robust"]]["holds"] == "yes"
    assert "10 → 12 of 50, change: 4.0 points" in row[NAMES["not_more_robust"]]["ours"]
    assert row[NAMES["half_remain"]]["holds"] == "yes"
    assert row[NAMES["third_still_flips"]]["holds"] == "not measured"
    assert "[[transfer]]" in row[NAMES["third_still_flips"]]["detail"]
    # One fewer is fewer, though within the interval; then fewer than half remain.
    row = judged(tmp_path / "fewer", checkpoints(cases(10), cases(9)))
    assert row[NAMES["not_more_robust"]]["holds"] == "no"
    assert "(within the interval)" in row[NAMES["not_more_robust"]]["detail"]
    row = judged(tmp_path / "few", checkpoints(cases(20), cases(4)))
    assert row[NAMES["half_remain"]]["holds"] == "no"


@pytest.mark.parametrize(("still", "answer"), [(6, "yes"), (5, "no")])
def test_early_adversarials_that_still_flip(tmp_path: Path, still: int, answer: str) -> None:
    moved = [case(f"r{i}", similar=0.99 if i < still else None, surrogate_success=i < 20) for i in range(N)]
    assert holds(tmp_path, "third_still_flips", checkpoints(cases(20), cases(20), moved)) == answer


@pytest.mark.parametrize(("both", "answer"), [(20, "yes"), (19, "yes"), (18, "no")])
def test_what_fgs_flips_ffa_flips_too(tmp_path: Path, both: int, answer: str) -> None:
    cells = [cell(cases(both)), cell(cases(20), attack="fgs")]
    assert holds(tmp_path, "fgs_within_ffa", cells) == answer


def test_natural_adversarials_stand_beside_the_papers_share(tmp_path: Path) -> None:
    row = judged(tmp_path, [cell(cases(0, 4)), cell(cases(0, 9), model="moon")])[NAMES["natural_common"]]
    assert row["holds"] == "no"
    assert "-32.6 points from the paper" in row["ours"]  # 40 % of 10, the paper 72.6 %
    assert "-5.0 points from the paper, which is within the interval" in row["ours"]


def test_errors_are_no_evidence(tmp_path: Path) -> None:
    failed = [broken(f"r{i}") for i in range(N)]
    cells = [cell(failed), cell(cases(20), attack="fgs")]
    assert holds(tmp_path, "more_than_fgs", cells) == "not measured"


def test_each_data_set_is_judged_alone(tmp_path: Path) -> None:
    cells = [cell(cases(20)), cell(cases(30), model="moon", dataset="drawn", stand_in_for="celeba")]
    table = run(write(tmp_path, cells)).table
    assert table.groupby("dataset").size().tolist() == [len(CLAIMS)] * 2
    assert set(table.loc[table["claim"] == NAMES["moon_more"], "holds"]) == {"not measured"}
    assert table.loc[table["dataset"] == "drawn", "stand_in_for"].tolist() == ["celeba"] * len(CLAIMS)


def test_conditions_name_the_threshold(tmp_path: Path) -> None:
    found = judged(tmp_path, [cell(cases(20))], threshold=0.9)
    assert "PASS ≥ 0.9;" in found[NAMES["fgs_within_ffa"]]["conditions"]
    assert not any("{" in row["conditions"] for row in found.values())


def test_without_pass_nothing_is_judged(tmp_path: Path) -> None:
    rows = [{name: value for name, value in row.items() if name != "pass"} for row in cases(20)]
    with pytest.raises(HarnessError, match="has no PASS"):
        run(write(tmp_path, [cell(rows)]))


def test_verdicts() -> None:
    here = {"what": "here", "names": ("A", "B")}
    clear = larger(Estimate(0.9, 0.8, 0.95, 9), Estimate(0.5, 0.4, 0.6, 9), **here)
    near = larger(Estimate(0.5, 0.4, 0.6, 9), Estimate(0.45, 0.3, 0.6, 9), **here)
    against = within(Estimate(0.2, 0.1, 0.25, 9), "there:", at_least=0.5)
    missing = larger(NOTHING, Estimate(0.5, 0.4, 0.6, 9), **here)
    assert verdict([clear], "nothing")["detail"] == "1 of 1 comparisons hold"
    told = verdict([clear, near], "nothing")
    assert told["verdict"] == HOLDS
    assert told["detail"] == (
        "2 of 2 comparisons hold. 1 of these only within the 95 % interval: "
        "here: A 50.0 % [40.0, 60.0] vs B 45.0 % [30.0, 60.0]"
    )
    told = verdict([clear, against], "nothing")
    assert (told["verdict"], told["held"]) == (FAILS, 1)
    assert "against it: there: 20.0 % [10.0, 25.0]" in str(told["detail"])
    assert verdict([missing], "nothing")["verdict"] == OPEN
    equal = Estimate(0.5, 0.4, 0.6, 9)
    assert larger(equal, equal, "").holds  # type: ignore[union-attr]
    assert not larger(equal, equal, "", strict=True).holds  # type: ignore[union-attr]
