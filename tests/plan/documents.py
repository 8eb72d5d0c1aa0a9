"""Suites as mappings, for tests to vary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.catalog import Catalog
from harness.manifest import read_suite
from harness.plan.cells import Plan
from harness.plan.planner import plan


def document(**changes: Any) -> dict[str, Any]:
    """The smallest suite, with some of its values replaced; a single table stands for a list of one."""
    base: dict[str, Any] = {
        "schema": 1,
        "name": "tiny",
        "dataset": {"use": "drawn"},
        "model": {"use": "linear"},
        "attack": {"use": "pgd", "eps": "8/255"},
    }
    merged = base | changes
    return {key: [value] if isinstance(value, dict) else value for key, value in merged.items()}


def planned(
    catalog: Catalog,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    **changes: Any,
) -> Plan:
    """The plan of such a suite."""
    suite = read_suite(document(**changes), overrides=overrides, environment=environment or {})
    return plan(suite, catalog)
