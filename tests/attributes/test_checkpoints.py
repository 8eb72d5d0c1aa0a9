"""Checkpoints and interrupted trainings: the same weights, to the bit, as of one training without a break."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.catalog import catalog
from harness.dataset import Dataset
from harness.errors import ManifestError, ModelError
from harness.manifest import read_suite
from harness.parameters import keyword_parameters
from harness.plan.planner import plan
from harness.training import Task
from harness_attributes import PAPER, moon, separate
from harness_attributes.recipe import Recipe, fit
from tests.flat import flat

from .conftest import Surroundings

QUICK: dict[str, Any] = {"width": 4, "epochs": 4, "batch_size": 16}
"""The quick presets: AdamW, one cycle, mirrored images, mixed precision, batch normalisation."""
PUBLISHED: dict[str, Any] = {
    **PAPER,
    "width": 4,
    "epochs": 4,
    "batch_size": 16,
    "learning_rate": 1e-3,
    "decay_gamma": 0.1,
}
"""The published preset, small: RMSProp, inverse decay, dropout, patience."""
DESIGNS = pytest.mark.parametrize("design", [QUICK, PUBLISHED], ids=["quick", "paper"])
MODELS = pytest.mark.parametrize("kind", [moon, separate], ids=["moon", "separate"])


class KilledError(Exception):
    """What ends a training in the middle of an epoch."""


def trained(
    kind: Any, dataset: Dataset, surroundings: Any, design: Mapping[str, Any], seed: int = 0, **more: Any
) -> dict[str, Tensor]:
    """Weights of a model of one or all attributes, trained."""
    design = {**design, **more}
    if kind is separate:
        design["attributes"] = ["Blue_Corner"]
    build, train = keyword_parameters(kind.build), keyword_parameters(kind.train)
    torch.manual_seed(seed)
    module = kind.build(Task.of(dataset), **{name: design[name] for name in build if name in design})
    recipe = {name: design[name] for name in train if name in design}
    flat(kind.train)(module, dataset, surroundings.context(seed), **recipe)
    assert not any(part.training for part in module.modules())
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


Weights = Callable[..., dict[str, Tensor]]


@pytest.fixture(scope="module")
def undisturbed() -> Weights:
    """The weights of a training without a break and without states, which is done once."""
    known: dict[str, dict[str, Tensor]] = {}

    def weights(kind: Any, dataset: Dataset, design: Mapping[str, Any], **more: Any) -> dict[str, Tensor]:
        key = json.dumps([kind.__name__, dataset.fingerprint, {**design, **more}], sort_keys=True)
        if key not in known:
            known[key] = trained(kind, dataset, Surroundings(), design, **more)
        return {name: tensor.clone() for name, tensor in known[key].items()}

    return weights


def stop_in(epoch: int, step: int = 2) -> Callable[[str], None]:
    """Ends a training at a step of an epoch, counted from 1."""
    seen: list[str] = []

    def told(word: str) -> None:
        if f"epoch {epoch}/" in word and "loss" in word:
            seen.append(word)
        if len(seen) == step:
            raise KilledError

    return told


def epochs_of(surroundings: Any) -> set[int]:
    """The epochs of which a step was reported."""
    words = [word for _, word in surroundings.reports if "loss" in word]
    return {int(word.split("epoch ")[1].split("/")[0]) for word in words}


@pytest.fixture
def kept(surroundings: Any, tmp_path: Path) -> Any:
    """Surroundings that offer a place for states."""
    surroundings.folder = tmp_path / "states"
    return surroundings


def only_file(kept: Any) -> Path:
    (path,) = kept.folder.iterdir()
    return path


# --- checkpoints ------------------------------------------------------------------------------------------


@DESIGNS
def test_a_checkpoint_is_the_converged_training_so_far(
    dataset: Dataset, surroundings: Any, design: dict[str, Any]
) -> None:
    """Against what the weights were at the last step of each epoch of the whole training."""
    torch.manual_seed(0)
    names = keyword_parameters(moon.build)
    module = moon.build(Task.of(dataset), **{name: design[name] for name in names if name in design})
    passed: dict[int, dict[str, Tensor]] = {}

    def told(word: str) -> None:
        epoch = int(word.split()[1].split("/")[0])
        passed[epoch] = {name: tensor.clone() for name, tensor in module.state_dict().items()}

    surroundings.told = told
    names = keyword_parameters(moon.train)
    recipe = {name: design[name] for name in names if name in design}
    flat(moon.train)(module, dataset, surroundings.context(), **recipe)
    surroundings.told = lambda word: None
    assert list(passed) == [1, 2, 3, 4]
    for epoch, weights in passed.items():
        assert same(weights, trained(moon, dataset, surroundings, design, checkpoint=epoch))
    assert not same(passed[2], passed[3])


@MODELS
@DESIGNS
def test_epochs_that_checkpoints_share_are_trained_once(
    dataset: Dataset,
    surroundings: Any,
    tmp_path: Path,
    kind: Any,
    design: dict[str, Any],
    undisturbed: Weights,
) -> None:
    alone = [undisturbed(kind, dataset, design, **wanted) for wanted in ({"checkpoint": 2}, {})]
    surroundings.folder = tmp_path
    early = trained(kind, dataset, surroundings, design, checkpoint=2)
    assert epochs_of(surroundings) == {1, 2}
    assert surroundings.reports[-1][0] == 1
    assert only_file(surroundings).is_file()
    surroundings.reports.clear()
    late = trained(kind, dataset, surroundings, design)
    assert epochs_of(surroundings) == {3, 4}
    shares = [share for share, _ in surroundings.reports]
    assert shares == sorted(shares)
    assert shares[0] == 0.5
    assert shares[-1] == 1
    assert same(early, alone[0])
    assert same(late, alone[1])
    assert not list(tmp_path.iterdir()), "the state of a finished training"


@MODELS
def test_a_part_holds_its_checkpoint_and_its_state_does_not(dataset: Dataset, kept: Any, kind: Any) -> None:
    for wanted in (1, "converged"):
        trained(kind, dataset, kept, QUICK, epochs=2, checkpoint=wanted)
    one, other = kept.units
    assert one["checkpoint"] == 1
    assert other == {**one, "checkpoint": "converged"}
    assert kept.states[0] == kept.states[1] == {key: one[key] for key in one if key != "checkpoint"}
    trained(kind, dataset, kept, QUICK, epochs=2, learning_rate=1e-4)
    trained(kind, dataset, kept, QUICK, epochs=2, width=2)
    assert kept.states[0] not in kept.states[2:]
    assert kept.states[2] != kept.states[3]


def test_balancing_is_part_of_a_moons_identity(dataset: Dataset, kept: Any) -> None:
    for more in ({}, {"balanced": True}, {"balanced": True, "target_rate": 0.4}):
        trained(moon, dataset, kept, QUICK, epochs=1, **more)
    assert all(one not in kept.states[:number] for number, one in enumerate(kept.states))


def test_kept_weights_of_a_moon_are_not_trained_again(dataset: Dataset, surroundings: Any) -> None:
    weights = trained(moon, dataset, surroundings, QUICK, epochs=1)
    surroundings.reports.clear()
    context = surroundings.context()
    object.__setattr__(context, "unit", lambda identity, make: weights)
    module = moon.build(Task.of(dataset), width=4)
    flat(moon.train)(module, dataset, context, epochs=1, batch_size=16)
    assert same(module.state_dict(), weights)
    assert not module.training
    assert not surroundings.reports


@MODELS
@pytest.mark.parametrize("wanted", [0, -1, 5])
def test_a_checkpoint_outside_of_the_training_is_refused(
    dataset: Dataset, kept: Any, kind: Any, wanted: int
) -> None:
    with pytest.raises(ModelError) as caught:
        trained(kind, dataset, kept, QUICK, checkpoint=wanted)
    expected = f'checkpoint = {wanted} must be "converged", or from 1 to epochs = 4'
    assert str(caught.value) == expected
    assert not kept.reports


@MODELS
def test_manifests_cross_checkpoints(kind: Any) -> None:
    name = kind.__name__.rpartition(".")[2]
    base: dict[str, Any] = {
        "schema": 1,
        "name": "progress",
        "dataset": [{"use": "synthetic-faces"}],
        "attack": [{"use": "ffa"}],
    }

    def models(checkpoint: Any) -> Any:
        model = {"use": name, "checkpoint": checkpoint}
        return plan(read_suite({**base, "model": [model]}), catalog()).models

    crossed = models([2, "converged"])
    assert [model.label for model in crossed] == [f"{name}[checkpoint=2]", f"{name}[checkpoint=converged]"]
    assert [model.parameters["checkpoint"] for model in crossed] == [2, "converged"]
    assert isinstance(crossed[0].parameters["checkpoint"], int)
    assert [model.label for model in models(2)] == [name]
    plain = plan(read_suite({**base, "model": [{"use": name}]}), catalog()).models
    assert plain[0].parameters == models("converged")[0].parameters
    for wrong in ("2", "conferged", True, 2.5, [2, "last"]):
        with pytest.raises(ManifestError, match=r'checkpoint = .* must be int or "converged"'):
            models(wrong)


# --- convergence before a checkpoint ----------------------------------------------------------------------


class Linear(nn.Module):
    """A linear model on the mean colour."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean((2, 3)))


