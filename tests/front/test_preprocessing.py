"""Preprocessing as a value: against OpenCV and plain formulas, its gradients, and what wraps a network."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import harness
from harness import Preprocessing, wrap_model
from harness.errors import ModelError
from harness.model import Preprocessed, frozen
from harness.parameters import arguments, check, keyword_parameters
from harness.testing import model_checks
from harness.zoo import load_weights

# What networks that people bring expect of 8-bit RGB pixels p (H, W, 3), as their documents write it.
CONVENTIONS = {
    "insightface": (
        Preprocessing(size=(112, 112), scale=255, mean=127.5, std=127.5),
        lambda p: (cv2.resize(p, (112, 112)) - 127.5) / 127.5,
    ),
    "facenet-pytorch": (
        Preprocessing(size=(160, 160), scale=255, mean=127.5, std=128, normalise_embedding=True),
        lambda p: (cv2.resize(p, (160, 160)) - 127.5) / 128,
    ),
    "adaface": (
        Preprocessing(size=(112, 112), channels="BGR", mean=0.5, std=0.5),
        lambda p: (cv2.cvtColor(cv2.resize(p, (112, 112)), cv2.COLOR_RGB2BGR) / 255 - 0.5) / 0.5,
    ),
    "timm": (
        Preprocessing(size=(112, 112), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        lambda p: (cv2.resize(p, (112, 112)) / 255 - np.array([0.485, 0.456, 0.406]))
        / np.array([0.229, 0.224, 0.225]),
    ),
    "robfr": (Preprocessing(size=(112, 96), scale=255), lambda p: cv2.resize(p, (96, 112))),
    "vgg-face": (
        Preprocessing(crop=(20, 10, 90, 70), scale=255, channels="BGR", mean=(93.594, 104.7624, 129.1863)),
        lambda p: p[20:110, 10:80, ::-1] - np.array([93.594, 104.7624, 129.1863]),
    ),
}  # fmt: skip


def pixels(height: int = 120, width: int = 90, count: int = 2) -> Any:
    """Smooth 8-bit images (B, H, W, 3)."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 9, 7, 3), dtype=np.uint8)
    return np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_CUBIC) for one in coarse])


def tensor(images: Any) -> Tensor:
    return torch.from_numpy(np.asarray(images, np.float32).transpose(0, 3, 1, 2)) / 255


@pytest.mark.parametrize("name", CONVENTIONS)
def test_conventions_of_known_networks(name: str) -> None:
    preprocessing, reference = CONVENTIONS[name]
    images = pixels()
    expected = np.stack([reference(one.astype(np.float32)) for one in images]).transpose(0, 3, 1, 2)
    found = preprocessing(tensor(images))
    assert found.dtype == torch.float32
    spread = float(expected.max() - expected.min())
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-5 * spread)


@pytest.mark.parametrize("size", [(112, 112), (60, 45), (37, 61), (240, 300), (120, 90)])
def test_resizing_is_that_of_opencv(size: tuple[int, int]) -> None:
    images = pixels()
    found = Preprocessing(size=size)(tensor(images)).permute(0, 2, 3, 1).numpy() * 255
    exact = np.stack([cv2.resize(one.astype(np.float32), size[::-1]) for one in images])
    np.testing.assert_allclose(found, exact, atol=2e-3)
    rounded = np.stack([cv2.resize(one, size[::-1]) for one in images]).astype(float)
    assert np.abs(found - rounded).max() <= 1  # of 8-bit pixels, which OpenCV rounds twice


