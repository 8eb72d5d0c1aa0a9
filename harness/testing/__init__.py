"""The contract kit checks that an attack, a model, a data set or what else a plugin has keeps its contract.

    import pytest
    from harness.testing import attack_checks

    @pytest.mark.parametrize("check", attack_checks("one-step"))
    def test_one_step(check):
        check()

`harness check PLUGIN` runs the same checks without pytest.
"""

from __future__ import annotations

from harness.testing.analysis_contract import analysis_checks as analysis_checks
from harness.testing.attacks.contract import attack_checks as attack_checks
from harness.testing.contract import (
    Case as Case,
    ContractFailure as ContractFailure,
    Inapplicable as Inapplicable,
    Result as Result,
)
from harness.testing.converter_contract import converter_checks as converter_checks
from harness.testing.dataset_contract import dataset_checks as dataset_checks
from harness.testing.findings import Finding as Finding, findings as findings, results_of as results_of
from harness.testing.measure_contract import measure_checks as measure_checks
from harness.testing.metric_contract import metric_checks as metric_checks
from harness.testing.models.contract import model_checks as model_checks
from harness.testing.plugin import plugin_checks as plugin_checks
from harness.testing.problems.problem import Problem as Problem
