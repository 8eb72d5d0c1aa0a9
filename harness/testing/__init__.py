"""The contract kit checks that an attack, a model, a data set or a measure keeps its contract.

    import pytest
    from harness.testing import attack_checks

    @pytest.mark.parametrize("check", attack_checks("one-step"))
    def test_one_step(check):
        check()

`harness check PLUGIN` runs the same checks without pytest.
"""

from __future__ import annotations

from harness.testing.attacks.contract import attack_checks as attack_checks
from harness.testing.contract import (
    Case as Case,
    ContractFailure as ContractFailure,
    Inapplicable as Inapplicable,
    Result as Result,
)
from harness.testing.dataset_contract import dataset_checks as dataset_checks
from harness.testing.measure_contract import measure_checks as measure_checks
from harness.testing.models.contract import model_checks as model_checks
from harness.testing.plugin import plugin_checks as plugin_checks
from harness.testing.problems.problem import Problem as Problem