def test_grey_images_pass_where_channels_are_alike() -> None:
    x = torch.rand(2, 1, 6, 6)
    torch.testing.assert_close(Preprocessing(mean=0.1, std=0.3)(x), (x - 0.1) / 0.3)
    for given in (Preprocessing(channels="BGR"), Preprocessing(mean=(0, 0, 1))):
        with pytest.raises(ModelError, match="treats 3 channels apart, but the images have 1; give one mean"):
            given(x)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_gradients_agree_with_finite_differences(name: str) -> None:
    preprocessing, _ = CONVENTIONS[name]
    x = tensor(pixels(count=1)).double().requires_grad_()
    weight = torch.randn(preprocessing(x).shape, generator=torch.Generator().manual_seed(0)).double()
    (gradient,) = torch.autograd.grad((preprocessing(x).square() * weight).sum(), x)
    assert gradient.abs().sum() > 0
    for seed in range(3):
        direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)).double()
        ends = [
            (preprocessing(x.detach() + step * direction).square() * weight).sum() for step in (1e-4, -1e-4)
        ]
        difference = float(ends[0] - ends[1]) / 2e-4
        assert float((gradient * direction).sum()) == pytest.approx(difference, rel=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"crop": (0, 0, 5)}, "crop = (0, 0, 5): give 4 whole numbers, such as [50, 25, 128, 128]"),
        ({"crop": (0, -1, 5, 5)}, "crop = (0, -1, 5, 5): give 4 whole numbers"),
        ({"size": 112}, "size = 112: give 2 whole numbers, such as [112, 112]"),
        ({"size": (112.0, 112)}, "size = (112.0, 112): give 2 whole"),
        ({"mean": (0.5, 0.5)}, "mean = (0.5, 0.5): give a number, or three"),
        ({"std": 0}, "std = 0.0: give numbers above 0"),
        ({"std": (1, 1, -1)}, "std = (1.0, 1.0, -1.0): give numbers above 0"),
        ({"scale": 0}, "scale = 0.0: give what a white pixel is, 1 or 255"),
        ({"scale": (1, 2, 3)}, "scale = (1.0, 2.0, 3.0): give what a white pixel is"),
        ({"scale": "255"}, "scale = '255': give a number"),
        ({"channels": "bgr"}, "channels = 'bgr': did you mean \"BGR\"?"),
    ],
)  # fmt: skip
def test_wrong_values_are_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=re.escape(f"preprocessing: {message}")):
        Preprocessing(**given)


def test_a_crop_that_leaves_the_images() -> None:
    with pytest.raises(ModelError, match=r"crop = \[0, 3, 4, 4\]: images are 6 pixels high and 6 wide; take"):
        Preprocessing(crop=(0, 3, 4, 4))(torch.rand(1, 3, 6, 6))


# --- wrapped networks -------------------------------------------------------------------------------------

GIVEN = Preprocessing(crop=(1, 1, 6, 6), size=(4, 4), channels="BGR", scale=255, mean=(1, 2, 3), std=50)


class Net(nn.Module):
    """(B, 3, 4, 4) to (B, 3)."""

    attribute_names = ("a", "b", "c")
    threshold = 0.7

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(48, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x.flatten(1))  # type: ignore[no-any-return]

    def select(self, x: Tensor, columns: Tensor) -> Tensor:
        return self(x).gather(1, columns[:, None])[:, 0]


def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


def images(count: int = 3) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_a_wrapped_network_answers_as_on_what_it_expects() -> None:
    model = wrap_model(net(), "attributes", preprocessing=GIVEN)
    torch.testing.assert_close(model.scores(images()), net()(GIVEN(images())).detach())
    assert (model.preprocessing, model.names) == (GIVEN, ("a", "b", "c"))
    columns = torch.tensor([2, 0, 1])
    expected = model.scores(images()).gather(1, columns[:, None])[:, 0]
    torch.testing.assert_close(model.module.select(images(), columns).detach(), expected)  # type: ignore[operator]
    assert wrap_model(net(), "attributes").preprocessing is None


def test_embeddings_are_normalised_if_that_is_said() -> None:
    plain, unit = (
        wrap_model(net(), "embedding", preprocessing=Preprocessing(size=(4, 4), normalise_embedding=said))
        for said in (False, True)
    )
    lengths = unit.scores(images()).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(3))
    torch.testing.assert_close(
        unit.scores(images()), plain.scores(images()) / plain.scores(images()).norm(dim=1, keepdim=True)
    )
    assert unit.threshold == 0.7
    with pytest.raises(ModelError, match="normalise_embedding is for embeddings, and the head is classes"):
        wrap_model(net(), "classes", preprocessing=Preprocessing(normalise_embedding=True))


