"""Zoo: weights that users bring are read or refused, never unpickled; trainings are kept, and go on."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score
from torch import nn

from harness.catalog import catalog
from harness.dataset import Dataset
from harness.errors import ModelError
from harness.manifest import read_suite
from harness.model import wrap_model
from harness.plan.models import ModelChoice
from harness.plan.planner import plan
from harness.training import Context, StateDict
from harness.zoo.cards import score
from harness.zoo.separation import images_of_persons
from harness.zoo.trained import Report, obtain
from harness.zoo.weights import load_weights
from tests.cli import forking


@pytest.fixture
def module() -> nn.Module:
    return nn.Linear(3, 2)


def refused(module: nn.Module, path: Path) -> str:
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(ModelError) as caught:
        load_weights(module, path, 'suite.toml: model "mine"')
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    line = str(caught.value)
    assert line.startswith(f'suite.toml: model "mine": weights {path}')
    assert "\n" not in line
    return line


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_a_state_dict_is_loaded(module: nn.Module, tmp_path: Path, suffix: str) -> None:
    wanted = {name: torch.randn_like(tensor) for name, tensor in module.state_dict().items()}
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(wanted, path)
    else:
        torch.save(wanted, path)
    load_weights(module, path, "here")
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_web_page_is_refused(module: nn.Module, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_text("<!DOCTYPE html><html><body>Sign in to download</body></html>")
    refused(module, path)


def test_nothing_is_unpickled(module: nn.Module, tmp_path: Path) -> None:
    touched = tmp_path / "touched"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (touched,)

    path = tmp_path / "weights.pt"
    torch.save({"weight": Trap()}, path)
    refused(module, path)
    path.write_bytes(pickle.dumps(Trap()))
    refused(module, path)
    assert not touched.exists()


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"weight": torch.zeros(2, 3)}, "lack bias (1 such)"),
        ({"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "more": torch.zeros(1)}, "also hold more"),
        ({"weight": torch.zeros(5, 3), "bias": torch.zeros(2)}, "another shape for weight"),
    ],
)
def test_weights_of_another_model_are_refused(
    module: nn.Module, tmp_path: Path, state: dict[str, torch.Tensor], said: str
) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    assert said in refused(module, path)


def test_a_missing_file_and_other_contents_are_refused(module: nn.Module, tmp_path: Path) -> None:
    assert "no such file" in refused(module, tmp_path / "none.pt")
    path = tmp_path / "weights.pt"
    torch.save([1, 2], path)
    assert "no state dict" in refused(module, path)


# --- training ---------------------------------------------------------------------------------------------

CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    return tmp_path / "zoo"


def drawn(count: int = 200) -> Dataset:
    loaded: Dataset = (
        catalog().datasets["synthetic-faces"].load("harness_faces.synthetic:load")(size=(20, 18), count=count)
    )
    return loaded


def choices(**model: Any) -> list[ModelChoice]:
    document = {
        "schema": 1,
        "name": "training",
        "dataset": [{"use": "synthetic-faces"}],
        "model": [{"epochs": 3, "width": 2, **model}],
        "attack": [{"use": "ffa"}],
    }
    return list(plan(read_suite(document), catalog()).models)


def states(cache: Path) -> list[Path]:
    return sorted((cache / "parts").glob("*.state.safetensors"))


def noting(words: list[str]) -> Report:
    return lambda share, word: words.append(word)


@pytest.mark.parametrize(
    "model",
    [{"use": "moon"}, {"use": "separate", "attributes": ["Male", "Smiling"]}],
    ids=["moon", "separate"],
)
def test_checkpoints_are_trained_one_after_the_other(
    cache: Path, model: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = drawn()
    two, converged = choices(**model, checkpoint=[2, "converged"])
    parts = 1 if model["use"] == "moon" else 2
    words: list[str] = []
    first = obtain(two, dataset, 0, CPU, noting(words))
    assert {word for word in words if "epoch 3" in word} == set()
    assert len(states(cache)) == parts
    words.clear()
    last = obtain(converged, dataset, 0, CPU, noting(words))
    assert {word for word in words if "epoch 1/" in word and "loss" in word} == set()
    assert sum("continues after epoch 2/3" in word for word in words) == parts
    assert states(cache) == []
    assert first.card["identity"]["parameters"]["checkpoint"] == 2
    assert first.digest != last.digest

    monkeypatch.setenv("HARNESS_CACHE", str(cache.parent / "other"))
    alone = [obtain(choice, dataset, 0, CPU) for choice in (converged, two)]
    assert [one.digest for one in alone] == [last.digest, first.digest]


def test_a_checkpoint_that_is_none_is_one_line_with_its_place(cache: Path) -> None:
    (choice,) = choices(use="moon", checkpoint=4)
    with pytest.raises(ModelError) as caught:
        obtain(choice, drawn(), 0, CPU)
    expected = f'{choice.place}: checkpoint = 4 must be "converged", or from 1 to epochs = 3'
    assert str(caught.value) == expected


def killed(environment: dict[str, str]) -> None:
    """Train until the third epoch, in a process of its own."""

    def report(share: float, word: str) -> None:
        if word.startswith("epoch 3/"):
            os.kill(os.getpid(), signal.SIGKILL)

    os.environ.update(environment)
    torch.set_num_threads(1)
    (choice,) = choices(use="moon")
    obtain(choice, drawn(), 0, CPU, report)


def test_a_killed_training_goes_on(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = forking.CONTEXT.Process(target=killed, args=(dict(os.environ),))
    run.start()
    run.join()
    assert run.exitcode == -signal.SIGKILL
    assert len(states(cache)) == 1
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        (choice,) = choices(use="moon")
        words: list[str] = []
        resumed = obtain(choice, drawn(), 0, CPU, noting(words))
        assert words[0] == "continues after epoch 2/3"
        assert states(cache) == []
        monkeypatch.setenv("HARNESS_CACHE", str(cache.parent / "other"))
        assert obtain(choice, drawn(), 0, CPU).digest == resumed.digest
    finally:
        torch.set_num_threads(threads)


def test_what_a_killed_process_was_writing_is_removed(cache: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (cache / "parts").mkdir(parents=True)
    left = cache / "parts" / f".abc.state.safetensors.{os.uname().nodename}.{gone.pid}.tmp"
    left.write_bytes(b"half")
    (choice,) = choices(use="moon", epochs=1)
    obtain(choice, drawn(), 0, CPU)
    assert not left.exists()


def test_a_context_of_four_is_one_without_a_place_for_states() -> None:
    def unit(part: Any, make: Callable[[], StateDict]) -> StateDict:
        return make()

    assert Context(0, CPU, lambda share, word: None, unit).state is None


def test_the_card_tells_what_a_guess_from_the_training_set_scores_by_attribute() -> None:
    """Train: A in 2 of 4, a tie and so absent, B in 3 of 4. Test: A in 1 of 4, B in 1 of 4."""
    train, test = [[1, 1], [1, 1], [0, 1], [0, 0]], [[1, 1], [0, 0], [0, 0], [0, 0]]
    dataset = Dataset(
        name="two",
        ids=[str(row) for row in range(8)],
        shape=(1, 2, 2),
        read=lambda rows: np.zeros((len(rows), 1, 2, 2), np.uint8),
        fingerprint="two",
        attribute_names=("A", "B"),
        attributes=np.array(train + test, dtype=bool),
        partitions=np.array(["train"] * 4 + ["test"] * 4),
    )

    class Absent(nn.Module):
        attribute_names = ("B", "A")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return -torch.ones(len(x), 2)

    card = score(wrap_model(Absent(), "attributes"), replace(dataset, notes={"cut": 3}))
    assert card["dataset_notes"] == {"cut": 3}
    assert "dataset_notes" not in score(wrap_model(Absent(), "attributes"), dataset)
    assert card["accuracy_by_attribute"] == {"B": 0.75, "A": 0.75}
    assert card["majority_by_attribute"] == {"B": 0.25, "A": 0.75}
    assert card["majority"] == 0.5


def test_the_intervals_of_a_card_are_over_persons() -> None:
    """Half of 24 test images are right, by image or by person; a guess is right on a quarter of them."""
    labels = np.tile([[False], [True]], (24, 1))
    labels[:24] = True  # the training images
    labels[24:] = np.tile([[False], [False], [False], [True]], (6, 1))
    dataset = Dataset(
        name="people",
        ids=[str(row) for row in range(48)],
        shape=(1, 2, 2),
        read=lambda rows: np.broadcast_to(rows.reshape(-1, 1, 1, 1), (len(rows), 1, 2, 2)).astype(np.uint8),
        fingerprint="people",
        attribute_names=("A",),
        attributes=labels,
        partitions=np.array(["train"] * 24 + ["test"] * 24),
    )

    class Half(nn.Module):
        attribute_names = ("A",)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            row = (x[:, 0, 0, 0] * 255).round()
            truth = row % 4 == 3
            return torch.where(truth == (row < 36), 1.0, -1.0)[:, None]  # right on the first 12

    found = []
    for people in (None, np.arange(48) // 4):
        card = score(wrap_model(Half(), "attributes"), replace(dataset, identities=people))
        assert (card["accuracy_by_attribute"], card["majority_by_attribute"]) == ({"A": 0.5}, {"A": 0.25})
        low, high = card["accuracy_interval"]["A"]
        under, over = card["above_majority_interval"]["A"]
        assert low < 0.5 < high
        assert under < 0.25 < over
        found.append((high - low, over - under))
        size = 1 if people is None else 4
        assert card["images_by_cluster"] == [size] * (24 // size)
        assert card["right_by_cluster"] == [size] * (12 // size) + [0] * (12 // size)
    assert found[1][0] > 1.2 * found[0][0]
    assert found[1][1] != found[0][1]


def test_the_card_of_a_verifier_tells_how_well_it_separates_persons() -> None:
    """Each person has a colour of red; blue is noise that is ten times as large."""
    random = np.random.default_rng(0)
    who = np.arange(80) % 8
    pixels = np.zeros((80, 2, 4, 4), np.uint8)
    pixels[:, 0] = (10 + 3 * who + random.integers(0, 4, 80))[:, None, None]
    pixels[:, 1] = random.integers(0, 200, 80)[:, None, None]
    dataset = Dataset(
        name="people",
        ids=[str(row) for row in range(80)],
        shape=(2, 4, 4),
        read=lambda rows: pixels[rows],
        fingerprint="people",
        identities=who,
        partitions=np.array(["train"] * 16 + ["test"] * 64),
    )

    class Red(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (255 * x[:, 0, :1, 0]).round()  # whole numbers: their equal distances are equal

    card = score(wrap_model(Red(), "embedding"), dataset)
    first, second = np.triu_indices(64, 1)
    red, flat = pixels[16:, 0, 0, 0].astype(float), pixels[16:].reshape(64, -1).astype(float)
    same = who[16:][first] == who[16:][second]
    areas = [
        roc_auc_score(same, -apart)
        for apart in (
            np.abs(red[first] - red[second]),
            np.linalg.norm(flat[first] - flat[second], axis=1),
        )
    ]
    assert (card["scored_on"], card["scored_images"], card["scored_persons"]) == ("test", 64, 8)
    assert [card["auc_roc"], card["pixels_auc_roc"]] == pytest.approx(areas, abs=1e-3)
    low, high = card["auc_roc_interval"]
    assert low < card["auc_roc"] < high
    above, over = card["above_pixels_interval"]
    assert 0.2 < above < areas[0] - areas[1] < over
    assert set(score(wrap_model(Red(), "embedding"), replace(dataset, identities=None))) == {"scored_on"}


def test_verifiers_are_scored_on_some_images_of_some_persons() -> None:
    def chosen(people: int, each: int) -> list[int]:
        who = np.repeat(np.arange(people), each)
        dataset = Dataset(
            "x", [str(n) for n in range(len(who))], (1, 1, 1), lambda rows: rows, "x", identities=who
        )  # type: ignore[arg-type, return-value]
        rows = images_of_persons(dataset, np.arange(len(who)))
        return [] if rows is None else np.bincount(who[rows]).tolist()

    assert chosen(100, 4) == [4] * 60
    assert chosen(20, 40) == [15] * 20
    assert chosen(2, 3) == [3, 3]
    assert chosen(9, 1) == chosen(1, 9) == []


def test_the_majority_model_scores_what_its_card_says_a_guess_scores(cache: Path) -> None:
    document = {
        "schema": 1,
        "name": "trivial",
        "dataset": [{"use": "synthetic-faces"}],
        "model": [{"use": "majority"}],
        "attack": [{"use": "ffa"}],
    }
    (choice,) = plan(read_suite(document), catalog()).models
    card = obtain(choice, drawn(), 0, CPU).card
    assert card["scored_on"] == "test"
    assert card["accuracy"] == pytest.approx(card["majority"])
    assert card["accuracy"] > 0.5
    assert card["accuracy_by_attribute"] == card["majority_by_attribute"]
    assert len(card["majority_by_attribute"]) == 40
    assert card["parameters"] == 0


class Grown(nn.Module):
    """As many rows as its weights have."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(0, 3))

    def resize(self, shapes: dict[str, tuple[int, ...]]) -> None:
        if shapes["rows"][1] != 3:
            raise ValueError("rows have three columns")
        self.register_buffer("rows", torch.zeros(shapes["rows"]))


def test_a_module_takes_the_shapes_of_its_weights(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    wanted = {"rows": torch.arange(12.0).view(4, 3)}
    save_file(wanted, path)
    module = Grown()
    load_weights(module, path, "here")
    assert torch.equal(module.rows, wanted["rows"])


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ({"rows": torch.zeros(4, 2)}, "do not fit: ValueError: rows have three columns"),
        ({"columns": torch.zeros(4, 3)}, "do not fit: KeyError: 'rows'"),
        ({"rows": torch.zeros(4, 3), "more": torch.zeros(1)}, "also hold more"),
    ],
)
def test_shapes_that_it_cannot_take_are_refused(
    tmp_path: Path, state: dict[str, torch.Tensor], fault: str
) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    with pytest.raises(ModelError, match=fault) as caught:
        load_weights(Grown(), path, 'suite.toml: model "mine"')
    assert "\n" not in str(caught.value)