def fitted(dataset: Dataset, state: Path | None = None, **wanted: Any) -> tuple[dict[str, Tensor], list[str]]:
    """Weights of a training that ends early, for its rate is far too high, and what it reported."""
    design = {**PAPER, "learning_rate": 0.5, "epochs": 30, "batch_size": 4, "patience": 2}
    recipe = Recipe(**{name: design[name] for name in Recipe.__dataclass_fields__ if name in design})
    torch.manual_seed(0)
    network, words = Linear(), []
    fit(
        network,
        lambda scores, labels: (scores - labels).square(),
        dataset,
        np.array([0]),
        recipe,
        Surroundings(told=words.append).context(),
        state=state,
        **wanted,
    )
    return network.state_dict(), words


def test_a_checkpoint_after_convergence_is_the_converged_network(dataset: Dataset, tmp_path: Path) -> None:
    converged, words = fitted(dataset)
    end = int(words[-1].split()[1].split("/")[0])  # two epochs after the best one
    assert 3 <= end < 29
    best, _ = fitted(dataset, checkpoint=end - 2)
    last, _ = fitted(dataset, checkpoint=end)
    assert same(best, converged)
    assert not same(last, converged)
    path = tmp_path / "state.safetensors"
    after, words = fitted(dataset, path, checkpoint=end + 1)
    assert same(after, converged)
    assert len(words) == end * 12
    again, words = fitted(dataset, path)
    assert same(again, converged)
    assert words == [f"continues after epoch {end}/30"]


