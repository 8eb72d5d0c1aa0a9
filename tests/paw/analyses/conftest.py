"""Hand-made folders of results: cards of the cascade's models, and records of cases whose crops moved."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from harness.results import Results, read_results
from harness.store.folder import Store
from harness.store.schema import record_schema

NAMES = (
    "5_o_Clock_Shadow", "Bushy_Eyebrows", "Eyeglasses", "Big_Nose", "Bangs", "Double_Chin", "Smiling",
    "Goatee", "Attractive", "Blurry", "Heavy_Makeup", "Pale_Skin", "Chubby", "Male", "Young", "Black_Hair",
    "Blond_Hair", "No_Beard", "Wearing_Lipstick", "High_Cheekbones",
)  # fmt: skip
"""Eight local attributes, seven global ones, and others."""
M = len(NAMES)
PEOPLE = 12
IMAGES = 5
CROP = ("crop_row_clean", "crop_row_adv", "crop_column_clean", "crop_column_adv")
SIZE, SIDE = (88, 72), (24.0, 24.0)


def spread(mean: float) -> list[float]:
    """Accuracies of attributes around a mean; those of another mean are no shift of them."""
    turned = np.roll(np.linspace(-1, 1, M), round(1000 * mean))
    return [mean + 0.01 * (-1) ** place + 0.002 * float(turned[place]) for place in range(M)]


def card(accuracy: float, *, people: bool = True, **more: Any) -> dict[str, Any]:
    """A card of test accuracies, of persons of whom some are harder for all models."""
    values = spread(accuracy)
    found: dict[str, Any] = {
        "accuracy": accuracy,
        "scored_on": "test",
        "scored_images": PEOPLE * IMAGES,
        "accuracy_by_attribute": dict(zip(NAMES, values, strict=True)),
        "accuracy_interval": {
            name: [value - 0.05, value + 0.05] for name, value in zip(NAMES, values, strict=True)
        },
        "parameters": 1000,
        "training": {},
    }
    if people:
        lift = [0.02 * (person % 3 - 1) for person in range(PEOPLE)]  # the same persons are hard for all
        right = [round(IMAGES * M * (accuracy + one)) for one in lift]
        found |= {"right_by_cluster": right, "images_by_cluster": [IMAGES] * PEOPLE}
    return found | more


def stages(**accuracy: float) -> dict[str, Any]:
    """Notes of stages with these mean accuracies."""
    return {
        name.replace("_", "-"): {"loss": [1.0], "accuracy": dict(zip(NAMES, spread(value), strict=True))}
        for name, value in accuracy.items()
    }


def layers() -> dict[str, Any]:
    """Weights as the paper has them: local attributes prefer their part, named pairs are low or high."""
    switch = np.full((M + 1, M), 0.02)
    switch[0, :] = 0.1
    diagonal = switch[1:]
    diagonal[range(M), range(M)] = 0.05
    for place in range(M):
        if place < 8:
            diagonal[place, place] = 0.3 + 0.01 * place
        elif place < 15:
            switch[0, place] = 0.3 + 0.01 * place
    relation = np.eye(M)
    random = np.random.default_rng(0)
    relation += np.where(np.eye(M) > 0, 0, random.normal(0, 0.01, (M, M)))
    at = NAMES.index
    for one, other in (("Attractive", "Blurry"), ("Black_Hair", "Blond_Hair"), ("No_Beard", "Goatee"),
                       ("Male", "Heavy_Makeup")):  # fmt: skip
        relation[at(one), at(other)] = relation[at(other), at(one)] = -0.3
    for one, other in (("Chubby", "Double_Chin"), ("Heavy_Makeup", "Wearing_Lipstick"),
                       ("Smiling", "High_Cheekbones")):  # fmt: skip
        relation[at(one), at(other)], relation[at(other), at(one)] = 0.5, 0.3
    return {
        "switch": {"weight": switch.tolist(), "bias": [0.0] * M},
        "relation": {"weight": relation.tolist(), "bias": [0.0] * M},
    }


def grid_layers() -> dict[str, Any]:
    """Weights of 16 blocks, of which none outweighs the whole image."""
    switch = np.full((17, M), 0.02)
    switch[0, :] = 0.1
    return {
        "switch": {"weight": switch.tolist(), "bias": [0.0] * M},
        "relation": {"weight": np.eye(M).tolist(), "bias": [0.0] * M},
    }


def located() -> dict[str, Any]:
    """Places and heatmaps of two grey pictures: the maximum of attribute k is in cell k, row by row."""
    heatmaps = np.zeros((2, M, 11, 9), np.uint8)
    heatmaps.reshape(2, M, -1)[:, range(M), range(M)] = 255
    _, picture = cv2.imencode(".jpg", np.full((*SIZE, 3), 100, np.uint8))
    centres = [[[8.0 * (k // 9) + 4, 8.0 * (k % 9) + 4] for k in range(M)] for _ in range(2)]
    return {
        "places": {name: [0.5, 0.25, 0.3, 0.4] for name in NAMES},
        "heatmaps": {
            "samples": ["a", "b"],
            "pictures": [base64.b64encode(picture.tobytes()).decode()] * 2,
            "attributes": list(NAMES),
            "shape": list(heatmaps.shape),
            "values": base64.b64encode(heatmaps.tobytes()).decode(),
            "centres": centres,
            "size": list(SIZE),
            "side": list(SIDE),
        },
    }


def case(
    sample: str, target: str = "Smiling", *, right: bool = True, success: bool = False, **more: Any
) -> dict[str, Any]:
    """A record of one case; ``move`` is (rows, columns) by which its crop moves."""
    move = more.pop("move", None)
    crop = {} if move is None else dict(zip(CROP, (40.0, 40.0 + move[0], 30.0, 30.0 + move[1]), strict=True))
    return {
        "sample_id": sample,
        "goal": "flip",
        "target": target,
        "clean_correct": right,
        "reached": success,
        "valid": True,
        "success": success,
        **crop,
        **more,
    }


class Folder:
    """A folder of results that is written piece by piece."""

    def __init__(self, path: Path) -> None:
        self.store = Store(path)
        self.store.open()
        self.models: list[dict[str, Any]] = []
        self.cells: list[dict[str, Any]] = []

    def model(
        self, name: str, use: str, told: Mapping[str, Any], dataset: str = "faces", **parameters: Any
    ) -> None:
        """Add a model with its card."""
        self.models.append(
            {
                "dataset": dataset,
                "model": name,
                "use": use,
                "parameters": parameters,
                "weights": "0" * 16,
                "outputs": list(NAMES),
                "card": dict(told),
            }
        )

    def cell(
        self,
        model: str,
        records: Sequence[Mapping[str, Any]],
        attack: str = "pgd",
        threat: str = "linf 1/255",
        surrogate: str | None = None,
        dataset: str = "faces",
        dataset_use: str = "celeba",
    ) -> None:
        """Add a cell with its records."""
        name = f"{len(self.cells):016x}"
        crops = tuple(column for column in CROP if any(column in record for record in records))
        if records:
            table = pa.Table.from_pylist([dict(record) for record in records], schema=record_schema(crops))
            self.store.write_part(name, 0, table)
        self.cells.append(
            {
                "cell": name,
                "dataset": dataset,
                "model": model,
                "attack": f"{attack} from {surrogate}" if surrogate else attack,
                "surrogate": surrogate,
                "threat": threat,
                "goal": "flip",
                "seed": 0,
                "status": "done",
                "cases": len(records),
                "cases_done": len(records),
                "cases_failed": 0,
                "dataset_use": dataset_use,
                "dataset_parameters": "{}",
                "attack_use": attack,
                "attack_parameters": "{}",
            }
        )

    def read(self) -> Results:
        """Write what describes the folder, and read it."""
        self.store.write_models(self.models)
        self.store.write_suite({"suite": {"name": "paw"}, "versions": {}})
        self.store.write_cells(self.cells)
        return read_results(self.store.folder)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "results")


@pytest.fixture
def study(folder: Folder) -> Folder:
    """A folder on which all claims of accuracy and of layers hold."""
    both = stages(localisation=0.9, classification_branch=0.91, whole=0.898)
    told = {"multi_net": True, "stages": both, "parameters": {"whole": 200, "localisation": 900}}
    folder.model(
        "paw", "paw/paw", card(0.92, training={**told, **layers(), **located()}), crop="hard", subnet="snet3"
    )
    folder.model("soft", "paw/paw", card(0.80, training={**told, **layers()}), crop="soft", subnet="snet3")
    folder.model(
        "parts", "paw/paw-part-only", card(0.88, training={**told, **located()}), crop="hard", subnet="snet3"
    )
    folder.model("whole", "paw/paw-whole-only", card(0.89, training=told), subnet="snet3")
    alone = {"multi_net": False, "stages": stages(localisation=0.85, whole=0.84)}
    folder.model("alone", "paw/paw-whole-only", card(0.84, training=alone), subnet="snet3", multi_net=False)
    folder.model("blocks", "paw/paw-grid", card(0.9, training={**told, **grid_layers()}), subnet="snet3")
    folder.model("moon", "attributes/moon", card(0.87))
    folder.cell("paw", [case("a", move=(0, 0))])
    return folder


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[Any], int]:
    """Save a figure as SVG, warnings being errors; its size in bytes."""

    def save(figure: Any) -> int:
        file = tmp_path / "figure.svg"
        figure.savefig(file, format="svg", metadata={"Date": None}, bbox_inches="tight", pad_inches=0.15)
        return file.stat().st_size

    return save
