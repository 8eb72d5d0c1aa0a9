"""What a name, its code and its parameters come to in identities of cells and weights."""

from __future__ import annotations

from harness.catalog import Entry, Plugin, catalog
from harness.specs import AttackSpec

PLUGIN = Plugin("mine", "mine", "1")


def test_a_later_parameter_changes_no_identity_where_it_changes_nothing() -> None:
    before = Entry(AttackSpec(name="a", summary="", run="m:f"), PLUGIN)
    after = Entry(AttackSpec(name="a", summary="", run="m:f", later={"target": "recomputed"}), PLUGIN)
    known = before.identity({"steps": 3})
    assert after.identity({"steps": 3, "target": "recomputed"}) == known
    assert after.identity({"steps": 3, "target": "held"}) != known


def test_a_revision_may_change_the_meaning_of_some_parameters_alone() -> None:
    before = Entry(AttackSpec(name="a", summary="", run="m:f"), PLUGIN)
    spec = AttackSpec(
        name="a", summary="", run="m:f", revision=2, revised=lambda parameters: parameters["kappa"] > 0
    )
    after = Entry(spec, PLUGIN)
    assert after.identity({"kappa": 0.0}) == before.identity({"kappa": 0.0})
    assert after.identity({"kappa": 0.5}) != before.identity({"kappa": 0.5})


def test_patience_alone_has_another_meaning_since_the_second_revision_of_attribute_networks() -> None:
    for name in ("moon", "separate"):
        entry = catalog().models[name]
        known = {key: value.default for key, value in entry.parameters().items()}
        assert " r1" in entry.identity({**known, "patience": None})[1]
        assert " r2" in entry.identity({**known, "patience": 2})[1]


def test_confidence_alone_has_another_meaning_since_the_second_revision_of_cw() -> None:
    entry = catalog().attacks["cw-l2"]
    known = {key: value.default for key, value in entry.parameters().items()}
    assert " r1" in entry.identity(known)[1]
    assert " r2" in entry.identity({**known, "confidence": 0.5})[1]


CHANGED = {("cw-l2", "warm_up")}
"""Parameters that were added and at once used by default: what is done by default has another identity."""


def test_what_was_done_before_is_what_is_done_by_default() -> None:
    for section in ("attacks", "models", "datasets"):
        for name, entry in catalog().section(section).items():
            if not entry.spec.later:
                continue
            known = entry.parameters()
            shared = entry.spec.later.keys() & known.keys()
            if entry.plugin.name == "attacks":
                assert shared == entry.spec.later.keys(), name
            assert {key for key in shared if known[key].default != entry.spec.later[key]} == {
                key for attack, key in CHANGED if attack == name
            }, name


def test_the_published_loop_of_cw_keeps_its_identity() -> None:
    entry = catalog().attacks["cw-l2"]
    known = {key: value.default for key, value in entry.parameters().items()} | entry.spec.presets["paper"]
    assert "warm_up" not in str(entry.identity(known))
    assert "warm_up" in str(entry.identity({**known, "warm_up": 40}))
