"""The paper's claims: holds, does not hold or cannot be judged, as the numbers say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.claims import FAILS, HOLDS, OPEN
from harness.errors import HarnessError
from harness_attributes.analyses.claims import CLAIMS, run

from .study_fixture import broken, card, case, cell, transferred, write

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
    return {row["claim"]: row for row in table.to_dict("records")}


def verdict_of(tmp_path: Path, claim: str, cells: list[dict[str, Any]], **values: Any) -> str:
    return str(judged(tmp_path, cells, **values)[NAMES[claim]]["verdict"])


def test_each_claim_has_a_name_and_a_judge_of_its_own() -> None:
    assert len(NAMES) == len(CLAIMS) == len({claim.name for claim in CLAIMS})


def test_one_model_leaves_most_unjudged(tmp_path: Path) -> None:
    found = judged(tmp_path, [cell(cases(30, 9))])
    compared = {name for name, row in found.items() if row["comparisons"]}
    assert compared == {NAMES["natural_more"], NAMES["natural_common"], NAMES["some_cannot"]}
    missing = found[NAMES["moon_more"]]
    assert (missing["verdict"], missing["ours"]) == (OPEN, "")
    assert "not run on both MOON and separate networks" in missing["detail"]


# --- how often attacks flip --------------------------------------------------------------------------------


def test_ffa_against_fgs(tmp_path: Path) -> None:
    ahead = [cell(cases(30, similar=0.995)), cell(cases(10, similar=0.995), attack="fgs")]
    row = judged(tmp_path / "yes", ahead)[NAMES["more_than_fgs"]]
    assert (row["verdict"], row["comparisons"], row["held"]) == (HOLDS, 4, 4)
    assert "separate, line search, τ = 0, 40 cases: FFA+ 75.0 %" in row["ours"]
    behind = [cell(cases(10)), cell(cases(30), attack="fgs")]
    row = judged(tmp_path / "no", behind)[NAMES["more_than_fgs"]]
    assert (row["verdict"], row["against"], row["undecided"]) == (FAILS, 3, 1)  # at 0.99 neither flips any
    assert "against it: separate, line search, τ = 0, 40 cases: FFA+ 25.0 %" in row["detail"]


def test_what_lies_within_the_interval_decides_nothing(tmp_path: Path) -> None:
    # FFA flips one more, at 0.99 clearly fewer.
    near = [cell(cases(20)), cell(cases(19), attack="fgs")]
    assert verdict_of(tmp_path / "near", "more_than_fgs", near) == OPEN
    row = judged(tmp_path / "one", [cell(cases(20)), cell(cases(19, similar=0.999), attack="fgs")])
    assert (row[NAMES["more_than_fgs"]]["verdict"], row[NAMES["more_than_fgs"]]["against"]) == (FAILS, 1)


def test_pairs_see_what_rates_alone_do_not(tmp_path: Path) -> None:
    """26 of 40 against 18 of 40 overlap as rates; each that FGS flips, FFA flips too."""
    cells = [cell(cases(26, similar=0.995)), cell(cases(18, similar=0.995), attack="fgs")]
    assert verdict_of(tmp_path, "more_than_fgs", cells) == HOLDS


def test_images_of_one_person_are_no_independent_evidence(tmp_path: Path) -> None:
    cells = [cell(cases(26, similar=0.995)), cell(cases(18, similar=0.995), attack="fgs")]
    apart = {f"r{i}": i for i in range(N)}
    together = {f"r{i}": i // 10 for i in range(N)}
    for name, people, expected in (("apart", apart, HOLDS), ("together", together, OPEN)):
        table = run(write(tmp_path / name, cells, people=people)).table.set_index("claim")
        assert table.loc[NAMES["more_than_fgs"], "verdict"] == expected, name


def test_the_advantage_must_grow_at_every_step(tmp_path: Path) -> None:
    def attack(by_pass: dict[float, int], kind: str) -> dict[str, Any]:
        values = [similar for similar, count in by_pass.items() for _ in range(count)]
        rows = [case(f"r{i}", similar=values[i] if i < len(values) else None) for i in range(N)]
        return cell(rows, attack=kind)

    # Ahead by 2, 10, 18 and 26 cases.
    ffa = attack({0.995: 32}, "ffa")
    fgs = attack({0.995: 6, 0.97: 8, 0.92: 8, 0.5: 8}, "fgs")
    row = judged(tmp_path / "yes", [ffa, fgs])[NAMES["widening"]]
    assert (row["verdict"], row["held"]) == (HOLDS, 3)
    assert "5.0 → 25.0 points, widening: 20.0 points" in row["ours"]
    flat = [attack({0.995: 20}, "ffa"), attack({0.995: 10}, "fgs")]
    row = judged(tmp_path / "flat", flat)[NAMES["widening"]]
    assert (row["verdict"], row["held"]) == (OPEN, 0)  # the same advantage at every step
    row = judged(tmp_path / "no", [fgs | {"attack_use": "attacks/ffa"}, ffa | {"attack_use": "attacks/fgs"}])
    assert row[NAMES["widening"]]["verdict"] == FAILS


@pytest.mark.parametrize(("line", "iterative", "answer"), [(10, 30, HOLDS), (10, 10, OPEN), (30, 10, FAILS)])
def test_iterative_against_line(tmp_path: Path, line: int, iterative: int, answer: str) -> None:
    cells = [cell(cases(line, similar=0.995)), cell(cases(iterative, similar=0.995), search="iterative")]
    assert verdict_of(tmp_path, "iterative_more", cells) == answer


def test_another_reading_of_the_iterative_attack_is_not_the_papers(tmp_path: Path) -> None:
    def iterative(label: str, flipped: int, **reading: str) -> dict[str, Any]:
        own = json.dumps({"search": "iterative", **reading})
        rows = cases(flipped, similar=0.995)
        return cell(rows, search="iterative", attack_parameters=own, cell=label) | {"attack": label}

    line = cell(cases(10, similar=0.995)) | {"attack": "ffa-line"}
    main, other = iterative("main", 30), iterative("other", 2, crossed="onward")
    held = iterative("held", 1, target="held")
    found = judged(tmp_path / "all", [line, other, main, held])
    row = found[NAMES["iterative_more"]]
    assert (row["verdict"], row["comparisons"]) == (HOLDS, 4)
    assert found[NAMES["some_cannot"]]["comparisons"] == 2
    # A suite that runs one reading alone has chosen it.
    row = judged(tmp_path / "one", [line, other])[NAMES["iterative_more"]]
    assert (row["verdict"], row["comparisons"]) == (FAILS, 4)


@pytest.mark.parametrize(("right", "wrong", "answer"), [(10, 10, HOLDS), (20, 5, OPEN), (30, 1, FAILS)])
def test_wrong_against_right(tmp_path: Path, right: int, wrong: int, answer: str) -> None:
    assert verdict_of(tmp_path, "natural_more", [cell(cases(right, wrong))]) == answer


def test_softmax_and_moon_against_euclidean(tmp_path: Path) -> None:
    def model(name: str, flipped: int, wrong: int, **values: Any) -> dict[str, Any]:
        return cell(cases(flipped, wrong, similar=0.995), model=name, **values)

    softmax = {"kind": "separate", "parameters": {"loss": "softmax"}}
    yes = [model("separate", 10, 1), model("soft", 30, 9, **softmax), model("moon", 30, 8)]
    found = judged(tmp_path / "yes", yes)
    assert found[NAMES["softmax_more"]]["verdict"] == HOLDS
    assert found[NAMES["softmax_more"]]["comparisons"] == 8
    assert found[NAMES["moon_more"]]["verdict"] == HOLDS
    no = [model("separate", 30, 3), model("soft", 35, 3, **softmax), model("moon", 10, 8)]
    found = judged(tmp_path / "no", no)
    assert found[NAMES["softmax_more"]]["verdict"] == OPEN  # wrong cases are flipped as often
    assert found[NAMES["moon_more"]]["verdict"] == FAILS


def test_models_are_compared_on_the_cases_of_both(tmp_path: Path) -> None:
    hard = [case(f"r{i}", "Male") for i in range(N)]  # of MOON alone, and never flipped
    changed = [case(f"w{i}", right=True, similar=0.99) for i in range(10)]  # wrong on the separate networks
    cells = [cell(cases(10)), cell([*cases(30)[:N], *changed, *hard], model="moon")]
    row = judged(tmp_path, cells)[NAMES["moon_more"]]
    assert row["verdict"] == HOLDS
    assert "moon 75.0 %" in row["ours"]
    assert "40 cases" in row["ours"]


@pytest.mark.parametrize(("both", "answer"), [(N, HOLDS), (37, OPEN), (20, FAILS)])
def test_what_fgs_flips_ffa_flips_too(tmp_path: Path, both: int, answer: str) -> None:
    cells = [cell(cases(3 * both, of=3 * N)), cell(cases(3 * N, of=3 * N), attack="fgs")]
    assert verdict_of(tmp_path, "fgs_within_ffa", cells) == answer


def test_natural_adversarials_stand_beside_the_papers_share(tmp_path: Path) -> None:
    row = judged(tmp_path, [cell(cases(0, 1)), cell(cases(0, 9), model="moon")])[NAMES["natural_common"]]
    assert row["verdict"] == FAILS
    assert "-62.6 points from the paper" in row["ours"]  # 10 % of 10, the paper 72.6 %
    assert "-5.0 points from the paper, which is within the interval" in row["ours"]


@pytest.mark.parametrize(("flipped", "answer"), [(0, HOLDS), (4, OPEN), (N, FAILS)])
def test_an_attribute_that_cannot_be_flipped(tmp_path: Path, flipped: int, answer: str) -> None:
    easy = [case(f"r{i}", "Male", similar=0.99) for i in range(120)]
    row = judged(tmp_path, [cell([*easy, *cases(flipped, of=120)])])[NAMES["some_cannot"]]
    assert row["verdict"] == answer
    assert f"least of 2: Young, n = 120, {100 * flipped / 120:.1f} %" in row["ours"]


def test_one_adversarial_of_an_attribute_of_moon_is_enough(tmp_path: Path) -> None:
    one = [case("r0", "Male", similar=0.99), case("r1", "Male"), case("r0", "Young", right=False, similar=1)]
    assert verdict_of(tmp_path / "all", "almost_all_on_moon", [cell(one, model="moon")]) == HOLDS
    row = judged(tmp_path / "few", [cell([*one, case("r0", "Smiling")], model="moon")])
    # On another image Smiling might be flipped.
    assert row[NAMES["almost_all_on_moon"]]["verdict"] == OPEN
    assert "2 of 3, not Smiling" in row[NAMES["almost_all_on_moon"]]["ours"]


def test_errors_are_no_evidence(tmp_path: Path) -> None:
    failed = [broken(f"r{i}") for i in range(N)]
    row = judged(tmp_path, [cell(failed), cell(cases(20), attack="fgs")])[NAMES["more_than_fgs"]]
    assert (row["verdict"], row["comparisons"]) == (OPEN, 0)


# --- what flips together -----------------------------------------------------------------------------------


def flips(made_for: str, also: list[str], names: list[str], *, of: int = 40, share: float = 1.0) -> list[Any]:
    """Adversarials of an attribute, a share of which changes others too."""
    return [
        case(f"r{i}", made_for, similar=0.99, also=also if i < share * of else [], outputs=names)
        for i in range(of)
    ]


@pytest.mark.parametrize(("joint", "answer"), [(0.5, HOLDS), (0.0, FAILS)])
def test_attributes_that_flip_together(tmp_path: Path, joint: float, answer: str) -> None:
    names = ["Male", "Smiling", "Young"]

    def model(share: float, **values: Any) -> dict[str, Any]:
        return cell([*flips("Male", [], names), *flips("Young", ["Male"], names, share=share)], **values)

    row = judged(tmp_path, [model(0.2), model(joint, model="moon")])[NAMES["together"]]
    assert row["verdict"] == answer
    # Of the two that both attack, Male changes none, Young a share: the mean over attributes.
    assert f"moon {100 * joint / 2:.1f} %" in row["ours"]


BEARD = ["Goatee", "Mustache", "No_Beard", "Sideburns"]


def test_iterative_adversarials_that_flip_more_of_the_named_pairs(tmp_path: Path) -> None:
    def moon(search: str, share: float) -> dict[str, Any]:
        named = flips("Goatee", ["No_Beard"], BEARD, share=share)
        turned = flips("No_Beard", ["Goatee"], BEARD, share=0.2)
        return cell([*named, *turned], model="moon", search=search)

    outputs = {"moon": BEARD}
    for line, iterative, expected in ((0.2, 0.8, HOLDS), (0.5, 0.5, OPEN), (0.8, 0.2, FAILS)):
        cells = [moon("line", line), moon("iterative", iterative)]
        table = run(write(tmp_path / expected, cells, outputs=outputs)).table.set_index("claim")
        row = table.loc[NAMES["iterative_together"]]
        assert (row["verdict"], row["comparisons"]) == (expected, 2)
        assert f"the pairs that the paper names: iterative {100 * iterative:.1f} %" in row["ours"]


@pytest.mark.parametrize(("there", "answer"), [(0.9, HOLDS), (0.5, OPEN), (0.1, FAILS)])
def test_no_beard_is_flipped_one_way(tmp_path: Path, there: float, answer: str) -> None:
    back = 1 - there
    rows = flips("No_Beard", ["Goatee", "Mustache", "Sideburns"], BEARD, share=back)
    for name in ("Goatee", "Mustache", "Sideburns"):
        rows += flips(name, ["No_Beard"], BEARD, share=there)
    cells = [cell(rows, model="moon", search="iterative")]
    table = run(write(tmp_path, cells, outputs={"moon": BEARD})).table.set_index("claim")
    assert table.loc[NAMES["one_way"], ["verdict", "comparisons"]].tolist() == [answer, 3]
    pairs = table.loc[NAMES["named_pairs"]]
    assert pairs["comparisons"] == 3  # of Attractive there are none
    assert pairs["verdict"] == (HOLDS if there == 0.9 else FAILS)


# --- further training --------------------------------------------------------------------------------------


def checkpoints(early: list[Any], late: list[Any], moved: list[Any] | None = None) -> list[dict[str, Any]]:
    first = cell(early, model="early", kind="separate", parameters={"checkpoint": 2})
    last: dict[str, Any] = {"model": "late", "kind": "separate", "parameters": {"checkpoint": "converged"}}
    return [first, cell(late, **last), *([] if moved is None else [transferred(first, moved, **last)])]


@pytest.mark.parametrize(("late", "answer"), [(30, HOLDS), (12, OPEN), (9, OPEN), (1, FAILS)])
def test_further_training(tmp_path: Path, late: int, answer: str) -> None:
    row = judged(tmp_path, checkpoints(cases(10), cases(late)))
    assert row[NAMES["not_more_robust"]]["verdict"] == answer
    assert f"10 → {late} of 50, change: {2 * (late - 10):.1f} points" in row[NAMES["not_more_robust"]]["ours"]


@pytest.mark.parametrize(("late", "answer"), [(36, HOLDS), (20, OPEN), (4, FAILS)])
def test_adversarials_that_remain(tmp_path: Path, late: int, answer: str) -> None:
    row = judged(tmp_path, checkpoints(cases(40), cases(late)))[NAMES["half_remain"]]
    assert row["verdict"] == answer
    assert f"FFA+ line search τ = 0.95, {late} of 40" in row["ours"]


def natural(kept: int, learnt: int, lost: int) -> list[dict[str, Any]]:
    """40 natural adversarials: kept ones, ones classified correctly later (and flipped), and others."""
    early = [case(f"w{i}", right=False, similar=0.99) for i in range(40)]
    late = [case(f"w{i}", right=False, similar=0.99) for i in range(kept)]
    late += [case(f"w{i}", right=True, similar=0.99) for i in range(kept, kept + learnt)]
    late += [case(f"w{i}", right=False) for i in range(kept + learnt, kept + learnt + lost)]
    return checkpoints(early, late)


def test_natural_adversarials_are_those_of_the_same_sign(tmp_path: Path) -> None:
    """A case that is classified correctly later is no natural adversarial, though it can be flipped."""
    found = judged(tmp_path / "few", natural(4, 34, 2))
    assert found[NAMES["natural_remain"]]["verdict"] == FAILS
    assert "FFA− line search τ = 0.95, 4 of 40" in found[NAMES["natural_remain"]]["ours"]
    assert "6 of 40" in found[NAMES["still_wrong"]]["ours"]
    assert found[NAMES["still_wrong"]]["verdict"] == FAILS
    assert "34 of 36" in found[NAMES["lost_are_learnt"]]["ours"]
    assert found[NAMES["lost_are_learnt"]]["verdict"] == HOLDS
    found = judged(tmp_path / "most", natural(34, 0, 6))
    assert found[NAMES["natural_remain"]]["verdict"] == HOLDS
    assert found[NAMES["still_wrong"]]["verdict"] == HOLDS
    assert "0 of 6" in found[NAMES["lost_are_learnt"]]["ours"]


@pytest.mark.parametrize(("still", "answer"), [(0.9, HOLDS), (0.3, OPEN), (0.05, FAILS)])
def test_early_adversarials_that_still_flip(tmp_path: Path, still: float, answer: str) -> None:
    """The mean over attributes, of which one has many more adversarials than the other."""
    few = [case(f"r{i}", "Male", similar=0.99 if i < 10 else None) for i in range(N)]
    early = [*cases(N), *few]
    moved = [
        case(f"r{i}", name, similar=0.99 if i < still * of else None, surrogate_success=i < of)
        for name, of in (("Young", N), ("Male", 10))
        for i in range(N)
    ]
    row = judged(tmp_path, checkpoints(early, early, moved))[NAMES["third_still_flips"]]
    assert row["verdict"] == answer
    male, young = (sum(i < still * of for i in range(of)) / of for of in (10, N))
    assert f"mean of 2 attributes, 50 cases: {50 * (male + young):.1f} %" in row["ours"]


def test_without_transfers_there_is_no_portability(tmp_path: Path) -> None:
    row = judged(tmp_path, checkpoints(cases(20), cases(20)))
    for name in ("third_still_flips", "more_portable"):
        assert (row[NAMES[name]]["verdict"], row[NAMES[name]]["comparisons"]) == (OPEN, 0)
        assert "[[transfer]]" in row[NAMES[name]]["detail"]


@pytest.mark.parametrize(("early", "late", "answer"), [(0.8, 0.1, HOLDS), (0.1, 0.8, FAILS)])
def test_portability_of_early_adversarials(tmp_path: Path, early: float, late: float, answer: str) -> None:
    names = ["Male", "Smiling", "Young"]
    made = flips("Young", [], names)
    moved = [row | {"surrogate_success": True} for row in flips("Young", ["Male"], names, share=early)]
    row = judged(tmp_path, checkpoints(made, flips("Young", ["Male"], names, share=late), moved))
    assert row[NAMES["more_portable"]]["verdict"] == answer
    assert f"made early {50 * early:.1f} %" in row[NAMES["more_portable"]]["ours"]


# --- errors ------------------------------------------------------------------------------------------------

FOUR = {"Eyeglasses": 0.95, "Male": 0.9, "Smiling": 0.92, "Young": 0.8}


def scored(tmp_path: Path, **accuracy: Any) -> dict[str, dict[str, Any]]:
    """Claims on cards of: separate networks early, late and with softmax, MOON."""
    models: dict[str, dict[str, Any]] = {
        "early": {"kind": "separate", "parameters": {"checkpoint": 2}},
        "late": {"kind": "separate"},
        "soft": {"kind": "separate", "parameters": {"loss": "softmax"}},
        "moon": {},
    }
    cells = [cell([case("a")], model=name, **values) for name, values in models.items()]
    cards = {name: told if "scored_on" in told else card(told) for name, told in accuracy.items()}
    table = run(write(tmp_path, cells, cards=cards)).table
    return {row["claim"]: row for row in table.to_dict("records")}


def worse(points: float, wobble: float = 0.1, names: Any = FOUR) -> dict[str, float]:
    """The four accuracies less so many points, which vary."""
    return {name: FOUR[name] - (points + wobble * (-1) ** place) / 100 for place, name in enumerate(names)}


def test_errors_are_compared_on_the_attributes_of_both(tmp_path: Path) -> None:
    moon = {**worse(0.3), "Bald": 0.0}  # the separate networks do not answer Bald
    found = scored(tmp_path, late=FOUR, early=worse(5), soft=worse(0.2), moon=moon)
    assert found[NAMES["further_training"]]["verdict"] == HOLDS
    assert (
        "early 15.75 % − late 10.75 %, mean of 4 attributes: 5.0 points"
        in (found[NAMES["further_training"]]["ours"])
    )
    row = found[NAMES["as_accurate"]]
    assert (row["verdict"], row["comparisons"]) == (HOLDS, 2)
    assert "moon 11.05 % − late 10.75 %, mean of 4 attributes: 0.3 points" in row["ours"]


def test_errors_further_apart_than_a_point_are_not_alike(tmp_path: Path) -> None:
    found = scored(tmp_path / "apart", late=FOUR, moon=worse(3), early=worse(-2))
    assert found[NAMES["as_accurate"]]["verdict"] == FAILS
    assert found[NAMES["further_training"]]["verdict"] == FAILS
    unclear = scored(tmp_path / "unclear", late=FOUR, moon=worse(0.3, wobble=3.0))
    assert unclear[NAMES["as_accurate"]]["verdict"] == OPEN


def test_the_trivial_classifier_is_to_be_beaten_on_every_attribute(tmp_path: Path) -> None:
    clear = card(FOUR, majority=0.6) | {"above_majority_interval": {name: [0.1, 0.4] for name in FOUR}}
    row = scored(tmp_path / "all", late=clear)[NAMES["below_trivial"]]
    assert (row["verdict"], row["comparisons"]) == (HOLDS, 4)
    assert "late, Young: 20.0 vs 40.0 %, less by 20.0 points" in row["ours"]
    one = {**clear["above_majority_interval"], "Young": [-0.1, 0.4]}
    row = scored(tmp_path / "doubt", late=clear | {"above_majority_interval": one})[NAMES["below_trivial"]]
    assert (row["verdict"], row["held"]) == (OPEN, 3)
    # A card of an older version has no intervals.
    assert scored(tmp_path / "old", late=card(FOUR, majority=0.6))[NAMES["below_trivial"]]["verdict"] == OPEN
    assert scored(tmp_path / "mean", late=clear)[NAMES["trivial_mean"]]["verdict"] == HOLDS


def test_lnets_is_quoted_on_the_same_attributes(tmp_path: Path) -> None:
    """LNets+ANet errs by 1, 2, 8 and 13 % on the four."""
    late = {"Eyeglasses": 0.94, "Male": 0.931, "Smiling": 0.869, "Young": 0.82}
    row = scored(tmp_path, late=late, moon={"Male": 0.999, "Young": 0.889, "Smiling": 0.938})
    row = row[NAMES["below_lnets"]]
    assert (row["verdict"], row["comparisons"], row["held"], row["against"]) == (FAILS, 2, 1, 1)
    assert "LNets+ANet (quoted) 6.00 % − late 11.00 %, mean of 4 attributes" in row["ours"]


# --- all of them -------------------------------------------------------------------------------------------


def test_each_data_set_is_judged_alone(tmp_path: Path) -> None:
    cells = [cell(cases(20)), cell(cases(30), model="moon", dataset="drawn", stand_in_for="celeba")]
    table = run(write(tmp_path, cells)).table
    assert table.groupby("dataset").size().tolist() == [len(CLAIMS)] * 2
    assert set(table.loc[table["claim"] == NAMES["moon_more"], "comparisons"]) == {0}
    assert table.loc[table["dataset"] == "drawn", "stand_in_for"].tolist() == ["celeba"] * len(CLAIMS)


def test_conditions_name_the_threshold(tmp_path: Path) -> None:
    found = judged(tmp_path, [cell(cases(20))], threshold=0.9)
    assert "PASS ≥ 0.9;" in found[NAMES["fgs_within_ffa"]]["conditions"]
    assert not any("{" in row["conditions"] for row in found.values())


def test_without_pass_nothing_is_judged(tmp_path: Path) -> None:
    rows = [{name: value for name, value in row.items() if name != "pass"} for row in cases(20)]
    with pytest.raises(HarnessError, match="has no PASS"):
        run(write(tmp_path, [cell(rows)]))
