"""Options: flags beat HARNESS_* variables beat the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import ManifestError
from harness.options import Options, options


def test_nothing_given_is_the_default() -> None:
    assert options(environment={}) == Options(None, None, None, (1, 1), "never", {})


VARIABLES = {
    "HARNESS_OUT": "there",
    "HARNESS_LIMIT": "7",
    "HARNESS_DEVICE": "cpu",
    "HARNESS_SHARD": "2/4",
    "HARNESS_OVERWRITE": "failed",
    "HARNESS_JUDGE": "apart",
}


def test_variables_stand_for_flags() -> None:
    assert options(environment=VARIABLES) == Options(Path("there"), 7, "cpu", (2, 4), "failed", {}, "apart")


def test_flags_beat_variables() -> None:
    given = options(
        out="here",
        limit=3,
        device="cuda",
        shard="1/2",
        overwrite="all",
        judge="here",
        overrides={"seed": 1},
        environment=VARIABLES,
    )
    assert given == Options(Path("here"), 3, "cuda", (1, 2), "all", {"seed": 1}, "here")


def test_an_empty_variable_says_nothing() -> None:
    assert options(environment=dict.fromkeys(VARIABLES, "")) == options(environment={})


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_LIMIT", "11")
    assert options().limit == 11


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("limit", "0", "--limit 0 must be a whole number of at least 1"),
        ("limit", 0, "--limit 0 must be a whole number of at least 1"),
        ("limit", -3, "--limit -3 must be a whole number"),
        ("limit", "1.5", "--limit 1.5 must be a whole number"),
        ("limit", "many", "--limit many must be a whole number"),
        ("limit", "", "--limit  must be a whole number"),
        ("shard", "0/2", "--shard 0/2 must be i/n with 1 <= i <= n"),
        ("shard", "3/2", "--shard 3/2 must be i/n"),
        ("shard", "1/0", "--shard 1/0 must be i/n"),
        ("shard", "2", '--shard 2 must be i/n with 1 <= i <= n, such as "2/4"'),
        ("shard", "a/b", "--shard a/b must be i/n"),
        ("shard", "1/2/3", "--shard 1/2/3 must be i/n"),
        ("overwrite", "al", '--overwrite al is unknown; did you mean "all"?'),
        ("judge", "appart", '--judge appart is unknown; did you mean "apart"?'),
        ("overwrite", "zzz", "--overwrite zzz is unknown; valid: all, failed, never"),
        ("out", "", "--out is empty; give the path of a folder"),
    ],
)
def test_a_wrong_value_names_the_flag(flag: str, value: Any, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        options(**{flag: value}, environment={})
    assert str(caught.value).startswith(" ".join(message.split()))


@pytest.mark.parametrize(
    ("variable", "value"),
    [("HARNESS_LIMIT", "none"), ("HARNESS_SHARD", "5/4"), ("HARNESS_OVERWRITE", "yes")],
)
def test_a_wrong_variable_is_named(variable: str, value: str) -> None:
    with pytest.raises(ManifestError, match=f"^{variable} {value} "):
        options(environment={variable: value})
