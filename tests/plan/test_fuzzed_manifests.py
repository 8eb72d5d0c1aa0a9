"""Whatever stands in a manifest, it is planned or refused by a HarnessError of one line; nothing else."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, example, given, settings, strategies as st

from harness.catalog import Catalog
from harness.errors import HarnessError
from harness.manifest import TABLES, read_suite
from harness.plan.planner import plan
from harness.plan.resolved import resolved

from .documents import document

WORDS = [
    "use",
    "id",
    "root",
    "stand_in",
    "partition",
    "sample",
    "size",
    "count",
    "crop",
    "preset",
    "weights",
    "width",
    "epochs",
    "rate",
    "attributes",
    "norm",
    "eps",
    "steps",
    "step_size",
    "start",
    "sizes",
    "early_stop",
    "compute",
    "keep",
    "window",
    "dataset",
    "model",
    "attack",
    "rng",
]
VALUES = [
    "files",
    "drawn",
    "linear",
    "joint",
    "boxed",
    "classifier",
    "embedder",
    "pgd",
    "flipper",
    "joint-averse",
    "noise",
    "demanding",
    "likeness",
    "perceived",
    "histogram",
    "quick",
    "paper",
    "weak",
    "strong",
    "linf",
    "l2",
    "8/255",
    "0/0",
    "1/",
    "$FACES",
    "${OTHER}",
    "test",
    "train",
    "bfloat16",
]
TOP = ("schema", "name", "description", "seed", "batch_size", "shard_size", "device", "keep", *TABLES)

scalars = st.one_of(
    st.sampled_from(VALUES),
    st.text(max_size=8),
    st.integers(),
    st.sampled_from([1, 3, 0.1]),
    st.floats(),
    st.booleans(),
    st.dates(),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner)
    ),
    max_leaves=5,
)
keys = st.sampled_from(WORDS) | st.text(max_size=6)
tables = st.dictionaries(keys, values, max_size=4)
documents = st.dictionaries(
    st.sampled_from(TOP) | st.text(max_size=6), st.lists(tables, max_size=3) | values, max_size=8
)
paths = st.one_of(
    st.sampled_from(
        ["seed", "attack.pgd.eps", "model.linear.width", "dataset.drawn.size", "attack", "..", ""]
    ),
    st.lists(st.sampled_from([*TABLES, *WORDS, *VALUES]), max_size=4).map(".".join),
    st.text(max_size=12),
)


def attempt(catalog: Catalog, suite: dict[str, Any], overrides: dict[str, Any]) -> None:
    try:
        made = plan(read_suite(suite, overrides=overrides, environment={"FACES": "/data"}), catalog)
        again = plan(read_suite(resolved(made), environment={}), catalog)
    except HarnessError as error:
        said = str(error)
    else:
        said = "planned"
        assert len(again.cells) == len(made.cells)
    assert said.splitlines() == [said]


relaxed = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@relaxed
@given(suite=documents, overrides=st.dictionaries(paths, values, max_size=2))
def test_any_document(fakes: Catalog, suite: dict[str, Any], overrides: dict[str, Any]) -> None:
    attempt(fakes, suite, overrides)


@relaxed
@given(
    kind=st.sampled_from(TABLES),
    use=st.sampled_from(VALUES),
    table=tables,
    overrides=st.dictionaries(paths, values, max_size=1),
)
def test_any_table_in_a_suite_that_is_right(
    fakes: Catalog, kind: str, use: str, table: dict[str, Any], overrides: dict[str, Any]
) -> None:
    suite = document()
    suite[kind] = [*suite.get(kind, []), {"use": use, **table}]
    attempt(fakes, suite, overrides)


@relaxed
@given(key=keys, value=values)
@example(key="root", value=[{"use": "${OTHER}"}])
@example(key="root", value={"use": {"id": "a\n$OTHER"}})
def test_any_value_of_any_key(fakes: Catalog, key: str, value: Any) -> None:
    for kind in ("dataset", "model", "attack"):
        suite = document()
        suite[kind][0][key] = value
        attempt(fakes, suite, {})