# --- interruptions ----------------------------------------------------------------------------------------


@MODELS
@DESIGNS
@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_an_interrupted_training_goes_on_at_the_last_whole_epoch(
    dataset: Dataset, kept: Any, kind: Any, design: dict[str, Any], epoch: int, undisturbed: Weights
) -> None:
    kept.told = stop_in(epoch)
    with pytest.raises(KilledError):
        trained(kind, dataset, kept, design)
    kept.told = lambda word: None
    kept.reports.clear()
    torch.rand(7)  # another process has other global generators
    np.random.default_rng().random()
    assert same(trained(kind, dataset, kept, design), undisturbed(kind, dataset, design))
    assert epochs_of(kept) == set(range(epoch, 5))
    assert not list(kept.folder.iterdir())


def test_a_training_that_is_interrupted_in_every_epoch_arrives(
    dataset: Dataset, kept: Any, undisturbed: Weights
) -> None:
    for epoch in (1, 2, 3, 4):
        kept.told = stop_in(epoch, step=3)
        with pytest.raises(KilledError):
            trained(moon, dataset, kept, PUBLISHED)
    kept.told = lambda word: None
    assert same(trained(moon, dataset, kept, PUBLISHED), undisturbed(moon, dataset, PUBLISHED))


def test_a_training_goes_on_with_the_best_weights_so_far(dataset: Dataset, tmp_path: Path) -> None:
    converged, words = fitted(dataset)
    end = int(words[-1].split()[1].split("/")[0])
    path = tmp_path / "state.safetensors"
    fitted(dataset, path, checkpoint=end - 1)  # one epoch after the best one
    assert any(name.startswith("best.") for name in load_file(path))
    resumed, words = fitted(dataset, path)
    assert same(resumed, converged)
    assert len(words) == 1 + 12
    fitted(dataset, tmp_path / "at-best", checkpoint=end - 2)
    assert not any(name.startswith("best.") for name in load_file(tmp_path / "at-best")), "twice the same"
    assert same(fitted(dataset, tmp_path / "at-best")[0], converged)


