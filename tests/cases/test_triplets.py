"""Triplets of suites: drawn by identity, the same for all models, and planned where they are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import harness
from harness.cases import triplet
from harness.cases.cases import Cases
from harness.errors import ManifestError
from harness.manifest import read_suite
from harness.plan import plan
from harness.plan.comparisons import Comparisons
from harness.session.verification import verify

from .test_comparisons import Looks, drawn, faces, verifier


def triplets(limit: int | None = None, module: nn.Module | None = None, **keys: Any) -> Cases:
    one = drawn(limit=limit, **keys)

    class Cell:
        goal = "triplet"

    found = triplet.enumerate(Cell(), one.dataset, one.rows, (), verifier(one, module))  # type: ignore[arg-type]
    assert len(found) == triplet.count(Cell(), one.dataset, 0, one)  # type: ignore[arg-type]
    assert len(set(found.keys)) == len(found)
    return found


def test_rows_are_of_one_person_and_of_another() -> None:
    found, who = triplets(triplets=4, targets=2), np.asarray(faces().identities)
    assert found.references is not None
    assert found.negatives is not None
    assert len(found) == 8
    assert (who[found.rows] == who[found.references]).all()
    assert (found.rows != found.references).all()
    assert (who[found.rows] != who[found.negatives]).all()
    assert [str(who[row]) for row in found.rows] == list(found.targets)
    # A board tells cases apart by image and target.
    assert len(set(zip(found.rows.tolist(), found.targets, strict=True))) == 8


def test_they_do_not_depend_on_the_model_and_a_smaller_number_is_part_of_a_larger() -> None:
    assert triplets(triplets=4).keys == triplets(module=Looks(5), triplets=4).keys
    assert set(triplets(triplets=2).keys) < set(triplets(triplets=4).keys)
    assert set(triplets(limit=3, triplets=4).keys) < set(triplets(triplets=4).keys)
    assert len(triplets(limit=3, triplets=4)) == 3


def test_the_attacked_image_is_the_stated_one() -> None:
    positive, anchor, copy = (
        triplets(triplets=3, triplet_attacks=role) for role in ("positive", "anchor", "copy")
    )
    assert positive.references is not None
    assert anchor.references is not None
    assert copy.references is not None
    assert (positive.rows == anchor.references).all()
    assert (positive.references == anchor.rows).all()
    assert (copy.rows == copy.references).all()
    assert (copy.rows == positive.references).all()


def test_parts_keep_their_negatives() -> None:
    found = triplets(triplets=3)
    assert found.negatives is not None
    part = found.part(1, 3)
    assert part.negatives is not None
    assert (part.negatives == found.negatives[1:3]).all()
    whole = found.part(0, 1).with_others(found.part(1, len(found)))
    assert whole.negatives is not None
    assert (whole.negatives == found.negatives).all()


SUITE: dict[str, Any] = {
    "schema": 1,
    "name": "triplets",
    "dataset": [
        {
            "use": "synthetic-faces",
            "size": [24, 20],
            "count": 600,
            "comparisons": {"attacked": "all", "targets": 3, "triplets": 3, "margin": 0.1, "fmr": 0.1},
        }
    ],
    "model": [{"use": "raw-pixels"}],
    "attack": [
        {"use": "pgd", "eps": "16/255", "steps": 3, "early_stop": False, "goals": ["triplet"]},
        {"use": "noise", "id": "plain", "eps": "8/255"},
    ],
}


def changed(**comparisons: Any) -> dict[str, Any]:
    dataset = SUITE["dataset"][0]
    return {**SUITE, "dataset": [{**dataset, "comparisons": {**dataset["comparisons"], **comparisons}}]}


def goals(suite: dict[str, Any]) -> list[tuple[str, str]]:
    planned = plan(read_suite(suite), harness.catalog())
    return [(cell.attack.label, cell.goal) for cell in planned.cells]


def test_only_attacks_that_name_triplets_pursue_them() -> None:
    others = [("plain", "impersonate"), ("plain", "evade")]
    assert goals(SUITE) == [("pgd", "triplet"), *others]
    without = {
        **SUITE,
        "dataset": [{**SUITE["dataset"][0], "comparisons": {"attacked": "all", "targets": 3}}],
    }
    assert goals(without) == others
    (skipped,) = plan(read_suite(without), harness.catalog()).skipped
    assert "draws no triplets; write triplets = 8" in skipped.reason


def test_a_margin_without_triplets_is_a_mistake() -> None:
    with pytest.raises(ManifestError, match="there are no triplets; write triplets = 8"):
        goals(changed(triplets=0))
    assert "margin" not in Comparisons().table
    assert Comparisons(triplets=2).table["margin"] == 0.2


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> harness.Results:
    """One attack on triplets, of the pixels as embeddings."""
    suite = {**changed(mirror=True), "attack": SUITE["attack"][:1], "keep": True}
    return harness.run(suite, out=tmp_path_factory.mktemp("triplets") / "out", device="cpu")


def test_stored_triplets_are_judged_again_with_the_same_result(results: harness.Results) -> None:
    report = verify(results.path, "cpu")
    assert (report.compared, list(map(str, report.differences))) == (9, [])


def test_triplets_that_are_attacked_apart_give_the_same_records(
    results: harness.Results, tmp_path: Path
) -> None:
    suite = {**changed(mirror=True), "attack": SUITE["attack"][:1], "keep": True}
    apart = harness.run(suite, out=tmp_path / "apart", device="cpu", judge="apart").samples()
    columns = [
        "sample_id",
        "reference",
        "negative",
        "distance_adv",
        "margin_adv",
        "success",
        "linf",
        "forwards",
    ]
    pd.testing.assert_frame_equal(apart[columns], results.samples()[columns])


def test_records_say_what_was_compared(results: harness.Results) -> None:
    records = results.samples()
    assert len(records) == 9
    assert set(records["goal"]) == {"triplet"}
    assert records["error"].isna().all()
    assert (records["margin_adv"] > records["margin_clean"]).all()
    assert np.allclose(records["threshold"], 0.1)
    dataset = (
        harness.catalog()
        .datasets["synthetic-faces"]
        .call("harness_faces.synthetic:load", values={"size": (24, 20), "count": 600})
    )
    rows = {name: row for row, name in enumerate(dataset.ids)}
    net = (
        harness.catalog().models["raw-pixels"].call("harness_verification.raw_pixels:build", None, values={})
    )
    for record in records.to_dict("records"):
        images = np.array([rows[record[name]] for name in ("sample_id", "reference", "negative")])
        x = torch.from_numpy(dataset.images(images)).float() / 255
        with torch.no_grad():
            plain, flipped = net(x), net(x.flip(3))
        near = ((plain[0] - plain[1]).norm() + (flipped[0] - plain[1]).norm()) / 2
        far = ((plain[2] - plain[1]).norm() + (flipped[2] - plain[1]).norm()) / 2
        assert record["margin_clean"] == pytest.approx(float(near + 0.1 - far), abs=1e-4)
        assert record["distance_clean"] == pytest.approx(float(near), abs=1e-4)
        assert record["clean_correct"] == (record["margin_clean"] < 0)
