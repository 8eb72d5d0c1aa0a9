"""What a name, its code and its parameters come to in identities of cells and weights."""

from __future__ import annotations

from harness.catalog import Entry, Plugin
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
