"""Transfer: adversarials made once on a surrogate, judged on every victim."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from harness.results import Results, read_results

from .conftest import CASES, SUITE, Command

FOLDER = Path("results/small")
TWO = SUITE.replace('use = "linear"', 'use = "linear"\nstrength = [1.0, 1e5]').replace("keep = true\n", "")
TRANSFER = """
[[transfer]]
surrogate = "linear[strength=1]"
attack = "step"
"""
EACH = CASES // 2  # cases of one cell


def results() -> Results:
    return read_results(FOLDER)


@pytest.fixture
def done(harness: Command, suite: Path) -> Results:
    suite.write_text(TWO + TRANSFER)
    ran = harness("run", suite)
    assert (ran.status, ran.err) == (0, "")
    assert f"{5 * EACH} cases attacked; 5 cells, 0 pairs skipped" in ran.out
    return results()


def cell_of(found: Results, surrogate: str | None, model: str = "linear[strength=100000]") -> Any:
    cells = found.cells()
    same = cells["surrogate"].isna() if surrogate is None else cells["surrogate"] == surrogate
    (cell,) = cells[same & (cells["model"] == model) & cells["attack"].str.startswith("step")].to_dict(
        "records"
    )
    return cell


def test_the_victim_judges_the_surrogates_images(done: Results) -> None:
    cell = cell_of(done, "linear[strength=1]")
    assert cell["attack"] == "step from linear[strength=1]"
    assert (cell["status"], cell["cases"]) == ("done", EACH)
    source = cell_of(done, None, "linear[strength=1]")
    assert cell["source"] == source["cell"]
    made = done.samples(where={"cell": source["cell"]})
    judged = done.samples(where={"cell": cell["cell"]})
    assert list(judged["sample_id"]) == list(made["sample_id"])
    # The perturbation is the surrogate's, the decision the victim's.
    assert np.array_equal(judged["linf"], made["linf"])
    assert list(judged["surrogate_success"]) == list(made["success"])
    assert (judged[["forwards", "backwards"]] == 0).all(axis=None)
    assert made["adversarial"].notna().all()
    assert judged["adversarial"].isna().all()


def test_its_verdict_is_that_of_the_victims_own_scores(done: Results) -> None:
    from safetensors.torch import load_file

    cell = cell_of(done, "linear[strength=1]")
    digest, weights = cell["weights"], None
    import hashlib
    import os

    for path in Path(os.environ["HARNESS_CACHE"]).rglob("weights.safetensors"):
        if hashlib.sha256(path.read_bytes()).hexdigest() == digest:
            weights = load_file(path)
    assert weights is not None
    made = done.samples(where={"cell": cell["source"]})
    judged = done.samples(where={"cell": cell["cell"]})
    import cv2

    for (_, image), (_, record) in zip(made.iterrows(), judged.iterrows(), strict=True):
        pixels = cv2.imdecode(np.frombuffer(image["adversarial"], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        x = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float() / 255 - 0.43
        scores = weights["scores.weight"] @ x.flatten() + weights["scores.bias"]
        column = ["Bright", "Red"].index(record["target"])
        before = record["decisions_clean"][column]
        assert (scores[column] > 0) == record["decisions_adv"][column]
        assert ((scores[column] > 0) != before) == record["reached"]


def test_the_board_names_the_surrogate_and_rates_the_transfer(done: Results) -> None:
    board = done.leaderboard()
    (row,) = board[board["surrogate"].notna()].to_dict("records")
    assert (row["attack"], row["surrogate"]) == ("step from linear[strength=1]", "linear[strength=1]")
    judged = done.samples(where={"attack": "step from linear[strength=1]"})
    fooled = judged[judged["surrogate_success"].astype(bool) & judged["clean_correct"]]
    assert 0 < len(fooled) < EACH
    assert row["transfer_rate"] == pytest.approx(fooled["success"].mean())
    assert board[board["surrogate"].isna()]["transfer_rate"].isna().all()


def test_it_resumes_and_is_verified(harness: Command, suite: Path, done: Results) -> None:
    again = harness("run", suite)
    assert "nothing was left to do" in again.out
    verified = harness("verify", FOLDER)
    assert (verified.status, verified.err) == (0, "")
    assert f"{2 * EACH} adversarials judged again, 0 differ" in verified.out
    part = FOLDER / "samples" / cell_of(done, "linear[strength=1]")["cell"] / "part-00001.parquet"
    table = pq.read_table(part)
    records = table.to_pylist()
    records[0]["reached"] = not records[0]["reached"]
    pq.write_table(pa.Table.from_pylist(records, schema=table.schema), part)
    assert harness("verify", FOLDER).status == 1
    part.unlink()
    assert "8 cases attacked" in harness("run", suite).out
    assert harness("verify", FOLDER).status == 0


def test_processes_share_the_shards_of_transfers_too(harness: Command, suite: Path) -> None:
    suite.write_text(TWO + TRANSFER)
    assert (
        "shards of other processes are still missing in 5 cells"
        in harness("run", suite, "--shard", "1/2").out
    )
    assert (set(results().cells()["status"])) == {"partial"}
    harness("run", suite, "--shard", "2/2")
    assert (set(results().cells()["status"])) == {"done"}
    one = results().samples().drop(columns=["seconds"])
    harness("run", suite, "--out", "whole")
    pd.testing.assert_frame_equal(one, read_results("whole").samples().drop(columns=["seconds"]))


def test_an_error_on_the_surrogate_is_one_on_the_victim(
    harness: Command, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINY_FAULT", "Red")
    suite.write_text(TWO + TRANSFER)
    assert harness("run", suite).status == 1
    records = results().samples(where={"surrogate": "linear[strength=1]"})
    red = records["target"] == "Red"
    assert records["error"].notna().equals(red)
    assert records.loc[red, "error"].str.startswith("no adversarial of the surrogate: RuntimeError").all()
    assert records.loc[red, "success"].isna().all()
    monkeypatch.delenv("TINY_FAULT")
    assert harness("run", suite, "--overwrite", "failed").status == 0
    assert results().samples(where={"surrogate": "linear[strength=1]"})["error"].isna().all()


def test_an_image_over_the_budget_stays_invalid(harness: Command, suite: Path) -> None:
    suite.write_text(TWO.replace('use = "step"\n', 'use = "leap"\nid = "step"\n') + TRANSFER)
    harness("run", suite)
    records = results().samples(where={"surrogate": "linear[strength=1]"})
    assert (records["fault"] == "over the budget").all()
    assert not records["valid"].any()
    assert not records["success"].any()


def test_an_image_that_only_its_rounding_puts_in_the_box_stays_invalid(harness: Command, suite: Path) -> None:
    attack = 'use = "beyond"\nid = "step"\n'
    suite.write_text(TWO.replace('use = "step"\n', attack).replace('eps = "40/255"', "eps = 1.0") + TRANSFER)
    harness("run", suite)
    records = results().samples(where={"surrogate": "linear[strength=1]"})
    assert (records["fault"] == "outside the box").all()
    assert not records["valid"].any()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('surrogate = "linar"', 'transfer 1: surrogate "linar" is not in this suite; did you mean "linear"?'),
        ('victim = "linear"', 'transfer 1: "surrogate" is missing; it must be str'),
        ('surrogate = "linear"\nvictm = "linear"', 'transfer 1: "victm" is unknown; did you mean "victim"?'),
        (
            'surrogate = "linear[strength=1]"\nvictim = "linear[strength=1]"',
            "transfer 1: the victim is the surrogate; name another model of this suite",
        ),
        ('surrogate = "linear"\nattack = ["stp"]', 'attack "stp" is not in this suite; did you mean "step"?'),
    ],
)
def test_bad_tables(refused: Callable[..., str], suite: Path, table: str, message: str) -> None:
    suite.write_text(f"{TWO}\n[[transfer]]\n{table}\n")
    assert message in refused("plan", suite)


def test_what_cannot_be_transferred_is_skipped_with_a_reason(harness: Command, suite: Path) -> None:
    excluded = '\n[[exclude]]\nmodel = "linear[strength=1]"\nattack = "step"\n'
    suite.write_text(TWO + TRANSFER + excluded)
    planned = harness("plan", suite, "--json").json
    reasons = {item["attack"]: item["reason"] for item in planned["skipped"]}
    expected = "not run on linear[strength=1]: excluded by"
    assert reasons["step from linear[strength=1]"].startswith(expected)


def test_the_plan_counts_transfers(harness: Command, suite: Path) -> None:
    suite.write_text(TWO + TRANSFER)
    planned = harness("plan", suite, "--json").json
    (cell,) = [cell for cell in planned["cells"] if cell["attack"] == "step from linear[strength=1]"]
    assert (cell["cases"], cell["forwards"], cell["backwards"]) == (EACH, 0, 0)
