"""The networks: parameters to the unit, embeddings of length 1, and two batch-norm sets that never mix."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from harness.specs import ModelSpec
from harness_facenet import PUBLISHED, harness_models
from harness_facenet.network import Design, FaceNet, Projector
from harness_facenet.norms import TwoNorms, judged, using, with_two_norms

from .conftest import DESIGN


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def bottlenecks(classes: int) -> int:
    """The parameters of ResNet50 with so many outputs, by table 1 of He et al."""
    total, channels = 3 * 64 * 49 + 2 * 64, 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            total += channels * width + 9 * width * width + 4 * width * width
            total += 2 * (width + width + 4 * width)
            if block == 0:
                total += channels * 4 * width + 2 * 4 * width
            channels = 4 * width
    return total + channels * classes + classes


def test_resnet50_has_the_parameters_of_the_reference() -> None:
    names = set(Design.__dataclass_fields__)
    with torch.device("meta"):
        net = FaceNet(Design(**{name: value for name, value in PUBLISHED.items() if name in names}))
    assert bottlenecks(1000) == 25_557_032  # torchvision's resnet50
    assert count(net) == bottlenecks(128) == 23_770_304
    assert count(net.body) == 23_508_032
    norms = [part for part in net.modules() if isinstance(part, nn.BatchNorm2d)]
    assert sum(map(count, norms)) == 53_120
    (spec,) = (spec for spec in harness_models() if isinstance(spec, ModelSpec))
    assert "53,120" in spec.counting


@pytest.mark.parametrize("backbone", ["resnet50", "resnet18", "mobilefacenet"])
@pytest.mark.parametrize("size", [None, (20, 24)])
def test_embeddings_have_length_1_whatever_the_image(backbone: str, size: tuple[int, int] | None) -> None:
    torch.manual_seed(0)
    design = Design(backbone=backbone, width=4, small_stem=False, image_size=size)  # type: ignore[arg-type]
    net = FaceNet(design).eval()
    for shape in ((2, 3, 40, 32), (2, 1, 32, 40)):
        x = torch.rand(shape, requires_grad=True)
        found = net(x)
        assert found.shape == (2, 128)
        assert torch.allclose(found.norm(dim=1), torch.ones(2))
        (gradient,) = torch.autograd.grad(found[:, 0].sum(), x)
        assert gradient.abs().sum() > 0


def filled(net: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def differing(before: dict[str, Tensor], net: nn.Module) -> set[str]:
    return {name for name, tensor in net.state_dict().items() if not torch.equal(before[name], tensor)}


def test_the_two_sets_of_batch_norms_never_mix() -> None:
    """A pass of one set changes statistics, and gets gradients, of that set alone, which answers."""
    torch.manual_seed(0)
    both = with_two_norms(FaceNet(DESIGN)).train()
    norms = [part for part in both.modules() if isinstance(part, TwoNorms)]
    assert len(norms) == 20
    x = torch.rand(4, 3, 16, 16)
    for chosen, other in (("clean", "adversarial"), ("adversarial", "clean")):
        before = filled(both)
        both.zero_grad()
        with using(both, chosen):  # type: ignore[arg-type]
            both(x).sum().backward()
        changed = differing(before, both)
        assert changed
        assert all(f".{chosen}." in name for name in changed)
        for name, parameter in both.named_parameters():
            if f".{other}." in name:
                assert parameter.grad is None, name
            elif f".{chosen}." in name:
                assert parameter.grad is not None, name
        assert {norm.chosen for norm in norms} == {"clean"}
    both.eval()
    with torch.no_grad():
        for norm in norms:
            norm.adversarial.running_mean.add_(1.0)  # type: ignore[union-attr, operator]
        with using(both, "clean"):
            clean = both(x)
        with using(both, "adversarial"):
            assert not torch.allclose(both(x), clean)


def test_what_judges_is_the_stated_set() -> None:
    torch.manual_seed(0)
    both = with_two_norms(FaceNet(DESIGN))
    with using(both, "clean"):
        both.train()(torch.rand(4, 3, 16, 16))
    with using(both, "adversarial"):
        both(torch.rand(4, 3, 16, 16).square())
    both.eval()
    x = torch.rand(3, 3, 16, 16)
    for chosen in ("clean", "adversarial"):
        single = FaceNet(DESIGN).eval()
        single.load_state_dict(judged(both.state_dict(), chosen))  # type: ignore[arg-type]
        with using(both, chosen), torch.no_grad():  # type: ignore[arg-type]
            assert torch.equal(single(x), both(x))


def test_both_sets_begin_as_the_one_that_was_there() -> None:
    torch.manual_seed(0)
    net = FaceNet(DESIGN).train()
    net(torch.rand(4, 3, 16, 16))
    state = filled(net)
    both = with_two_norms(net)
    for chosen in ("clean", "adversarial"):
        again = judged(both.state_dict(), chosen)  # type: ignore[arg-type]
        assert again.keys() == state.keys()
        assert all(torch.equal(again[name], state[name]) for name in state)


def test_the_projector_has_two_sets_too() -> None:
    projector = with_two_norms(Projector(6, 5, 4))
    assert sum(isinstance(part, TwoNorms) for part in projector.modules()) == 1
    assert projector(torch.rand(3, 6)).shape == (3, 4)
