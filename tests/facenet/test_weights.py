"""Weights from elsewhere: prefixes, torchvision's names, classifiers of other shapes, and what is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from harness.dataset import Dataset
from harness.errors import ModelError
from harness_facenet.network import Design, FaceNet
from harness_facenet.weights import fit_weights

from .conftest import DESIGN, Surroundings, trained


@pytest.fixture
def other() -> dict[str, torch.Tensor]:
    """The body of another network under torchvision's names, with a classifier of 1000 outputs."""
    torch.manual_seed(9)
    net = FaceNet(DESIGN)
    state = {f"{name}": tensor for name, tensor in net.body.state_dict().items()}
    return state | {"fc.weight": torch.rand(1000, 16), "fc.bias": torch.rand(1000)}


def saved(folder: Path, state: dict[str, torch.Tensor]) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "w.safetensors")
    return folder / "w.safetensors"


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.backbone.", "body."])
def test_any_prefix_fits(tmp_path: Path, other: dict[str, torch.Tensor], prefix: str) -> None:
    path = saved(tmp_path, {prefix + name: tensor for name, tensor in other.items()})
    net = FaceNet(DESIGN)
    own = net.embedding.weight.clone()
    fit = fit_weights(net, path)
    net.load_state_dict(fit.weights)
    for name, tensor in net.body.state_dict().items():
        assert torch.equal(tensor, other[name])
    assert torch.equal(net.embedding.weight, own)
    assert fit.prefix == prefix
    assert fit.own == ("embedding.weight", "embedding.bias")
    assert set(fit.left) == {f"{prefix}fc.weight", f"{prefix}fc.bias"}
    assert fit.line.count("\n") == 0
    assert f"left in the file: {', '.join(fit.left)}; not in it" in fit.line
    assert "not in it: embedding.weight" in fit.line


@pytest.mark.parametrize("last", ["fc", "fc.0", "logits", "embedding"])
@pytest.mark.parametrize("prefix", ["", "module.model."])
def test_an_embedding_of_the_right_shape_is_taken(
    tmp_path: Path, other: dict[str, torch.Tensor], last: str, prefix: str
) -> None:
    own = {name: tensor for name, tensor in other.items() if not name.startswith("fc")}
    own |= {f"{last}.weight": torch.rand(8, 16)}  # without a bias, as some have it
    net = FaceNet(DESIGN)
    fit = fit_weights(net, saved(tmp_path, {prefix + name: tensor for name, tensor in own.items()}))
    assert torch.equal(fit.weights["embedding.weight"], own[f"{last}.weight"])
    assert fit.weights["embedding.bias"].abs().sum() == 0
    assert fit.left == ()


def test_what_does_not_fit_is_one_line(tmp_path: Path, other: dict[str, torch.Tensor]) -> None:
    net = FaceNet(DESIGN)
    lacking = {name: tensor for name, tensor in other.items() if name != "layer3.0.conv2.weight"}
    for state, words in (
        (lacking, "lack layer3.0.conv2.weight"),
        ({**other, "bn1.weight": torch.rand(5)}, "have bn1.weight of shape (5,), but it needs (2,)"),
        ({"something": torch.rand(2)}, "have no conv1.weight, under any prefix; they have something"),
    ):
        with pytest.raises(ModelError) as told:
            fit_weights(net, saved(tmp_path, state))
        assert words in str(told.value)
        assert "\n" not in str(told.value)
        assert "; give" in str(told.value)


def test_old_files_without_counts_fit(tmp_path: Path, other: dict[str, torch.Tensor]) -> None:
    state = {name: tensor for name, tensor in other.items() if "num_batches" not in name}
    net = FaceNet(DESIGN)
    net.load_state_dict(fit_weights(net, saved(tmp_path, state)).weights)
    assert torch.equal(net.body.conv1.weight, other["conv1.weight"])  # type: ignore[union-attr]


def test_given_weights_are_judged_as_they_are(
    tmp_path: Path,
    dataset: Dataset,
    surroundings: Surroundings,
    other: dict[str, torch.Tensor],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = saved(tmp_path, other)
    module = trained(dataset, surroundings, "given", start_weights=str(path))
    assert surroundings.made == []
    assert torch.equal(module.body.state_dict()["conv1.weight"], other["conv1.weight"])
    assert "tensors taken" in module.training_notes["start_weights"]
    assert "tensors taken" in caplog.text
    with pytest.raises(ModelError, match="start_weights"):
        trained(dataset, surroundings, "given")


def test_a_training_begins_with_the_weights(
    tmp_path: Path, dataset: Dataset, surroundings: Surroundings, other: dict[str, torch.Tensor]
) -> None:
    path = saved(tmp_path, other)
    begun = trained(dataset, surroundings, "standard", start_weights=str(path), standard_rate=1e-9)
    assert torch.allclose(begun.body.state_dict()["conv1.weight"], other["conv1.weight"], atol=1e-5)
    assert Design().backbone == "resnet18"
