"""The table [dataset.comparisons] and the goals of attacks, as they are planned."""

from __future__ import annotations

import re
from typing import Any

import pytest

from harness.catalog import Catalog
from harness.errors import ManifestError
from harness.manifest import read_suite
from harness.plan.comparisons import Comparisons
from harness.plan.planner import plan
from harness.plan.resolved import resolved

from .documents import document, planned

PGD = {"use": "pgd", "eps": "8/255"}
VERIFIER = {"use": "embedder"}


def data(**keys: Any) -> dict[str, Any]:
    return {"use": "drawn", "comparisons": keys}


def comparisons(catalog: Catalog, **keys: Any) -> Comparisons:
    (choice,) = planned(catalog, dataset=data(**keys), model=VERIFIER).datasets
    assert choice.comparisons is not None
    return choice.comparisons


def test_the_defaults_are_those_of_the_documents(fakes: Catalog) -> None:
    found = comparisons(fakes)
    assert (found.attacked, found.calibration, found.selection) == ("test", "validation", "nearest")
    assert (found.targets, found.references, found.intruders, found.genuine) == (10, 1, 8, 8)
    assert (found.mirror, found.fmr, found.threshold) == (False, (0.1, 0.01, 0.001), None)


def test_the_paper_is_a_preset_that_keys_override(fakes: Catalog) -> None:
    found = comparisons(fakes, preset="paper", intruders=2)
    assert (found.targets, found.intruders, found.clean_intruders, found.genuine) == (27, 2, 128, 9)
    assert (found.mirror, found.selection, found.references) == (True, "nearest", 1)


def test_numbers_that_the_table_gives_are_met_exactly(fakes: Catalog) -> None:
    """A preset's were not written for this data set, nor was any for a stand-in."""
    assert comparisons(fakes).exact == ()
    assert comparisons(fakes, preset="paper").exact == ()
    assert comparisons(fakes, preset="paper", targets=3).exact == ("targets",)
    assert comparisons(fakes, targets="all", calibration_targets=9).exact == ("calibration_targets",)
    assert comparisons(fakes, targets=3, exact=[]).exact == ()
    table = data(targets=3) | {"use": "files", "root": "$NOWHERE", "stand_in": "drawn"}
    suite = read_suite(document(dataset=table, model=VERIFIER), environment={})
    found = plan(suite, fakes).datasets[0].comparisons
    assert found is not None
    assert (found.targets, found.exact) == (3, ())


def test_one_rate_needs_no_list(fakes: Catalog) -> None:
    assert comparisons(fakes, fmr=0.05).fmr == (0.05,)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"target": 3}, '"target" is unknown; did you mean "targets"'),
        ({"targets": 0}, "targets = 0 must be"),
        ({"targets": "some"}, "targets = 'some' must be"),
        ({"mirror": 1}, "mirror = 1 must be bool"),
        ({"selection": "best"}, "selection = 'best' must be"),
        ({"attacked": "dev"}, "attacked = 'dev' must be"),
        ({"attacked": "tset"}, 'must be "train" or "validation" or "test" or "all"; did you mean "test"?'),
        ({"fmr": []}, "fmr = [] is empty"),
        ({"fmr": [0.1, 1.0]}, "fmr = [0.1, 1.0] must be"),
        ({"fmr": [0.1, 0.1]}, "names a rate twice"),
        ({"preset": "papers"}, 'preset "papers" is unknown; did you mean "paper"'),
        ({"fold": 3}, "fold = 3: only files have folds"),
        ({"intruders": 0, "genuine": 0}, "so nothing is attacked"),
        ({"file": "pairs.txt", "targets": 3}, "targets: the comparisons of a file are not drawn"),
    ],
)
def test_a_wrong_key_is_one_line_with_place_and_remedy(
    fakes: Catalog, keys: dict[str, Any], told: str
) -> None:
    with pytest.raises(ManifestError, match=re.escape(told)) as error:
        planned(fakes, dataset=data(**keys), model=VERIFIER)
    assert str(error.value).startswith('suite: dataset "drawn".comparisons')
    assert "\n" not in str(error.value)


