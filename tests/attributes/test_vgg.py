"""The published network to the unit of its parameters, and what both networks do with an image."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from harness.errors import ModelError
from harness.training import Task
from harness_attributes import PAPER, moon, separate
from harness_attributes.vgg import FACE_MEAN, FEW_CHANNELS, VGG16, NarrowVGG, NormalizedConvolution

PAPER_SHAPE = (3, 218, 178)
NAMES = tuple(f"attribute_{number}" for number in range(40))
DESIGN = {name: PAPER[name] for name in ("architecture", "width", "depth", "dropout")}


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("outputs", "count"), [(1, 119_584_577), (2, 119_588_674), (40, 119_744_360)], ids=str
)
def test_published_network_has_the_published_number_of_parameters(outputs: int, count: int) -> None:
    with torch.device("meta"):
        assert parameters(VGG16(PAPER_SHAPE, outputs)) == count


def test_paper_presets_build_the_published_networks() -> None:
    task = Task(PAPER_SHAPE, NAMES)
    with torch.device("meta"):
        assert parameters(moon.build(task, **DESIGN)) == 119_744_360
        one = ["attribute_3"]
        assert parameters(separate.build(task, attributes=one, **DESIGN)) == 119_584_577
        assert parameters(separate.build(task, attributes=one, loss="softmax", **DESIGN)) == 119_588_674


def test_last_pool_is_7_high_and_6_wide() -> None:
    with torch.device("meta"):
        network = VGG16(PAPER_SHAPE, 1)
        pooled = network.features(torch.empty(1, *PAPER_SHAPE))
    assert pooled.shape == (1, 512, 7, 6)
    assert network.classifier[0].in_features == 21_504


def test_published_network_is_the_published_stack() -> None:
    with torch.device("meta"):
        network = VGG16(PAPER_SHAPE, 1)
    convolutions = [layer for layer in network.features if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    layers = "".join(
        {"Conv2d": "c", "ReLU": "r", "MaxPool2d": "p"}[type(m).__name__] for m in network.features
    )
    assert layers == "crcrp" * 2 + "crcrcrp" * 3
    assert [type(layer).__name__ for layer in network.classifier] == [
        *("Linear", "ReLU", "Dropout") * 2,
        "Linear",
    ]


@pytest.mark.parametrize("network", [VGG16, NarrowVGG])
@pytest.mark.parametrize("shape", [(3, 88, 72), (3, 33, 47), (1, 28, 28)], ids=str)
def test_networks_take_images_of_any_size(network: type[nn.Module], shape: tuple[int, int, int]) -> None:
    outputs = network(shape, 5, width=2).eval()(torch.rand(4, *shape))
    assert outputs.shape == (4, 5)


@pytest.mark.parametrize("network", [VGG16, NarrowVGG])
def test_mean_face_is_the_origin_of_the_network(network: type[nn.Module]) -> None:
    made = network((3, 32, 32), 1, width=2).eval()
    seen = []
    made.features[0].register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    mean = torch.tensor(FACE_MEAN)[:, None, None].expand(3, 32, 32)
    made(torch.stack([mean, mean + 64]) / 255)
    assert seen[0][0].abs().max() < 1e-4
    assert torch.allclose(seen[0][1], torch.full((3, 32, 32), 64.0 if network is VGG16 else 1.0))


def test_published_network_starts_with_scores_near_the_labels() -> None:
    torch.manual_seed(0)
    scores = VGG16((3, 64, 64), 8, width=16).eval()(torch.rand(8, 3, 64, 64))
    assert 0.01 < scores.std() < 5


def test_normalisation_in_the_weights_is_the_normalisation() -> None:
    torch.manual_seed(0)
    block = NormalizedConvolution(3, 6)
    with torch.no_grad():
        block.norm.running_mean.uniform_(-1, 1)
        block.norm.running_var.uniform_(0.5, 2)
        block.norm.weight.uniform_(-2, 2)
        block.norm.bias.uniform_(-1, 1)
    block.eval()
    x = torch.rand(2, 3, 9, 8)
    assert torch.allclose(block(x), F.relu(block.norm(block.convolution(x))), atol=1e-5)


@pytest.mark.parametrize("channels", [FEW_CHANNELS - 1, FEW_CHANNELS])
def test_few_channels_are_normalised_in_training_as_many(channels: int) -> None:
    """Outputs, gradients, running statistics and the memory layout are those of the layers one by one."""
    torch.manual_seed(0)
    block = NormalizedConvolution(3, channels).double()
    with torch.no_grad():
        block.norm.weight.uniform_(-2, 2)
        block.norm.bias.uniform_(-1, 1)
    plain = copy.deepcopy(block)
    x = torch.rand(4, 3, 9, 8, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    made = block(x.requires_grad_())
    expected = F.relu(plain.norm(plain.convolution(x)))
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(made, expected, rtol=0, atol=1e-12)
    weights = torch.rand_like(made)
    for outputs in (made, expected):
        (outputs * weights).sum().backward()
    for one, other in zip(block.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=0, atol=1e-12)
    for one, other in zip(block.buffers(), plain.buffers(), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("build", [moon.build, separate.build])
def test_a_task_without_attributes_is_refused(build: type[nn.Module]) -> None:
    with pytest.raises(ModelError, match="a data set with attributes"):
        build(Task((1, 28, 28), class_names=("0", "1")))