def test_images_are_not_preprocessed_twice() -> None:
    with pytest.raises(ModelError, match="the module has a preprocessing already"):
        wrap_model(GIVEN.wrap(net()), "attributes", preprocessing=GIVEN)
    assert wrap_model(GIVEN.wrap(net()), "attributes").preprocessing == GIVEN


def test_files_of_the_networks_weights_fit(tmp_path: Path) -> None:
    save_file(net().state_dict(), tmp_path / "net.safetensors")
    torch.manual_seed(5)
    wrapped = GIVEN.wrap(Net())
    assert list(wrapped.state_dict()) == ["last.weight", "last.bias"]
    load_weights(wrapped, tmp_path / "net.safetensors", "model")
    torch.testing.assert_close(wrapped(images()), net()(GIVEN(images())))
    torch.manual_seed(6)
    deeper = nn.Sequential(GIVEN.wrap(Net()), nn.Identity())
    deeper.load_state_dict({f"0.{name}": value for name, value in net().state_dict().items()})
    torch.testing.assert_close(deeper(images()), net()(GIVEN(images())))


def test_wrapped_networks_can_be_copied_and_frozen() -> None:
    wrapped = GIVEN.wrap(net().train())
    copied = copy.deepcopy(wrapped)
    assert isinstance(copied, Preprocessed)
    with frozen(copied):
        torch.testing.assert_close(copied(images()), wrapped(images()))
        assert not copied.network.training
    with pytest.raises(AttributeError):
        copied.nothing  # noqa: B018


def test_attacks_see_plain_pixels() -> None:
    outcome = harness.attack(
        "ffa",
        wrap_model(net(), "attributes", preprocessing=GIVEN),
        images(),
        goal=harness.goals.FlipAttribute(torch.tensor([0, 1, 2])),
        threat=harness.threats.Minimal("linf"),
    )
    assert outcome.adversarials.shape == images().shape
    assert outcome.success.any()
    judged = torch.round(images() * 255) / 255
    changed = ((outcome.adversarials - judged).abs() > 1e-3).flatten(0, 1).any(0)
    assert not changed[0].any()  # the crop begins at row 1
    assert changed[1:7, 1:7].any()


# --- plugins ----------------------------------------------------------------------------------------------


def build(task: Any, *, preprocessing: Preprocessing = GIVEN) -> nn.Module:
    """A third party's model, whose preprocessing manifests may change."""
    return preprocessing.wrap(net())


def test_the_fields_are_keys_of_manifests() -> None:
    parameters = keyword_parameters(build)
    assert list(parameters) == ["crop", "size", "mean", "std", "channels", "scale", "normalise_embedding"]
    given = {"mean": [0.5, 0.5, 0.5], "scale": 1, "size": [4, 4], "std": "1/2"}
    values = check("model", given, parameters, ModelError)
    assert arguments(build, values)["preprocessing"] == Preprocessing(
        (1, 1, 6, 6), (4, 4), (0.5, 0.5, 0.5), 0.5, "BGR", 1
    )
    with pytest.raises(ModelError, match=r"model\.channels = 'GBR' must be"):
        check("model", {"channels": "GBR"}, parameters, ModelError)


def test_the_contract_kit_passes() -> None:
    spec = harness.ModelSpec(name="net", summary="", head="embedding", build="tests:build")
    for checked in model_checks(spec, function=build, params={"crop": None}):
        result = checked.result()
        assert result.status != "failed", result.line


def test_the_page_shows_these_conventions() -> None:
    page = (Path(__file__).parents[2] / "docs/own-faces.md").read_text(encoding="utf-8")
    values, wrapped, plugin = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    shown: dict[str, Any] = {"harness": harness, "network": nn.Flatten()}
    exec(values + wrapped + plugin, shown)
    for name in ("insightface", "adaface", "robfr"):
        assert shown[name] == CONVENTIONS[name][0]
    assert shown["facenet_pytorch"] == CONVENTIONS["facenet-pytorch"][0]
    assert shown["model"].preprocessing == shown["adaface"]
    assert list(keyword_parameters(shown["build"]))[:2] == ["crop", "size"]