def test_comparisons_are_a_table_of_data_sets_alone(fakes: Catalog) -> None:
    with pytest.raises(ManifestError, match=r"must be a table: write \[dataset.comparisons\]"):
        planned(fakes, dataset={"use": "drawn", "comparisons": 3}, model=VERIFIER)
    with pytest.raises(ManifestError, match='"comparisons" is unknown'):
        planned(fakes, source=data())


def test_a_verifier_has_two_goals_and_attacks_may_choose(fakes: Catalog) -> None:
    def goals(**attack: Any) -> list[str]:
        return [
            cell.goal for cell in planned(fakes, dataset=data(), model=VERIFIER, attack=PGD | attack).cells
        ]

    assert goals() == ["impersonate", "evade"]
    assert goals(goals=["evade"]) == ["evade"]
    assert goals(goals=["evade", "flip"]) == ["evade"]
    with pytest.raises(ManifestError, match='goals: "evede" is unknown; did you mean "evade"'):
        goals(goals=["evede"])
    with pytest.raises(ManifestError, match=r"goals = \[\] is empty"):
        goals(goals=[])
    made = planned(fakes, dataset=data(), attack=PGD | {"goals": ["evade"]})
    assert [item.reason for item in made.skipped] == [
        'it is to evade, which asks nothing of the head "attributes"'
    ]


def test_a_spec_may_restrict_the_goals_of_verifiers(fakes: Catalog) -> None:
    found = planned(fakes, dataset=data(), model=VERIFIER, attack={"use": "intruding", "eps": 0.1})
    assert [cell.goal for cell in found.cells] == ["impersonate"]
    found = planned(fakes, dataset=data(), attack={"use": "intruding", "eps": 0.1})
    assert [cell.goal for cell in found.cells] == ["flip"]


def test_attacks_that_differ_in_goals_have_names_that_say_so(fakes: Catalog) -> None:
    attacks = [PGD | {"goals": [goal]} for goal in ("impersonate", "evade")]
    found = planned(fakes, dataset=data(), model=VERIFIER, attack=attacks)
    assert [choice.label for choice in found.attacks] == ["pgd[goals=impersonate]", "pgd[goals=evade]"]


def test_transfers_have_the_goals_of_their_sources(fakes: Catalog) -> None:
    found = planned(
        fakes,
        dataset=data(),
        model=[VERIFIER, VERIFIER | {"id": "other"}],
        transfer={"surrogate": "embedder", "victim": "other"},
    )
    made = [(cell.goal, cell.source.goal) for cell in found.cells if cell.source]
    assert made == [("impersonate", "impersonate"), ("evade", "evade")]
    assert all(cell.keep for cell in found.cells if cell.model.label == "embedder")


@pytest.mark.parametrize(
    "keys", [{}, {"preset": "paper"}, {"targets": 3}, {"targets": "all", "threshold": 1.5, "cases": 3}]
)
def test_a_resolved_suite_plans_the_same_comparisons(fakes: Catalog, keys: dict[str, Any]) -> None:
    attack = PGD | {"goals": ["evade"]}
    made = plan(read_suite(document(dataset=data(**keys), model=VERIFIER, attack=attack)), fakes)
    again = plan(read_suite(resolved(made)), fakes)
    assert again.datasets[0].comparisons == made.datasets[0].comparisons
    assert [cell.goal for cell in again.cells] == ["evade"]
    assert resolved(again) == resolved(made)
    assert "preset" not in resolved(made)["dataset"][0]["comparisons"]


def test_variables_inside_the_table_are_read(fakes: Catalog) -> None:
    table = data(file="$PAIRS/pairs.txt")
    suite = read_suite(document(dataset=table, model=VERIFIER), environment={"PAIRS": "/here"})
    found = plan(suite, fakes).datasets[0].comparisons
    assert found is not None
    assert found.file == "/here/pairs.txt"
    with pytest.raises(
        ManifestError, match=r'comparisons.file = "\$PAIRS/pairs.txt": the environment variable'
    ):
        plan(read_suite(document(dataset=table, model=VERIFIER), environment={}), fakes)
    # A stand-in has none of the files: its comparisons are drawn.
    spare = table | {"stand_in": "drawn"}
    (choice,) = plan(read_suite(document(dataset=spare, model=VERIFIER), environment={}), fakes).datasets
    assert choice.comparisons == Comparisons()