def test_a_state_past_the_checkpoint_is_left_alone(dataset: Dataset, kept: Any, undisturbed: Weights) -> None:
    first = undisturbed(moon, dataset, QUICK, checkpoint=1)
    trained(moon, dataset, kept, QUICK, checkpoint=2)
    path = only_file(kept)
    before = path.read_bytes()
    kept.reports.clear()
    assert same(trained(moon, dataset, kept, QUICK, checkpoint=1), first)
    assert epochs_of(kept) == {1}
    assert only_file(kept) == path
    assert path.read_bytes() == before


def test_a_state_is_tensors_and_json(dataset: Dataset, kept: Any) -> None:
    trained(moon, dataset, kept, PUBLISHED, checkpoint=1)
    with safe_open(only_file(kept), "pt") as opened:
        header = json.loads(opened.metadata()["training"])
        names = {name.partition(".")[0] for name in opened.keys()}  # noqa: SIM118
    assert header["epoch"] == 1
    assert header["draw"]["bit_generator"] == "PCG64"
    assert header["groups"][0]["lr"] == header["scheduler"]["_last_lr"][0] < PUBLISHED["learning_rate"]
    assert names == {"network", "optimizer", "generator"}


# --- states that do not serve -----------------------------------------------------------------------------


def rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, Tensor]], Any]) -> None:
    """Change the header and the tensors of a state."""
    with safe_open(path, "pt") as opened:
        header = json.loads(opened.metadata()["training"])
    tensors = load_file(path)
    change(header, tensors)
    save_file(tensors, path, {"training": json.dumps(header)})


def first_of(tensors: dict[str, Tensor], part: str) -> str:
    return next(name for name in sorted(tensors) if name.startswith(part) and tensors[name].ndim)


DAMAGES: dict[str, tuple[str, Callable[[dict[str, Any], dict[str, Tensor]], Any]]] = {
    "epoch": ("cannot be read", lambda header, _: header.pop("epoch")),
    "epoch zero": ("has epoch 0", lambda header, _: header.update(epoch=0)),
    "version": ("written by another version", lambda header, _: header.update(torch="1.0")),
    "layout": ("written by another version", lambda header, _: header.update(layout=0)),
    "device": ("was written on cuda, but this is cpu", lambda header, _: header.update(device="cuda")),
    "optimiser": ("another optimiser", lambda header, _: header["groups"][0].pop("lr")),
    "schedule": ("another schedule", lambda header, _: header["scheduler"].pop("base_lrs")),
    "order": ("does not fit", lambda header, _: header["draw"].update(bit_generator="Philox")),
    "network": ("does not fit", lambda _, tensors: tensors.pop(first_of(tensors, "network."))),
    "shape": (
        "another shape or type of",
        lambda _, tensors: tensors.update({first_of(tensors, "network."): torch.zeros(1)}),
    ),
    "moments": (
        "another shape in the optimiser",
        lambda _, tensors: tensors.update({first_of(tensors, "optimizer."): torch.zeros(77)}),
    ),
    "generator": (
        "does not fit",
        lambda _, tensors: tensors.update({"generator.cpu": torch.zeros(3, dtype=torch.uint8)}),
    ),
}


@DESIGNS
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_state_that_does_not_fit_starts_anew(
    dataset: Dataset, kept: Any, design: dict[str, Any], damage: str, undisturbed: Weights
) -> None:
    said, change = DAMAGES[damage]
    expected = undisturbed(moon, dataset, design, epochs=2)
    trained(moon, dataset, kept, design, epochs=2, checkpoint=1)
    rewritten(only_file(kept), change)
    kept.reports.clear()
    assert same(trained(moon, dataset, kept, design, epochs=2), expected)
    share, word = kept.reports[0]
    assert share == 0
    assert word.startswith(f"starts again, because {kept.folder}")
    assert said in word
    assert "\n" not in word
    assert epochs_of(kept) == {1, 2}


@pytest.mark.parametrize("damage", ["cut", "empty", "page"])
def test_a_damaged_state_starts_anew_and_is_replaced(dataset: Dataset, kept: Any, damage: str) -> None:
    expected = trained(moon, dataset, kept, QUICK, checkpoint=2)
    path = only_file(kept)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-9], "empty": b"", "page": b"<!DOCTYPE html><html></html>"}[damage])
    kept.reports.clear()
    assert same(trained(moon, dataset, kept, QUICK, checkpoint=2), expected)
    assert "starts again" in kept.reports[0][1]
    assert path.read_bytes() == whole
