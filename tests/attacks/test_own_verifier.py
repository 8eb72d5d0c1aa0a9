"""A network of a third party: the plugin and the suite of the documents, under every attack on embeddings."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import harness
from harness.results import Results
from tests.installing import plugin_installed

DOCUMENT = (Path(__file__).parents[2] / "docs/plugins.md").read_text(encoding="utf-8")
PART = DOCUMENT.partition("### A verifier")[2].partition("\n## ")[0]
(CODE,) = re.findall(r"```python\n# own_verifier.py\n(.*?)```", PART, flags=re.DOTALL)
(SUITE,) = re.findall(r"```toml\n(.*?)```", PART, flags=re.DOTALL)
FEW: dict[str, dict[str, Any]] = {
    "pgd": {"steps": 10},
    "cw-l2": {"warm_up": 10, "iterations": 60, "searches": 2, "rescues": 2, "polish": 1},
    "ddn": {"steps": 20},
    "fmn": {"steps": 20},
    "gradient-descent": {"iterations": 60},
    "eyeglasses": {"iterations": 30, "restarts": 1},
    "random-eyeglasses": {"draws": 20},
    "square": {"search_iterations": 2, "iterations": 20, "restarts": 1},
    "universal-patch": {"iterations": 30},
    "standard": {"steps": 5, "queries": 20, "targets": 1},
    "distal": {"iterations": 60},
    "art/HopSkipJump": {"max_iter": 2, "max_eval": 40, "init_eval": 20},
    "art/BoundaryAttack": {"max_iter": 10, "init_size": 20, "sample_size": 5},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_verifier.py").write_text(CODE, encoding="utf-8")
    (folder / "site").mkdir()
    with plugin_installed(folder / "site", folder, "own", "own_verifier"):
        yield folder


def attacked(folder: Path, dataset: dict[str, Any], **compared: Any) -> Results:
    """Run the suite of the documents on few cases, with little effort and the weights of the seed."""
    suite = tomllib.loads(SUITE)
    (known,), (model,) = suite["dataset"], suite["model"]
    del model["weights"]
    comparisons = known["comparisons"] | {"targets": 2, "intruders": 5, "genuine": 5} | compared
    suite["dataset"] = [{**(dataset or known), "comparisons": comparisons}]
    for table in suite["attack"]:
        table |= FEW.get(table["use"], {})
    return harness.run(suite, out=folder / "results")


def rates(results: Results) -> pd.DataFrame:
    board = results.leaderboard()
    assert not results.cells()["error"].notna().any()
    board = board[~board["attack"].isin(["clean", "worst-case"])]
    assert (board["coverage"] == 1).all()
    return board.pivot(index="attack", columns="goal", values="success_rate")


def judge(found: pd.DataFrame) -> None:
    """All attacks that the documents name for embeddings, each with what it must reach."""
    shown = {table["use"].rpartition("/")[2] for table in tomllib.loads(SUITE)["attack"]}
    assert set(found.index) == shown
    ours = {name for name, entry in harness.catalog().attacks.items() if entry.plugin.name == "attacks"}
    heads = {name: harness.catalog().attacks[name].spec.heads for name in ours}
    elsewhere = {"apgd", "fab", "square-attack"}  # the members of "standard"
    elsewhere |= {"eyeglasses-eot", "square-eot"}  # other patches of the same attacks
    assert {name for name in ours if "embedding" in heads[name]} - elsewhere <= shown
    assert found["impersonate"].notna().all()
    assert found["evade"].drop(index=["distal", "universal-patch"]).notna().all()
    for name in ("HopSkipJump", "BoundaryAttack", "pgd", "cw-l2", "gradient-descent", "distal"):
        assert found.loc[name, "impersonate"] > 0, name
    for name in ("noise", "random-eyeglasses"):
        assert found.loc[name, "impersonate"] < found.loc["distal", "impersonate"], name


def test_the_plugin_takes_at_most_20_lines() -> None:
    assert len(CODE.splitlines()) <= 20


def test_every_attack_on_drawn_faces(site: Path) -> None:
    drawn = {"use": "synthetic-faces", "size": [44, 36], "count": 240}
    judge(rates(attacked(site, drawn, threshold=0.07)))  # by which some pairs of each kind are wrong


@pytest.mark.real_data
def test_every_attack_on_real_faces(site: Path) -> None:
    if not os.environ.get("CELEBA_ROOT"):
        pytest.skip("CELEBA_ROOT is unset")
    judge(rates(attacked(site / "real", {}, fmr=[0.25])))
