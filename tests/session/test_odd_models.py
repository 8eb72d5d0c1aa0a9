"""One suite of wrong, odd and sound models runs to its end, and says of each what it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import harness
from harness.catalog import catalog
from harness.export import export
from harness.leaderboard.flags import OF_MODELS
from harness.options import Options
from harness.results import Results
from harness.session.forecast import forecast
from harness.session.session import make_plan
from harness.testing import plugin_checks
from harness.testing.findings import findings, results_of
from tests.installing import plugin_installed

pytestmark = pytest.mark.slow

PLUGIN = Path(__file__).parent / "plugin"
HEADS = ("attributes", "classes")


def models() -> list[tuple[str, str, str]]:
    """Label, head and what is expected of each model."""
    from odd_faces import KINDS

    return [
        (f"{kind} {head}", head, expected)
        for kind, (_, heads, expected) in KINDS.items()
        for head in HEADS
        if heads in (head, "both")
    ]


@pytest.fixture(scope="module", autouse=True)
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with plugin_installed(tmp_path_factory.mktemp("site"), PLUGIN, "odd", "odd_faces"):
        yield


def suite() -> dict[str, Any]:
    odd = [
        {"use": f"odd-{head}", "id": label, "kind": label.removesuffix(f" {head}"), "of": head}
        for label, head, _ in models()
    ]
    return {
        "schema": 1,
        "name": "odd",
        "dataset": [{"use": "patterns"}],
        "model": [*odd, {"use": "unteachable"}],
        "attack": [{"use": "pgd", "eps": "16/255", "steps": 4}, {"use": "noise", "eps": "16/255"}],
    }


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, _installed: None) -> Results:
    return harness.run(suite(), out=tmp_path_factory.mktemp("odd"))


@pytest.fixture(scope="module")
def told(ran: Results) -> dict[str, str]:
    """All that the board says of each model: flags of the model and errors."""
    said = {}
    for model, rows in ran.leaderboard().groupby("model"):
        flags = {flag for text in rows["flags"] for flag in text.split(", ")} & OF_MODELS
        said[str(model)] = "; ".join([*sorted(flags), *rows["error"].dropna().unique()])
    return said


def test_there_are_enough_of_them() -> None:
    assert len(models()) >= 40
    assert sum(not expected for *_, expected in models()) >= 15


def test_every_model_is_what_it_is(told: dict[str, str]) -> None:
    wrong = {}
    for label, _, expected in models():
        said = told[label]
        if said if not expected else expected not in said:
            wrong[label] = f"{said!r} instead of {expected!r}"
    assert not wrong, "\n".join(f"{label}: {line}" for label, line in wrong.items())


def test_a_model_that_cannot_be_trained_is_one_failed_row(told: dict[str, str]) -> None:
    assert "patterns has no training set" in told["unteachable"]


def test_sound_models_are_as_robust_as_the_plain_one(ran: Results) -> None:
    board = ran.leaderboard()
    attacked = board[board["attack"] == "pgd"].set_index("model")
    for label, head, expected in models():
        plain = attacked.loc[f"plain {head}"]
        assert plain["clean_accuracy"] > 0.9
        assert plain["success_rate"] > 0.3
        if not expected and "own-names" not in label:
            # half precision may round a decision at the boundary to the other side
            apart = abs(attacked.loc[label, "success_rate"] - plain["success_rate"])
            assert apart <= (0.1 if "float16" in label else 0.0), label


def test_classes_are_found_by_their_names(ran: Results) -> None:
    board = ran.leaderboard().set_index(["model", "attack"])
    same = board.loc[[("plain classes", "pgd"), ("own-names classes", "pgd")]]
    assert same["clean_accuracy"].nunique() == 1
    assert same["success_rate"].nunique() == 1


def test_flagged_models_have_no_rank_and_stand_last(ran: Results) -> None:
    board = ran.leaderboard()
    flagged = board["flags"].map(lambda text: bool(OF_MODELS.intersection(text.split(", "))))
    assert flagged.any()
    assert board.loc[flagged, "rank"].isna().all()
    ranked = board.loc[~flagged & (board["attack"] == "pgd") & (board["coverage"] == 1), "rank"]
    assert ranked.notna().all()
    for _, rows in board.assign(flagged=flagged).groupby(["dataset", "goal"]):
        assert rows["flagged"].is_monotonic_increasing


def test_the_contract_kit_says_the_same_of_each() -> None:
    wrong = {}
    for label, head, expected in models():
        settings = {f"odd-{head}.kind": label.removesuffix(f" {head}"), f"odd-{head}.of": head}
        cases = plugin_checks(catalog(), "odd", [f"odd-{head}"], overrides=settings)
        results = [result for found in results_of(cases) for result in found]
        said = "; ".join(f"{found.check}: {found.line}" for found in findings(results))
        if bool(said) != bool(expected):
            wrong[label] = f"{said!r}, where a run says {expected!r}"
    assert not wrong, "\n".join(f"{label}: {line}" for label, line in wrong.items())


@pytest.mark.parametrize("format", ["md", "html"])
def test_a_board_says_so_above_the_table(ran: Results, format: str) -> None:
    page = export(ran.path, format)
    above = page[: page.index("success %")]
    assert "constant classes on patterns has no rank" in above
    assert "plain classes on" not in above


def test_a_second_run_says_the_same(ran: Results, told: dict[str, str]) -> None:
    before = ran.leaderboard()
    again = harness.run(ran.suite["suite"], out=ran.path)
    pd.testing.assert_frame_equal(before, again.leaderboard())


def test_a_plan_says_it_before_anything_is_attacked() -> None:
    chosen = ["plain classes", "constant classes", "negated attributes"]
    chosen += ["one-output classes", "build-exits classes"]
    small = suite()
    small["model"] = [table for table in small["model"] if table.get("id") in chosen]
    assert len(small["model"]) == len(chosen)
    expected = forecast(make_plan(small, Options()), Options())
    told = {model["model"]: (model["flags"], model["error"] or "") for model in expected.models}
    assert told["plain classes"] == ([], "")
    assert told["constant classes"] == (["constant-decisions"], "")
    assert told["negated attributes"] == (["worse-than-chance"], "")
    assert "1 outputs" in told["one-output classes"][1]
    assert "build failed: SystemExit" in told["build-exits classes"][1]
