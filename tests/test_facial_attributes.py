"""The facial-attribute suite end to end, on few drawn faces and networks that hardly train."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import harness
from harness.results import Results
from harness.session.verification import verify

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
SUITE = ROOT / "suites/facial-attributes.toml"
PAPER = ROOT / "suites/facial-attributes-paper.toml"
CHOSEN = ["Eyeglasses", "Male", "Smiling"]
IMAGES = 4


def small() -> dict[str, Any]:
    """The suite with fewer attributes, images, epochs and iterations."""
    suite = tomllib.loads(SUITE.read_text(encoding="utf-8"))
    (dataset,) = suite["dataset"]
    faces = {"use": "synthetic-faces", "count": 120, "size": [32, 28], "sample": IMAGES}
    suite["dataset"] = [faces | {"partition": dataset["partition"]}]
    for model in suite["model"]:
        if model["use"] != "majority":
            model |= {"epochs": 3, "width": 4, "depth": 1}
        if "attributes" in model:
            model["attributes"] = CHOSEN
    for attack in suite["attack"]:
        if attack["search"] == "iterative":
            attack["max_iterations"] = 20
        if "attributes" in attack:
            attack["attributes"] = CHOSEN
    return suite


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        suite, out = small(), tmp_path_factory.mktemp("out")
        bare = harness.run({name: tables for name, tables in suite.items() if name != "analysis"}, out=out)
        # While the weights are at hand: the stored adversarials, transferred ones too, are judged again.
        report = verify(bare.path, "cpu")
        # Tables and figures are made after that, once: verifying would make them all again.
        found = harness.run(suite, out=out)
    assert report.compared > 500
    assert not report.differences
    return found


def test_every_cell_is_done(results: Results) -> None:
    cells = results.cells()
    assert set(cells["status"]) == {"done", "skipped"}
    refused = cells[(cells["model"] == "moon") & cells["attack"].str.startswith("fgs")]
    assert len(refused) == 2
    assert refused["error"].str.startswith("FGS increases one loss over all attributes").all()


def test_every_case_is_there(results: Results) -> None:
    samples = results.samples(columns=["sample_id", "target", "error"])
    assert samples["error"].isna().all()
    counts = samples.groupby(["model", "attack"]).size()
    assert counts["moon", "ffa-line"] == 40 * IMAGES
    assert counts["euclidean", "fgs-iterative"] == len(CHOSEN) * IMAGES
    # All models are asked about the same images.
    assert samples.groupby(["model", "attack"])["sample_id"].agg(frozenset).nunique() == 1


def test_every_table_and_figure_is_there(results: Results) -> None:
    asked = [analysis["use"] for analysis in tomllib.loads(SUITE.read_text(encoding="utf-8"))["analysis"]]
    for name in asked:
        table = results.analysis(name)
        assert len(table), name
        figure = results.path / "analyses" / f"{name}.svg"
        assert name == "claims" or figure.stat().st_size > 1000, name


def test_the_checkpoints_are_those_of_one_training(results: Results) -> None:
    models = results.models().set_index("model")
    early, late = models.loc["euclidean-2-epochs"], models.loc["euclidean"]
    assert early["weights"] != late["weights"]
    assert (early["parameters"]["checkpoint"], late["parameters"]["checkpoint"]) == (2, "converged")


def test_the_trivial_classifier_cannot_be_flipped(results: Results) -> None:
    board = results.leaderboard().set_index(["model", "attack"])
    assert board.loc[("majority", "ffa-line"), "success_rate"] == 0
    assert board.loc[("majority", "ffa-line"), "natural_rate"] == 0


def test_early_adversarials_are_judged_on_the_converged_networks(results: Results) -> None:
    made = results.samples(where={"model": "euclidean-2-epochs", "attack": "ffa-line"})
    moved = results.samples(where={"model": "euclidean", "surrogate": "euclidean-2-epochs"})
    moved = moved[moved["attack"].str.startswith("ffa")]
    keys = ["sample_id", "target"]
    both = pd.merge(made, moved, on=keys, suffixes=("_made", "_moved"))
    assert len(both) == len(made) == len(CHOSEN) * IMAGES
    assert list(both["surrogate_success_moved"]) == list(both["success_made"])
    assert list(both["linf_made"]) == list(both["linf_moved"])


def test_the_paper_suite_asks_for_the_published_conditions() -> None:
    paper = tomllib.loads(PAPER.read_text(encoding="utf-8"))
    quick = tomllib.loads(SUITE.read_text(encoding="utf-8"))
    (dataset,) = paper["dataset"]
    assert (dataset["size"], dataset["sample"], dataset["partition"]) == ([218, 178], 1000, "train")
    assert all(model["preset"] == "paper" for model in paper["model"] if model["use"] != "majority")
    assert not any("attributes" in table for table in (*paper["model"], *paper["attack"]))
    for table in quick["attack"]:
        table.pop("attributes", None)
    for kind in ("attack", "exclude", "transfer", "measure", "analysis"):
        assert paper[kind] == quick[kind], kind
