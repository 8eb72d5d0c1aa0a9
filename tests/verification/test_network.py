"""F: its size, its unit rows, what it sees of an image, and the files that it can begin from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from harness.catalog import catalog
from harness.dataset import Dataset
from harness.errors import ModelError
from harness.parameters import keyword_parameters
from harness.training import Task
from harness_verification import PUBLISHED, raw_pixels, verifier
from harness_verification.face_crop import crops_of, face_crop, window
from harness_verification.lord import Design, Lord
from harness_verification.vgg_body import load_body, vgg_body

from .conftest import DESIGN, Surroundings, trained

TASK = Task((3, 218, 178))


def test_the_published_f_has_14_976_960_parameters() -> None:
    entry = catalog().models["verifier"]
    assert entry.spec.presets["paper"] == PUBLISHED
    chosen = {name: PUBLISHED[name] for name in ("width", "depth", "batch_norm")}
    with torch.device("meta"):
        module = verifier.build(TASK, **chosen, design=DESIGN)
        assert module(torch.zeros(2, 3, 218, 178)).shape == (2, 128)
    assert sum(parameter.numel() for parameter in module.parameters()) == 14_976_960
    names = {**keyword_parameters(verifier.build), **keyword_parameters(verifier.train)}
    assert set(PUBLISHED) <= set(names)


@pytest.mark.parametrize("size", [(218, 178), (64, 64), (88, 72), (112, 112), (40, 90)])
@pytest.mark.parametrize("channels", [3, 1])
def test_images_of_any_size_are_embedded_with_gradients(size: tuple[int, int], channels: int) -> None:
    module = verifier.build(Task((channels, *size)), width=2, dimensions=6).eval()
    x = torch.rand(2, channels, *size, requires_grad=True)
    found = module(x)
    assert found.shape == (2, 6)
    (gradient,) = torch.autograd.grad(found.sum(), x)
    top, left, height, width = window(*size)
    inside = gradient[:, :, top : top + height, left : left + width]
    assert (inside != 0).float().mean() > 0.9
    assert gradient.abs().sum() == pytest.approx(inside.abs().sum().item())


def test_the_crop_is_the_middle_128_of_celeba_and_all_of_a_square() -> None:
    assert window(218, 178) == (45, 25, 128, 128)
    assert window(112, 112) == (0, 0, 112, 112)
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64), dtype=np.uint8)
    assert torch.equal(crops_of(torch.from_numpy(images)), torch.from_numpy(images))
    framed = torch.ones(1, 3, 218, 178)
    framed[:, :, 45:173, 25:153] = 0.25
    assert torch.allclose(face_crop(framed), torch.full((1, 3, 64, 64), 0.25))
    halves = torch.zeros(1, 1, 128, 128)
    halves[:, :, :, 64:] = 1.0
    assert face_crop(halves)[0, 2, 30, [0, 29, 34, 63]].tolist() == pytest.approx([0, 0, 1, 1])


def test_rows_have_unit_norm_when_built_and_after_training(
    dataset: Dataset, surroundings: Surroundings
) -> None:
    module = trained(dataset, surroundings, "weak")
    for each in (verifier.build(TASK, width=2), module):
        assert torch.allclose(each.embedding.weight.norm(dim=1), torch.ones(()), atol=1e-6)
    with torch.no_grad():
        module.embedding.weight.mul_(3)
    module.project()
    assert torch.allclose(module.embedding.weight.norm(dim=1), torch.ones(()), atol=1e-6)


def test_merged_batch_normalisation_changes_no_answer() -> None:
    torch.manual_seed(0)
    module = verifier.build(TASK, width=2, dimensions=6)
    module.train()
    module(torch.rand(8, 3, 64, 64))
    module.eval()
    x = torch.rand(4, 3, 64, 64)
    plain = module(x)
    module.requires_grad_(False)
    assert torch.allclose(module(x), plain, atol=1e-4)


def vgg_file(path: Path, width: int = 2, **more: Any) -> Path:
    """A file with a VGG-16 of few channels under torchvision's names, and a classifier."""
    torch.manual_seed(5)
    state = {f"features.{name}": tensor for name, tensor in vgg_body(width, None).state_dict().items()}
    state |= {"classifier.0.weight": torch.zeros(4, 4), **more}
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("name", ["vgg.safetensors", "vgg.pt"])
def test_bodies_begin_from_torchvisions_names(name: str, tmp_path: Path) -> None:
    body = vgg_body(2, None)
    load_body(body, vgg_file(tmp_path / name))
    torch.manual_seed(5)
    expected = vgg_body(2, None)
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(body(x), expected(x))


def test_bodies_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"a\.pt: no such file"):
        load_body(vgg_body(2, None), tmp_path / "a.pt")
    lacking = vgg_file(tmp_path / "b.pt", **{"features.5.bias": None})
    with pytest.raises(ModelError, match=r"b\.pt lack features\.5\.bias"):
        load_body(vgg_body(2, None), lacking)
    with pytest.raises(ModelError, match=r"shape \(2, 3, 3, 3\), but it needs \(3, 3, 3, 3\)"):
        load_body(vgg_body(3, None), vgg_file(tmp_path / "c.pt"))
    (tmp_path / "d.pt").write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ModelError, match=r"d\.pt are (refused|no readable)"):
        load_body(vgg_body(2, None), tmp_path / "d.pt")


def test_body_weights_need_a_body_without_batch_normalisation(
    dataset: Dataset, surroundings: Surroundings, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="set batch_norm = false"):
        trained(dataset, surroundings, "weak", body_weights=str(vgg_file(tmp_path / "v.pt")))


def test_the_generator_is_kept_as_buffers_and_found_again_in_weights() -> None:
    torch.manual_seed(0)
    module = verifier.build(TASK, width=2, dimensions=6, design=DESIGN)
    own = sum(parameter.numel() for parameter in module.parameters())
    module.keep_generator(Lord(5, DESIGN))
    assert sum(parameter.numel() for parameter in module.parameters()) == own
    state = module.state_dict()
    again = verifier.build(TASK, width=2, dimensions=6, design=DESIGN)
    again.resize({name: tuple(tensor.shape) for name, tensor in state.items()})
    again.load_state_dict(state)
    x = torch.rand(2, 3, 64, 64)
    assert torch.equal(again.eval().indirect_anchor(x), module.eval().indirect_anchor(x))
    assert module.reconstruct(x).shape == (2, 3, 64, 64)


def test_a_verifier_without_generator_says_so() -> None:
    module = verifier.build(TASK, width=2, design=Design())
    with pytest.raises(ModelError, match='recipe = "proposed" or "none"'):
        module.indirect_anchor(torch.zeros(1, 3, 64, 64))


def test_raw_pixels_ignore_brightness_and_contrast() -> None:
    module = raw_pixels.build(TASK)
    x = torch.rand(2, 3, 64, 64)
    found = module(x)
    assert found.shape == (2, 3 * 64 * 64)
    assert torch.allclose(found.norm(dim=1), torch.ones(2), atol=1e-3)
    assert torch.allclose(module(x * 0.5 + 0.2), found, atol=1e-4)
    assert not list(module.parameters())
