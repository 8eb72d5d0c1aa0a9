"""The analyses of FaceNet on folders whose triplets are made up: tables by hand, and claims that turn."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.errors import HarnessError
from harness.results import Results, read_results
from harness.store.folder import Store
from harness.store.schema import ANNOTATION_SCHEMA, RECORD_SCHEMA
from harness_facenet import harness_analyses
from harness_facenet.analyses import accuracies, claims, contrastive_loss, tuning_epochs, unseen_attacks

PERSONS, EACH, MARGIN = 20, 10, 0.2
SHARES: Mapping[str, tuple[float, float]] = {
    "standard": (0.8, 0.2),
    "adversarial": (0.8, 0.6),
    "pretrained": (0.8, 0.6),
    "semi": (0.8, 0.6),
    "few": (0.8, 0.3),
}
"""Of each model the share of triplets that are right: clean, and under PGD."""
PARAMETERS: Mapping[str, dict[str, Any]] = {
    "standard": {"recipe": "standard"},
    "adversarial": {"recipe": "adversarial", "tuning_epochs": 8},
    "pretrained": {"recipe": "contrastive", "tuning_epochs": 3},
    "semi": {"recipe": "contrastive", "tuning_epochs": 3, "labels": 0.1},
    "few": {"recipe": "scratch", "tuning_epochs": 3},
}
COMMON = {
    "second_view": "same",
    "labels": 0.0,
    "eps": 8 / 255,
    "standard_epochs": 16,
    "pretraining_epochs": 12,
    "tuning_epochs": 8,
}
ATTACKS = {"pgd": ("linf 8/255", 8 / 255), "pgd-larger": ("linf 16/255", 16 / 255)}


def write(folder: Path, shares: Mapping[str, tuple[float, float]] = SHARES) -> Results:
    """The results of each model under two attacks, of which training saw the first."""
    store = Store(folder)
    store.open()
    cells, models = [], []
    for model, (clean, robust) in shares.items():
        parameters = COMMON | PARAMETERS[model]
        models.append({"dataset": "faces", "model": model, "use": "facenet", "parameters": parameters,
                       "weights": "0", "outputs": [], "card": {"training": notes(model)}})  # fmt: skip
        for attack, (threat, eps) in ATTACKS.items():
            cell = f"{model}-{attack}"
            table = pa.Table.from_pylist(list(records(clean, robust)), schema=RECORD_SCHEMA)
            store.write_part(cell, 0, table)
            cells.append(
                {
                    "cell": cell,
                    "dataset": "faces",
                    "model": model,
                    "attack": attack,
                    "threat": threat,
                    "norm": "linf",
                    "eps": eps,
                    "goal": "triplet",
                    "seed": 0,
                    "status": "done",
                    "access": "gradients",
                    "budget": "fixed",
                    "randomised": False,
                    "cases": PERSONS * EACH,
                    "cases_done": PERSONS * EACH,
                    "cases_failed": 0,
                    "shards": 1,
                    "shards_done": 1,
                    "dataset_use": "celeba",
                    "dataset_parameters": "{}",
                    "model_use": "facenet/facenet",
                    "model_parameters": json.dumps(parameters),
                    "attack_use": "attacks/pgd",
                    "attack_parameters": json.dumps({"early_stop": False}),
                }
            )
    store.write_models(models)
    store.write_suite({"suite": {"name": "kit"}, "versions": {}})
    store.write_cells(cells)
    people = [
        {"dataset": "faces", "sample_id": f"p{person:02}-{image}", "name": "identity", "value": float(person)}
        for person in range(PERSONS)
        for image in range(EACH)
    ]
    pq.write_table(pa.Table.from_pylist(people, ANNOTATION_SCHEMA), folder / "annotations.parquet")
    return read_results(folder)


def records(clean: float, robust: float) -> Any:
    """The same triplets for each model; the first of each person are right, half of them by the margin."""
    for person in range(PERSONS):
        for image in range(EACH):
            before, after = (image < share * EACH for share in (clean, robust))
            deep = 0.3 if image % 2 else 0.1
            yield {
                "sample_id": f"p{person:02}-{image}",
                "goal": "triplet",
                "target": str(person),
                "reference": f"p{person:02}-{(image + 1) % EACH}",
                "negative": f"p{(person + 1) % PERSONS:02}-{image}",
                "identity": str(person),
                "threshold": MARGIN,
                "clean_correct": before and deep > MARGIN,
                "margin_clean": MARGIN - deep if before else MARGIN + 0.1,
                "margin_adv": MARGIN - deep if after else MARGIN + 0.1,
                "valid": True,
                "success": not after,
                "reached": not after,
                "error": None,
            }


def notes(model: str) -> dict[str, Any]:
    curve = {name: [0.5, 0.6] for name in ("loss", "sa", "sa_low", "sa_high", "ra", "ra_low", "ra_high")}
    recipe = PARAMETERS[model]["recipe"]
    found: dict[str, Any] = {"recipe": recipe, "judging": "adversarial"}
    if recipe in ("standard", "adversarial"):
        found["standard"] = curve
    if recipe == "contrastive":
        found["contrastive"] = {"loss": [4.0, 3.0, 2.5]}
    if recipe != "standard":
        found["tuning"] = curve
    return found


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return write(tmp_path_factory.mktemp("results") / "out")


def test_accuracies_are_those_of_the_records(results: Results) -> None:
    found = accuracies.run(results)
    table = found.table.set_index(["model", "attack"])
    row = table.loc["adversarial", "pgd"]
    assert (row["sa"], row["ra"], row["s_and_r"]) == pytest.approx((0.8, 0.6, 0.7))
    assert (row["sa_at_margin"], row["ra_at_margin"]) == pytest.approx((0.4, 0.3))
    assert row["ra_above_standard"] == pytest.approx(0.4)
    assert row["ra_low"] < 0.6 < row["ra_high"]
    assert (row["triplets"], row["persons"], row["coverage"]) == (200, 20, 1.0)
    assert (row["paper_sa"], row["paper_ra"]) == (0.819, 0.845)
    assert table.loc["semi", "pgd"]["paper_ra"] == 0.743
    assert np.isnan(table.loc["standard", "pgd"]["ra_above_standard"])
    assert table["trained_on"].to_dict() == {
        (model, attack): model != "standard" and attack == "pgd" for model in SHARES for attack in ATTACKS
    }
    assert not table["stops_early"].any()
    assert found.figure is not None


def test_unseen_attacks_have_the_gain_over_standard_training(results: Results) -> None:
    table = unseen_attacks.run(results).table.set_index(["attack", "model"])
    assert table.loc["pgd-larger", "few"]["gain"] == pytest.approx(0.1)
    assert not table.loc["pgd-larger"]["trained_on"].any()


def test_curves_are_those_of_the_cards(results: Results) -> None:
    loss = contrastive_loss.run(results).table
    assert loss[loss["model"] == "pretrained"]["loss"].tolist() == [4.0, 3.0, 2.5]
    assert set(loss["model"]) == {"pretrained", "semi"}
    epochs = tuning_epochs.run(results).table
    stages = set(zip(epochs["model"], epochs["stage"], strict=True))
    assert stages == {("standard", "standard")} | {(name, "tuning") for name in SHARES if name != "standard"}


def verdicts(table: pd.DataFrame) -> dict[str, str]:
    return dict(zip(table["claim"], table["verdict"], strict=True))


def test_claims_hold_and_turn(results: Results, tmp_path: Path) -> None:
    found = verdicts(claims.run(results).table)
    assert list(found.values()) == [
        *("holds", "holds", "holds", "holds", "holds"),  # robust twice, SA near, few epochs, pre-training
        "does not hold",  # RA is below SA
        "cannot be judged",  # labels change nothing
    ]
    turned = {
        **SHARES,
        "adversarial": (0.6, 0.1),
        "pretrained": (0.6, 0.9),
        "few": (0.8, 1.0),
        "semi": (0.7, 1),
    }
    found = verdicts(claims.run(write(tmp_path / "out", turned)).table)
    assert list(found.values()) == [
        "does not hold",  # adversarial training is below standard training
        "holds",
        "does not hold",  # SA lags by 20 points
        "holds",
        "does not hold",  # as few epochs without pre-training are better
        "does not hold",  # RA exceeds SA for one, and not for the other
        "holds",
    ]


def test_without_triplets_nothing_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.open()
    store.write_models([])
    store.write_suite({"suite": {"name": "kit"}, "versions": {}})
    store.write_cells([])
    for run in (accuracies.run, unseen_attacks.run, claims.run):
        with pytest.raises(HarnessError, match="no triplets were attacked; write triplets = 8"):
            run(read_results(tmp_path))
    assert {spec.name for spec in harness_analyses()} >= {"triplet-accuracies", "facenet-claims"}
