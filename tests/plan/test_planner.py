"""The planner: what is crossed, what it is called, and why a pair is skipped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.catalog import Catalog, Entry, Plugin, Section
from harness.errors import CatalogError, HarnessError, ManifestError
from harness.manifest import read_suite
from harness.plan.planner import plan
from harness.plan.resolved import resolved
from harness.specs import AttackSpec, ModelSpec

from .documents import document, planned

PGD = {"use": "pgd", "eps": "8/255"}


def labels(choices: Any) -> list[str]:
    return [choice.label for choice in choices]


def reasons(catalog: Catalog, **changes: Any) -> list[str]:
    return [skipped.reason for skipped in planned(catalog, **changes).skipped]


def test_a_model_has_traits_by_its_parameters(fakes: Catalog) -> None:
    models = [{"use": "sketcher", "width": 4}, {"use": "sketcher", "id": "wide", "width": 5}]
    made = planned(
        fakes,
        dataset={"use": "drawn", "comparisons": {}},
        model=models,
        attack={"use": "wide-only", "eps": 0.1, "goals": ["evade"]},
    )
    assert [cell.model.label for cell in made.cells] == ["wide"]
    assert [(item.model.label, item.reason) for item in made.skipped] == [("sketcher", "it is too narrow")]


# --- crossing ---------------------------------------------------------------------------------------------


def test_every_combination_is_a_cell(fakes: Catalog) -> None:
    made = planned(
        fakes,
        dataset=[{"use": "drawn"}, {"use": "files", "root": "/data"}],
        model=[{"use": "linear"}, {"use": "joint"}, {"use": "classifier"}],
        attack=[PGD, {"use": "noise", "eps": 0.1}],
    )
    assert len(made.cells) == 2 * 3 * 2
    assert made.skipped == ()
    found = {(cell.dataset.label, cell.model.label, cell.attack.label) for cell in made.cells}
    assert len(found) == 12
    assert {cell.goal for cell in made.cells if cell.model.label == "classifier"} == {"untargeted"}
    assert {cell.goal for cell in made.cells if cell.model.label == "linear"} == {"flip"}


def test_budgets_and_norms_are_crossed(fakes: Catalog) -> None:
    table = {"use": "pgd", "eps": [0.75, 0.5], "norm": ["linf", "l2"]}
    made = planned(fakes, attack=table)
    assert [choice.threat.label for choice in made.attacks] == ["linf 0.75", "linf 0.5", "l2 0.75", "l2 0.5"]
    # Rows of different threats need no other name.
    assert labels(made.attacks) == ["pgd"] * 4


def test_the_first_norm_is_the_default(fakes: Catalog) -> None:
    (choice,) = planned(fakes, attack={"use": "flipper"}).attacks
    assert choice.threat.label == "linf minimal"
    assert choice.threat.eps is None


@pytest.mark.parametrize(("eps", "label"), [(None, "linf minimal"), (0.1, "linf 0.1")])
def test_a_budget_is_optional_where_the_attack_says_either(
    fakes: Catalog, eps: float | None, label: str
) -> None:
    table = {"use": "joint-averse"} | ({} if eps is None else {"eps": eps})
    (choice,) = planned(fakes, attack=table).attacks
    assert choice.threat.label == label


def test_the_threat_shows_no_more_than_the_attack_needs(fakes: Catalog) -> None:
    attacks = planned(fakes, attack=[PGD, {"use": "noise", "eps": 0.1}]).attacks
    assert [choice.threat.access for choice in attacks] == ["gradients", "decisions"]


def test_parameters_and_presets_are_crossed_and_named(fakes: Catalog) -> None:
    made = planned(fakes, attack=PGD | {"steps": [10, 20]})
    assert labels(made.attacks) == ["pgd[steps=10]", "pgd[steps=20]"]
    made = planned(fakes, attack=PGD | {"preset": ["weak", "strong"]})
    assert labels(made.attacks) == ["pgd[steps=5,step_size=None]", "pgd[steps=500,step_size=0.01]"]
    made = planned(fakes, model={"use": "linear", "preset": ["quick", "paper"]})
    assert labels(made.models) == ["linear[width=4,epochs=2]", "linear[width=64,epochs=90]"]
    assert len(made.cells) == 2


def test_the_first_preset_is_the_default_and_keys_beat_it(fakes: Catalog) -> None:
    (choice,) = planned(fakes).models
    assert choice.parameters == {"width": 4, "attributes": None, "epochs": 2, "rate": 0.1}
    (choice,) = planned(fakes, model={"use": "linear", "preset": "paper", "width": 8}).models
    assert choice.parameters == {"width": 8, "attributes": None, "epochs": 90, "rate": 0.1}


def test_lists_that_are_one_value_are_not_crossed(fakes: Catalog) -> None:
    (choice,) = planned(fakes, dataset={"use": "drawn", "size": [88, 72]}).datasets
    assert choice.parameters["size"] == (88, 72)
    (attack,) = planned(fakes, attack=PGD | {"attributes": ["Young", "Male"], "sizes": [3, 5]}).attacks
    assert (attack.attributes, attack.parameters["sizes"]) == (("Young", "Male"), [3, 5])
    (model,) = planned(fakes, model={"use": "linear", "attributes": ["Young", "Male"]}).models
    assert model.attributes == ("Young", "Male")
    (attack,) = planned(fakes, attack=PGD | {"sizes": []}).attacks
    assert attack.parameters["sizes"] == []


def test_lists_of_such_lists_are_crossed(fakes: Catalog) -> None:
    made = planned(fakes, dataset={"use": "drawn", "size": [[88, 72], [44, 36]]})
    assert labels(made.datasets) == ["drawn[size=88+72]", "drawn[size=44+36]"]
    made = planned(fakes, model={"use": "linear", "attributes": [["Young"], ["Male", "Smiling"]]})
    assert labels(made.models) == ["linear[attributes=Young]", "linear[attributes=Male+Smiling]"]


def test_a_default_is_what_it_would_be_if_it_were_written(fakes: Catalog) -> None:
    left, given = planned(fakes, attack=[PGD, PGD | {"id": "given", "decay": 1}]).attacks
    assert repr(left.parameters) == repr(given.parameters)
    assert repr(left.parameters["decay"]) == "1.0"


# --- names ------------------------------------------------------------------------------------------------


def test_ids_are_labels(fakes: Catalog) -> None:
    made = planned(
        fakes,
        dataset={"use": "drawn", "id": "faces"},
        model={"use": "linear", "id": "mine"},
        attack=[PGD | {"id": "near"}, PGD | {"id": "also-near"}],
    )
    assert labels((*made.datasets, *made.models, *made.attacks)) == ["faces", "mine", "near", "also-near"]


@pytest.mark.parametrize("kind", ["dataset", "model", "attack"])
def test_one_table_twice_is_an_error(fakes: Catalog, kind: str) -> None:
    tables = document()[kind] * 2
    use = tables[0]["use"]
    with pytest.raises(ManifestError, match=f'suite: {kind} "{use}" stands there twice.* give each an id'):
        planned(fakes, **{kind: tables})


def test_one_id_twice_is_an_error(fakes: Catalog) -> None:
    with pytest.raises(ManifestError, match='attack "mine" stands there twice'):
        planned(fakes, attack=[PGD | {"id": "mine"}, PGD | {"id": "mine"}])


def test_one_label_for_two_attacks_is_an_error(fakes: Catalog) -> None:
    with pytest.raises(ManifestError, match='"mine" would name both fakes/pgd and fakes/noise'):
        planned(fakes, attack=[PGD | {"id": "mine"}, {"use": "noise", "eps": 0.1, "id": "mine"}])


def test_repeated_tables_are_called_after_what_they_differ_in(fakes: Catalog) -> None:
    attacks = [PGD | {"steps": 10}, PGD | {"steps": 20, "start": "none"}, PGD | {"steps": 10, "eps": 0.5}]
    assert labels(planned(fakes, attack=attacks).attacks) == [
        "pgd[steps=10,start=random]",
        "pgd[steps=20,start=none]",
        "pgd",
    ]
    datasets = [{"use": "drawn", "partition": "test"}, {"use": "drawn", "partition": "train"}]
    assert labels(planned(fakes, dataset=datasets).datasets) == [
        "drawn[partition=test]",
        "drawn[partition=train]",
    ]
    attacks = [PGD | {"attributes": ["Young"]}, PGD]
    assert labels(planned(fakes, attack=attacks).attacks) == [
        "pgd[attributes=Young]",
        "pgd[attributes=None]",
    ]
    models = [{"use": "linear"}, {"use": "linear", "weights": "mine.pt"}]
    assert labels(planned(fakes, model=models).models) == [
        "linear[weights=None]",
        "linear[weights=mine.pt]",
    ]


def test_compute_and_keep_fall_to_the_suite(fakes: Catalog) -> None:
    attacks = [PGD, PGD | {"id": "other", "compute": "float32", "keep": False}]
    chosen = planned(fakes, compute="bfloat16", keep=True, attack=attacks).attacks
    assert [(choice.compute, choice.keep) for choice in chosen] == [("bfloat16", True), ("float32", False)]


# --- what is skipped --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"model": {"use": "classifier"}, "attack": {"use": "flipper"}},
            'flipper does not attack the head "classes"',
        ),
        ({"model": {"use": "boxed"}}, "pgd needs gradients, and boxed shows no more than decisions"),
        (
            {"model": {"use": "embedder"}},
            "embedder compares faces, and drawn has no comparisons; write a table [dataset.comparisons] "
            "below it",
        ),
        (
            {"model": {"use": "joint"}, "attack": {"use": "joint-averse"}},
            "one loss over all attributes flips none of them",
        ),
        (
            {"model": {"use": "classifier"}, "attack": PGD | {"attributes": ["Young"]}},
            "it is to flip attributes, and the model answers none",
        ),
        (
            {
                "model": {"use": "linear", "attributes": ["Male"]},
                "attack": PGD | {"attributes": ["Young", "Smiling"]},
            },
            "linear answers none of the attributes Young, Smiling",
        ),
        ({"exclude": {"model": "linear"}}, "excluded by suite"),
    ],
)
def test_a_pair_that_does_not_fit_is_skipped_with_its_reason(
    fakes: Catalog, changes: dict[str, Any], reason: str
) -> None:
    made = planned(fakes, **changes)
    assert made.cells == ()
    assert [skipped.reason for skipped in made.skipped] == [reason]


def test_a_pair_with_some_common_attribute_fits(fakes: Catalog) -> None:
    model = {"use": "linear", "attributes": ["Male", "Young"]}
    assert reasons(fakes, model=model, attack=PGD | {"attributes": ["Young", "Smiling"]}) == []


def test_named_attributes_concern_models_of_attributes_alone(fakes: Catalog) -> None:
    models = [{"use": "linear"}, {"use": "classifier"}]
    made = planned(fakes, model=models, attack=PGD | {"attributes": ["Young"]})
    assert [(cell.model.label, cell.goal) for cell in made.cells] == [
        ("linear", "flip"),
        ("classifier", "untargeted"),
    ]


def test_access_is_compared_by_order(fakes: Catalog) -> None:
    assert reasons(fakes, model={"use": "boxed"}, attack={"use": "noise", "eps": 0.1}) == []


def test_a_reason_is_given_for_every_data_set(fakes: Catalog) -> None:
    datasets = [{"use": "drawn"}, {"use": "files", "root": "/data"}]
    assert len(reasons(fakes, dataset=datasets, model={"use": "boxed"})) == 2


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ({"model": "linear"}, {("drawn", "joint", "pgd"), ("drawn", "joint", "noise")}),
        ({"model": "linear", "attack": "pgd"}, None),
        ({"model": "fakes/linear", "attack": "fakes/pgd"}, None),
        ({"dataset": "drawn"}, set()),
        ({"attack": "noise"}, {("drawn", "linear", "pgd"), ("drawn", "joint", "pgd")}),
    ],
)
def test_what_is_excluded(
    fakes: Catalog, exclude: dict[str, str], left: set[tuple[str, str, str]] | None
) -> None:
    made = planned(
        fakes,
        model=[{"use": "linear"}, {"use": "joint"}],
        attack=[PGD, {"use": "noise", "eps": 0.1}],
        exclude=exclude,
    )
    found = {(cell.dataset.label, cell.model.label, cell.attack.label) for cell in made.cells}
    if left is None:
        assert len(found) == 3
        assert ("drawn", "linear", "pgd") not in found
    else:
        assert found == left


def test_one_data_set_of_two_is_excluded(fakes: Catalog) -> None:
    datasets = [{"use": "drawn"}, {"use": "files", "root": "/data"}]
    made = planned(fakes, dataset=datasets, exclude={"dataset": "drawn", "model": "linear"})
    assert [cell.dataset.label for cell in made.cells] == ["files"]
    assert [skipped.dataset.label for skipped in made.skipped] == ["drawn"]


def test_exclusions_know_ids_labels_and_what_is_stood_in_for(fakes: Catalog) -> None:
    attacks = [PGD | {"steps": [10, 20]}, PGD | {"id": "far", "eps": 0.5}]
    assert len(planned(fakes, attack=attacks, exclude={"attack": "pgd[steps=10]"}).cells) == 2
    assert len(planned(fakes, attack=attacks, exclude={"attack": "far"}).cells) == 2
    assert len(planned(fakes, attack=attacks, exclude={"attack": "pgd"}).cells) == 0
    stood_in = {"use": "files", "root": "$FACES", "stand_in": "drawn"}
    assert len(planned(fakes, dataset=stood_in, exclude={"dataset": "files"}).cells) == 0


@pytest.mark.parametrize(
    ("exclude", "message"),
    [
        ({}, "suite: exclude 1: name a dataset, a model or an attack"),
        ({"model": "liner"}, 'suite: exclude 1: model "liner" is not in this suite; did you mean "linear"?'),
        ({"model": "joint"}, 'suite: exclude 1: model "joint" is not in this suite; valid: '),
        ({"modell": "linear"}, 'suite: exclude 1: "modell" is unknown; did you mean "model"?'),
        ({"model": 3}, "suite: exclude 1.model = 3 must be str or list of str or none"),
        ({"use": "linear"}, 'suite: exclude 1: "use" is unknown'),
    ],
)
def test_a_wrong_exclusion(fakes: Catalog, exclude: dict[str, Any], message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        planned(fakes, exclude=[exclude])
    assert str(caught.value).startswith(message)


# --- plugins that are wrong -------------------------------------------------------------------------------


def anything(model: Any, x: Any, objective: Any, threat: Any, *, rng: Any, **more: Any) -> Any:
    raise AssertionError


class Opaque:
    """A type that no manifest can give."""


def odd(model: Any, x: Any, objective: Any, threat: Any, *, rng: Any, thing: Opaque | None = None) -> Any:
    raise AssertionError


def broken_refusal(model: ModelSpec, parameters: Any) -> str | None:
    raise KeyError("steps")


CONSTANT = 3


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("anything", r"anything takes \*\*more: parameters must be named"),
        ("CONSTANT", "is no function"),
        ("odd", "thing"),
        ("nothing", "cannot be loaded: AttributeError"),
    ],
)
def test_an_attack_that_cannot_be_read_is_named(fakes: Catalog, target: str, message: str) -> None:
    catalog = _with_attack(fakes, AttackSpec(name="odd", summary="", run=f"{__name__}:{target}"))
    table = {"use": "odd", "eps": 0.1} | ({"thing": 3} if target == "odd" else {})
    with pytest.raises(CatalogError, match=message):
        planned(catalog, attack=table)


def test_a_refusal_that_fails_names_the_attack(fakes: Catalog) -> None:
    spec = AttackSpec(name="odd", summary="", run="tests.plan.fakes:plain", refuses=broken_refusal)
    with pytest.raises(HarnessError, match=r"odd-plugin/odd.*KeyError: 'steps'"):
        planned(_with_attack(fakes, spec), attack={"use": "odd", "eps": 0.1})


def _with_attack(catalog: Catalog, spec: AttackSpec) -> Catalog:
    entry = Entry(spec, Plugin("odd-plugin", "odd-faces", "1"))
    return replace(catalog, attacks=Section("attacks", [entry], ()))


# --- the resolved suite -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dataset": {"use": "files", "root": "$FACES", "stand_in": "drawn", "sample": 3}},
        {"dataset": {"use": "drawn", "size": [[8, 8], [16, 8]], "partition": "test"}},
        {"attack": PGD | {"preset": ["weak", "strong"], "eps": [0.1, "8/255"], "norm": ["l2", "linf"]}},
        {"attack": {"use": "flipper", "attributes": ["Young"]}, "seed": 3, "keep": True},
        {"model": [{"use": "linear", "preset": ["quick", "paper"]}, {"use": "joint"}]},
        {"attack": [PGD, {"use": "joint-averse"}], "model": [{"use": "joint"}, {"use": "linear"}]},
        {"attack": [PGD, {"use": "noise", "eps": 1.0}], "exclude": {"attack": "noise"}},
        {"measure": [{"use": "likeness", "window": 7}, {"use": "perceived", "id": "seen"}]},
    ],
)
def test_the_resolved_suite_gives_the_same_plan(fakes: Catalog, changes: dict[str, Any]) -> None:
    made = planned(fakes, **changes)
    again = plan(read_suite(resolved(made), environment={}), fakes)
    # By repr, for identities tell 1 from 1.0.
    assert list(map(_of_cell, again.cells)) == list(map(_of_cell, made.cells))
    assert labels(again.datasets) == labels(made.datasets)
    assert [(choice.column, choice.parameters) for choice in again.measures] == [
        (choice.column, choice.parameters) for choice in made.measures
    ]
    assert len(again.skipped) == len(made.skipped)


def test_a_preset_that_is_not_asked_for_does_not_fill_what_another_leaves_open(fakes: Catalog) -> None:
    entry = fakes.models["linear"]
    presets = {"few": {"attributes": ("Young",)}, "all": {}}
    spec = replace(entry.spec, presets=presets)
    catalog = replace(fakes, models=Section("models", [replace(entry, spec=spec)], ()))
    made = planned(catalog, model={"use": "linear", "preset": "all"})
    assert made.models[0].attributes is None
    again = plan(read_suite(resolved(made), environment={}), catalog)
    assert again.models[0].attributes is None


def _of_cell(cell: Any) -> str:
    dataset, model, attack = cell.dataset, cell.model, cell.attack
    return repr(
        (
            (dataset.label, dataset.entry.qualified, dataset.parameters, dataset.partition, dataset.sample),
            (model.label, model.entry.qualified, model.parameters, model.weights),
            (attack.label, attack.entry.qualified, attack.parameters, attack.threat, attack.attributes),
            (attack.compute, attack.keep, cell.goal),
        )
    )


def test_boards_are_ordered_by_a_threat_of_the_suite(fakes: Catalog) -> None:
    assert planned(fakes, attack=PGD, order_by="linf 8/255").suite.order_by == "linf 8/255"
    with pytest.raises(ManifestError, match=r'order_by = "linf 9/255" is no .* did you mean "linf 8/255"\?'):
        planned(fakes, attack=PGD, order_by="linf 9/255")
