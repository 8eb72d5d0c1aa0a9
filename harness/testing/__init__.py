"""The contract kit checks that an attack, a model, a data set or a measure keeps its contract.

    import pytest
    from harness.testing import attack_checks

    @pytest.mark.parametrize("check", attack_checks("one-step"))
    def test_one_step(check):
        check()

`harness check PLUGIN` runs the same checks without pytest.
"""

from __future__ import annotations

from harness.testing.attacks.contract import attack_checks
from harness.testing.contract import Case, ContractFailure, Inapplicable, Result
from harness.testing.dataset_contract import dataset_checks
from harness.testing.measure_contract import measure_checks
from harness.testing.models.contract import model_checks
from harness.testing.plugin import plugin_checks
from harness.testing.problems.problem import Problem

__all__ = [
    "Case",
    "ContractFailure",
    "Inapplicable",
    "Problem",
    "Result",
    "attack_checks",
    "dataset_checks",
    "measure_checks",
    "model_checks",
    "plugin_checks",
]
