"""Batched subnets against a loop over single ones, which torch's own layers compute."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from harness_paw.layers import layers_of
from harness_paw.multi_net import hint_loss
from harness_paw.subnet import Convolution, Subnet, normalised
from harness_paw.subnets import Subnets

COUNT, ATTRIBUTES = 5, 4
LAYERS = layers_of("snet3", 3, 1, 2 * ATTRIBUTES, 3)


class Plain(nn.Module):
    """A subnet of torch's layers, written as Table 3 reads."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for place, layer in enumerate(LAYERS):
            convolution = nn.Conv2d(channels, layer.channels, layer.kernel, padding="same")
            norm = nn.BatchNorm2d(layer.channels)
            own = {name.split(".")[2]: state[name] for name in state if name.startswith(f"layers.{place}.")}
            convolution.load_state_dict({"weight": own["weight"], "bias": own["bias"]})
            names = {"scale": "weight", "shift": "bias"}
            norm.load_state_dict(
                {
                    names.get(name, name): own[name]
                    for name in ("scale", "shift", "running_mean", "running_var")
                },
                strict=False,
            )
            layers += [convolution, norm, nn.ReLU(), *([nn.MaxPool2d(2, ceil_mode=True)] * layer.pooled)]
            channels = layer.channels
        self.body = nn.Sequential(*layers)
        self.heads = nn.ModuleList(nn.Linear(2, 1) for _ in range(ATTRIBUTES))
        for place, head in enumerate(self.heads):
            head.load_state_dict(
                {"weight": state["weight"][place : place + 1], "bias": state["bias"][place : place + 1]}
            )

    def forward(self, x: Tensor) -> Tensor:
        maps = self.body(normalised(x)).mean((2, 3))
        return torch.cat([head(own) for head, own in zip(self.heads, maps.split(2, 1), strict=True)], 1)


def states() -> list[dict[str, Tensor]]:
    """The states of different subnets, with statistics as after some training."""
    torch.manual_seed(0)
    found = []
    for _ in range(COUNT):
        single = Subnet(3, LAYERS, ATTRIBUTES)
        for layer in single.layers:
            assert isinstance(layer, Convolution)
            for name, tensor in [*layer.named_parameters(), *layer.named_buffers()]:
                if name in ("bias", "shift", "running_mean"):
                    tensor.data.normal_(0, 0.1)
                elif name in ("scale", "running_var"):
                    tensor.data.uniform_(0.5, 1.5)
        found.append(single.state_dict())
    return found


def batched(given: list[dict[str, Tensor]]) -> Subnets:
    module = Subnets(COUNT, 3, LAYERS, ATTRIBUTES)
    module.put(given)
    return module


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, COUNT, 3, 13, 10, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("training", [False, True])
def test_batched_subnets_equal_a_loop_over_them(images: Tensor, training: bool) -> None:
    """Scores, gradients of images and weights, and in training the statistics."""
    given = states()
    module = batched(given).train(training)
    loop = [Plain(state).train(training) for state in given]
    own, other = (images.clone().requires_grad_() for _ in range(2))
    scores = module(own)
    expected = torch.stack([one(other[:, place]) for place, one in enumerate(loop)], 1)
    assert scores.shape == (3, COUNT, ATTRIBUTES)
    assert torch.allclose(scores, expected, rtol=0, atol=1e-5)
    weight = torch.randn(scores.shape, generator=torch.Generator().manual_seed(2))
    for found in (scores, expected):
        (found * weight).sum().backward()
    assert own.grad is not None
    assert other.grad is not None
    assert own.grad.abs().max() > 0
    assert torch.allclose(own.grad, other.grad, rtol=0, atol=1e-5)
    for place, one in enumerate(loop):
        convolutions = [layer for layer in one.body if isinstance(layer, nn.Conv2d)]
        norms = [layer for layer in one.body if isinstance(layer, nn.BatchNorm2d)]
        for layer, convolution, norm in zip(module.layers, convolutions, norms, strict=True):
            assert isinstance(layer, Convolution)
            assert torch.allclose(layer.weight.grad[place], convolution.weight.grad, rtol=1e-4, atol=1e-5)  # type: ignore[index, arg-type]
            assert torch.allclose(layer.running_mean[place], norm.running_mean, atol=1e-6)  # type: ignore[arg-type]
            assert torch.allclose(layer.running_var[place], norm.running_var, atol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("training", [False, True])
def test_a_single_subnet_equals_torchs_layers(images: Tensor, training: bool) -> None:
    state = states()[0]
    single = Subnet(3, LAYERS, ATTRIBUTES)
    single.load_state_dict(state)
    single.train(training)
    assert torch.allclose(single(images[:, 0]), Plain(state).train(training)(images[:, 0]), atol=1e-5)


def test_only_the_chosen_subnets_answer(images: Tensor) -> None:
    module = batched(states()).eval()
    which = torch.tensor([4, 0, 4])
    x = images[:, 0]
    expected = module(x[:, None].expand(-1, COUNT, -1, -1, -1))[torch.arange(3), which]
    assert torch.allclose(module.chosen(x, which), expected, atol=1e-6)
    with torch.no_grad():
        for name, tensor in module.named_parameters():
            if name != "weight":
                tensor[[1, 2, 3]] = torch.nan
    assert module.chosen(x, which).isfinite().all()


def test_one_state_is_given_to_all_and_taken_back() -> None:
    given = states()
    module = batched(given[:1])
    for place in range(COUNT):
        assert all(torch.equal(module.one(place)[name], given[0][name]) for name in given[0])


def test_heatmaps_are_the_weighted_sums_of_an_attributes_own_maps(images: Tensor) -> None:
    """H_j by hand, and the score as the heatmap's mean."""
    torch.manual_seed(0)
    single = Subnet(3, LAYERS, ATTRIBUTES).eval()
    maps = single.features(images[:, 0])
    heatmaps = single.heatmaps(maps)
    for attribute in range(ATTRIBUTES):
        own = sum(single.weight[attribute, k] * maps[:, 2 * attribute + k] for k in range(2))
        assert torch.allclose(heatmaps[:, attribute], own, atol=1e-6)  # type: ignore[arg-type]
    assert torch.allclose(heatmaps.mean((2, 3)) + single.bias, single(images[:, 0]), atol=1e-5)


def test_the_hint_loss_is_the_mean_of_norms() -> None:
    teacher, student = torch.zeros(2, 3, 2, 2), torch.zeros(2, 3, 2, 2, requires_grad=True)
    with torch.no_grad():
        student[0, 0, 0, 0], student[0, 2, 1, 1] = 3, 4
    value = hint_loss(teacher, student)
    assert value.item() == pytest.approx(2.5, abs=1e-5)
    value.backward()
    assert student.grad is not None
    assert torch.allclose(student.grad[0, 0, 0, 0], torch.tensor(0.3))
    assert student.grad.isfinite().all()  # the second image's norm is 0


def test_an_untrained_subnet_expects_the_rates_of_attributes() -> None:
    torch.manual_seed(0)
    single = Subnet(3, LAYERS, ATTRIBUTES).train()
    x, rates = torch.rand(64, 3, 24, 20), torch.tensor([0.02, 0.3, 0.5, 0.97])
    assert single(x).mean(0).abs().max() < 0.5  # it calls no attribute present or absent
    single.expect(rates)
    assert torch.allclose(single(x).mean(0), torch.logit(rates), atol=0.5)
    assert (single.weight > 0).all()
