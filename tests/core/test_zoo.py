"""Weights that users bring: read where they fit, refused in one line where they do not, never unpickled."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from harness.errors import ModelError
from harness.zoo import load_weights


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
