"""The catalogue: what plugins provide, whose it is, and what is said of those that cannot be loaded."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import pytest

import harness
from harness.catalog import GROUP, Catalog, Entry, Plugin, read_catalog
from harness.errors import CatalogError, ManifestError
from harness.manifest import read_suite
from harness.parameters import Parameter, check
from harness.plan.planner import plan
from harness.specs import (
    AnalysisSpec,
    AttackSpec,
    ConverterSpec,
    DatasetSpec,
    MeasureSpec,
    MetricSpec,
    ModelSpec,
    Spec,
)
from tests.front import grouped
from tests.plan.conftest import Site

FAKES = grouped.__name__

HEADER = """\
from harness import AttackSpec, ModelSpec, hookimpl
"""


def models(*names: str, build: str = "tests.plan.fakes:build_plain") -> str:
    """Source of a plugin with models of these names."""
    specs = ", ".join(
        f'ModelSpec(name="{name}", summary="a model", build="{build}", head="attributes")' for name in names
    )
    return f"{HEADER}\n@hookimpl\ndef harness_models():\n    return [{specs}]\n"


def reason_of(catalog: Catalog) -> str:
    """Why the only broken plugin is broken."""
    (broken,) = catalog.broken
    assert "\n" not in broken.reason
    return broken.reason


def test_an_entry_knows_its_distribution_and_version(site: Site) -> None:
    site.plugin("extras", models("ridge"), distribution="face-extras", version="2.3")
    catalog = site.catalog()
    entry = catalog.models["ridge"]
    assert entry.plugin == Plugin("extras", "face-extras", "2.3")
    assert entry.qualified == "extras/ridge"
    assert entry.version == "face-extras 2.3 r1"
    assert catalog.plugins == (entry.plugin,)
    assert catalog.broken == ()


def test_code_is_imported_when_it_is_used(site: Site) -> None:
    site.plugin("extras", models("ridge", build="site_heavy:build"))
    (site.folder / "site_heavy.py").write_text("def build(task): ...\n")
    entry = site.catalog().models["ridge"]
    assert "site_heavy" not in sys.modules
    assert entry.load(entry.spec.build).__name__ == "build"
    assert "site_heavy" in sys.modules


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("site_nowhere:build", "ModuleNotFoundError"),
        ("harness.errors:nothing", "AttributeError"),
        ("harness.errors", "AttributeError"),
        (":build", "ValueError"),
    ],
)
def test_code_that_cannot_be_imported_is_named(target: str, fault: str) -> None:
    spec = ModelSpec(name="ridge", summary="", build=target, head="attributes")
    entry = Entry(spec, Plugin("extras", "face-extras", "2.3"))
    with pytest.raises(CatalogError, match=f'^"extras/ridge" of face-extras 2.3: {target} .*{fault}'):
        entry.load(spec.build)


# --- functions of an entry --------------------------------------------------------------------------------


def of_fakes(spec: Spec) -> Entry[Spec]:
    return Entry(spec, Plugin("extras", "face-extras", "2.3"))


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (
            ModelSpec(name="m", summary="", build=f"{FAKES}:build", train=f"{FAKES}:train", head="classes"),
            ["width", "shared", "epochs", "rate"],
        ),
        (ModelSpec(name="m", summary="", build=f"{FAKES}:build", head="classes"), ["width", "shared"]),
        (
            DatasetSpec(name="d", summary="", load=f"{FAKES}:build", fit=f"{FAKES}:train"),
            ["width", "shared", "epochs", "rate"],
        ),
        (
            AttackSpec(name="a", summary="", run=f"{FAKES}:run", region=f"{FAKES}:region"),
            ["border", "shared", "steps", "eot", "bpda"],
        ),
        (
            AttackSpec(name="a", summary="", run=f"{FAKES}:run", access="scores"),
            ["shared", "steps"],
        ),
        (MeasureSpec(name="s", summary="", run=f"{FAKES}:build"), ["width", "shared"]),
        (AnalysisSpec(name="z", summary="", run=f"{FAKES}:build"), ["width", "shared"]),
        (ConverterSpec(name="c", summary="", run=f"{FAKES}:build"), ["width", "shared"]),
        (MetricSpec(name="t", summary="", run=f"{FAKES}:build", columns=()), []),
    ],
)
def test_the_parameters_of_an_entry_are_those_of_all_its_functions(spec: Spec, names: list[str]) -> None:
    assert list(of_fakes(spec).parameters()) == names


def test_of_two_functions_with_one_parameter_the_later_says_what_it_is() -> None:
    spec = ModelSpec(name="m", summary="", build=f"{FAKES}:build", train=f"{FAKES}:train", head="classes")
    assert of_fakes(spec).parameters()["shared"] == Parameter("shared", float, 0.5)


def test_each_function_is_called_with_what_it_takes() -> None:
    spec = ModelSpec(name="m", summary="", build=f"{FAKES}:build", train=f"{FAKES}:train", head="classes")
    entry = of_fakes(spec)
    values = check("here", {"epochs": 3, "shared": 2}, entry.parameters(), ManifestError)
    assert entry.call(spec.build, "task", values=values) == ("task", 4, 2.0)
    found = entry.call(f"{FAKES}:train", "module", values=values)
    assert found == ("module", 2.0, grouped.Recipe(epochs=3, rate=0.1))


# --- broken plugins ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
        ("def f(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        (f"{HEADER}\n@hookimpl\ndef harness_model():\n    return []\n", "unknown hook 'harness_model'"),
        (f"{HEADER}\n@hookimpl\ndef harness_models(task):\n    return []\n", "task"),
        (f"{HEADER}\n@hookimpl\ndef harness_models():\n    return None\n", "harness_models returned None"),
        (
            f"{HEADER}\n@hookimpl\ndef harness_models():\n"
            "    return ModelSpec(name='m', summary='', build='', head='classes')\n",
            "instead of a list",
        ),
        (f"{HEADER}\n@hookimpl\ndef harness_models():\n    return [1]\n", "instead of a ModelSpec"),
        (f"{HEADER}\n@hookimpl\ndef harness_models():\n    raise ValueError('no')\n", "ValueError: no"),
        (
            f"{HEADER}\n@hookimpl\ndef harness_attacks():\n"
            "    return [ModelSpec(name='m', summary='', build='', head='classes')]\n",
            "instead of a AttackSpec",
        ),
        (models("ridge", "ridge"), 'returned "ridge" twice'),
        ("def harness_models():\n    return []\n", "@harness.hookimpl"),
    ],
)
def test_a_plugin_that_fails_is_listed_with_its_reason(site: Site, source: str, reason: str) -> None:
    site.plugin("bad", source, distribution="bad-faces", version="0.9")
    site.plugin("good", models("ridge"))
    catalog = site.catalog()
    assert reason in reason_of(catalog)
    assert catalog.broken[0].plugin == Plugin("bad", "bad-faces", "0.9")
    assert list(catalog.models) == ["ridge"]
    assert [plugin.name for plugin in catalog.plugins] == ["good"]


def test_nothing_of_a_plugin_that_fails_half_way_is_provided(site: Site) -> None:
    source = models("ridge") + "\n@hookimpl\ndef harness_attacks():\n    raise ValueError('no')\n"
    site.plugin("bad", source)
    site.plugin("later", models("lasso"))
    catalog = site.catalog()
    assert list(catalog.models) == ["lasso"]
    assert reason_of(catalog) == "ValueError: no"


def test_a_module_that_is_missing_altogether_is_listed() -> None:
    catalog = read_catalog([EntryPoint("gone", "site_gone", GROUP)])
    assert "ModuleNotFoundError" in reason_of(catalog)
    assert catalog.broken[0].plugin.distribution == "an unknown distribution"


def test_a_broken_plugin_stops_only_suites_that_need_it(site: Site) -> None:
    site.plugin("bad", "import no_such_library", distribution="bad-faces", version="0.9")
    catalog = read_catalog([*site.points(), EntryPoint("fakes", "tests.plan.fakes", GROUP)])
    document = {
        "schema": 1,
        "name": "tiny",
        "dataset": [{"use": "drawn"}],
        "model": [{"use": "linear"}],
        "attack": [{"use": "pgd", "eps": 0.1}],
    }
    assert len(plan(read_suite(document), catalog).cells) == 1
    document["model"] = [{"use": "only-bad-has-it"}]
    with pytest.raises(ManifestError, match="only-bad-has-it") as caught:
        plan(read_suite(document), catalog)
    message = str(caught.value)
    assert 'plugin "bad" of bad-faces 0.9 could not be loaded' in message
    assert "No module named 'no_such_library'" in message


# --- names ------------------------------------------------------------------------------------------------


def test_two_distributions_may_not_share_a_plugin_name(site: Site) -> None:
    site.plugin("extras", models("ridge"), distribution="face-extras", version="1.0")
    site.plugin("extras", models("lasso"), distribution="other-faces", version="7.1")
    with pytest.raises(CatalogError, match="uninstall one of them") as caught:
        site.catalog()
    for part in ('"extras"', "face-extras 1.0", "other-faces 7.1"):
        assert part in str(caught.value)


def test_a_spec_name_that_two_plugins_share_needs_the_plugin(site: Site) -> None:
    site.plugin("one", models("ridge", "own"), distribution="dist-a")
    site.plugin("two", models("ridge"), distribution="dist-b")
    section = site.catalog().models
    assert list(section) == ["one/ridge", "own", "two/ridge"]
    assert len(section) == 3
    assert section["two/ridge"].plugin.distribution == "dist-b"
    assert section["one/own"] is section["own"]
    assert "ridge" not in section
    with pytest.raises(CatalogError, match="several plugins") as caught:
        section["ridge"]
    for part in ('"one/ridge" (dist-a)', '"two/ridge" (dist-b)'):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("models", "liner", 'model "liner" is unknown; did you mean "linear"?'),
        ("models", "LINEAR", 'model "LINEAR" is unknown; did you mean "linear"?'),
        ("attacks", "pdg", 'attack "pdg" is unknown; did you mean "pgd"?'),
        ("analyses", "histgram", 'analysis "histgram" is unknown; did you mean "histogram"?'),
        ("datasets", "zzz", 'dataset "zzz" is unknown; valid: drawn, files, shelved'),
        ("metrics", "zzz", 'metric "zzz" is unknown; there is none'),
        ("models", "other/linear", 'model "other/linear" is unknown; did you mean "linear"?'),
    ],
)
def test_an_unknown_name_comes_with_the_nearest(fakes: Catalog, kind: str, name: str, message: str) -> None:
    with pytest.raises(CatalogError) as caught:
        fakes.section(kind)[name]
    assert str(caught.value) == message


def test_an_unknown_kind_comes_with_the_nearest(fakes: Catalog) -> None:
    with pytest.raises(CatalogError, match='kind "modles" is unknown; did you mean "models"'):
        fakes.section("modles")


def test_sections_are_mappings(fakes: Catalog) -> None:
    assert "pgd" in fakes.attacks
    assert "fakes/pgd" in fakes.attacks
    assert "pdg" not in fakes.attacks
    assert list(fakes.attacks) == sorted(fakes.attacks)
    assert {entry.spec.name for entry in fakes.attacks.values()} == set(fakes.attacks)
    assert fakes.attacks.get("pgd") is fakes.attacks["fakes/pgd"]


def test_the_catalogue_is_read_once() -> None:
    assert harness.catalog() is harness.catalog()
    assert not harness.catalog().broken
