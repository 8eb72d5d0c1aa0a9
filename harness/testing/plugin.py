"""`harness check` collects the checks of everything that a plugin provides here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from harness.catalog import Catalog, Entry
from harness.dataset import Dataset
from harness.errors import CatalogError, HarnessError, nearest
from harness.testing.analysis_contract import ANALYSIS_CHECKS, analysis_checks
from harness.testing.attacks.contract import ATTACK_CHECKS, attack_checks
from harness.testing.contract import Case, known
from harness.testing.converter_contract import CONVERTER_CHECKS, converter_checks
from harness.testing.dataset_contract import DATASET_CHECKS, dataset_checks
from harness.testing.measure_contract import MEASURE_CHECKS, measure_checks
from harness.testing.metric_contract import METRIC_CHECKS, metric_checks
from harness.testing.models.contract import MODEL_CHECKS, model_checks

CONTRACTS: Mapping[str, tuple[tuple[Any, ...], Callable[..., list[Case]]]] = {
    "attacks": (ATTACK_CHECKS, attack_checks),
    "models": (MODEL_CHECKS, model_checks),
    "datasets": (DATASET_CHECKS, dataset_checks),
    "measures": (MEASURE_CHECKS, measure_checks),
    "metrics": (METRIC_CHECKS, metric_checks),
    "analyses": (ANALYSIS_CHECKS, analysis_checks),
    "converters": (CONVERTER_CHECKS, converter_checks),
}
"""The kinds that have a contract, in the order in which they are checked."""


def plugin_checks(
    catalog: Catalog,
    plugin: str,
    names: Collection[str] = (),
    *,
    only: Collection[str] = (),
    skip: Collection[str] = (),
    overrides: Mapping[str, Any] | None = None,
    data: Dataset | None = None,
) -> list[Case]:
    """Return the cases of everything that a plugin provides.

    Args:
        plugin: the name of its entry point, or "plugin/name" for one attack, model, ….
        names: names of the attacks, models, … to check; all if empty.
        only: names of checks to run; all if empty.
        skip: names of checks to leave out.
        overrides: parameters by "name.parameter".
        data: images of persons, on which models of embeddings are compared.

    Raises:
        HarnessError: the plugin or a name is unknown, or the plugin cannot be loaded or provides nothing.
    """
    plugin, _, one = plugin.partition("/")
    _loaded(catalog, plugin)
    wanted = {*names, one} - {""}
    brought = _brought(catalog, plugin)
    if not brought:
        raise CatalogError(f'plugin "{plugin}" has none of what is checked: {", ".join(CONTRACTS)}')
    valid = {entry.spec.name for _, entry in brought}
    for name in wanted - valid:
        raise CatalogError(f'plugin "{plugin}" has no "{name}"; {nearest(name, valid)}')
    known([check for checks, _ in CONTRACTS.values() for check in checks], (*only, *skip))
    settings = _by_name(overrides or {}, valid)
    cases: list[Case] = []
    for kind, entry in brought:
        name = entry.spec.name
        if wanted and name not in wanted:
            continue
        checks, contract = CONTRACTS[kind]
        its = {check.name for check in checks}
        if only and not its & set(only):
            continue
        more = {"data": data} if kind == "models" else {}
        chosen = {"only": its & set(only), "skip": its & set(skip), **more}
        try:
            cases += contract(entry, params=settings.get(name), **chosen)
        except HarnessError as error:
            raise HarnessError(f"{error}; set a parameter with --set {name}.PARAMETER=VALUE") from error
    return cases


def _brought(catalog: Catalog, plugin: str) -> list[tuple[str, Entry[Any]]]:
    """Return the kind and the entry of everything in a plugin that has a contract."""
    return [
        (kind, entry)
        for kind in CONTRACTS
        for entry in catalog.section(kind).values()
        if entry.plugin.name == plugin
    ]


def _loaded(catalog: Catalog, plugin: str) -> None:
    for broken in catalog.broken:
        if broken.plugin.name == plugin:
            raise CatalogError(f'plugin "{plugin}" could not be loaded: {broken.reason}')
    names = {known.name for known in catalog.plugins}
    if plugin not in names:
        raise CatalogError(f'plugin "{plugin}" is unknown; {nearest(plugin, names)}')


def _by_name(overrides: Mapping[str, Any], valid: Collection[str]) -> dict[str, dict[str, Any]]:
    settings: dict[str, dict[str, Any]] = {}
    for key, value in overrides.items():
        name, dot, parameter = key.rpartition(".")
        if not dot:
            raise HarnessError(f"--set {key}: write NAME.PARAMETER=VALUE")
        if name not in valid:
            raise HarnessError(f'--set {key}: the plugin has no "{name}"; {nearest(name, valid)}')
        settings.setdefault(name, {})[parameter] = value
    return settings
